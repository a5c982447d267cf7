"""From pynapple objects to recordings, checked once."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import pynapple as nap
from numpy.typing import NDArray

from pynapple_nuclr.config import Modality
from pynapple_nuclr.recording._recording import Recording
from pynapple_nuclr.recording.spike_layout import pack_spikes, place_intervals
from pynapple_nuclr.user_warnings import show_span, warn_user

_SHORTEST = 0.5  # s: an interval as short as this is among the first hundreds of any recording
_INTERVALS, _UNITS, _SPIKES_EACH = 300, 50, 500
_POPULATION = 5  # units that are not silent together by chance, or with the animal's place
_SILENCE, _BIN = 60.0, 1.0  # s: without any spike, and its resolution
_MOST_BINS = 2**20  # of an epoch: samples taken for seconds are years
_EXPECTED = 1000  # spikes in such a silence, at the rate of the rest
_SLOWEST_FRAME = 5.0  # s: imaging of whole brains takes up to 3 s a frame; 200 Hz are 5 ms
_FASTEST_FRAME = 0.004  # s: calcium is imaged at 200 Hz at most, LFP is sampled at 500 and more

Units: TypeAlias = nap.TsGroup | nap.TsdFrame
"""What a population is: spike trains or calcium traces."""


def modality_of(units: Units) -> Modality:
    """Return what a pynapple object holds: spikes, or (a ``TsdFrame``) calcium."""
    return "calcium" if isinstance(units, nap.TsdFrame) else "spikes"


def as_recording(
    units: Units, *, name: str = "recording", epochs: nap.IntervalSet | None = None
) -> Recording:
    """Check a pynapple object and turn it into a `Recording`; `name` is used in errors.

    Only `epochs` are used, cut to the time support. TypeError for other objects than a ``TsGroup``
    or a ``TsdFrame`` of real numbers; ValueError if there are no units, no spikes, non-finite
    traces or no positive frame period.

    Examples
    --------
    >>> import numpy as np, pynapple as nap
    >>> from pynapple_nuclr.recording import as_recording
    >>> units = nap.TsGroup({4: nap.Ts([0.1, 0.7]), 9: nap.Ts([0.5])})
    >>> recording = as_recording(units)
    >>> recording.times, recording.units, recording.unit_ids
    (array([0.1, 0.7, 0.5]), array([0, 0, 1], dtype=int32), array([4, 9]))
    """
    if epochs is not None and not isinstance(epochs, nap.IntervalSet):
        raise TypeError(
            f"recording {name!r}: epochs is a {type(epochs).__name__}; expected a pynapple "
            "IntervalSet, for example nap.IntervalSet(0, 600)"
        )
    if isinstance(units, nap.TsGroup):
        return _from_spikes(units, name, epochs)
    if isinstance(units, nap.TsdFrame):
        return _from_traces(units, name, epochs)
    raise TypeError(
        f"recording {name!r} is a {type(units).__name__}; expected a pynapple TsGroup (spikes) or "
        'TsdFrame (calcium); of a file: nap_nuclr.read_recording("session.nwb")'
    )


def as_recordings(
    recordings: Units | Sequence[Units] | Mapping[str, Units],
) -> dict[str, Recording]:
    """Check several pynapple objects: a list (names "0", "1", …) or a mapping name → object.

    Errors as of `as_recording`, naming the recording; ValueError if there is none.
    """
    named = name_recordings(recordings)
    return {name: as_recording(units, name=name) for name, units in named.items()}


def name_recordings(recordings: Any) -> dict[str, Any]:
    """Give several objects names: a mapping keeps its own, a list gets "0", "1" and so on."""
    # A TsGroup is itself a mapping (unit id → spikes): test for it first.
    if isinstance(recordings, (nap.TsGroup, nap.TsdFrame)):
        recordings = {"recording": recordings}
    if isinstance(recordings, (list, tuple)):
        recordings = {str(i): units for i, units in enumerate(recordings)}
    if not isinstance(recordings, Mapping):
        raise TypeError(
            f"recordings is a {type(recordings).__name__}; expected a list of pynapple objects, or "
            "a mapping name → object"
        )
    if not recordings:
        raise ValueError("recordings is empty; expected at least one recording")
    return {str(name): units for name, units in recordings.items()}


def _from_spikes(group: nap.TsGroup, name: str, epochs: nap.IntervalSet | None) -> Recording:
    ids = np.asarray(group.index)
    if len(ids) == 0:
        raise ValueError(f"recording {name!r} has no units; expected a TsGroup with at least one")
    trains = [np.asarray(group[unit].t, dtype=np.float64) for unit in ids]
    n_spikes = sum(map(len, trains))
    if not n_spikes:
        raise ValueError(
            f"recording {name!r} has no spikes at all in its {len(ids)} units; was it restricted "
            "to epochs without data?"
        )
    used = _epochs(group, epochs)
    if len(used) and not any(_fires_in(train, used) for train in trains):
        fired = np.concatenate(trains)
        raise ValueError(
            f"recording {name!r} has no spikes at all in the epochs chosen "
            f"({show_span(used.min(), used.max())}); its spikes lie within "
            f"{show_span(fired.min(), fired.max())}"
        )
    _warn_if_not_seconds(group, trains, name)
    _warn_of_silence(trains, used, name)
    support = np.asarray(group.time_support.values, dtype=np.float64)
    begins = place_intervals(support, n_spikes, len(ids))
    times, offsets = pack_spikes(trains, begins)
    return Recording(
        name=name,
        unit_ids=ids,
        metadata=group.metadata,
        epochs=used,
        modality="spikes",
        times=times,
        begins=begins,
        offsets=offsets,
    )


def _fires_in(train: NDArray[np.float64], epochs: NDArray[np.float64]) -> bool:
    first = np.searchsorted(train, epochs[:, 0])
    last = np.searchsorted(train, epochs[:, 1], side="right")  # pynapple's epochs hold their end
    return bool((last > first).any())


def _from_traces(frame: nap.TsdFrame, name: str, epochs: nap.IntervalSet | None) -> Recording:
    ids = np.asarray(frame.columns)
    frame_times = np.asarray(frame.t, dtype=np.float64)
    if len(ids) == 0 or len(frame_times) < 2:
        raise ValueError(
            f"recording {name!r} has {len(frame_times)} frames of {len(ids)} units; expected at "
            "least two frames and one unit"
        )
    period = float(np.median(np.diff(frame_times)))
    _warn_of_frame_rate(period, name)
    if not period > 0:
        raise ValueError(
            f"recording {name!r} has a median interval of {period:g} s between frames; expected "
            "a positive frame period: are the times in seconds and distinct?"
        )
    if frame.values.dtype.kind not in "fiub":
        raise TypeError(
            f"recording {name!r} has traces of {frame.values.dtype}; expected real numbers, for "
            "example np.abs(traces)"
        )
    with np.errstate(over="ignore"):  # too large values become infinite: an error below
        traces = np.asarray(frame.values, dtype=np.float32)
    if not np.isfinite(traces).all():
        row, column = np.argwhere(~np.isfinite(traces))[0]
        n_bad = int((~np.isfinite(traces)).any(axis=0).sum())
        others = f", and {n_bad - 1} other units are not finite somewhere" if n_bad > 1 else ""
        raise ValueError(
            f"recording {name!r}: unit {ids[column]} is {frame.values[row, column]} at frame {row} "
            f"({frame_times[row]:g} s){others}; expected finite traces: interpolate or drop those "
            "frames, or leave the units out"
        )
    return Recording(
        name=name,
        unit_ids=ids,
        metadata=frame.metadata,
        epochs=_epochs(frame, epochs),
        modality="calcium",
        traces=traces,
        frame_times=frame_times,
        frame_period=period,
    )


def _warn_of_frame_rate(period: float, name: str) -> None:
    """Warn of frame times that look like milliseconds, and of what is sampled as LFP is."""
    if 0 < period < _FASTEST_FRAME:
        warn_user(
            f"recording {name!r} has {1 / period:.0f} frames a second: too many for calcium "
            "imaging, as which a TsdFrame is read; of LFP or raw voltage, embed the sorted units "
            "(a TsGroup)"
        )
    if period > _SLOWEST_FRAME:
        warn_user(
            f"recording {name!r} has a frame every {period:g} s: its frame times look like "
            "milliseconds or samples; pynapple expects seconds: divide them by 1000, or by the "
            "sampling rate"
        )


def _epochs(units: Units, epochs: nap.IntervalSet | None) -> NDArray[np.float64]:
    """Return the epochs to use as (epochs, 2) seconds, cut to the time support."""
    support = units.time_support
    if epochs is not None:  # windows raise if nothing is left
        support = intersect(support, epochs)
    return np.asarray(support.values, dtype=np.float64).reshape(-1, 2)


def intersect(one: nap.IntervalSet, other: nap.IntervalSet) -> nap.IntervalSet:
    """Return the time that both have; empty, without pynapple's warning, if they share none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return one.intersect(other)


