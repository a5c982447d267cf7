"""Tables of neurons in an open NWB file: units, or ROIs; HDF5, Zarr and remote files alike."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pynapple as nap
import pynwb
from hdmf.common import DynamicTable
from numpy.typing import NDArray
from pynwb.ophys import PlaneSegmentation, RoiResponseSeries

from pynapple_nuclr.columns import SUMMARIES, metadata_frame
from pynapple_nuclr.nwb.provenance import MODULE, notes_name
from pynapple_nuclr.nwb.table_columns import MARK, Columns, encoders, predicted_from
from pynapple_nuclr.nwb.values import read_values
from pynapple_nuclr.recording import Units
from pynapple_nuclr.user_warnings import list_some, warn_user

UNITS_TABLE = "units_table"
"""The metadata column that names the table of units, where a file has several."""


def units_tables(nwbfile: pynwb.NWBFile) -> list[DynamicTable]:
    """Return the tables of units with spikes, wherever they are in the file: /units first."""
    from pynwb.misc import Units

    found = [one for one in nwbfile.objects.values() if isinstance(one, Units) and _has_spikes(one)]
    return sorted(found, key=lambda one: (one is not nwbfile.units, location(one)))


def _has_spikes(table: DynamicTable) -> bool:
    return "spike_times" in table.colnames and hasattr(table["spike_times"], "target")


def is_silent(table: DynamicTable) -> bool:
    """Return whether no unit of a table has a spike."""
    return not len(table["spike_times"].target.data)


def choose_units(nwbfile: pynwb.NWBFile, path: object, name: str | None) -> DynamicTable:
    """Return the table of units of this name or place; by default /units, or the only one."""
    tables = units_tables(nwbfile)
    places = [location(table) for table in tables]
    listed = ", ".join(map(repr, places)) or "none"
    if name is not None:
        ends = [i for i, place in enumerate(places) if is_called(place, name)]
        exact = [i for i in ends if places[i] == name.strip("/")]
        if len(exact or ends) == 1:
            return tables[(exact or ends)[0]]
        raise ValueError(
            f"{path} has {'several tables' if ends else 'no table'} of units with spike times "
            f"called {name!r}; it has {listed}"
        )
    if not tables:
        raise ValueError(no_units(path))
    tables = [table for table in tables if not is_silent(table)] or tables
    places = [location(table) for table in tables]
    if len(tables) > 1:
        if tables[0] is not nwbfile.units:
            raise ValueError(
                f"{path} has {len(tables)} tables of units: {listed}; expected the name of one: "
                f"table={places[0]!r}"
            )
        warn_user(
            f"{path}: the table 'units' is used; there are also {', '.join(places[1:])} (table=)"
        )
    return tables[0]


def neuron_tables(nwbfile: pynwb.NWBFile) -> list[DynamicTable]:
    """Return the tables that may hold an embedding: units with spikes, then those of ROIs."""
    rois = [one for one in nwbfile.objects.values() if isinstance(one, PlaneSegmentation)]
    return units_tables(nwbfile) + sorted(rois, key=location)


def table_of(units: Units, nwbfile: pynwb.NWBFile, path: object) -> DynamicTable:
    """Return the table these neurons came from; ValueError if the file has none, or several."""
    metadata = metadata_frame(units)
    if isinstance(units, nap.TsGroup):
        places = set(metadata.get(UNITS_TABLE, pd.Series(dtype=object)).astype(str))
        if len(places) > 1:
            raise ValueError(
                f"units are of several tables of {path}: {', '.join(sorted(places))}; write those "
                "of each by themselves"
            )
        return choose_units(nwbfile, path, places.pop() if places else None)
    rois = [table for table in neuron_tables(nwbfile) if isinstance(table, PlaneSegmentation)]
    names = [name_of(table) for table in rois]
    asked = set(metadata.get("roi_table", pd.Series(dtype=object)).astype(str))
    found = [table for table in rois if not asked or asked & {table.name, name_of(table)}]
    if len(found) == 1 and len(asked) < 2:
        return found[0]
    raise ValueError(
        f"{path} has {len(rois)} tables of ROIs ({', '.join(names) or 'none'}), and the metadata "
        f"column 'roi_table' names {', '.join(sorted(asked)) or 'none'}; expected it to name the "
        "one that the traces belong to, as nap_nuclr.read_traces writes it"
    )


def traces_of(table: DynamicTable, nwbfile: pynwb.NWBFile) -> list[RoiResponseSeries]:
    """Return the traces of the ROIs of a table."""
    series = [one for one in nwbfile.objects.values() if isinstance(one, RoiResponseSeries)]
    own = [one for one in series if one.rois.table is table]
    return sorted(own, key=lambda one: path_of(one.data))


def no_units(path: object) -> str:
    """Return the message that a file has no units."""
    return (
        f"{path} has no units table with spike times; write the sorted units to it first, "
        "or make a file with nap_nuclr.write_units(units, path)"
    )


def location(table: DynamicTable) -> str:
    """Return where the table is in its file, such as ``units``."""
    return path_of(table.id.data)


def name_of(table: DynamicTable) -> str:
    """Return the name of a table of neurons, or its place where the file has it several times."""
    names = [one.name for one in neuron_tables(table.get_ancestor("NWBFile"))]
    return location(table) if names.count(table.name) > 1 else str(table.name)


def is_called(place: str, name: str) -> bool:
    """Return whether a place in a file has this name, or ends with these parts of a path."""
    return f"/{place}".endswith(f"/{name.strip('/')}")


def path_of(data: Any) -> str:
    """Return where in its file the group is that holds a dataset, HDF5 or Zarr."""
    return str(data.name).strip("/").rsplit("/", 1)[0]


def match_rows(units: Units, table: DynamicTable, path: object) -> NDArray[np.int64]:
    """Return the row of each unit, by id; ValueError if ids or spikes are not the file's."""
    spikes = isinstance(units, nap.TsGroup)
    kind, own = ("unit", units.index) if spikes else ("ROI", units.columns)
    ids = pd.Index(read_values(table.id.data))
    if not ids.is_unique:
        raise ValueError(
            f"{path}: {kind} ids occur twice in its table {table.name!r}; expected unique ids"
        )
    rows = ids.get_indexer(np.asarray(own))
    if (rows < 0).any():
        unknown = np.asarray(own)[rows < 0].tolist()
        raise ValueError(
            f"{kind}s {list_some(unknown)} are not in the {table.name} table of {path}, which has "
            f"ids {ids.min()} to {ids.max()}; give the file that they were loaded from"
        )
    if spikes:
        _check_spikes(units, table, rows, path)
    return rows


