"""Segments of consecutive steps: what each unit did, and the summary of its population."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pynapple_nuclr.config import EncoderConfig
from pynapple_nuclr.recording import Recording
from pynapple_nuclr.windows import open_patch_reader, tile

Floats = NDArray[np.float32]
Indices = NDArray[np.int64]

_HELD_OUT = 10  # one segment in so many


@dataclass(frozen=True)
class Runs:
    """The activity of a recording, epoch by epoch."""

    places: Indices  # (units,): the place, in `Recording.order`, of every unit that is ever active
    # Of each epoch (units, steps): spike counts, or traces standardised over all units and frames
    activity: list[Floats]

    @property
    def longest(self) -> int:
        """Steps of the longest run."""
        return max(run.shape[1] for run in self.activity)


def read_runs(recording: Recording, config: EncoderConfig, bins: int) -> Runs:
    """Read the windows of a recording, joined to runs of steps that cross no gap.

    A step is a number of `bins` of spikes (those left over at the end of an epoch are not used),
    or one frame of traces.
    """
    source = open_patch_reader(recording, config)
    windows = tile(source).starts
    ranked = np.argsort(recording.order())
    # Half precision is exact for counts up to 2048, and needs half the memory.
    read = [source.read(starts)[ranked].astype(np.float16) for starts in windows]
    patches = np.concatenate(read, axis=1)
    # Windows are made of consecutive patches: only between two epochs is there a gap.
    epoch = np.searchsorted(source.spans[:, 0], windows.ravel(), side="right")
    parts = np.split(patches, np.flatnonzero(np.diff(epoch)) + 1, axis=1)
    spikes = recording.modality == "spikes"
    runs = [_steps(part.reshape(len(part), -1), bins if spikes else 1) for part in parts]
    values = np.concatenate(runs, axis=1)
    if not values.size:
        raise ValueError(
            f"recording {recording.name!r}: its epochs hold at most "
            f"{max(part[0].size for part in parts)} bins in their windows, but a step is made of "
            f"bins={bins}; use fewer"
        )
    active = values.any(axis=1) if spikes else np.ptp(values, axis=1) > 0
    if not spikes and active.any():
        kept = values[active].astype(np.float64)
        runs = [((run - kept.mean()) / kept.std()).astype(np.float32) for run in runs]
    return Runs(np.flatnonzero(active), [run[active] for run in runs if run.shape[1]])


def _steps(bins: NDArray[np.float16], width: int) -> Floats:
    """Sum up bins (units, bins), `width` at a time, to steps (units, steps)."""
    whole = bins.shape[1] // width * width
    return bins[:, :whole].reshape(len(bins), -1, width).sum(axis=2, dtype=np.float32)


@dataclass(frozen=True)
class Segments:
    """A recording in segments of one length; the last of an epoch may be shorter."""

    activity: Tensor  # (units, segments, steps): spike counts or traces
    # (segments, steps, 2): mean and s.d. over the units, either of them standardised over time
    context: Tensor
    valid: Tensor  # (segments, steps): which steps there are

    def __len__(self) -> int:
        return len(self.valid)

    @property
    def held_out(self) -> NDArray[np.bool_]:
        """Which segments (segments,) are kept for checks: every tenth; of fewer the last."""
        n = len(self)
        return (n > 1) & (np.arange(n) % _HELD_OUT == min(n, _HELD_OUT) - 1)


def cut_segments(runs: Runs, length: int) -> Segments:
    """Cut runs into segments of `length` steps."""
    n_steps = np.array([run.shape[1] for run in runs.activity])
    n_segments = -(-n_steps // length)
    activity = np.zeros((len(runs.places), n_segments.sum() * length), np.float32)
    valid = np.zeros(activity.shape[1], dtype=bool)
    firsts = (np.cumsum(n_segments) - n_segments) * length
    for run, first in zip(runs.activity, firsts, strict=True):
        activity[:, first : first + run.shape[1]] = run
        valid[first : first + run.shape[1]] = True
    context = _context(activity, valid).reshape(-1, length, 2)
    return Segments(
        torch.from_numpy(activity.reshape(len(activity), -1, length)).half(),
        torch.from_numpy(context),
        torch.from_numpy(valid.reshape(-1, length)),
    )


def _context(activity: Floats, valid: NDArray[np.bool_]) -> Floats:
    """Summarise a population (units, steps) whatever its size and order (steps, 2)."""
    summary = np.stack([activity.mean(axis=0), activity.std(axis=0)], axis=1)
    deviation = summary[valid].std(axis=0)
    deviation[deviation == 0] = 1.0  # one unit has no spread
    standardised = (summary - summary[valid].mean(axis=0)) / deviation
    return np.where(valid[:, None], standardised, 0).astype(np.float32)


class SegmentBatch(NamedTuple):
    """Pairs of a unit and a segment."""

    rows: Tensor  # (pairs,): the units, counted through all recordings
    activity: Tensor  # (pairs, steps): what each did
    context: Tensor  # (pairs, steps, 2): what its population did
    valid: Tensor  # (pairs, steps): which steps there are


class Pool:
    """The units of several recordings, one after the other.

    With `held_out` some segments of each are kept for checks (`checked`), and not trained on.
    `sizes` and `ends` (recordings,) count units; `steps` (units,) are those to train on.
    """

    def __init__(self, recordings: Sequence[Segments], *, held_out: bool) -> None:
        self.recordings = list(recordings)
        kept = [part.held_out & held_out for part in self.recordings]
        self.checked = [np.flatnonzero(part) for part in kept]
        self.trained = [np.flatnonzero(~part) for part in kept]
        self.sizes = np.array([len(part.activity) for part in self.recordings])
        self.ends = np.cumsum(self.sizes)
        steps = [
            int(part.valid[chosen].sum())
            for part, chosen in zip(self.recordings, self.trained, strict=True)
        ]
        self.steps = torch.from_numpy(np.repeat(steps, self.sizes)).float()

    @property
    def n_units(self) -> int:
        """Units of all recordings."""
        return int(self.ends[-1])

    @property
    def length(self) -> int:
        """Steps of a segment."""
        return self.recordings[0].valid.shape[1]

    def draw(
        self, rows: Indices, n: int, rng: np.random.Generator, *, check: bool = False
    ) -> SegmentBatch:
        """Draw `n` segments for each of some units, to train on or to check with.

        Units of recordings that have no such segment are left out.
        """
        parts = []
        place = np.searchsorted(self.ends, rows, side="right")
        for index in np.unique(place):
            segments = (self.checked if check else self.trained)[index]
            if len(segments):
                own = rows[place == index]
                drawn = segments[rng.integers(len(segments), size=(len(own), n))]
                parts.append(self._pairs(index, np.repeat(own, n), drawn.ravel()))
        return SegmentBatch(*map(torch.cat, zip(*parts, strict=True)))

    def _pairs(self, index: int, rows: Indices, segments: Indices) -> SegmentBatch:
        recording = self.recordings[index]
        units = rows - self.ends[index] + len(recording.activity)
        return SegmentBatch(
            torch.from_numpy(rows),
            recording.activity[units, segments].float(),
            recording.context[segments],
            recording.valid[segments],
        )

    def moments(self) -> tuple[Tensor, Tensor]:
        """Return mean and variance of every unit (units,) over the steps to train on.

        Half a count is added, so that no mean of counts is 0.
        """
        sums = []
        for recording, chosen in zip(self.recordings, self.trained, strict=True):
            values = recording.activity[:, chosen].float()  # 0 where there is no step
            sums.append(torch.stack([values.sum(dim=(1, 2)), values.square().sum(dim=(1, 2))]))
        mean, square = torch.cat(sums, dim=1) / self.steps
        return mean + 0.5 / self.steps, square - mean.square()