def _warn_if_not_seconds(
    group: nap.TsGroup, trains: Sequence[NDArray[np.float64]], name: str
) -> None:
    """Warn of spike times that look like milliseconds or samples taken for seconds.

    No unit fires twice within half a second, or a day and more is nearly silent.
    """
    hours = float(np.diff(group.time_support.values, axis=1).sum()) / 3600
    rate = float(np.median(np.nan_to_num(group["rate"])))  # older pynapple: NaN of silent units
    intervals = np.concatenate([np.diff(train[:_SPIKES_EACH]) for train in trains[:_UNITS]])
    slow = len(intervals) >= _INTERVALS and intervals.min() > _SHORTEST
    if slow or (hours > 24 and rate < 0.01):
        shortest = f", and no unit fires twice within {intervals.min():.2g} s" if slow else ""
        warn_user(
            f"recording {name!r} lasts {hours:.1f} hours at a median rate of {rate:.2g} Hz"
            f"{shortest}: its spike times look like milliseconds or samples; pynapple expects "
            "seconds: divide them by 1000, or by the sampling rate"
        )


def _warn_of_silence(
    trains: Sequence[NDArray[np.float64]], epochs: NDArray[np.float64], name: str
) -> None:
    """Warn of a minute or more without a spike of any unit: probably nothing was recorded."""
    if len(trains) < _POPULATION:
        return
    silences = [
        _longest_silence(trains, *epoch) for epoch in epochs.tolist() if np.ptp(epoch) > _SILENCE
    ]
    if not silences:
        return
    first, last = max(silences, key=np.ptp)
    seconds, total = last - first, float(np.diff(epochs, axis=1).sum())
    expected = sum(map(len, trains)) / max(total - seconds, _BIN) * seconds
    if seconds >= _SILENCE and expected > _EXPECTED:
        warn_user(
            f"recording {name!r}: no unit fires from {first:.0f} to {last:.0f} s, "
            f"{seconds / total:.0%} of its time, which counts as silence; if nothing was recorded "
            "then, leave it out: epochs=, or units.restrict"
        )


def _longest_silence(
    trains: Sequence[NDArray[np.float64]], start: float, end: float
) -> tuple[float, float]:
    """Return the longest time in an epoch without a spike of any unit."""
    width = max(_BIN, (end - start) / _MOST_BINS)
    fires = np.zeros(int((end - start) / width) + 1, dtype=bool)
    for train in trains:
        first, last = np.searchsorted(train, start), np.searchsorted(train, end, side="right")
        fires[((train[first:last] - start) / width).astype(np.int64)] = True
    edges = np.concatenate([[-1], np.flatnonzero(fires), [len(fires)]])
    longest = int(np.argmax(np.diff(edges)))
    begin, stop = (edges[longest] + 1) * width, edges[longest + 1] * width
    return start + begin, min(start + stop, end)
