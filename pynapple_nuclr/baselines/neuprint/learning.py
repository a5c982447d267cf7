"""Maximum likelihood: embeddings learned with the network, or with the network frozen."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from tqdm import tqdm

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pynapple_nuclr.baselines.neuprint.dynamics import Dynamics
    from pynapple_nuclr.baselines.neuprint.segments import Batch, Indices, Pool

_PREDICTIONS = 12_800  # in a step of learning: about a twentieth of a second on a core
_FEWEST_SEGMENTS = 2  # of each unit in a step
_MOST_CHECKED = 512  # units
_CHECKS = 20
_WARM_UP = 50  # steps
_CLIP = 1.0
_FASTER = 10  # learning rate of the embeddings, in learning rates of the network


class Learner:
    """Learn embeddings, and the network with them unless it is frozen.

    Parameters
    ----------
    network : Dynamics
        The network.
    pool : Pool
        The units.
    dim : int
        Width of an embedding.
    learning_rate : float
        Of the network.
    rng : Generator
        Of all that is drawn.
    """

    def __init__(
        self,
        network: Dynamics,
        pool: Pool,
        dim: int,
        learning_rate: float,
        rng: np.random.Generator,
    ) -> None:
        self.network, self.pool, self.rng = network, pool, rng
        self.learning_rate = learning_rate
        zeros = torch.zeros(pool.n_units, dim)
        self.embeddings = nn.Embedding.from_pretrained(zeros, freeze=False, sparse=True)
        pairs = max(_PREDICTIONS // pool.length, _FEWEST_SEGMENTS)
        self.units_a_step = min(pool.n_units, pairs // _FEWEST_SEGMENTS)
        self.segments_a_step = pairs // self.units_a_step

    def vectors(self) -> NDArray[np.float64]:
        """Return the embeddings (units, dim)."""
        return self.embeddings.weight.detach().numpy().astype(np.float64)

    def run(
        self, steps: int, *, frozen: bool = False, progress: bool = False
    ) -> list[dict[str, float]]:
        """Learn for some steps and return the course: `history_` of `Neuprint`."""
        self.network.requires_grad_(not frozen)
        optimisers = self._optimisers(frozen)
        schedules = [LambdaLR(each, lambda step: _pace(step, steps)) for each in optimisers]
        rounds, held_out = self._rounds(), self._held_out()
        began, losses, history = time.perf_counter(), [], []
        for step in tqdm(range(1, steps + 1), desc="NeuPRINT", disable=not progress):
            losses.append(self._step(next(rounds), optimisers))
            for schedule in schedules:
                schedule.step()
            if step % max(steps // _CHECKS, 1) == 0 or step == steps:
                entry = {"step": step, "seconds": time.perf_counter() - began}
                history.append(entry | {"loss": float(np.mean(losses))} | self._check(held_out))
                losses = []
        self.network.requires_grad_(False)
        return history

    def _optimisers(self, frozen: bool) -> list[torch.optim.Optimizer]:
        # SparseAdam lets a unit's momentum rest until the unit is drawn again.
        units = torch.optim.SparseAdam(self.embeddings.parameters(), _FASTER * self.learning_rate)
        if frozen:
            return [units]
        return [units, torch.optim.AdamW(self.network.parameters(), self.learning_rate)]

    def _rounds(self) -> Iterator[Indices]:
        """Yield the units of one step after another; in each round all come once."""
        queue = np.empty(0, dtype=np.int64)
        while True:
            if len(queue) < self.units_a_step:
                queue = np.concatenate([queue, self.rng.permutation(self.pool.n_units)])
            yield queue[: self.units_a_step]
            queue = queue[self.units_a_step :]

    def _step(self, rows: Indices, optimisers: list[torch.optim.Optimizer]) -> float:
        """Take one step and return its loss: minus the log likelihood, without the prior."""
        batch = self.pool.draw(rows, self.segments_a_step, self.rng)
        vectors = self.embeddings(batch.rows)
        loss = -self.network.log_likelihood(self.network(batch, vectors), batch)
        # Standard normal, shared out among the steps of which the likelihood is the mean.
        prior = vectors.square().sum(dim=1) / (2 * self.pool.steps[batch.rows])
        for optimiser in optimisers:
            optimiser.zero_grad()
        (loss + prior.mean()).backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), _CLIP)
        for optimiser in optimisers:
            optimiser.step()
        return loss.item()

    def _held_out(self) -> tuple[Batch, float] | None:
        """Draw what is checked, once for all; beside it the loss of each unit's mean rate.

        Some units, in segments that are not trained on.
        """
        kept = np.repeat([len(part) > 0 for part in self.pool.checked], self.pool.sizes)
        rows = self.rng.permutation(np.flatnonzero(kept))[:_MOST_CHECKED]
        if not len(rows):
            return None
        batch = self.pool.draw(rows, self.segments_a_step, self.rng, check=True)
        known = self.network.constant(*(moment[batch.rows] for moment in self.pool.moments()))
        known = known[:, None].expand(-1, self.pool.length, -1)
        return batch, -self.network.log_likelihood(known, batch).item()

    @torch.no_grad()
    def _check(self, held_out: tuple[Batch, float] | None) -> dict[str, float]:
        """Return the loss on what was held out, and how much it gains on the mean rate's."""
        if held_out is None:
            return {}
        batch, constant = held_out
        predicted = self.network(batch, self.embeddings(batch.rows))
        loss = -self.network.log_likelihood(predicted, batch).item()
        return {"held_out_loss": loss, "held_out_gain": constant - loss}


def _pace(step: int, steps: int) -> float:
    """Return the share of the learning rate at a step: linear warm-up, then cosine to 0."""
    return min((step + 1) / _WARM_UP, 1.0) * (1 + math.cos(math.pi * step / steps)) / 2
