"""A network that reads activity token by token and decodes targets of each window.

Activity is cut into windows, windows become batches, and a small Perceiver reads the batches: every
array here is in the order that the data give to the units, so that their order does not matter.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from pynapple_nuclr.baselines.poyo.targets import DecodingTask
from pynapple_nuclr.model.layers import FeedForward, Rotary
from pynapple_nuclr.recording import Recording
from pynapple_nuclr.recording.spike_layout import slice_indices
from pynapple_nuclr.windows.patch_readers import EDGE

Tokens = tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]

_SPIKE, _START, _END = range(3)  # kinds of tokens
_KEPT = (30, 100, 300)  # units of a window that are read in training: fewest, mode, most


@dataclass(frozen=True)
class ActivityWindows:
    """The windows of one recording as spikes, or as values of traces, and the targets of each."""

    times: NDArray[np.float32]  # (tokens,): seconds since the start of the window
    rows: NDArray[np.int64]  # (tokens,): row of the unit
    ends: NDArray[np.int64]  # (windows + 1,): where the tokens of each begin, and the last end
    lengths: NDArray[np.float64]  # (windows,): seconds
    query_times: NDArray[np.float64]  # (windows, queries): times of what is to be decoded
    # Name of the task → (windows, queries) classes, or (windows, queries, outputs) numbers
    targets: dict[str, NDArray[Any]]
    n_units: int  # units of the recording, those that are silent included
    values: NDArray[np.float32] | None = None  # (tokens,): standardised traces; None: spikes
    readings: int = 1  # consecutive windows of the same time, which are held out together

    def __len__(self) -> int:
        return len(self.lengths)

    @cached_property
    def units(self) -> list[NDArray[np.int64]]:
        """Rows of the units that are active in any window, for each of the readings."""
        reading = np.repeat(np.arange(len(self)) % self.readings, np.diff(self.ends))
        return [np.unique(self.rows[reading == one]) for one in range(self.readings)]

    def read(self, window: int, rng: np.random.Generator | None) -> Tokens:
        """Return time, row and content (tokens,) of a window; with `rng` of a part of the units.

        The content is the value of a trace; of spikes the kind of token: a start and an end of
        each unit are added.
        """
        units = self.units[window % self.readings]
        tokens = slice(*self.ends[window : window + 2])
        times, rows = self.times[tokens], self.rows[tokens]
        content = np.zeros(len(rows), np.float32) if self.values is None else self.values[tokens]
        if rng is not None and len(units) > _KEPT[0]:
            kept = min(round(rng.triangular(*_KEPT)), len(units))
            units = np.sort(rng.choice(units, kept, replace=False))
            inside = np.isin(rows, units)
            times, rows, content = times[inside], rows[inside], content[inside]
        if self.values is not None:
            return times, rows, content
        borders = np.repeat([0.0, self.lengths[window]], len(units)).astype(np.float32)
        kinds = np.repeat([_START, _END], len(units)).astype(np.float32)
        return (
            np.concatenate([times, borders]),
            np.concatenate([rows, units, units]),
            np.concatenate([content + _SPIKE, kinds]),
        )


def spikes_in(
    recording: Recording, starts: NDArray[np.float64], lengths: NDArray[np.float64] | float
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the spikes within stretches of a recording, stretch after stretch.

    Stretches are given by `starts` (stretches,) and `lengths`, in seconds. Returned are, each
    (spikes,): seconds since the start of the stretch, the unit's position in `Recording.order`,
    and the index of the stretch. Spikes of one time are in the order of the positions.
    """
    rank = recording.order()[recording.units]
    order = np.lexsort((rank, recording.times))
    times = recording.times[order]
    spike, stretch = _within(times, starts, lengths)
    return times[spike] - starts[stretch], rank[order][spike], stretch


