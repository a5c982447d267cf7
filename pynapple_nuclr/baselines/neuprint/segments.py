"""Segments of consecutive steps: what each unit did, and what happened around it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from torch import Tensor

from pynapple_nuclr.baselines.time_series import values_at
from pynapple_nuclr.config import EncoderConfig
from pynapple_nuclr.recording import Recording
from pynapple_nuclr.windows import open_patch_reader, tile

Floats = NDArray[np.float32]
Indices = NDArray[np.int64]

_HELD_OUT = 10  # one segment in so many
_NEAR = 65.0  # µm
_SUMMARIES = 2  # mean and s.d. of the other units


@dataclass(frozen=True)
class Runs:
    """The activity of a recording, epoch by epoch."""

    places: Indices  # (units,): the place, in `Recording.order`, of every unit that is ever active
    # Of each epoch (units, steps): spike counts, or traces, each standardised over the session
    activity: list[Floats]
    behaviour: list[Floats]  # of each epoch (steps, signals): standardised, 0 where not known
    near: Floats | None  # (units, units): weights that average over the units near each

    @property
    def longest(self) -> int:
        """Steps of the longest run."""
        return max(run.shape[1] for run in self.activity)


def read_runs(
    recording: Recording,
    config: EncoderConfig,
    bins: int,
    behaviour: Any = None,
    positions: Sequence[str] = (),
) -> Runs:
    """Read the windows of a recording, joined to runs of steps that cross no gap.

    A step is a number of `bins` of spikes (those left over at the end of an epoch are not used),
    or one frame of traces. `behaviour` is a Tsd or TsdFrame; `positions` name metadata columns.
    """
    source = open_patch_reader(recording, config)
    windows = tile(source).starts
    ranked = np.argsort(recording.order())
    # Half precision is exact for counts up to 2048, and needs half the memory.
    read = [source.read(starts)[ranked].astype(np.float16) for starts in windows]
    patches = np.concatenate(read, axis=1)
    # Windows are made of consecutive patches: only between two epochs is there a gap.
    epoch = np.searchsorted(source.spans[:, 0], windows.ravel(), side="right")
    cuts = np.flatnonzero(np.diff(epoch)) + 1
    spikes = recording.modality == "spikes"
    width = bins if spikes else 1

    def in_steps(values: NDArray[Any]) -> list[Floats]:
        parts = np.split(values, cuts, axis=1)
        return [_steps(part.reshape(len(part), -1), width) for part in parts]

    runs = in_steps(patches)
    values = np.concatenate(runs, axis=1)
    if not values.size:
        raise ValueError(
            f"recording {recording.name!r}: its epochs hold at most "
            f"{max(part[0].size for part in np.split(patches, cuts, axis=1))} bins in their "
            f"windows, but a step is made of bins={bins}; use fewer"
        )
    active = values.any(axis=1) if spikes else np.ptp(values, axis=1) > 0
    if not spikes:
        mean, deviation = _moments(values)
        runs = [((run.T - mean) / deviation).T.astype(np.float32) for run in runs]
    shown = [np.empty((run.shape[1], 0), np.float32) for run in runs]
    if behaviour is not None:
        within = (np.arange(patches.shape[2]) + 0.5) / patches.shape[2] * config.patch_seconds
        times = in_steps((source.seconds(windows.ravel())[:, None] + within)[None])
        shown = _standardised(behaviour, [part[0] / width for part in times], recording.name)
    return Runs(
        np.flatnonzero(active),
        [run[active] for run in runs if run.shape[1]],
        [part for part in shown if len(part)],
        _near(recording, positions, ranked[active]) if positions else None,
    )


def _moments(values: Floats) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and s.d. of every unit (units,); 1 where there is none."""
    deviation = values.std(axis=1, dtype=np.float64)
    return values.mean(axis=1, dtype=np.float64), np.where(deviation > 0, deviation, 1.0)


def _standardised(behaviour: Any, times: list[Any], name: str) -> list[Floats]:
    """Return time series at the times of the steps of each run, standardised over all."""
    values = values_at(behaviour, np.concatenate(times), name)
    known = np.isfinite(values)
    count = np.maximum(known.sum(axis=0), 1)
    values = np.where(known, values - np.where(known, values, 0).sum(axis=0) / count, 0)
    deviation = np.sqrt(np.square(values).sum(axis=0) / count)
    values = (values / np.where(deviation > 0, deviation, 1)).astype(np.float32)
    return np.split(values, np.cumsum([len(part) for part in times])[:-1])


def _near(recording: Recording, positions: Sequence[str], units: Indices) -> Floats:
    """Return the weights (units, units) that average over the units within 65 µm of each."""
    missing = [column for column in positions if column not in recording.metadata]
    if missing:
        raise ValueError(
            f"recording {recording.name!r} has no metadata column {missing[0]!r}; expected the "
            "position of each unit in µm, or positions=()"
        )
    place = recording.metadata[list(positions)].to_numpy(np.float64)[units]
    near = (cdist(place, place) <= _NEAR) & ~np.eye(len(place), dtype=bool)
    return (near / np.maximum(near.sum(axis=1, keepdims=True), 1)).astype(np.float32)


