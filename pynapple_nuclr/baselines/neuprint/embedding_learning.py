"""Maximum likelihood: embeddings learned with the network, or with the network frozen."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pynapple_nuclr.baselines._fit_network import FitPlan, fit_network, shuffled_batches
from pynapple_nuclr.baselines.neuprint.dynamics import Dynamics
from pynapple_nuclr.baselines.neuprint.segments import Indices, Pool, SegmentBatch

_PREDICTIONS = 12_800  # in a step of learning: about a twentieth of a second on a core
_FEWEST_SEGMENTS = 2  # of each unit in a step
_CHECKED = 2  # steps' worth of units, a segment of each: a check costs less than a step
_CHECKS = 20
_WARM_UP = 50  # steps
_CLIP = 1.0
_FASTER = 10  # learning rate of the embeddings, in learning rates of the network


class EmbeddingLearner:
    """Learn embeddings (units, dim), and the network with them unless it is frozen."""

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
        """Learn for some steps and return `history_` of `Neuprint`."""
        self.network.requires_grad_(not frozen)
        units = np.arange(self.pool.n_units)
        batches = shuffled_batches(units, self.units_a_step, self.rng)
        held_out = self._held_out()
        history = fit_network(
            self.network,
            self._optimizers(frozen),
            next_loss=lambda: self._loss(next(batches)),
            check=lambda _: self._check(held_out),
            plan=FitPlan("neuprint", steps, max(steps // _CHECKS, 1), warm_up=_WARM_UP, clip=_CLIP),
            progress=progress,
        )
        self.network.requires_grad_(False)
        return history

    def _optimizers(self, frozen: bool) -> list[torch.optim.Optimizer]:
        # SparseAdam lets a unit's momentum rest until the unit is drawn again.
        units = torch.optim.SparseAdam(self.embeddings.parameters(), _FASTER * self.learning_rate)
        if frozen:
            return [units]
        return [units, torch.optim.AdamW(self.network.parameters(), self.learning_rate)]

    def _loss(self, rows: Indices) -> Tensor:
        """Return minus the log likelihood of a batch; its gradient is that of the posterior."""
        batch = self.pool.draw(rows, self.segments_a_step, self.rng)
        vectors = self.embeddings(batch.rows)
        loss = -self.network.log_likelihood(self.network(batch, vectors), batch)
        # Standard normal, divided among the steps of which the likelihood is the mean. Its own
        # value is taken off again: what is reported is the likelihood.
        prior = (vectors.square().sum(dim=1) / (2 * self.pool.steps[batch.rows])).mean()
        return loss + prior - prior.detach()

    def _held_out(self) -> tuple[SegmentBatch, float] | None:
        """Draw segments of some units that are not trained on; and the loss of their mean rates."""
        kept = np.repeat([len(part) > 0 for part in self.pool.checked], self.pool.sizes)
        rows = self.rng.permutation(np.flatnonzero(kept))[: _CHECKED * self.units_a_step]
        if not len(rows):
            return None
        batch = self.pool.draw(rows, 1, self.rng, check=True)
        known = self.network.constant(*(moment[batch.rows] for moment in self.pool.moments()))
        known = known[:, None].expand(-1, self.pool.length, -1)
        return batch, -self.network.log_likelihood(known, batch).item()

    def _check(self, held_out: tuple[SegmentBatch, float] | None) -> dict[str, float]:
        """Return the loss on what was held out, and how much it gains on the mean rate's."""
        if held_out is None:
            return {}
        batch, constant = held_out
        predicted = self.network(batch, self.embeddings(batch.rows))
        loss = -self.network.log_likelihood(predicted, batch).item()
        return {"held_out_loss": loss, "held_out_gain": constant - loss}
