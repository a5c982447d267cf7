"""Histograms of the intervals between a unit's spikes: timing finer than the bins of the counts.

Bins of 20 ms hide bursts, refractoriness and the fine autocorrelogram, by which units differ.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_SHORTEST, _LONGEST = 0.001, 3.0  # s; intervals beyond count in the first and the last bin
_LATER_SPIKES = (2, 3, 4, 6)  # intervals to these later spikes make up the second histogram


def interval_histograms(
    times: NDArray[np.float64],
    rows: NDArray[Any],
    patches: NDArray[np.int64],
    shape: tuple[int, int],
    n_bins: int,
) -> NDArray[np.float32]:
    """Count the intervals between spikes, in log-spaced bins from 1 ms to 3 s.

    The first histogram holds the intervals to the next spike, the second those to the second,
    third, fourth and sixth next (a coarse autocorrelogram). `times, rows, patches` (spikes,) are
    the time in seconds, unit and patch of each spike of a stretch without gaps; an interval belongs
    to the patch of its first spike. Of `shape` (units, patches) → log(1 + count) (units, patches,
    2 × n_bins).

    Examples
    --------
    >>> import numpy as np
    >>> from pynapple_nuclr.windows.interval_histograms import interval_histograms
    >>> times, unit, patch = np.array([0.0, 0.002, 0.5]), np.zeros(3, int), np.zeros(3, int)
    >>> interval_histograms(times, unit, patch, (1, 1), 4).round(2)
    array([[[0.69, 0.  , 0.  , 0.69, 0.  , 0.  , 0.  , 0.69]]], dtype=float32)
    """
    order = np.lexsort((times, rows))
    times, rows, patches = times[order], rows[order], patches[order]
    cells = rows.astype(np.int64) * shape[1] + patches
    scale = n_bins / np.log(_LONGEST / _SHORTEST)
    found = [np.empty(0, np.int64)]
    for later in (1, *_LATER_SPIKES):
        same = rows[later:] == rows[:-later]
        intervals = np.maximum((times[later:] - times[:-later])[same], _SHORTEST)
        bins = np.minimum((np.log(intervals / _SHORTEST) * scale).astype(np.int64), n_bins - 1)
        histogram = 0 if later == 1 else n_bins
        found.append(cells[:-later][same] * (2 * n_bins) + histogram + bins)
    counts = np.bincount(np.concatenate(found), minlength=shape[0] * shape[1] * 2 * n_bins)
    return np.log1p(counts, dtype=np.float32).reshape(*shape, 2 * n_bins)
