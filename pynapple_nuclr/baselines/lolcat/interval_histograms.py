"""Histograms of the intervals between spikes, or between calcium events, snippet by snippet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pynapple_nuclr.config import EncoderConfig
from pynapple_nuclr.recording import Recording
from pynapple_nuclr.windows import open_patch_reader, tile
from pynapple_nuclr.windows.patch_readers import EDGE

_SHORTEST = 0.001  # s, the first edge between the bins
_RISE = 3.0  # robust s.d. above a trace's median, where an event begins


@dataclass(frozen=True)
class Snippets:
    """The interval histograms of a recording."""

    counts: NDArray[Any]  # (units, snippets, bins): number of intervals in each bin
    has_spikes: NDArray[np.bool_]  # (units,): whether there is a spike, or event, in any snippet
    order: NDArray[np.int64]  # (units,): each unit's position when they are sorted by their data


def interval_histograms(recording: Recording, config: EncoderConfig, bins: int) -> Snippets:
    """Count the intervals of every unit in every window.

    Both ends of an interval lie in the same window and the same epoch. Spikes: the first of the
    bins ends at 1 ms, the others follow in log steps up to the duration of a window. Calcium: one
    bin for every frame, the last for all longer intervals.
    """
    source = open_patch_reader(recording, config)
    patches = tile(source).starts
    windows, per_window = patches.shape
    epoch = np.searchsorted(source.spans[:, 0] - EDGE, patches.ravel(), side="right")
    window = np.repeat(np.arange(windows), per_window)
    # Patches of one window and one epoch follow on each other without a gap: a stretch.
    stretch = np.cumsum((np.diff(epoch, prepend=0) != 0) | (np.diff(window, prepend=-1) != 0))

    calcium = recording.modality == "calcium"
    times, units = _events(recording) if calcium else recording.trains()
    starts, edge = source.seconds(patches.ravel()), 0.5 / config.frame_rate if calcium else EDGE
    patch = np.searchsorted(starts - edge, times, side="right") - 1
    inside = (patch >= 0) & (times < starts[patch] + config.patch_seconds - edge)
    times, units, patch = times[inside], units[inside], patch[inside]
    together = (np.diff(units) == 0) & (np.diff(stretch[patch]) == 0)
    intervals = np.diff(times)[together]
    edges: NDArray[Any] = np.geomspace(_SHORTEST, config.window_seconds, bins)[:-1]
    if calcium:
        edges = (np.arange(1, bins) + 0.5) / config.frame_rate
    cells = units * windows + window[patch]
    most = int(np.bincount(cells).max(initial=0))
    counts = np.zeros((recording.n_units, windows, bins), np.min_scalar_type(most))
    bin_of = np.searchsorted(edges, intervals, side="right")
    np.add.at(counts.reshape(-1), cells[1:][together] * bins + bin_of, counts.dtype.type(1))
    has_spikes = np.bincount(units, minlength=recording.n_units) > 0
    return Snippets(counts, has_spikes, recording.order())


def _events(recording: Recording) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return time and unit of each event, sorted by unit, then by time.

    Of events, which are 0 in most frames, every frame above 0; else each rise of a trace above its
    median by 3 robust s.d.
    """
    traces = np.asarray(recording.traces)
    median = np.median(traces, axis=0)
    deviation = 1.4826 * np.median(np.abs(traces - median), axis=0)
    above = traces > median + _RISE * deviation
    rises = above & ~np.vstack([np.zeros_like(above[:1]), above[:-1]])
    unit, frame = np.nonzero(np.where(median == 0, traces > 0, rises).T)
    return recording.frame_times[frame], unit
