"""Batches of pairs of views, in an order that depends on the seed and the position alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from pynapple_nuclr.windows import ViewPair, ViewPosition, ViewSampler


@dataclass(frozen=True)
class PairBatch:
    """Pairs of views of one step, the position at which the next batch begins, and whose it is."""

    pairs: list[ViewPair]
    next_position: tuple[int, int]
    recordings: list[str]

    @property
    def matched(self) -> int:
        """Units that are in both views of their pair."""
        return sum(int(np.isin(pair.ids1, pair.ids2).sum()) for pair in self.pairs)

    def parts(self, tokens: int) -> Iterator[PairBatch]:
        """Cut into batches of about so many tokens, a pair at least."""
        part: list[ViewPair] = []
        size = 0
        for pair in self.pairs:
            more = (len(pair.ids1) + len(pair.ids2)) * pair.patches1.shape[1]
            if part and size + more > tokens:
                yield PairBatch(part, self.next_position, self.recordings)
                part, size = [], 0
            part.append(pair)
            size += more
        if part:
            yield PairBatch(part, self.next_position, self.recordings)

    def tensors(self, device: torch.device) -> tuple[Tensor, list[int], list[Tensor], list[Tensor]]:
        """Pack all first views, then all second views.

        Returns patches (units, patches, features), the number of units of each view, and the unit
        ids of the first and of the second views.
        """
        views = [pair.patches1 for pair in self.pairs] + [pair.patches2 for pair in self.pairs]
        patches = torch.from_numpy(np.concatenate(views)).to(device)
        ids1 = [torch.from_numpy(pair.ids1).to(device) for pair in self.pairs]
        ids2 = [torch.from_numpy(pair.ids2).to(device) for pair in self.pairs]
        return patches, [len(view) for view in views], ids1, ids2


class PairBatches(IterableDataset[PairBatch]):
    """Endless batches from `position` (training epoch, pair) on.

    A batch has no pairs where every one of them has too few units left. `batch_size` counts those
    of all processes together; `share` says which process this is, and of how many: each reads its
    own pairs of every batch.
    """

    def __init__(
        self, sampler: ViewSampler, batch_size: int, share: tuple[int, int] = (0, 1)
    ) -> None:
        self.sampler = sampler
        self.batch_size = batch_size
        self.share = share
        self.position = (0, 0)

    def __iter__(self) -> Iterator[PairBatch]:
        epoch, first = self.position
        rank, processes = self.share
        while True:
            positions = self.sampler.plan(epoch)
            for start in range(first, max(len(positions), 1), self.batch_size):
                end = min(start + self.batch_size, len(positions))
                drawn = (
                    self._pair(positions, epoch, i) for i in range(start + rank, end, processes)
                )
                pairs = [pair for pair in drawn if pair is not None]
                next_position = (epoch, end) if end < len(positions) else (epoch + 1, 0)
                yield PairBatch(pairs, next_position, self._names(positions[start:end]))
            epoch, first = epoch + 1, 0

    def steps_per_epoch(self) -> int:
        """Return the steps of the first training epoch, skipped pairs not considered."""
        return max(-(-len(self.sampler.plan(0)) // self.batch_size), 1)

    def _names(self, positions: list[ViewPosition]) -> list[str]:
        readers = {index for index, *_ in positions}
        return [self.sampler.readers[index].recording.name for index in sorted(readers)]

    def _pair(self, positions: list[ViewPosition], epoch: int, index: int) -> ViewPair | None:
        # The last number keeps these draws apart from those of the plan.
        rng = np.random.default_rng((self.sampler.seed, epoch, index, 1))
        return self.sampler.pair(positions[index], rng)
