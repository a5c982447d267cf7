"""What the readers of all data sets share: their files, and spike trains from counts."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pynapple as nap
from numpy.typing import NDArray


def dataset_files(
    folder: str | Path, dataset: str, names: Iterable[str] | None = None
) -> list[Path]:
    """List the files of a data set, all of them or those named."""
    if names is None:
        return sorted((Path(folder) / dataset).glob("*.npz"))
    return [Path(folder) / dataset / f"{name}.npz" for name in names]


def spread_counts(
    counts: NDArray[np.int64], bin_start: NDArray[np.float64], width: float
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Turn counts (units, bins) into spike times, unit after unit, and the spikes of each unit."""
    n = counts.ravel()
    in_bin = np.repeat(np.arange(n.size), n)
    k = np.arange(in_bin.size) - np.repeat(np.cumsum(n) - n, n)  # index of a spike in its bin
    times = bin_start[in_bin % bin_start.size] + (k + 0.5) / n[in_bin] * width
    return times, counts.sum(axis=1)


def as_group(
    trains: Iterable[NDArray[np.float64]], epochs: nap.IntervalSet, **metadata: Any
) -> nap.TsGroup:
    """Build a TsGroup of spike trains that lie within the epochs already."""
    return nap.TsGroup(
        {unit: nap.Ts(train, time_support=epochs) for unit, train in enumerate(trains)},
        time_support=epochs,
        bypass_check=True,
        metadata=metadata,
    )


def with_column(units: Any, name: str, values: Any) -> Any:
    """Return a new object with a metadata column: a value for each unit, or one for all."""
    new = units[:] if isinstance(units, nap.TsdFrame) else units[list(units.index)]
    n_units = len(new.metadata)
    new.set_info({name: [values] * n_units if isinstance(values, str) else list(values)})
    return new
