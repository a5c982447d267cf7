"""How the spikes of a population are ordered in memory, or in a file.

Time is cut into intervals; spikes are sorted by interval, then by unit, then by time. So a window
of time is one slice of the array, a single read from disk, and no spike has to be sorted again.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

_SECONDS = 5.0  # of an interval: shorter ones are read with less around a window
# Spikes of a unit in an interval, mean: with fewer, the index would be as large as the data.
_FEWEST = 8


def place_intervals(support: Floats, n_spikes: int, n_units: int) -> Floats:
    """Return where intervals begin (intervals,) in s, evenly over `support` (epochs, 2)."""
    lengths = np.diff(support, axis=1).ravel()
    n = min(lengths.sum() / _SECONDS, n_spikes / (_FEWEST * n_units))
    joined = np.append(0.0, np.cumsum(lengths))
    begins = np.arange(max(round(n), 1)) * (joined[-1] / max(round(n), 1))
    epoch = np.minimum(np.searchsorted(joined, begins, side="right") - 1, len(support) - 1)
    return np.asarray(support[epoch, 0] + begins - joined[epoch])


def pack_spikes(trains: Sequence[Floats], begins: Floats) -> tuple[Floats, Indices]:
    """Sort the spikes of all units by interval, unit and time.

    `trains` are sorted spike times, `begins` (intervals,) where intervals begin; earlier spikes are
    in the first. Returns the times (spikes,) and where the spikes of each unit in each interval
    begin (intervals × units + 1,).
    """
    counts = np.empty((len(begins), len(trains)), np.int64)
    for unit, train in enumerate(trains):
        edges = np.searchsorted(train, begins[1:])
        counts[:, unit] = np.diff(edges, prepend=0, append=len(train))
    offsets = np.append(0, np.cumsum(counts))
    times = np.empty(offsets[-1])
    shift = offsets[:-1].reshape(counts.shape) - (np.cumsum(counts, axis=0) - counts)
    for unit, train in enumerate(trains):
        times[np.repeat(shift[:, unit], counts[:, unit]) + np.arange(len(train))] = train
    return times, offsets


def slice_indices(first: Indices, counts: Indices) -> Indices:
    """Return the indices within slices, one slice after the other."""
    shift = np.repeat(first - (np.cumsum(counts) - counts), counts)
    return shift + np.arange(len(shift))