def frames_in(
    recording: Recording, starts: NDArray[np.float64], lengths: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Return all frames within stretches as `spikes_in` does spikes, and the value of each.

    Traces are standardised over the frames within stretches; constant ones are left out.
    """
    ranked = np.argsort(recording.order())
    frame, stretch = _within(recording.frame_times, starts, lengths)
    traces = np.asarray(recording.traces[frame], dtype=np.float64)[:, ranked]
    active = np.flatnonzero(np.ptp(traces, axis=0) > 0) if len(frame) else np.empty(0, np.int64)
    traces = traces[:, active]
    values = (traces - traces.mean(axis=0)) / traces.std(axis=0) if len(frame) else traces
    since = np.repeat(recording.frame_times[frame] - starts[stretch], len(active))
    rows, stretch = np.tile(active, len(frame)), np.repeat(stretch, len(active))
    return since, rows, stretch, values.ravel().astype(np.float32)


def _within(
    times: NDArray[np.float64], starts: NDArray[np.float64], lengths: NDArray[np.float64] | float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the index of each time within a stretch, and of the stretch, stretch after stretch."""
    first = np.searchsorted(times, starts - EDGE)
    counts = np.searchsorted(times, starts + lengths - EDGE) - first
    return slice_indices(first, counts), np.repeat(np.arange(len(starts)), counts)


@dataclass(frozen=True)
class WindowBatch:
    """Windows of several recordings, padded; axes (windows, tokens) and (windows, queries)."""

    rows: Tensor  # (windows, tokens): row of the unit among those of all recordings
    times: Tensor  # (windows, tokens): seconds
    content: Tensor  # (windows, tokens): values of traces, or kinds of tokens of spikes
    present: Tensor  # (windows, tokens): False where padded
    lengths: Tensor  # (windows,): seconds
    sessions: Tensor  # (windows,): index of the recording
    query_times: Tensor  # (windows, queries): seconds
    targets: dict[str, Tensor]  # name of the task → (windows, queries) or (…, outputs)


def read_batches(
    recordings: Sequence[ActivityWindows],
    offsets: NDArray[Any],
    places: Iterable[NDArray[np.int64]],
    rng: np.random.Generator | None,
) -> Iterator[WindowBatch]:
    """Read batches of windows; with `rng` a part of the units of each.

    `offsets` are the row of each recording's first unit among those of all recordings; `places`
    yields for each batch (windows, 2) the index of the recording and of its window.
    """
    for chosen in places:
        read = [recordings[r].read(w, rng) for r, w in chosen]
        shape = (len(read), max(len(times) for times, _, _ in read))
        times, content = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        rows, present = np.zeros(shape, np.int64), np.zeros(shape, bool)
        for i, (when, who, what) in enumerate(read):
            own = (i, slice(len(when)))
            times[own], rows[own], content[own] = when, who + offsets[chosen[i, 0]], what
            present[own] = True
        names = recordings[0].targets
        targets = {
            name: np.stack([recordings[r].targets[name][w] for r, w in chosen]) for name in names
        }
        yield WindowBatch(
            rows=torch.from_numpy(rows),
            times=torch.from_numpy(times),
            content=torch.from_numpy(content),
            present=torch.from_numpy(present),
            lengths=torch.tensor([recordings[r].lengths[w] for r, w in chosen]).float(),
            sessions=torch.from_numpy(chosen[:, 0]),
            query_times=torch.from_numpy(
                np.stack([recordings[r].query_times[w] for r, w in chosen])
            ).float(),
            targets={name: torch.from_numpy(target) for name, target in targets.items()},
        )


class TimedAttention(nn.Module):
    """Pre-norm attention of timed tokens to timed tokens, then a gated feed-forward network.

    Queries, keys and values are rotated by their times, and the output by minus the reader's.
    """

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm, self.norm_source = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.to_query, self.to_key_value = nn.Linear(dim, dim), nn.Linear(dim, 2 * dim)
        self.to_out = nn.Linear(dim, dim)
        self.feed_forward = FeedForward(dim, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        x: Tensor,
        rotation: Tensor,
        source: Tensor,
        source_rotation: Tensor,
        present: Tensor | None = None,
    ) -> Tensor:
        """Return x (windows, tokens, dim) after it has read source (windows, others, dim).

        Rotations are complex: (windows, tokens or others, 1, head_dim / 2). `present` (windows,
        others) is False for what must not be read.
        """
        query = self.to_query(self.norm(x)).unflatten(-1, (self.heads, -1))
        pair = self.to_key_value(self.norm_source(source)).unflatten(-1, (2, self.heads, -1))
        key, value = Rotary.rotate(pair, source_rotation[:, :, None]).unbind(2)
        query = Rotary.rotate(query, rotation)
        mask = None if present is None else present[:, None, None]
        read = F.scaled_dot_product_attention(
            query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2), attn_mask=mask
        )
        read = Rotary.rotate(read.transpose(1, 2), rotation.conj())
        x = x + self.dropout(self.to_out(read.flatten(2)))
        x = x + self.dropout(self.feed_forward(x))
        return x


