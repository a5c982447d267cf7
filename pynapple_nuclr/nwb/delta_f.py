"""ΔF/F from raw fluorescence and neuropil, where a file holds no ΔF/F itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pynapple_nuclr.user_warnings import log, warn_user
from pynapple_nuclr.windows.frame_times import frame_periods, runs_of_frames

NEUROPIL = 0.7  # as of Suite2p and the Allen Institute's early releases
PERCENTILE, SECONDS = 8.0, 60.0  # of the baseline


def delta_f_over_f(
    fluorescence: NDArray[Any],
    neuropil: NDArray[Any] | None,
    times: NDArray[np.float64],
    where: str,
    neuropil_name: str | None = None,
) -> NDArray[np.float32]:
    """Return ΔF/F: F − 0.7 Fneu, relative to a running 8th percentile over 60 s.

    The baseline crosses no interruption of the imaging, and frames without a value (NaN) have no
    part in it: they stay NaN. ROIs whose baseline is not positive throughout have no ΔF/F: they
    become NaN, with one warning; if that is so of all ROIs, it is a ValueError.
    `fluorescence, neuropil` (frames, ROIs), `times` (frames,) → (frames, ROIs).
    """
    traces = np.asarray(fluorescence, dtype=np.float32)
    if neuropil is not None:
        traces = traces - np.float32(NEUROPIL) * np.asarray(neuropil, dtype=np.float32)
    baseline = np.empty_like(traces)
    for first, until in runs_of_frames(times):
        part = traces[first:until]
        period = float(np.median(frame_periods(times[first:until]))) if until - first > 1 else 1.0
        size = min(max(round(SECONDS / period), 1), len(part))
        for roi in range(traces.shape[1]):  # one axis at a time: fast in scipy
            baseline[first:until, roi] = _running_percentile(part[:, roi], size)
    subtracted = "nothing subtracted"
    if neuropil is not None:
        subtracted = f"{NEUROPIL:g} x neuropil subtracted ({neuropil_name})"
    log.warning(
        "%s: dF/F was made of the fluorescence, %s, relative to the running %g. percentile of %g s",
        *(where, subtracted, PERCENTILE, SECONDS),
    )
    impossible = (~(baseline > 0) & np.isfinite(traces)).any(axis=0)
    if impossible.any():
        message = (
            f"{where}: {int(impossible.sum())} of {traces.shape[1]} ROIs have a baseline that is "
            "not positive, so no dF/F; is it fluorescence as it was recorded?"
        )
        if impossible.all():
            raise ValueError(f"{message} To read it as it is, give signal='fluorescence'")
        warn_user(message)
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = (traces - baseline) / baseline
    relative[:, impossible] = np.nan
    return np.asarray(relative, dtype=np.float32)


def _running_percentile(trace: NDArray[np.float32], size: int) -> NDArray[Any]:
    """Return the baseline (frames,) of a trace, of those frames that have a value."""
    from scipy.ndimage import percentile_filter

    if np.isfinite(trace).all():
        return np.asarray(percentile_filter(trace, PERCENTILE, size=size, mode="nearest"))
    # One NaN would change a minute of that filter. pandas leaves NaN out, but takes longer.
    before = size // 2
    padded = pd.Series(np.pad(trace, before, mode="edge"))
    windows = padded.rolling(size, center=True, min_periods=1)
    running = windows.quantile(PERCENTILE / 100, interpolation="nearest")
    return running.to_numpy()[before : before + len(trace)]
