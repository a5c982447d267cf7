"""Tables out, for everyone without NWB: a row per neuron."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from pynapple_nuclr.atomic_files import atomic_write, check_output
from pynapple_nuclr.columns import metadata_frame

if TYPE_CHECKING:
    from pynapple_nuclr.recording import Units


def write_table(units: Units, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write the metadata of units as a table: ids, labels, summary, the user's columns, vectors.

    Parameters
    ----------
    units : TsGroup or TsdFrame
        Usually embedded. The ids become the first column, ``unit``.
    path : str or path
        The file to write: ``.csv``, or ``.parquet`` (needs pyarrow), which keeps the types.
    overwrite : bool
        Replace an existing file.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    FileExistsError
        If the file exists and `overwrite` is False.
    ImportError
        If pyarrow is missing and the file is to be ``.parquet``.
    TypeError
        If `units` is neither a ``TsGroup`` nor a ``TsdFrame``.
    ValueError
        If the name ends in neither ``.csv`` nor ``.parquet``.

    Examples
    --------
    >>> import tempfile, pandas as pd, pynapple as nap, pynapple_nuclr as nap_nuclr
    >>> from pynapple_nuclr.io.tables import write_table
    >>> units = nap.TsGroup({3: nap.Ts([0.1, 0.7]), 8: nap.Ts([0.5])},
    ...     metadata={"depth": [120.0, 80.0]})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = write_table(units, f"{folder}/day1.csv")
    ...     print(pd.read_csv(path)[["unit", "depth"]])
       unit  depth
    0     3  120.0
    1     8   80.0
    """
    path = check_output(path, overwrite=overwrite, suffix=(".csv", ".parquet"))
    table = metadata_frame(units)
    table.insert(0, "unit", table.index)
    if path.suffix == ".parquet" and find_spec("pyarrow") is None:
        raise ImportError(
            f"{path.name} needs pyarrow: pip install pynapple-nuclr[parquet], or write .csv"
        )
    with atomic_write(path, overwrite=overwrite) as draft:
        if path.suffix == ".csv":
            table.to_csv(draft, index=False)
        else:
            table.to_parquet(draft, index=False)
    return path