def _check_spikes(
    units: nap.TsGroup, table: DynamicTable, rows: NDArray[np.int64], path: object
) -> None:
    """Every session counts its units from 0, so equal ids do not make it the same recording."""
    ends = np.asarray(table.spike_times_index.data[:], dtype=np.int64).ravel()
    times = table.spike_times.data
    found, looked_for = 0, 0
    for row, unit in zip(rows, units.index, strict=True):
        own = np.asarray(units[unit].t)
        own = own[:: max(1, len(own) // 20)]
        stored = np.sort(times[ends[row - 1] if row else 0 : ends[row]], axis=None)
        near = np.searchsorted(stored, own - 1e-6) < np.searchsorted(stored, own + 1e-6)
        found, looked_for = found + int(near.sum()), looked_for + len(own)
    if found < looked_for / 2:
        raise ValueError(
            f"only {found} of {looked_for} spikes looked up stand in {path} under the same unit "
            "id; give the file that the units were loaded from, or renumber or shift them back"
        )


def reconcile(table: DynamicTable, new: Columns, prefix: str) -> tuple[Columns, list[str]]:
    """Return which columns to write beside an earlier embedding, and which of its columns must go.

    The file's vectors and their summary go with new vectors or a summary by another encoder;
    so do the labels predicted from them then. Else they stay as they are, together.
    """
    names = list(table.colnames)
    vectors, *summary = own = [f"{prefix}_{part}" for part in ("embedding", *SUMMARIES)]
    made, earlier = encoders(new, prefix), _encoders_of_file(table, prefix)
    another = bool(made and earlier and made != earlier)
    if vectors in names and vectors not in new and not another:
        return {name: new[name] for name in new if name not in {*summary} & {*names}}, []
    going = set(own) if another or vectors in new else set()
    if another:
        going |= {name for name in names if is_ours(table, name, predicted_from(prefix))}
    return new, [name for name in names if name in going - new.keys()]


def keeps_embedding(
    table: DynamicTable, new: Columns, rows: NDArray[np.int64], prefix: str
) -> bool:
    """Return whether the embedding of the table stays: same vectors, same encoder."""
    name = f"{prefix}_embedding"
    if name not in table.colnames or encoders(new, prefix) - _encoders_of_file(table, prefix):
        return not any(column.startswith(f"{prefix}_") for column in new)
    if name not in new:
        return True
    return bool(np.array_equal(table[name].data[:][rows], new[name][0], equal_nan=True))


def _encoders_of_file(table: DynamicTable, prefix: str) -> set[str]:
    name = f"{prefix}_encoder"
    if name not in table.colnames or not is_ours(table, name):
        return set()
    return encoders({name: (np.asarray(table[name].data[:], dtype=object), "")}, prefix)


def is_ours(table: DynamicTable, name: str, ending: str = MARK) -> bool:
    """Return whether `write_nwb` wrote this column, by the end of its description."""
    columns = {column.name: column for column in table.columns}
    return str(columns[name].description).endswith(ending)


def remove_columns(path: Path, place: str, names: Collection[str], prefix: str) -> None:
    """Delete columns of the table at `place`, and the notes of `add_provenance`.

    pynwb only adds to a file; so this goes past it, to the file's own groups.
    """
    if path.is_dir():
        import zarr

        _remove(zarr.open(str(path), mode="r+"), place, names, prefix)
        zarr.consolidate_metadata(str(path))
        return
    with h5py.File(path, "r+") as file:
        _remove(file, place, names, prefix)


def _remove(file: Any, place: str, names: Collection[str], prefix: str) -> None:
    table = file[place]
    for name in set(names) & set(stored_names(table)):
        while name in table:  # a ragged column has an index, which may have one itself
            del table[name]
            name += "_index"
    keep_names(table)
    for name in (place.rsplit("/", 1)[-1], place):
        notes = f"processing/{MODULE}/{notes_name(prefix, name)}"
        if notes in file:
            del file[notes]


def stored_names(table: Any) -> list[str]:
    """Return the names of the columns of a table that is open as an HDF5 or Zarr group."""
    return [n.decode() if isinstance(n, bytes) else str(n) for n in table.attrs["colnames"]]


def keep_names(table: Any) -> None:
    """Bring the list of a table's columns in line with the columns that are there."""
    kept = [name for name in stored_names(table) if name in table]
    if hasattr(table, "store"):  # Zarr: attributes are JSON
        table.attrs["colnames"] = kept
    else:
        table.attrs["colnames"] = np.array(kept, dtype=h5py.string_dtype())