def _steps(bins: NDArray[Any], width: int) -> Floats:
    """Sum up bins (units, bins), `width` at a time, to steps (units, steps)."""
    whole = bins.shape[1] // width * width
    return bins[:, :whole].reshape(len(bins), -1, width).sum(axis=2, dtype=np.float32)


@dataclass(frozen=True)
class Segments:
    """A recording in segments of one length; the last of an epoch may be shorter."""

    activity: Tensor  # (units, segments, steps): spike counts or traces
    moments: Tensor  # (units, 2): mean and s.d. of each unit's activity
    context: Tensor  # (segments, steps, 2): mean and s.d. of all units' standardised activity
    valid: Tensor  # (segments, steps): which steps there are
    behaviour: Tensor  # (segments, steps, signals)
    near: Tensor | None  # (units, segments, steps): mean standardised activity of near units

    def __len__(self) -> int:
        return len(self.valid)

    @property
    def channels(self) -> int:
        """Numbers around a unit at each step."""
        return _SUMMARIES + self.behaviour.shape[-1] + (self.near is not None)

    @property
    def held_out(self) -> NDArray[np.bool_]:
        """Which segments (segments,) are kept for checks: every tenth; of fewer the last."""
        n = len(self)
        return (n > 1) & (np.arange(n) % _HELD_OUT == min(n, _HELD_OUT) - 1)

    def pairs(self, units: Indices, segments: Indices) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return `activity`, `own`, `context` and `valid` of a `SegmentBatch`."""
        activity, valid = self.activity[units, segments].float(), self.valid[segments]
        mean, deviation = self.moments[units, :, None].unbind(1)
        own = (activity - mean) / deviation
        parts = [self._of_others(own, segments), self.behaviour[segments]]
        if self.near is not None:
            parts.append(self.near[units, segments, :, None].float())
        return activity, own, torch.cat(parts, dim=-1), valid

    def _of_others(self, own: Tensor, segments: Indices) -> Tensor:
        """Return mean and s.d. of all units but one (pairs, steps, 2), standardised over time."""
        n = len(self.activity)
        mean, deviation = self.context[segments].unbind(-1)
        others = (n * mean - own) / max(n - 1, 1)
        square = (n * (mean.square() + deviation.square()) - own.square()) / max(n - 1, 1)
        summary = torch.stack([others, (square - others.square()).clamp(min=0).sqrt()], dim=-1)
        centre, scale = self._over_time
        return (summary - centre) / scale

    @cached_property
    def _over_time(self) -> tuple[Tensor, Tensor]:
        """Mean and s.d. of the two numbers of `context` over time; an s.d. of 0 is 1."""
        summaries = self.context[self.valid]
        scale = summaries.std(dim=0, unbiased=False)
        return summaries.mean(dim=0), torch.where(scale > 0, scale, 1)


def cut_segments(runs: Runs, length: int) -> Segments:
    """Cut runs into segments of `length` steps."""
    n_steps = np.array([run.shape[1] for run in runs.activity])
    n_segments = -(-n_steps // length)
    firsts = (np.cumsum(n_segments) - n_segments) * length
    # Half precision before all sums: what is taken off a sum is what was added.
    activity = np.zeros((n_segments.sum() * length, len(runs.places)), np.float16)
    behaviour = np.zeros((len(activity), runs.behaviour[0].shape[1]), np.float32)
    valid = np.zeros(len(activity), dtype=bool)
    for run, shown, first in zip(runs.activity, runs.behaviour, firsts, strict=True):
        last = first + run.shape[1]
        activity[first:last], behaviour[first:last], valid[first:last] = run.T, shown, True
    mean, deviation = _moments(activity[valid].T)
    standardised = np.where(valid[:, None], (activity - mean) / deviation, 0).astype(np.float32)
    context = np.stack([standardised.mean(axis=1), standardised.std(axis=1)], axis=1)

    def in_segments(values: NDArray[Any]) -> Tensor:
        return torch.from_numpy(values).unflatten(0, (-1, length))

    def by_unit(values: NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values.T)).unflatten(1, (-1, length))

    return Segments(
        by_unit(activity),
        torch.from_numpy(np.stack([mean, deviation], axis=1)).float(),
        in_segments(context),
        in_segments(valid),
        in_segments(behaviour),
        None if runs.near is None else by_unit(standardised @ runs.near.T).half(),
    )


class SegmentBatch(NamedTuple):
    """Pairs of a unit and a segment."""

    rows: Tensor  # (pairs,): the units, counted through all recordings
    activity: Tensor  # (pairs, steps): what each did
    own: Tensor  # (pairs, steps): the same, standardised
    context: Tensor  # (pairs, steps, channels): other units, behaviour, near units
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
        return SegmentBatch(torch.from_numpy(rows), *recording.pairs(units, segments))

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
