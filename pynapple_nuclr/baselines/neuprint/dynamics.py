"""The network that predicts what a unit does next, from the past and from its embedding."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pynapple_nuclr.baselines.neuprint.segments import SegmentBatch
from pynapple_nuclr.config import Modality

Network = Literal["transformer", "gru"]

HEADS = 2
_LARGEST_LOG_RATE = 10.0
_LEAST_VARIANCE = 1e-3  # of a trace; that of all traces over all frames is 1


class Dynamics(nn.Module):
    """Predict each step of a unit from those before, what is around it, and its embedding.

    Of spikes the log rate is predicted, of traces the mean and the log variance. `length` is the
    number of steps of a segment; `dim` and `hidden` are the widths of embedding and network.
    Around a unit are `channels` numbers, of the predicted step, too, with `same_step`.
    """

    later: Tensor

    def __init__(
        self,
        network: Network,
        dim: int,
        hidden: int,
        length: int,
        modality: Modality,
        channels: int = 2,
        *,
        same_step: bool = True,
    ) -> None:
        super().__init__()
        self.modality, self.same_step = modality, same_step
        self.read_in = nn.Linear(1 + channels, hidden)
        self.read_embedding = nn.Linear(dim, hidden, bias=False)
        self.place = nn.Parameter(0.02 * torch.randn(length, hidden))
        self.past: nn.Module
        if network == "gru":
            self.past = nn.GRU(hidden, hidden, batch_first=True)
        else:
            layer = nn.TransformerEncoderLayer(
                hidden, HEADS, 2 * hidden, 0.0, "gelu", batch_first=True, norm_first=True
            )
            norm = nn.LayerNorm(hidden)
            self.past = nn.TransformerEncoder(layer, 1, norm, enable_nested_tensor=False)
        later = torch.full((length, length), -math.inf).triu(1)
        self.register_buffer("later", later, persistent=False)
        self.read_out = nn.Linear(hidden, 1 if modality == "spikes" else 2)
        nn.init.zeros_(self.read_out.weight)
        nn.init.zeros_(self.read_out.bias)

    def forward(self, batch: SegmentBatch, embeddings: Tensor) -> Tensor:
        """Return the parameters of each step's distribution (pairs, steps, 1 or 2).

        Of the unit itself only steps before the predicted one are used; `embeddings` (pairs, dim)
        are the units'.
        """
        own, context = batch.own[..., None], batch.context
        seen = [_before(own), context if self.same_step else _before(context)]
        x = self.read_in(torch.cat(seen, dim=-1))
        x = x + self.read_embedding(embeddings)[:, None] + self.place
        if isinstance(self.past, nn.GRU):
            x = self.past(F.gelu(x))[0]
        else:
            x = self.past(x, mask=self.later, is_causal=True)
        predicted: Tensor = self.read_out(x)
        return predicted

    def log_likelihood(self, predicted: Tensor, batch: SegmentBatch) -> Tensor:
        """Return the mean log likelihood of a step, in nats."""
        if self.modality == "spikes":
            log_rate = predicted[..., 0].clamp(max=_LARGEST_LOG_RATE)
            loss = F.poisson_nll_loss(log_rate, batch.activity, reduction="none")
            loss = loss + torch.lgamma(batch.activity + 1)
        else:
            mean, variance = predicted[..., 0], predicted[..., 1].exp() + _LEAST_VARIANCE
            loss = F.gaussian_nll_loss(mean, batch.activity, variance, full=True, reduction="none")
        return -loss[batch.valid].mean()

    def constant(self, mean: Tensor, variance: Tensor) -> Tensor:
        """Return the parameters (units, 1 or 2) that predict these moments (units,) always."""
        if self.modality == "spikes":
            return mean.log()[:, None]
        return torch.stack([mean, variance.clamp(min=_LEAST_VARIANCE).log()], dim=1)


def _before(values: Tensor) -> Tensor:
    """Return values (pairs, steps, channels) of the step before; 0 before the first."""
    return F.pad(values, (0, 0, 1, 0))[:, :-1]
