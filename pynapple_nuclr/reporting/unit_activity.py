"""The activity of every unit, small enough that a page can hold that of thousands."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pynapple as nap
from numpy.typing import NDArray

from pynapple_nuclr.plotting.activity_panels import spread_windows
from pynapple_nuclr.recording import Units

Floats = NDArray[np.float64]

_WINDOWS = 20  # of a raster, at most
_COLUMNS = 400  # of a raster or a trace: about as many as a card has pixels
_LAG, _BIN = 50, 1  # ms
_SPIKES, _RUN = 10_000, 500  # a unit's, read for its autocorrelogram, and how many in a row


def read_activity(units: Units) -> dict[str, Any]:
    """Return what a card draws of each unit's activity.

    Of spikes: ``starts`` (s) and ``length`` (s) of windows spread over the session; ``columns``;
    ``rasters``, a bit for each window and column that holds a spike; ``lags``; ``peaks`` (Hz) and
    ``autocorrelograms``, a byte for each lag from 1 ms on, 255 being the peak. Of calcium:
    ``start`` and ``end`` (s), ``columns``, ``lowest`` and ``highest``, and ``traces``: for each
    column the smallest and the largest value, a byte each. Bits and bytes in base 64, one string a
    unit.
    """
    if isinstance(units, nap.TsGroup):
        return _rasters(units) | _autocorrelograms(units)
    return _traces(units)


def _rasters(units: nap.TsGroup) -> dict[str, Any]:
    windows = spread_windows(np.asarray(units.time_support.values))
    windows = windows[np.linspace(0, len(windows) - 1, min(len(windows), _WINDOWS)).astype(int)]
    length = float(np.max(windows[:, 1] - windows[:, 0]))
    texts = []
    for unit in units.index:
        times = units[unit].t
        raster = np.zeros((len(windows), _COLUMNS), dtype=bool)
        for row, (first, last) in enumerate(np.searchsorted(times, windows)):
            place = (times[first:last] - windows[row, 0]) / (length or 1.0) * _COLUMNS
            raster[row, np.minimum(place.astype(int), _COLUMNS - 1)] = True
        texts.append(_text(np.packbits(raster)))
    starts = [round(float(start), 3) for start in windows[:, 0]]
    return {"starts": starts, "length": length, "columns": _COLUMNS, "rasters": texts}


def _autocorrelograms(units: nap.TsGroup) -> dict[str, Any]:
    times = {unit: nap.Ts(_runs_of(units[unit].t)) for unit in units.index}
    few = nap.TsGroup(times, time_support=units.time_support, bypass_check=True)
    found = nap.compute_autocorrelogram(few, _BIN, _LAG, norm=False, time_units="ms")
    rates = np.nan_to_num(found.to_numpy()[-_LAG:].T)  # symmetric: positive lags say all
    peaks = rates.max(axis=1, initial=0.0)
    scaled = np.round(255 * rates / np.maximum(peaks, 1e-12)[:, None]).astype(np.uint8)
    return {
        "lags": _LAG,
        "spikes": _SPIKES,
        "peaks": [float(f"{peak:.4g}") for peak in peaks],
        "autocorrelograms": [_text(row) for row in scaled],
    }


def _runs_of(times: Floats) -> Floats:
    """Return some of many spikes: runs, in which all intervals are kept, over the session."""
    if len(times) <= _SPIKES:
        return times
    starts = np.linspace(0, len(times) - _RUN, _SPIKES // _RUN).astype(int)
    return times[(starts[:, None] + np.arange(_RUN)).ravel()]


def _traces(units: nap.TsdFrame) -> dict[str, Any]:
    values = np.asarray(units.values, dtype=np.float64)
    edges = np.unique(np.linspace(0, len(values), min(len(values), _COLUMNS) + 1).astype(int))[:-1]
    ends = np.stack([op.reduceat(values, edges, axis=0) for op in (np.minimum, np.maximum)], axis=1)
    lowest, highest = values.min(axis=0), values.max(axis=0)
    span = np.where(highest > lowest, highest - lowest, 1.0)
    scaled = np.round(255 * (ends - lowest) / span).astype(np.uint8)
    return {
        "start": float(units.t[0]),
        "end": float(units.t[-1]),
        "columns": len(edges),
        "lowest": [float(f"{one:.4g}") for one in lowest],
        "highest": [float(f"{one:.4g}") for one in highest],
        "traces": [_text(scaled[:, :, unit]) for unit in range(values.shape[1])],
    }


def encode_waveforms(waveforms: NDArray[np.float32] | None) -> list[str | None] | None:
    """Return a byte a sample of each waveform (units, samples): −1 is 0 and 1 is 254."""
    if waveforms is None:
        return None
    known = np.asarray(np.isfinite(waveforms).all(axis=1))
    scaled = np.round(127 * (1 + np.nan_to_num(waveforms))).astype(np.uint8)
    return [_text(row) if there else None for row, there in zip(scaled, known, strict=True)]


def _text(values: NDArray[np.uint8]) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()