class SpikeDecoder(nn.Module):
    """Read the activity in a window into few latent tokens, and decode from these.

    A token is its unit's vector at its time, plus the vector of its kind (spike, start, end); with
    `traces`, a map of the value beside the unit's vector. Latent tokens are at regular times of
    the window; they read the tokens, attend to each other, and are read by a query for each task
    and time, which is the session's vector plus the task's. `latents` are the number of times and
    of tokens at each; `seconds`, the typical duration of a window, sets the range of rotary
    periods.
    """

    def __init__(
        self,
        tasks: Sequence[DecodingTask],
        seconds: float,
        *,
        dim: int,
        heads: int,
        depth: int,
        latents: tuple[int, int],
        dropout: float,
        traces: bool = False,
    ) -> None:
        super().__init__()
        self.tasks = list(tasks)
        self.latent_times, per_time = latents
        self.latents = nn.Parameter(torch.randn(per_time, dim))
        self.kinds = nn.Parameter(torch.randn(3, dim))
        self.value = nn.Linear(1, dim) if traces else None
        self.join = nn.Linear(2 * dim, dim) if traces else None
        self.unit, self.session = nn.Parameter(torch.randn(dim)), nn.Parameter(torch.zeros(dim))
        self.task_queries = nn.Parameter(torch.randn(len(self.tasks), dim))
        self.read_in = TimedAttention(dim, heads, dropout)
        self.mix = nn.ModuleList(TimedAttention(dim, heads, dropout) for _ in range(depth))
        self.read_out = TimedAttention(dim, heads, dropout)
        self.norm = nn.LayerNorm(dim)
        self.heads = nn.ModuleList(nn.Linear(dim, task.outputs) for task in self.tasks)
        self.register_buffer("omega", _frequencies(dim // heads, seconds))
        self.omega: Tensor

    def forward(self, batch: WindowBatch, units: Tensor, sessions: Tensor) -> dict[str, Tensor]:
        """Decode a batch: name of the task → (windows, queries, outputs).

        `units` (all units, dim) and `sessions` (recordings, dim) are deviations from the vectors
        that all units, and all recordings, share.
        """
        tokens = self.unit + units[batch.rows]
        if self.value is None or self.join is None:
            tokens = tokens + self.kinds[batch.content.long()]
        else:
            mapped = self.value(batch.content[..., None])
            tokens = self.join(torch.cat([tokens, mapped], dim=-1))
        when = self._rotation(batch.times)

        place = (torch.arange(self.latent_times) + 0.5) / self.latent_times
        times = (batch.lengths[:, None] * place).repeat_interleave(len(self.latents), dim=1)
        rotation = self._rotation(times)
        latents = self.latents.repeat(self.latent_times, 1).expand(len(tokens), -1, -1)
        latents = self.read_in(latents, rotation, tokens, when, batch.present)
        for block in self.mix:
            latents = block(latents, rotation, latents, rotation)

        queries = batch.query_times.shape[1]
        session = (self.session + sessions[batch.sessions])[:, None]
        query = session + self.task_queries.repeat_interleave(queries, dim=0)
        query_rotation = self._rotation(batch.query_times.repeat(1, len(self.tasks)))
        read = self.norm(self.read_out(query, query_rotation, latents, rotation))
        parts = read.split(queries, dim=1)
        return {
            task.name: head(part)
            for task, head, part in zip(self.tasks, self.heads, parts, strict=True)
        }

    def _rotation(self, times: Tensor) -> Tensor:
        """Return the rotation of tokens at times (windows, tokens): a complex number a pair."""
        theta = times[:, :, None, None] * self.omega
        return torch.polar(torch.ones_like(theta), theta)


def _frequencies(head_dim: int, seconds: float) -> Tensor:
    """Return 2π / period of every pair: half from a hundredth to twice the window, half still."""
    rotating = head_dim // 4
    periods = torch.logspace(math.log10(seconds / 100), math.log10(2 * seconds), rotating)
    return F.pad(2 * math.pi / periods, (0, head_dim // 2 - rotating))
