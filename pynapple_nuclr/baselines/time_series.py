"""Time series of behaviour, at the times that a system reads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pynapple as nap
from numpy.typing import NDArray


def values_at(series: Any, times: NDArray[np.float64], name: str) -> NDArray[np.float64]:
    """Return a Tsd or TsdFrame at times in seconds (times, signals), linearly interpolated.

    NaN outside its time support. `name` is that of the recording, for errors.
    """
    if not isinstance(series, (nap.Tsd, nap.TsdFrame)):
        raise TypeError(
            f"behaviour of recording {name!r} is a {type(series).__name__}; expected a pynapple "
            "Tsd or TsdFrame"
        )
    columns = np.asarray(series.values, dtype=np.float64).reshape(len(series), -1).T
    values = np.stack([np.interp(times, series.t, column) for column in columns], axis=1)
    support = series.time_support
    epoch = np.searchsorted(support.start, times, side="right") - 1
    values[(epoch < 0) | (times > support.end[epoch])] = np.nan
    return values
