"""Which electrode is nearest to a unit: its peak channel, as files number it, or its waveform."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from hdmf.common import VectorIndex
from numpy.typing import NDArray

from pynapple_nuclr.nwb.read_notes import ReadNotes
from pynapple_nuclr.nwb.row_metadata import columns_called, texts_of
from pynapple_nuclr.nwb.values import read_values

Texts = NDArray[np.object_]
Rows = Sequence[NDArray[np.int64]]

PEAK_COLUMNS = (
    "peak_channel_id",
    "peak_electrode_id",
    "max_channel_id",
    "main_channel_id",
    "peak_channel",
    "peak_electrode",
    "peak_ch",
    "max_channel",
    "max_electrode",
    "maximum_amplitude_channel",
    "max_amplitude_channel",
    "maximum_channel",
    "main_channel",
    "best_channel",
    "primary_channel",
    "extremum_channel_index",
    "extremum_channel_id",
    "extremum_channel",
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
_WAVEFORMS = "waveform_mean"


def peak_rows(
    table: Any, electrodes: Any, columns: Mapping[str, NDArray[Any]], rows: Rows, notes: ReadNotes
) -> list[NDArray[np.int64]] | None:
    """Return the rows of the peak channel of each unit; None if it is not clear which they are.

    Its number is an id in the table of electrodes, or counts within the unit's group; what does
    not fit the groups of the units is not used.
    """
    name = next(iter(columns_called(columns, PEAK_COLUMNS)), None)
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
        for name in columns_called(electrodes.colnames, _LOCAL_COLUMNS)
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


def refers_to_all(electrodes: Any, rows: Rows) -> NDArray[np.bool_]:
    """Return which units refer to several electrodes, and to all of their groups: nowhere in it."""
    names = texts_of(electrodes, "group_name")
    if names is None:
        return np.zeros(len(rows), dtype=bool)
    sizes = {name: int((names == name).sum()) for name in set(names)}
    return np.array(
        [len(row) > 1 and len(row) == sum(sizes[name] for name in set(names[row])) for row in rows]
    )


def at_largest_waveform(
    table: Any, rows: Rows, which: NDArray[np.bool_]
) -> list[NDArray[np.int64]]:
    """Return the electrodes of units; of these only that where their mean waveform is largest."""
    if _WAVEFORMS not in table.colnames or isinstance(table[_WAVEFORMS], VectorIndex):
        return list(rows)
    data = table[_WAVEFORMS].data
    shape: tuple[int, ...] = np.shape(data)
    if len(shape) != 3 or shape[2] != max(map(len, rows)):
        return list(rows)
    sizes = np.nan_to_num(np.ptp(read_values(data), axis=1))
    largest = sizes.argmax(axis=1)
    known = which & (sizes.max(axis=1) > 0) & (largest < [len(row) for row in rows])
    return [
        row[[channel]] if is_known else row
        for row, channel, is_known in zip(rows, largest, known, strict=True)
    ]
