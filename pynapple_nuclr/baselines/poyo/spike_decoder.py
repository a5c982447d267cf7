"""A network that reads spikes one by one and decodes targets of each window.

Spikes are cut into windows, windows become batches, and a small Perceiver reads the batches: every
array here is in the order that the data give to the units, so that their order does not matter.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from pynapple_nuclr.baselines.poyo.targets import DecodingTask
from pynapple_nuclr.model.layers import FeedForward, Rotary
from pynapple_nuclr.recording import Recording
from pynapple_nuclr.windows.patch_readers import EDGE

Targets = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class SpikeWindows:
    """The windows of one recording as spikes, and the targets of each."""

    times: NDArray[np.float32]  # (spikes,): seconds since the start of the window
    rows: NDArray[np.int64]  # (spikes,): row of the unit
    ends: NDArray[
        np.int64
    ]  # (windows + 1,): where the spikes of each window begin, and the last end
    lengths: NDArray[np.float64]  # (windows,): seconds
    query_times: NDArray[np.float64]  # (windows, queries): times of what is to be decoded
    # Name of the task → (windows, queries) classes, or (windows, queries, outputs) numbers
    targets: Targets
    n_units: int  # units of the recording, those that are silent included
    readings: int = 1  # consecutive windows of the same time, which are held out together

    def __len__(self) -> int:
        return len(self.lengths)

    def read(
        self, window: int, largest: int, rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return times and rows of the spikes of a window, at most `largest` drawn at random."""
        first, last = self.ends[window : window + 2]
        if last - first <= largest:
            return self.times[first:last], self.rows[first:last]
        drawn = first + np.sort(rng.choice(last - first, largest, replace=False, shuffle=False))
        return self.times[drawn], self.rows[drawn]


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
    first = np.searchsorted(times, starts - EDGE)
    counts = np.searchsorted(times, starts + lengths - EDGE) - first
    stretch = np.repeat(np.arange(len(starts)), counts)
    spike = np.arange(len(stretch)) + np.repeat(first - np.cumsum(counts) + counts, counts)
    return times[spike] - starts[stretch], rank[order][spike], stretch


@dataclass(frozen=True)
class WindowBatch:
    """Windows of several recordings, padded; axes (windows, spikes) and (windows, queries)."""

    rows: Tensor  # (windows, spikes): row of the unit among those of all recordings
    times: Tensor  # (windows, spikes): seconds
    present: Tensor  # (windows, spikes): False where padded
    lengths: Tensor  # (windows,): seconds
    sessions: Tensor  # (windows,): index of the recording
    query_times: Tensor  # (windows, queries): seconds
    targets: dict[str, Tensor]  # name of the task → (windows, queries) or (…, outputs)


def read_batches(
    recordings: Sequence[SpikeWindows],
    offsets: NDArray[Any],
    places: Iterable[NDArray[np.int64]],
    largest: int,
    rng: np.random.Generator,
) -> Iterator[WindowBatch]:
    """Read batches of windows; of each window at most `largest` spikes, drawn by `rng`.

    `offsets` are the row of each recording's first unit among those of all recordings; `places`
    yields for each batch (windows, 2) the index of the recording and of its window.
    """
    for chosen in places:
        read = [recordings[r].read(w, largest, rng) for r, w in chosen]
        shape = (len(read), max([1, *(len(times) for times, _ in read)]))
        times, rows = np.zeros(shape, np.float32), np.zeros(shape, np.int64)
        present = np.zeros(shape, bool)
        for i, (when, who) in enumerate(read):
            times[i, : len(when)], rows[i, : len(when)] = when, who + offsets[chosen[i, 0]]
            present[i, : len(when)] = True
        names = recordings[0].targets
        targets = {
            name: np.stack([recordings[r].targets[name][w] for r, w in chosen]) for name in names
        }
        yield WindowBatch(
            rows=torch.from_numpy(rows),
            times=torch.from_numpy(times),
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
    """Read the spikes of a window into few latent tokens, and decode from these.

    A spike is its unit's vector at its time. Latent tokens are at regular times of the window; they
    read the spikes, attend to each other, and are read by a query for each task and time, which is
    the session's vector plus the task's. `latents` are the number of times and of tokens at each;
    `seconds`, the typical duration of a window, sets the range of rotary periods.
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
    ) -> None:
        super().__init__()
        self.tasks = list(tasks)
        self.latent_times, per_time = latents
        self.latents = nn.Parameter(torch.randn(per_time, dim))
        self.nothing = nn.Parameter(torch.randn(dim))
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
        windows = len(batch.rows)
        # One token where no unit fires; relative to it, more spikes weigh more.
        nothing = self.nothing.expand(windows, 1, -1)
        tokens = torch.cat([nothing, self.unit + units[batch.rows]], dim=1)
        when = self._rotation(torch.cat([batch.lengths[:, None] / 2, batch.times], dim=1))
        present = F.pad(batch.present, (1, 0), value=True)

        place = (torch.arange(self.latent_times) + 0.5) / self.latent_times
        times = (batch.lengths[:, None] * place).repeat_interleave(len(self.latents), dim=1)
        rotation = self._rotation(times)
        latents = self.latents.repeat(self.latent_times, 1).expand(windows, -1, -1)
        latents = self.read_in(latents, rotation, tokens, when, present)
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
