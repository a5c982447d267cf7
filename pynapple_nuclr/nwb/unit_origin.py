"""Where each unit was recorded: brain region, electrode group and probe; the region of ROIs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from hdmf.common import DynamicTableRegion, VectorIndex
from numpy.typing import NDArray

from pynapple_nuclr.columns import is_missing_label
from pynapple_nuclr.nwb.read_notes import ReadNotes
from pynapple_nuclr.nwb.row_metadata import plain_name, texts_of
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
    "anno_name",
)
"""Columns that name a brain region, in the order in which they are looked at, in any spelling."""

_OF_A_ROI = ("area", "structure")  # its size, and whether it is a soma, say
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
_LOCAL_COLUMNS = (
    "local_index",
    "probe_channel_number",
    "channel_id",
    "channel_number",
    "channel_index",
    "channel",
    "rel_id",
)
"""Columns of the electrodes that may count them within their group."""
_MOST_ABSENT = 0.1  # share of peaks whose electrode the table lacks, and its ids count all the same
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
    electrodes, rows = _electrodes(nwbfile, table, columns, notes)
    groups = _groups(nwbfile, table, electrodes, rows)
    own = _called([name for name in table.colnames if name in columns], REGION_COLUMNS)
    sources: list[tuple[str, Texts]] = [
        (f"units: {name}", columns[name]) for name in own if columns[name].dtype == object
    ]
    if electrodes is not None:
        for name in _called(electrodes.colnames, REGION_COLUMNS):
            if (values := texts_of(electrodes, name)) is not None:
                found = [_most_common(values[row]) for row in rows]
                sources.append((f"electrodes: {name}", np.array(found, dtype=object)))
    regions = [_common_text([str(one.location) for one in of_unit]) for of_unit in groups]
    if any(groups):
        sources.append(("electrode groups: location", np.array(regions, dtype=object)))
    origin = _region(sources, n_units, columns.get("location"), notes)
    return origin | _probes(groups, columns, notes)


def roi_origin(
    table: Any, columns: Mapping[str, NDArray[Any]], n_rois: int, notes: ReadNotes
) -> dict[str, NDArray[Any]]:
    """Return the ``location`` of ROIs, where known: their own column, else of the imaging plane."""
    wanted = (name for name in REGION_COLUMNS if name not in _OF_A_ROI)
    own = _called(columns, wanted)
    sources = [(f"ROIs: {name}", columns[name]) for name in own if columns[name].dtype == object]
    plane = getattr(table, "imaging_plane", None)
    place = str(getattr(plane, "location", "")).strip()
    if not is_missing_label([place])[0]:
        sources.append(("imaging plane: location", np.full(n_rois, place, dtype=object)))
    return _region(sources, n_rois, columns.get("location"), notes)


def _region(
    sources: Sequence[tuple[str, Texts]], n_units: int, own: NDArray[Any] | None, notes: ReadNotes
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
    nwbfile: Any, table: Any, columns: Mapping[str, NDArray[Any]], notes: ReadNotes
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
    peaks = peaks or _peaks(table, electrodes, columns, rows, notes)
    for i, peak in enumerate(peaks or []):
        if len(peak) and 0 <= peak[0] < n:
            rows[i] = peak
    return electrodes, rows


def _peaks(
    table: Any, electrodes: Any, columns: Mapping[str, NDArray[Any]], rows: Rows, notes: ReadNotes
) -> list[NDArray[np.int64]] | None:
    """Return the rows of the peak channel of each unit; None if it is not clear which they are.

    Its number is an id in the table of electrodes, or counts within the unit's group; what does
    not fit the groups of the units is not used.
    """
    name = next(iter(_called(columns, _PEAK_COLUMNS)), None)
    if name is None or columns[name].dtype.kind not in "iuf":
        return None
    numbers = columns[name].astype(np.float64)
    numbers[~(numbers >= 0)] = np.nan  # -1: none
    names = texts_of(electrodes, "group_name")
    groups = np.full(len(electrodes.id), "", dtype=object) if names is None else names
    places = _places(table, groups, rows)
    local = _local_numbers(electrodes, groups)
    if _can_check(numbers, places, groups, local):
        peaks = _peaks_by_id(read_values(electrodes.id.data), numbers, places, rows)
        if peaks is None:
            peaks = _peaks_in_group(local, numbers, places, rows)
        if peaks is not None:
            return peaks
    if np.isfinite(numbers).any():
        notes.left_out.append(
            f"column {name!r} of the units: it is not clear which of the {len(groups)} electrodes "
            "it means, so no region or probe is taken from it"
        )
    return None


def _places(table: Any, groups: Texts, rows: Rows) -> list[NDArray[np.int64]]:
    """Return where the peak of each unit can be: in its group, else its electrodes, else all."""
    members = {group: np.flatnonzero(groups == group) for group in set(groups)}
    if "electrode_group" in table.colnames:
        nothing = np.empty(0, np.int64)
        return [members.get(str(one.name).strip(), nothing) for one in table["electrode_group"][:]]
    everywhere = np.arange(len(groups))
    of_units = [set(groups[own]) for own in rows]
    return [
        members[next(iter(names))] if len(names) == 1 else own if names else everywhere
        for names, own in zip(of_units, rows, strict=True)
    ]


def _local_numbers(electrodes: Any, groups: Texts) -> list[NDArray[np.float64]]:
    """Return how electrodes may be counted within their group: by columns, then by order."""
    stored = [
        np.asarray(read_values(electrodes[name].data))
        for name in _called(electrodes.colnames, _LOCAL_COLUMNS)
        if np.size(electrodes[name].data) == len(groups)
    ]
    order = np.empty(len(groups))
    for group in set(groups):
        order[groups == group] = np.arange((groups == group).sum())
    numbers = [one.ravel().astype(np.float64) for one in stored if one.dtype.kind in "iuf"]
    return [*(one for one in numbers if np.isfinite(one).any()), order]


def _can_check(
    numbers: NDArray[np.float64], places: Rows, groups: Texts, local: Sequence[Any]
) -> bool:
    """Return whether it is clear whether peaks are ids, or count within a group."""
    known = np.isfinite(numbers)
    if len(set(groups)) < 2 or not known.any():
        return True
    if all(len(set(places[i])) < len(groups) for i in np.flatnonzero(known).tolist()):
        return True
    # Larger than any number within a group: then they can only be ids.
    repeated = [one for one in local if len(np.unique(one)) < len(one)]
    return bool(numbers[known].max() > max((np.nanmax(one) + 1 for one in repeated), default=0))


def _peaks_by_id(
    ids: NDArray[Any], numbers: NDArray[np.float64], places: Rows, rows: Rows
) -> list[NDArray[np.int64]] | None:
    """Return the electrodes of these ids; None if they are of other groups, or not there."""
    found = _looked_up(ids, numbers, places)
    missed = np.isfinite(numbers) & np.array([len(one) != 1 for one in found])
    absent = missed & ~np.isin(numbers, ids)
    if (missed & ~absent).any() or absent.sum() > _MOST_ABSENT * np.isfinite(numbers).sum():
        return None
    return [one if _is_of(one, own) else one[:0] for one, own in zip(found, rows, strict=True)]


def _peaks_in_group(
    local: Sequence[NDArray[np.float64]], numbers: NDArray[np.float64], places: Rows, rows: Rows
) -> list[NDArray[np.int64]] | None:
    """Return the electrodes with these numbers in their group; None if not all of them fit."""

    def fits(found: Rows) -> bool:
        return all(
            len(one) == 1 and _is_of(one, own)
            for one, own, number in zip(found, rows, numbers, strict=True)
            if np.isfinite(number)
        )

    *columns, order = local
    for counted in columns:
        if fits(found := _looked_up(counted, numbers, places)):
            return found
    from_0_and_1 = [_looked_up(order + first, numbers, places) for first in (0, 1)]
    fitting = [found for found in from_0_and_1 if fits(found)]
    # If both fit, a unit has both neighbours: a region only where they agree.
    return [np.concatenate(of_unit) for of_unit in zip(*fitting, strict=True)] or None


def _looked_up(
    counted: NDArray[Any], numbers: NDArray[np.float64], places: Rows
) -> list[NDArray[np.int64]]:
    """Return the electrodes of each place that have its number; none for NaN."""
    return [place[counted[place] == number] for place, number in zip(places, numbers, strict=True)]


def _is_of(rows: NDArray[np.int64], own: NDArray[np.int64]) -> bool:
    """Return whether rows are among the unit's electrodes, where these are known."""
    return not len(own) or bool(np.isin(rows, own).all())


def _groups(nwbfile: Any, table: Any, electrodes: Any, rows: Rows) -> list[list[Any]]:
    """Return the electrode groups of each unit."""
    if "electrode_group" in table.colnames:
        return [[group] for group in table["electrode_group"][:]]
    names = None if electrodes is None else texts_of(electrodes, "group_name")
    if names is None:
        return [[] for _ in rows]
    known = {name.strip(): group for name, group in nwbfile.electrode_groups.items()}
    used = np.unique(np.concatenate(rows))
    if "group" in electrodes.colnames and not set(names[used]) <= set(known):
        groups = electrodes["group"][:]  # of which group_name should be the name
        known = {str(one.name): one for one in groups}
        names = np.array([str(one.name) for one in groups], dtype=object)
    found = [list(dict.fromkeys(names[row])) for row in rows]
    return [[known[name] for name in of_unit if name in known] for of_unit in found]


def _called(names: Iterable[str], wanted: Iterable[str]) -> list[str]:
    """Return which columns have a wanted name, in any spelling (brainRegion), in its order."""
    there = {plain_name(name): name for name in reversed(list(names))}
    return [there[one] for one in map(plain_name, wanted) if one in there]


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
