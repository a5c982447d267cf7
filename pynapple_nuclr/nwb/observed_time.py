"""When the units of an NWB file were observed, and epochs by the name of their table."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pynapple as nap
from numpy.typing import NDArray
from pynwb.epoch import TimeIntervals

from pynapple_nuclr.nwb.neuron_tables import is_called, location
from pynapple_nuclr.nwb.read_notes import ReadNotes
from pynapple_nuclr.nwb.values import read_ragged, read_values
from pynapple_nuclr.recording import intersect
from pynapple_nuclr.user_warnings import show_span, warn_user

# Spikes outside of the observed time are of another clock if they are most of all, or if there
# are many and much of the observed time has none, where at the rate of the rest some should be.
_MOST, _MANY, _COVERED, _SOME = 0.8, 0.1, 0.8, 10
_TOUCH = 0.001  # seconds between two intervals of observed time that are one
OF_WRITE_UNITS = "Time support: when the units were observed."
"""Describes the table of epochs of a file by `write_units`."""
# Fewer intervals than that may overlap, unless they differ by less than this part of their length.
_FEW, _ALIKE = 10, 0.01
# Spikes or frames last as long as a trial if less than that share of all trials; of another unit
# of time, such as milliseconds, if the trials are less than that share of them.
_ONE_TRIAL, _UNIT_OF_TIME = 0.05, 0.002


def observed(
    table: Any, trains: Sequence[NDArray[np.float64]], notes: ReadNotes
) -> tuple[nap.IntervalSet | None, list[nap.IntervalSet | None]]:
    """Return the time support of all units, and the intervals of each; None: not known.

    Spikes outside of the intervals are counted in a warning. Intervals that do not fit the
    spikes (another clock) are not used.
    """
    nothing: list[nap.IntervalSet | None] = [None] * len(trains)
    if "obs_intervals" not in table.colnames:
        return None, nothing
    parts = [part.astype(np.float64) for part in read_ragged(table["obs_intervals"])]
    cache: dict[bytes, nap.IntervalSet] = {}
    as_set = interval_set if _is_of_write_units(table) else _joined
    own = [
        cache.setdefault(part.tobytes(), as_set(part)) if len(part) else None
        for part in _usable(parts, notes)
    ]
    if not cache or _is_another_clock(own, trains, notes):
        return None, nothing
    notes.time_from = "obs_intervals"
    without = [train for one, train in zip(own, trains, strict=True) if one is None and len(train)]
    if without:
        return _with_file_range(own, without, cache, notes), own
    if len(cache) == 1:
        return next(iter(cache.values())), own
    return _common(list(cache.values()), notes), nothing


def _is_of_write_units(table: Any) -> bool:
    """Return whether `write_units` wrote the file: its intervals are the epochs that it was given.

    Trials that follow at once stay apart there.
    """
    epochs = getattr(table.get_ancestor("NWBFile"), "epochs", None)
    return epochs is not None and epochs.description == OF_WRITE_UNITS


def _with_file_range(
    own: list[nap.IntervalSet | None],
    without: Sequence[NDArray[np.float64]],
    cache: dict[bytes, nap.IntervalSet],
    notes: ReadNotes,
) -> nap.IntervalSet:
    """Return the time of the file, in which units without intervals keep all their spikes."""
    spikes = np.concatenate(without)
    everything = np.concatenate([one.values for one in cache.values()])
    first, last = min(spikes.min(), everything.min()), max(spikes.max(), everything.max())
    missing = sum(one is None for one in own)
    notes.warn(
        f"{missing} of {len(own)} units have no obs_intervals and keep all their spikes; the time "
        f"support is {show_span(first, last)}, in which the other units are silent where they were "
        "not observed"
    )
    notes.time_from = "obs_intervals and the spikes of units without them"
    return nap.IntervalSet(first, last)


def _common(sets: list[nap.IntervalSet], notes: ReadNotes) -> nap.IntervalSet | None:
    common = functools.reduce(intersect, sets)
    answer = "share no time, so none are used: epochs= says which time to use"
    if len(common):
        answer = f"only the time that all share is used, {common.tot_length():g} s"
    notes.warn(f"units have {len(sets)} different obs_intervals; {answer}")
    return common if len(common) else None


def _is_another_clock(
    own: Sequence[nap.IntervalSet | None], trains: Sequence[NDArray[np.float64]], notes: ReadNotes
) -> bool:
    """Warn of spikes outside of their unit's intervals; return whether the clocks differ."""
    pairs = [(one, train) for one, train in zip(own, trains, strict=True) if one is not None]
    spikes = np.concatenate([np.empty(0), *(train for _, train in pairs)])
    n_outside = sum(int((~is_within(train, one)).sum()) for one, train in pairs)
    if not n_outside:
        return False
    intervals = interval_set(np.concatenate([one.values for one, _ in pairs]))
    share = n_outside / len(spikes)
    covered = intersect(intervals, nap.IntervalSet(spikes.min(), spikes.max()))
    seconds = covered.tot_length() if len(covered) else 0.0
    missing = intervals.tot_length() - seconds  # without spikes, before the first or after the last
    is_shifted = (
        share > _MANY
        and seconds < _COVERED * intervals.tot_length()
        and (len(spikes) - n_outside) * missing > _SOME * seconds
    )
    is_apart = spikes.min() > intervals.end[-1] or spikes.max() < intervals.start[0]
    times = (
        f"{n_outside} of {len(spikes)} spikes ({share:.1%}) lie outside of their unit's "
        f"obs_intervals ({show_span(intervals.start[0], intervals.end[-1])}; spikes "
        f"{show_span(spikes.min(), spikes.max())})"
    )
    if is_apart or (n_outside >= _SOME and (share > _MOST or is_shifted)):
        notes.warn(
            f"{times}: probably another clock or unit of time, so the intervals are not used and "
            "no spike is left out; epochs= says which time to use"
        )
        return True
    notes.warn(
        f"{times} and are left out: probably sorted from more of the recording than was observed",
        left_out=f"{n_outside} of {len(spikes)} spikes ({share:.1%}): outside of obs_intervals",
    )
    return False


