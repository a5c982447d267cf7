"""Histograms of inter-spike intervals, snippet by snippet."""

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


@dataclass(frozen=True)
class Snippets:
    """The interval histograms of a recording."""

    counts: NDArray[Any]  # (units, snippets, bins): number of inter-spike intervals in each bin
    has_spikes: NDArray[np.bool_]  # (units,): whether the unit fires in any snippet
    order: NDArray[np.int64]  # (units,): each unit's position when they are sorted by their data


def interval_histograms(recording: Recording, config: EncoderConfig, bins: int) -> Snippets:
    """Count the inter-spike intervals of every unit in every window.

    Both spikes of an interval lie in the same window and the same epoch. The first of the bins
    ends at 1 ms, the others follow in log steps up to the duration of a window.
    """
    source = open_patch_reader(recording, config)
    patches = tile(source).starts
    windows, per_window = patches.shape
    starts = patches.ravel()
    epoch = np.searchsorted(source.spans[:, 0] - EDGE, starts, side="right")
    window = np.repeat(np.arange(windows), per_window)
    # Patches of one window and one epoch follow on each other without a gap: a stretch.
    stretch = np.cumsum((np.diff(epoch, prepend=0) != 0) | (np.diff(window, prepend=-1) != 0))

    times, units = recording.trains()
    patch = np.searchsorted(starts - EDGE, times, side="right") - 1
    inside = (patch >= 0) & (times < starts[patch] + source.length - EDGE)
    times, units, patch = times[inside], units[inside], patch[inside]
    together = (np.diff(units) == 0) & (np.diff(stretch[patch]) == 0)
    intervals = np.diff(times)[together]
    edges = np.geomspace(_SHORTEST, config.window_seconds, bins)[:-1]
    cells = units * windows + window[patch]
    most = int(np.bincount(cells).max(initial=0))
    counts = np.zeros((recording.n_units, windows, bins), np.min_scalar_type(most))
    bin_of = np.searchsorted(edges, intervals, side="right")
    np.add.at(counts.reshape(-1), cells[1:][together] * bins + bin_of, counts.dtype.type(1))
    has_spikes = np.bincount(units, minlength=recording.n_units) > 0
    return Snippets(counts, has_spikes, recording.order())
