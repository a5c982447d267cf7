"""Where each unit was recorded: brain region, electrode group and probe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from hdmf.common import DynamicTableRegion, VectorIndex
from numpy.typing import NDArray

from pynapple_nuclr.columns import is_missing_label
from pynapple_nuclr.nwb.read_notes import ReadNotes
from pynapple_nuclr.nwb.row_metadata import texts_of
from pynapple_nuclr.nwb.values import read_ragged, read_values

Texts = NDArray[np.object_]
Rows = Sequence[NDArray[np.int64]]

REGION_COLUMNS = (
    "location",
    "brain_area",
    "brain_region",
    "region",
    "area",
    "acronym",
    "brain_acronym",
    "ecephys_structure_acronym",
    "structure_acronym",
    "region_acronym",
    "area_acronym",
    "anatomical_location",
    "anatomical_region",
    "anatomical_area",
    "anatomy",
    "brain_location",
    "brain_structure",
    "structure",
    "cortical_area",
    "allen_location",
    "allen_acronym",
    "beryl_location",
    "cosmos_location",
)
"""Columns that name a brain region, in the order in which they are looked at, in any case."""

_PEAK_COLUMNS = (
    "peak_channel_id",
    "peak_electrode_id",
    "max_channel_id",
    "main_channel_id",
    "peak_channel",
    "peak_electrode",
    "peak_ch",
    "max_channel",
    "max_electrode",
    "maximum_channel",
    "main_channel",
    "best_channel",
    "primary_channel",
    "channel_id",
    "electrode_id",
    "channel",
)
GROUP_NAME = "Name of the electrode group of the unit"
"""Describes the column ``group_name`` of `write_units`, read back as ``electrode_group``."""


def unit_origin(
    nwbfile: Any, table: Any, columns: Mapping[str, NDArray[Any]], notes: ReadNotes
) -> dict[str, NDArray[Any]]:
    """Return ``location``, ``electrode_group`` and ``probe`` of the units, where known.

    The region is the unit's own column, else that of its electrodes (of the peak channel, else
    the most common one), else that of its electrode group; texts such as "unknown" count as none
    at every step.
    """
    n_units = len(table.id)
    if not n_units:
        return {}
    electrodes, rows = _electrodes(nwbfile, table, columns)
    groups = _groups(nwbfile, table, electrodes, rows)
    own = _by_name([name for name in table.colnames if name in columns])
    sources: list[tuple[str, Texts]] = [
        (f"units: {own[name]}", columns[own[name]])
        for name in REGION_COLUMNS
        if name in own and columns[own[name]].dtype == object
    ]
    if electrodes is not None:
        there = _by_name(electrodes.colnames)
        for name in REGION_COLUMNS:
            if name in there and (values := texts_of(electrodes, there[name])) is not None:
                found = [_most_common(values[row]) for row in rows]
                sources.append((f"electrodes: {there[name]}", np.array(found, dtype=object)))
    regions = [_common_text([str(one.location) for one in of_unit]) for of_unit in groups]
    if any(groups):
        sources.append(("electrode groups: location", np.array(regions, dtype=object)))
    origin = _region(sources, n_units, columns.get("location"), notes)
    return origin | _probes(groups, columns, notes)


def _region(
    sources: Sequence[tuple[str, Texts]],
    n_units: int,
    own: NDArray[Any] | None,
    notes: ReadNotes,
) -> dict[str, NDArray[Any]]:
    """Fill the region of each unit from the first source that names it."""
    region = np.full(n_units, "", dtype=object)
    used = []
    for name, values in sources:
        new = is_missing_label(region) & ~is_missing_label(values)
        if new.any():
            region[new] = values[new]
            used.append(name)
    if used:
        notes.columns["region"] = ", then ".join(used)
    if not sources or (own is not None and own.dtype != object):
        return {}
    if own is not None:  # what the file says stays where nothing better is known
        region = np.where(is_missing_label(region), own, region)
    return {"location": region}


def _probes(
    groups: Sequence[Sequence[Any]], columns: Mapping[str, NDArray[Any]], notes: ReadNotes
) -> dict[str, NDArray[Any]]:
    """Return the names of the electrode group and of the device of each unit."""
    names = [list(dict.fromkeys(str(one.name) for one in of_unit)) for of_unit in groups]
    several = [i for i, one in enumerate(names) if len(one) > 1]
    if several:
        notes.warn(
            f"{len(several)} of {len(names)} units have electrodes of several groups, such as "
            f"{' and '.join(names[several[0]])}; electrode_group names all of them"
        )
    devices = [
        list(dict.fromkeys(str(one.device.name) for one in of_unit if one.device is not None))
        for of_unit in groups
    ]
    found = {"electrode_group": names, "probe": devices}
    result = {
        key: np.array([" + ".join(one) for one in values], dtype=object)
        for key, values in found.items()
        if any(values) and key not in columns
    }
    if result:
        notes.columns["probe"] = "electrode groups: device" if "probe" in result else "name"
    return result


def _electrodes(
    nwbfile: Any, table: Any, columns: Mapping[str, NDArray[Any]]
) -> tuple[Any, list[NDArray[np.int64]]]:
    """Return the table of electrodes, and those of each unit (its peak channel if known)."""
    electrodes, rows = None, [np.empty(0, np.int64)] * len(table.id)
    peaks: Any = None
    for name in table.colnames:
        column = table[name]
        target = column.target if isinstance(column, VectorIndex) else column
        if not isinstance(target, DynamicTableRegion) or "group_name" not in target.table.colnames:
            continue
        if isinstance(column, VectorIndex):
            if isinstance(target, DynamicTableRegion):
                electrodes = target.table
                rows = [row.astype(np.int64) for row in read_ragged(column)]
        else:
            referred = [np.array([row]) for row in read_values(column.data).astype(np.int64)]
            if name.lower() in _PEAK_COLUMNS or "peak" in name or "max" in name:
                peaks, electrodes = referred, electrodes or target.table
            elif electrodes is None:
                electrodes, rows = target.table, referred
    electrodes = electrodes if electrodes is not None else nwbfile.electrodes
    if electrodes is None:
        return None, rows
    n = len(electrodes.id)
    rows = [row[(row >= 0) & (row < n)] for row in rows]
    peaks = peaks or _peaks(electrodes, columns, rows)
    for i, peak in enumerate(peaks or []):
        if len(peak) and 0 <= peak[0] < n:
            rows[i] = peak
    return electrodes, rows


def _peaks(
    electrodes: Any, columns: Mapping[str, NDArray[Any]], rows: Rows
) -> list[NDArray[np.int64]] | None:
    """Return the row of the peak channel of each unit, by its id in the table of electrodes."""
    there = _by_name(columns)
    name = next((there[one] for one in _PEAK_COLUMNS if one in there), None)
    if name is None or columns[name].dtype.kind not in "iuf":
        return None
    ids = {int(one): row for row, one in enumerate(read_values(electrodes.id.data))}
    peaks = []
    for value, own in zip(columns[name], rows, strict=True):
        row = ids.get(int(value), -1) if np.isfinite(value) else -1
        is_known = row >= 0 and (not len(own) or row in own)  # else it counts otherwise
        peaks.append(np.array([row] if is_known else [], dtype=np.int64))
    return peaks


def _groups(nwbfile: Any, table: Any, electrodes: Any, rows: Rows) -> list[list[Any]]:
    """Return the electrode groups of each unit."""
    if "electrode_group" in table.colnames:
        return [[group] for group in table["electrode_group"][:]]
    names = None if electrodes is None else texts_of(electrodes, "group_name")
    if names is None:
        return [[] for _ in rows]
    known = nwbfile.electrode_groups
    found = [list(dict.fromkeys(names[row])) for row in rows]
    return [[known[name] for name in of_unit if name in known] for of_unit in found]


def _by_name(names: Any) -> dict[str, str]:
    """Return name without case → name; the first of each."""
    return {str(name).lower().replace(" ", "_"): str(name) for name in reversed(list(names))}


def _most_common(values: Any) -> str:
    """Return the most common of the texts that say something; "" if two are."""
    known = np.asarray(values, dtype=object)
    known = known[~is_missing_label(known)] if len(known) else known
    names, counts = np.unique(known.astype(str), return_counts=True)
    most = names[counts == counts.max(initial=0)]
    return str(most[0]) if len(most) == 1 else ""


def _common_text(values: Sequence[str]) -> str:
    different = set(values)
    return different.pop() if len(different) == 1 else ""