def _usable(parts: list[NDArray[np.float64]], notes: ReadNotes) -> list[NDArray[np.float64]]:
    """Return intervals (intervals, 2) that have a start before an end; warn of the others."""
    shaped = [part.reshape(-1, 2) for part in parts]
    lasting = [np.isfinite(part).all(axis=1) & (part[:, 1] > part[:, 0]) for part in shaped]
    total, left = sum(map(len, lasting)), sum(int(one.sum()) for one in lasting)
    if left < total:
        rest = "" if left else "; none are left: epochs= says which time to use"
        notes.warn(
            f"{total - left} of {total} obs_intervals have no start before an end (NaN, infinite, "
            f"or reversed) and are left out{rest}",
            left_out=f"{total - left} of {total} obs_intervals: no start before an end",
        )
    return [part[one] for part, one in zip(shaped, lasting, strict=True)]


def is_within(times: NDArray[np.float64], intervals: nap.IntervalSet) -> NDArray[np.bool_]:
    """Return which times (times,) lie in intervals, ends included, to the nanosecond."""
    row = np.searchsorted(intervals.start, times + 1e-9, side="right") - 1
    return np.asarray((row >= 0) & (times <= intervals.end[np.maximum(row, 0)] + 1e-9))


def interval_set(values: NDArray[np.float64]) -> nap.IntervalSet:
    """Return intervals (intervals, 2) in order, those that overlap joined, without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nap.IntervalSet(values)


def _joined(values: NDArray[np.float64]) -> nap.IntervalSet:
    """Return intervals (intervals, 2) in order, those that touch or overlap joined.

    A recording that is stored by trial has no interruption between them; pynapple makes one of
    1 microsecond.
    """
    return interval_set(values).merge_close_intervals(_TOUCH)


def _starts_and_stops(table: Any) -> NDArray[np.float64]:
    """Return the intervals (intervals, 2) of a table, as they are stored."""
    columns = [read_values(table[name].data) for name in ("start_time", "stop_time")]
    return np.column_stack(columns).astype(np.float64)


def without_invalid_times(
    nwbfile: Any, support: nap.IntervalSet, notes: ReadNotes
) -> nap.IntervalSet:
    """Return the time support without the file's own ``invalid_times``, said once."""
    table = nwbfile.invalid_times
    if table is None or not len(table.id):
        return support
    start, stop = _starts_and_stops(table).T
    stop = np.where(np.isnan(stop), np.inf, stop)  # it lasted to the end
    start = np.where(np.isneginf(start), support.start[0], start)
    known = (stop > start) & (start < support.end[-1]) & (stop > support.start[0])
    if not known.any():
        return support
    stop = np.minimum(stop, support.end[-1] + 1.0)
    with warnings.catch_warnings():  # pynapple warns of an empty difference; we raise
        warnings.simplefilter("ignore")
        left = support.set_diff(_joined(np.column_stack((start, stop))[known]))
    gone = support.tot_length() - (left.tot_length() if len(left) else 0.0)
    if not len(left):
        raise ValueError(
            f"{notes.source}: its invalid_times cover all of the {support.tot_length():g} s in "
            "which it was observed; expected some valid time"
        )
    if gone > 0:
        notes.warn(
            f"{gone:g} of {support.tot_length():g} s are invalid_times of the file and left out",
            left_out=f"{gone:g} s: invalid_times of the file",
        )
    return left


