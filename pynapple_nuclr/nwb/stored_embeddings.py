"""What `write_nwb` has written, read back."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pandas as pd
import pynapple as nap
from hdmf.common import DynamicTable

from pynapple_nuclr.columns import PREDICTED, SUMMARIES, add_columns, is_missing
from pynapple_nuclr.columns.metadata import unit_ids
from pynapple_nuclr.nwb import neuron_tables
from pynapple_nuclr.nwb.opening import OpenNWB, open_nwb
from pynapple_nuclr.nwb.provenance import read_provenance
from pynapple_nuclr.nwb.trace_kinds import roi_responses
from pynapple_nuclr.nwb.traces import read_nwb_traces
from pynapple_nuclr.nwb.units import read_units
from pynapple_nuclr.nwb.values import read_values
from pynapple_nuclr.user_warnings import log


def read_embedding(
    path: str | os.PathLike[str] | OpenNWB, *, prefix: str = "nuclr", name: str | None = None
) -> nap.TsGroup | nap.TsdFrame:
    """Read embedded units (or traces) back from a file of `write_nwb`, vectors included.

    Parameters
    ----------
    path : str or path
        An NWB file that `write_nwb` wrote: HDF5, a Zarr folder, or a URL.
    prefix : str
        Prefix of the columns, as given to `write_nwb`.
    name : str, optional
        Of several embedded tables this one: "units", or the name of a table of ROIs (an imaging
        plane). Default: the units, else the first plane; the log names the others.

    Returns
    -------
    TsGroup or TsdFrame
        The units with all their metadata, and the vectors as ``nuclr_0`` …, bit for bit; for
        calcium the traces of the ROIs that were embedded.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it holds no embedding of this prefix.

    Examples
    --------
    >>> import tempfile, pynapple as nap, pynapple_nuclr as nap_nuclr
    >>> from pynapple_nuclr.columns import add_columns
    >>> units = nap.TsGroup({3: nap.Ts([0.1, 0.7]), 8: nap.Ts([0.5])})
    >>> embedded = add_columns(units, vectors=[[1.0, 0.5], [-1.0, 2.0]],
    ...     summary={"nuclr_encoder": ["tiny@0a1b2c3d"] * 2})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = nap_nuclr.write_units(embedded, f"{folder}/day1.nwb")
    ...     print(nap_nuclr.read_embedding(path)["nuclr_1"].tolist())
    [0.5, 2.0]
    """
    column = f"{prefix}_embedding"
    with open_nwb(path) as file:
        nwbfile = file.nwbfile
        tables = neuron_tables.neuron_tables(nwbfile)
        if not tables:
            raise ValueError(neuron_tables.no_units(path))
        found = [table for table in tables if column in table.colnames]
        if not found:
            there = " or ".join(table.name for table in tables)
            raise ValueError(
                f"{path} has no column {column!r} in its table of {there}; embed its neurons and "
                "write them: nap_nuclr.write_nwb(nap_nuclr.embed(units), source)"
            )
        table = _choose(found, name, path)
        vectors = pd.DataFrame(read_values(table[column].data), index=read_values(table.id.data))
        if table in neuron_tables.units_tables(nwbfile):
            units = read_units(file, table=neuron_tables.location(table))
        else:
            units = _read_rois(file, table, prefix)
    names = [f"{prefix}_{part}" for part in SUMMARIES]
    summary = {name: units.get_info(name) for name in names if name in units.metadata_columns}
    if summary:
        units.drop_info(list(summary))  # else add_columns would log that it replaced them
    ordered = vectors.loc[np.asarray(unit_ids(units))].to_numpy()
    return add_columns(units, summary=summary, vectors=ordered, prefix=prefix)


def _choose(found: list[DynamicTable], name: str | None, path: object) -> DynamicTable:
    """Return the requested table of those that are embedded."""
    names = [neuron_tables.name_of(table) for table in found]
    if name is None:
        if len(found) > 1:
            log.warning("%s: read %s; also embedded: %s", path, names[0], ", ".join(names[1:]))
        return found[0]
    if name not in names:
        raise ValueError(f"{path} has no embedding of {name!r}; embedded are {', '.join(names)}")
    return found[names.index(name)]


def _read_rois(file: OpenNWB, table: DynamicTable, prefix: str) -> nap.TsdFrame:
    """Read the traces of the ROIs that were embedded."""
    paths = [path for path, one in roi_responses(file.nwbfile).items() if one.rois.table is table]
    if not paths:
        raise ValueError(
            f"{file} has an embedding of the ROIs in {table.name}, but no traces of them "
            "(RoiResponseSeries); give the file that write_nwb made"
        )
    traces = read_nwb_traces(file, cells=None)
    if set(traces.get_info("roi_table")) != {neuron_tables.name_of(table)}:  # of another plane
        traces = read_nwb_traces(file, name=paths[0], cells=None)
    return traces[:, ~is_missing(traces.get_info(f"{prefix}_encoder"))]


def describe_nwb(path: str | os.PathLike[str] | OpenNWB) -> dict[str, Any]:
    """Return what an NWB file says of its neurons, and whether they are embedded."""
    with open_nwb(path) as file:
        tables = neuron_tables.neuron_tables(file.nwbfile)
        if not tables:
            raise ValueError(neuron_tables.no_units(path))
        table = next((one for one in tables if _embedding_columns(one)), tables[0])
        name = neuron_tables.name_of(table)
        return {
            "table": name,
            "units": len(table.id),
            "columns": list(table.colnames),
            "labels": [name for name in table.colnames if name.startswith(PREDICTED)],
            "embeddings": {
                column.removesuffix("_embedding"): {
                    "dimensions": str(table[column].data.shape[1]),
                    **read_provenance(file.nwbfile, column.removesuffix("_embedding"), name),
                }
                for column in _embedding_columns(table)
            },
        }


def _embedding_columns(table: DynamicTable) -> list[str]:
    names = [name for name in table.colnames if name.endswith("_embedding")]
    return [name for name in names if neuron_tables.is_ours(table, name)]
