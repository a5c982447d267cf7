"""Times of calcium frames: where imaging was interrupted, and how long a frame lasts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_GAP = 3.0  # frame periods: a longer interval between frames ends an epoch
SHORTEST_PERIOD = 0.23  # s: a frame of the published encoder, for readers that know no other
_TOLERANCE = 1e-3  # two dropped frames make an interval of 3 periods, give or take rounding
_NEIGHBOURS = 21  # intervals whose median is the frame period at a time: its rate may change


def frame_periods(times: NDArray[Any]) -> NDArray[np.float64]:
    """Return the frame period around each interval between frames (frames - 1,), in seconds.

    It is a running median: single dropped frames do not change it, another frame rate does.
    """
    from scipy.ndimage import median_filter

    intervals = np.diff(np.asarray(times, dtype=np.float64))
    if len(intervals) <= _NEIGHBOURS:
        return np.full(len(intervals), np.median(intervals)) if len(intervals) else intervals
    return np.asarray(median_filter(intervals, size=_NEIGHBOURS, mode="nearest"))


def runs_of_frames(
    times: NDArray[Any], max_gap: float = MAX_GAP, shortest_period: float = SHORTEST_PERIOD
) -> list[tuple[int, int]]:
    """Return the frames (first, until before last) between interruptions of the imaging."""
    intervals = np.diff(np.asarray(times, dtype=np.float64))
    longest = max_gap * (1 + _TOLERANCE) * np.maximum(frame_periods(times), shortest_period)
    cuts = (np.flatnonzero(intervals > longest) + 1).tolist()
    ends = [0, *cuts, len(times)]
    return list(zip(ends[:-1], ends[1:], strict=True))
