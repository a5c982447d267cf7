"""The spike times of a units table: NaN left out, in order, on one clock."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import pynapple as nap
from numpy.typing import NDArray

from pynapple_nuclr.nwb.read_notes import ReadNotes
from pynapple_nuclr.user_warnings import list_some, show_span

Trains: TypeAlias = list[NDArray[np.float64]]

Clock: TypeAlias = Literal["continuous", "restart"]

_SMOOTH = 5  # spikes of the running median: misplaced single spikes do not make a clock fall
_FALL = 1.0  # s by which a clock that starts again falls back at least
_GAP = 1.0  # s between the parts of a clock that starts again
_FEW = 4 * _SMOOTH  # with fewer spikes a unit alone does not show that the clock starts again
_ONE_IN = 20  # spikes for each fall: with more falls they are in no order at all
_COARSE = 0.004  # s between any two spikes of a population: no times of spikes
_MANY_UNITS, _MANY_SPIKES = 5, 1000  # of which some should be closer than that
_SHOWN = 5  # spikes in the shortest part that are expected of a unit which should show the fall


class SpikeTrains(NamedTuple):
    """Spike times in order, and the parts that a clock which starts again has left."""

    trains: Trains
    parts: nap.IntervalSet | None


def check_clock(clock: str) -> None:
    """Refuse an unknown `clock`."""
    if clock not in ("continuous", "restart"):
        raise ValueError(f"clock is {clock!r}; expected 'continuous' or 'restart'")


def clean_trains(
    trains: Trains, ids: NDArray[np.int64], clock: Clock, notes: ReadNotes
) -> SpikeTrains:
    """Return finite spike times in order."""
    trains = _without_nan(trains, ids, notes)
    _warn_if_coarse(trains, notes)
    unsorted = [i for i, train in enumerate(trains) if (np.diff(train) < 0).any()]
    if not unsorted:
        return SpikeTrains(trains, None)
    falls = {i: _falls(trains[i]) for i in unsorted}
    n_parts = _number_of_parts(trains, falls)
    if n_parts > 1:
        return _restarted(trains, ids, falls, n_parts, clock, notes)
    if_trials = ""
    if 2 * len(unsorted) > len(ids):
        if_trials = ". If they count from the start of each trial, all trials now lie on each other"
    notes.warn(
        f"the spike times of {len(unsorted)} of {len(ids)} units are not in order, such as of "
        f"unit {list_some(ids[unsorted])}; they were sorted{if_trials}"
    )
    return SpikeTrains([np.sort(train) for train in trains], None)


def _without_nan(trains: Trains, ids: NDArray[np.int64], notes: ReadNotes) -> Trains:
    finite = [np.isfinite(train) for train in trains]
    gone = np.array([int((~one).sum()) for one in finite], dtype=np.int64)
    if not gone.any():
        return trains
    said = f"{gone.sum()} of {sum(map(len, trains))} spike times are NaN or infinite"
    notes.warn(
        f"{said} and left out, of unit {list_some(ids[gone > 0])}",
        left_out=f"{said} (unit {list_some(ids[gone > 0])})",
    )
    return [train[one] for train, one in zip(trains, finite, strict=True)]


def _warn_if_coarse(trains: Trains, notes: ReadNotes) -> None:
    """Warn of times that are all multiples of some: bins, frames, or numbers of few digits."""
    first = [train[:_MANY_SPIKES] for train in trains if len(train)]
    if len(first) < _MANY_UNITS or sum(map(len, first)) < _MANY_SPIKES:
        return
    apart = np.diff(np.unique(np.concatenate(first)))
    apart = apart[apart > 1e-6].min(initial=np.inf)  # the same bin, but for rounding
    if apart >= _COARSE:
        notes.warn(
            f"no two spike times of {len(first)} units differ by less than {apart:.3g} s: they are "
            "those of bins or frames, or of too few digits (float32), or not in seconds"
        )


def _falls(train: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the places (falls,) where spike times fall back for longer than some spikes."""
    k = _SMOOTH if len(train) >= _FEW else 1
    if k > 1:
        around = np.lib.stride_tricks.sliding_window_view(np.pad(train, k // 2, mode="edge"), k)
        smooth = np.median(around, axis=1)
    else:
        smooth = train
    down = np.diff(smooth) < 0
    starts = np.flatnonzero(down & ~np.r_[False, down[:-1]])
    ends = np.flatnonzero(down & ~np.r_[down[1:], False]) + 1
    large = smooth[starts] - smooth[ends] > _FALL
    # The median falls over some spikes; the clock between two of them, the steepest.
    return np.unique(
        [
            max(0, start - k) + int(np.argmin(np.diff(train[max(0, start - k) : end + k + 1]))) + 1
            for start, end in zip(starts[large], ends[large], strict=True)
        ]
    ).astype(np.int64)


def _number_of_parts(trains: Trains, falls: dict[int, NDArray[np.int64]]) -> int:
    """Return how many times the clock of a file starts; all units are on one clock."""
    clear = [
        len(found)
        for i, found in falls.items()
        if len(trains[i]) >= _FEW and 0 < len(found) <= max(1, len(trains[i]) // _ONE_IN)
    ]
    many = [i for i in falls if len(trains[i]) >= _FEW]
    if clear and 2 * len(clear) >= len(many):
        n_parts = max(clear) + 1
        _, ranges = _split(trains, falls, n_parts)
        share = np.ptp(ranges, axis=1).min() / np.ptp(ranges, axis=1).sum()
        # Clusters that were merged fall too, by the spikes of one after those of the other.
        others = [i for i in range(len(trains)) if i not in falls]
        in_order = sum(len(trains[i]) * share > _SHOWN for i in others)
        return n_parts if in_order <= len(clear) else 1
    few = [len(found) for i, found in falls.items() if len(trains[i]) >= 3]
    if not many and len(few) >= 3 and set(few) == {1} and 2 * len(few) >= len(trains):
        return 2
    return 1


def _split(
    trains: Trains, falls: dict[int, NDArray[np.int64]], n_parts: int
) -> tuple[dict[int, Trains], list[tuple[float, float]]]:
    """Return the parts of each unit that shows all, and first and last spike of each part."""
    split = {
        i: [np.sort(part) for part in np.split(trains[i], found)]
        for i, found in falls.items()
        if len(found) == n_parts - 1
    }
    ranges = [
        (
            min(float(parts[k][0]) for parts in split.values()),
            max(float(parts[k][-1]) for parts in split.values()),
        )
        for k in range(n_parts)
    ]
    return split, ranges


def _restarted(
    trains: Trains,
    ids: NDArray[np.int64],
    falls: dict[int, NDArray[np.int64]],
    n_parts: int,
    clock: Clock,
    notes: ReadNotes,
) -> SpikeTrains:
    """Lay the parts one after the other; units that do not show all parts are left silent."""
    split, ranges = _split(trains, falls, n_parts)
    named = ", then ".join(show_span(first, last) for first, last in ranges)
    if clock == "continuous":
        raise ValueError(
            f"{notes.source}: the clock starts again in the spike times of {len(split)} of "
            f"{len(ids)} units, such as unit {ids[next(iter(split))]}: {named}; expected one "
            'clock. clock="restart" keeps the parts one after the other, with a gap'
        )
    shifts, at = [], ranges[0][0]
    for first, last in ranges:
        shifts.append(at - first)
        at += last - first + _GAP
    lost = [i for i, train in enumerate(trains) if len(train) and i not in split]
    if lost:
        n_lost = sum(len(trains[i]) for i in lost)
        notes.warn(
            f"{n_lost} spikes of {len(lost)} units, such as unit {list_some(ids[lost])}, are left "
            f"out: they do not show in which of the {n_parts} parts of the clock they were",
            left_out=f"{n_lost} spikes of {len(lost)} units: part of the clock not known",
        )
    notes.warn(
        f"the clock starts again: {named}; the parts are kept one after the other, {_GAP:g} s apart"
    )
    joined = [
        np.concatenate([part + shift for part, shift in zip(split[i], shifts, strict=True)])
        if i in split
        else np.empty(0)
        for i in range(len(trains))
    ]
    starts, ends = np.array(ranges).T + shifts
    return SpikeTrains(joined, nap.IntervalSet(starts, ends))
