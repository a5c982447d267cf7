"""Tables out, for everyone without NWB: a row per neuron."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

import pandas as pd

from pynapple_nuclr.atomic_files import atomic_write, check_output
from pynapple_nuclr.columns import metadata_frame
from pynapple_nuclr.recording import Units
from pynapple_nuclr.user_warnings import log

_ID_COLUMNS = ("unit", "unit_id", "nuclr_unit_id")  # the first that no column of the user's has


def write_table(units: Units, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write the metadata of units as a table: ids, labels, summary, the user's columns, vectors.

    Parameters
    ----------
    units : TsGroup or TsdFrame
        Usually embedded. The ids become the first column, ``unit``; ``unit_id`` (or
        ``nuclr_unit_id``) where the units have a column of that name themselves, which is kept.
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
        If the name ends in neither ``.csv`` nor ``.parquet``, or all three names of the ids are
        columns of the units.

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
    ids = table.index
    table.columns = table.columns.map(str)
    if twice := sorted(set(table.columns[table.columns.duplicated()])):
        raise ValueError(f"units have several columns of the name {twice[0]!r}; rename all but one")
    name = next((one for one in _ID_COLUMNS if one not in table), None)
    if name is None:
        raise ValueError(f"units have columns {_ID_COLUMNS}, the names of the ids; rename one")
    if name != _ID_COLUMNS[0]:
        log.warning("%s: units have a column 'unit', so their ids are in %r", path.name, name)
    table.insert(0, name, ids)
    if path.suffix == ".parquet" and find_spec("pyarrow") is None:
        raise ImportError(
            f"{path.name} needs pyarrow: pip install pynapple-nuclr[parquet], or write .csv"
        )
    with atomic_write(path, overwrite=overwrite) as draft:
        if path.suffix == ".csv":
            table.to_csv(draft, index=False)
        else:
            _typed(table).to_parquet(draft, index=False)
    return path


def _typed(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with texts where a column mixes types, of which parquet has none."""
    mixed = {
        name: column.map(lambda one: None if one is None else str(one))
        for name, column in table.items()
        if column.dtype == object and len({type(one) for one in column.dropna()}) > 1
    }
    return table.assign(**mixed)