def warn_if_trials_are_elsewhere(
    nwbfile: Any, first: float, last: float, what: str, notes: ReadNotes
) -> None:
    """Warn if the trials or epochs of the file say that its times are of another clock or unit."""
    for table in filter(None, (nwbfile.trials, nwbfile.epochs)):
        rows = _starts_and_stops(table)
        rows = rows[np.isfinite(rows).all(axis=1)]
        if not len(rows):
            continue
        start, stop = rows.min(), rows.max()
        share = (last - first) / max(stop - start, 1e-9)
        fits = len(rows) < _FEW or _ONE_TRIAL < share < 1 / _UNIT_OF_TIME
        if first <= stop and last >= start and fits:
            continue
        notes.warn(
            f"{what} are {show_span(first, last)}, its {len(rows)} {table.name} "
            f"{show_span(start, stop)}: probably another clock or unit of time, or times that "
            "count from the start of each trial; expected seconds of one clock"
        )
        return


def check_epochs(epochs: Any) -> None:
    """Refuse epochs that are neither intervals nor the name of a table of them, nor None."""
    if epochs is not None and not isinstance(epochs, (str, nap.IntervalSet)):
        raise TypeError(
            f"epochs is a {type(epochs).__name__}; expected a pynapple IntervalSet, such as "
            "nap.IntervalSet(0, 20), or the name of a table of intervals in the file"
        )


def named_epochs(
    nwbfile: Any, source: Any, epochs: str | nap.IntervalSet | None
) -> nap.IntervalSet | None:
    """Return epochs; those given by name from the tables of intervals of an open file."""
    if not isinstance(epochs, str):
        return epochs
    table = _choose_intervals(nwbfile, source, epochs)
    rows = _starts_and_stops(table)
    whole = np.isfinite(rows).all(axis=1) & (rows[:, 1] > rows[:, 0])
    if problem := _problem_of(rows, whole):
        raise ValueError(f"{source}: {problem}; {show_intervals(epochs, rows)}")
    if not whole.all():  # a trial that was broken off has no end
        warn_user(
            f"{source}: {(~whole).sum()} of {len(rows)} intervals {epochs!r} have no start before "
            "an end and are left out"
        )
    return interval_set(rows[whole])


def _choose_intervals(nwbfile: Any, source: Any, name: str) -> Any:
    """Return the table of intervals of this name or place; of several, the one in /intervals."""
    tables = {
        location(one): one for one in nwbfile.objects.values() if isinstance(one, TimeIntervals)
    }
    wanted = name.strip("/")
    found = sorted(place for place in tables if is_called(place, wanted))
    if not found:
        names = [one.name for one in tables.values()]
        listed = [place if names.count(one.name) > 1 else one.name for place, one in tables.items()]
        raise ValueError(
            f"{source} has no intervals {name!r}; it has {', '.join(listed) or 'none'}"
        )
    usual = [place for place in found if place in (wanted, f"intervals/{wanted}")]
    if len(usual or found) > 1:
        raise ValueError(
            f"{source} has several tables of intervals {name!r}: {', '.join(found)}; expected the "
            f"place of one: epochs={found[0]!r}"
        )
    chosen, *_ = usual or found
    others = [place for place in found if place != chosen]
    if others and chosen != wanted:
        warn_user(
            f"{source}: the intervals {chosen!r} are used; there are also {', '.join(others)}: "
            f"epochs={others[0]!r} takes those"
        )
    return tables[chosen]


def show_intervals(name: str, rows: NDArray[np.float64]) -> str:
    """Return the first intervals of a table as text, and what they should be."""
    first = ", ".join(show_span(start, stop) for start, stop in rows[:3])
    return (
        f"its {len(rows)} intervals {name!r} begin with {first or 'none'}; expected start and stop "
        "in seconds of the session's clock, each start before its stop"
    )


def _problem_of(rows: NDArray[np.float64], whole: NDArray[np.bool_]) -> str | None:
    """Return what is wrong with all the intervals (intervals, 2) of a table; None: nothing."""
    if not len(rows):
        return "the table has no intervals"
    if not whole.any():
        lacking = np.isnan(rows[:, 1]).all()
        return "no interval has an end" if lacking else "no interval has a start before an end"
    kept = rows[whole]
    if len(kept) < _FEW and not _are_alike(kept):
        return None  # a few epochs, such as a session and its baseline, may well overlap
    starts, stops = np.sort(kept, axis=0).T
    # Epochs of several levels overlap as well, but no moment lies in nearly all of them.
    at_once = np.arange(1, len(kept) + 1) - np.searchsorted(stops, starts, side="right")
    back = int((np.diff(kept[:, 0]) <= 0).sum())
    if at_once.max() > max(1.5, 0.75 * len(kept)) and 3 * back >= len(kept) - 1 > 0:
        return "the intervals lie on top of each other, as if each began at 0 of its own time"
    return None


def _are_alike(rows: NDArray[np.float64]) -> bool:
    """Return whether a few intervals nearly coincide; of four or more their starts are enough."""
    apart = np.ptp(rows, axis=0) / np.median(rows[:, 1] - rows[:, 0])
    return bool(apart[0] < _ALIKE and (apart[1] < _ALIKE or len(rows) > 3))
