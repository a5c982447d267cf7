"""Statistics of single units: the baseline with which every system is compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pynapple_nuclr.baselines.base import EmbeddingSystem, Recordings
from pynapple_nuclr.baselines.trials import are_trials
from pynapple_nuclr.features import unit_statistics
from pynapple_nuclr.recording import Recording, as_recordings

_EDGE = 1e-9  # s, tolerance for times at the edge of an epoch


@dataclass
class Statistics(EmbeddingSystem):
    """Single-unit statistics: `unit_statistics`, and the mean response to the event of a trial.

    Rate, Fano factor, CV2, local variation, burst index, intervals and autocorrelogram (calcium:
    moments, events and autocorrelation of the trace). Where the epochs are trials (ten or more of
    equal length), also the activity in each part of the trial, mean over trials: for spikes the
    log of the number of spikes over the number that a constant rate would give, one spike added
    to both; for calcium in s.d. of the trace. Without trials these columns are 0, so that all
    recordings of a modality have the same columns. Nothing is learned.

    Parameters
    ----------
    response_bins : int
        Parts of a trial; 0 leaves the mean response out.

    Raises
    ------
    ValueError
        If `response_bins` is negative.

    Examples
    --------
    >>> import pynapple_nuclr as nap_nuclr
    >>> from pynapple_nuclr.baselines._statistics import Statistics
    >>> units = nap_nuclr.simulate("single", n_units=5, trials=(50, 0.4, 2.0))
    >>> Statistics().fit({"a": units}).embed({"a": units})["a"].shape
    (5, 44)
    """

    name: ClassVar[str] = "statistics"
    response_bins: int = 8

    def __post_init__(self) -> None:
        if self.response_bins < 0:
            raise ValueError(f"response_bins is {self.response_bins}; expected 0 or more")

    @property
    def trainable(self) -> bool:
        """False: statistics are computed."""
        return False

    def fit(self, recordings: Recordings, *, seed: int = 0, progress: bool = False) -> Statistics:
        """Return itself: there is nothing to learn."""
        return self

    def embed(self, recordings: Recordings) -> dict[str, NDArray[np.float64]]:
        """Return the statistics (units, features) of each recording; NaN for silent units."""
        named = self.check_recordings(recordings)
        checked = as_recordings(named)
        return {name: self._describe(named[name], checked[name]) for name in named}

    def _describe(self, units: Any, recording: Recording) -> NDArray[np.float64]:
        respond = _spike_response if recording.modality == "spikes" else _trace_response
        response = np.zeros((recording.n_units, self.response_bins))
        if are_trials(recording) and self.response_bins:
            response = respond(recording, self.response_bins)
        statistics = unit_statistics(units)
        table = np.column_stack([statistics.to_numpy(), response])
        if recording.modality == "spikes":
            table[statistics["rate"] == 0] = np.nan
        return table


def _phase(
    times: NDArray[np.float64], epochs: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return how far each time is through its epoch, 0 to 1, and whether it lies in one."""
    starts, ends = epochs.T
    epoch = np.maximum(np.searchsorted(starts - _EDGE, times, side="right") - 1, 0)
    inside = (times >= starts[epoch] - _EDGE) & (times <= ends[epoch] + _EDGE)
    return (times - starts[epoch] + _EDGE) / (ends - starts)[epoch], inside


def _spike_response(recording: Recording, bins: int) -> NDArray[np.float64]:
    """Return the log of observed over expected spikes in each part of the trial (units, bins)."""
    phase, inside = _phase(recording.times, recording.epochs)
    part = np.minimum((phase[inside] * bins).astype(np.int64), bins - 1)
    cells = recording.units[inside].astype(np.int64) * bins + part
    counts = np.bincount(cells, minlength=recording.n_units * bins).reshape(-1, bins)
    response: NDArray[np.float64] = np.log((counts + 1) / (counts.mean(axis=1, keepdims=True) + 1))
    return response


def _trace_response(recording: Recording, bins: int) -> NDArray[np.float64]:
    """Return the mean trace, in s.d., in each part of the trial (units, bins)."""
    phase, inside = _phase(recording.frame_times, recording.epochs)
    frames = recording.traces[inside].astype(np.float64)
    deviation = frames.std(axis=0)
    varies = deviation > 1e-6 * np.abs(frames).max(axis=0)  # else nothing but rounding
    z = (frames - frames.mean(axis=0)) / np.where(varies, deviation, np.inf)
    part = np.minimum((phase[inside] * bins).astype(np.int64), bins - 1)
    means = [z[part == i].mean(axis=0) if (part == i).any() else 0 * z[0] for i in range(bins)]
    return np.stack(means, axis=1)
