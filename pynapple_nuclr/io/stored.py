"""What `write_nwb` has written, read back."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pynapple as nap

from pynapple_nuclr.columns import PREDICTED, SUMMARIES, lay_out
from pynapple_nuclr.io import units_table
from pynapple_nuclr.io.files import existing_file
from pynapple_nuclr.io.reading import read_units


def read_embedding(path: str | os.PathLike[str], *, prefix: str = "nuclr") -> nap.TsGroup:
    """Read embedded units back from a file of `write_nwb`, vectors included.

    Parameters
    ----------
    path : str or path
        An NWB file that `write_nwb` wrote.
    prefix : str
        Prefix of the columns, as given to `write_nwb`.

    Returns
    -------
    TsGroup
        The units with all their metadata, and the vectors as ``nuclr_0`` …, bit for bit.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it holds no embedding of this prefix.

    Examples
    --------
    >>> import tempfile, pynapple as nap, pynapple_nuclr as nap_nuclr
    >>> from pynapple_nuclr.columns import lay_out
    >>> units = nap.TsGroup({3: nap.Ts([0.1, 0.7]), 8: nap.Ts([0.5])})
    >>> embedded = lay_out(units, vectors=[[1.0, 0.5], [-1.0, 2.0]],
    ...     summary={"nuclr_encoder": ["tiny@0a1b2c3d"] * 2})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = nap_nuclr.write_units(embedded, f"{folder}/day1.nwb")
    ...     print(nap_nuclr.read_embedding(path)["nuclr_1"].tolist())
    [0.5, 2.0]
    """
    units = read_units(path)
    with units_table.open_table(Path(path)) as table:
        column = f"{prefix}_embedding"
        if column not in table:
            raise ValueError(
                f"{path} has no column {column!r} in its units table; embed its units and write "
                "them: nap_nuclr.write_nwb(nap_nuclr.embed(units), source)"
            )
        vectors = pd.DataFrame(table[column][:], index=table["id"][:])
    names = [f"{prefix}_{part}" for part in SUMMARIES]
    summary = {name: units.get_info(name) for name in names if name in units.metadata_columns}
    if summary:
        units.drop_info(list(summary))  # else lay_out would log that it replaced them
    ordered = vectors.loc[np.asarray(units.index)].to_numpy()
    return lay_out(units, summary=summary, vectors=ordered, prefix=prefix)


def describe_nwb(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Say what the units table of an NWB file holds, and whether it is embedded.

    Returns
    -------
    dict
        ``units`` (how many), ``columns`` (names), ``labels`` (names of ``predicted_*`` columns)
        and ``embeddings``: prefix → how it was made (version, encoder, date, settings).

    Raises
    ------
    FileNotFoundError, ValueError
        As `read_units`.
    """
    with units_table.open_table(existing_file(path)) as table:
        names = units_table.column_names(table)
        prefixes = [name.removesuffix("_embedding") for name in names]
        return {
            "units": len(table["id"]),
            "columns": names,
            "labels": [name for name in names if name.startswith(PREDICTED)],
            "embeddings": {
                prefix: {
                    "dimensions": str(table[name].shape[1]),
                    **units_table.provenance(table, prefix),
                }
                for name, prefix in zip(names, prefixes, strict=True)
                if name != prefix and units_table.is_ours(table, name)
            },
        }
