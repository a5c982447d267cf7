"""The formats that this package brings, registered by entry points like those of others."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pynapple as nap

from pynapple_nuclr.io.formats import Format, format_of
from pynapple_nuclr.io.phy import is_phy_folder, read_phy
from pynapple_nuclr.io.suite2p import is_suite2p_folder, read_suite2p
from pynapple_nuclr.io.tables import write_table
from pynapple_nuclr.nwb import traces as nwb_traces
from pynapple_nuclr.nwb import units as nwb_units
from pynapple_nuclr.nwb.opening import is_zarr
from pynapple_nuclr.nwb.stored_embeddings import describe_nwb
from pynapple_nuclr.nwb.writing import write_nwb, write_units


def _write_nwb(
    units: Any,
    path: str | os.PathLike[str],
    *,
    source: str | os.PathLike[str] | None = None,
    raw: Any = "drop",
    overwrite: bool = False,
) -> Path:
    """Write units into a copy of the NWB file they are of, or into a file of their own."""
    read_from = None if source is None else format_of(source).name
    if source is not None and read_from in ("nwb", "zarr"):
        return write_nwb(units, source, path, raw=raw, overwrite=overwrite)
    if isinstance(units, nap.TsGroup):
        return write_units(units, path, overwrite=overwrite)
    raise ValueError(
        f"{source}: traces of the format {read_from!r} have no NWB file to be written into; "
        "write a table: kind='csv' or kind='parquet'"
    )


def _write_zarr(
    units: Any, path: Any, *, source: Any, raw: Any = None, overwrite: bool = False
) -> Path:
    """Write units into a whole copy of their Zarr folder, which is all that can be."""
    return write_nwb(units, source, path, raw="copy", overwrite=overwrite)


def _write_table(
    units: Any, path: Any, *, source: Any = None, raw: Any = None, overwrite: bool = False
) -> Path:
    return write_table(units, path, overwrite=overwrite)


_READERS: dict[str, Any] = {
    "read_units": nwb_units.read_units,
    "read_traces": nwb_traces.read_nwb_traces,
    "read_recording": nwb_units.read_recording,
    "describe": describe_nwb,
}
NWB = Format("nwb", (".nwb",), write=_write_nwb, **_READERS)
ZARR = Format("zarr", (".nwb.zarr", ".zarr"), recognise=is_zarr, write=_write_zarr, **_READERS)
PHY = Format("phy", recognise=is_phy_folder, read_units=read_phy)
SUITE2P = Format("suite2p", recognise=is_suite2p_folder, read_traces=read_suite2p)
CSV = Format("csv", (".csv",), write=_write_table)
PARQUET = Format("parquet", (".parquet",), write=_write_table)
