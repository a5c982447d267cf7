"""Mean waveforms of units, read from metadata."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
import pynapple as nap
from numpy.typing import NDArray

from pynapple_nuclr.columns.metadata import metadata_frame

Waveforms = NDArray[np.float32]


def read_waveforms(
    group: nap.TsGroup, setting: str, *, name: str = "recording"
) -> Waveforms | None:
    """Read the mean waveform (units, samples) of every unit, scaled to a peak of 1.

    From a metadata column `setting` or ``{setting}_mean``, an array a unit: (samples,) or, as NWB
    has it, (samples, channels), of which the channel with the largest amplitude is taken; or from
    numbered columns ``{setting}_0``, ``{setting}_1`` and so on, one a sample. NaN rows for units
    that have none; None where no unit has any.
    """
    metadata = metadata_frame(group)
    for column in (setting, f"{setting}_mean"):
        if column in metadata:
            found = [_one(value, column, name) for value in metadata[column]]
            return scale_waveforms(_stack(found, column, name))
    numbered = [c for c in metadata.columns if re.fullmatch(rf"{re.escape(setting)}_\d+", str(c))]
    if not numbered:
        return None
    numbered.sort(key=lambda column: int(column.rsplit("_", 1)[1]))
    try:
        values = metadata[numbered].to_numpy(np.float64)
    except (TypeError, ValueError):
        raise ValueError(
            f"recording {name!r}: the metadata columns {numbered[0]!r} to {numbered[-1]!r} do not "
            f"hold numbers; expected one sample of the mean waveform in each, or waveform=None"
        ) from None
    return scale_waveforms(values)


def _one(value: Any, column: str, name: str) -> NDArray[np.float64] | None:
    """Return one unit's waveform (samples,), or None if it is missing."""
    if value is None or (np.isscalar(value) and pd.isna(value)):
        return None
    try:
        samples = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        samples = np.empty(0)
    if samples.ndim not in (1, 2) or samples.shape[0] < 2:
        raise ValueError(
            f"recording {name!r}: metadata column {column!r} holds {str(value)[:40]!r}; expected "
            "the mean waveform of each unit, an array (samples,) or (samples, channels). If it is "
            "something else, name the waveforms' column, or set waveform=None"
        )
    if samples.ndim == 2:
        samples = samples[:, np.argmax(np.nan_to_num(np.ptp(samples, axis=0)))]
    return samples


def _stack(found: list[NDArray[np.float64] | None], column: str, name: str) -> NDArray[np.float64]:
    """Stack waveforms into (units, samples), with NaN for those that are missing."""
    lengths = sorted({len(samples) for samples in found if samples is not None})
    if len(lengths) > 1:
        raise ValueError(
            f"recording {name!r}: the waveforms in metadata column {column!r} have "
            f"{lengths[0]} to {lengths[-1]} samples; expected the same number for every unit"
        )
    n_samples = lengths[0] if lengths else 1
    return np.stack([np.full(n_samples, np.nan) if w is None else w for w in found])


def scale_waveforms(waveforms: NDArray[np.float64]) -> Waveforms | None:
    """Divide each (units, samples) by its largest absolute value; what cannot be is missing."""
    size = np.abs(waveforms).max(axis=1, keepdims=True)
    known = np.isfinite(size) & (size > 0)
    scaled = np.where(known, waveforms / np.where(known, size, 1.0), np.nan)
    return scaled.astype(np.float32) if known.any() else None
