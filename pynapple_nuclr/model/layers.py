"""The parts of the encoder: rotary positions, attention, gated feed-forward, residual block."""

from __future__ import annotations

import math
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from pynapple_nuclr.config import AttentionScope
from pynapple_nuclr.model import _fused

# On the CPU. Up to this many tokens, plain matrix products are faster than PyTorch's attention.
FEW = 32
# Attention scores that are computed together: 8 MB in float32, which fit into the cache.
_SCORES = 2_000_000
# Attention scores kept for the backward pass; beyond it they are computed a second time.
_KEPT_SCORES = 20_000_000


def _weights(*layers: nn.LayerNorm | nn.Linear) -> tuple[Tensor, ...]:
    return tuple(weight for layer in layers for weight in (layer.weight, layer.bias))


class Rotary(nn.Module):
    """Rotate pairs of features by an angle that grows with the patch index.

    Of the ``head_dim / 2`` frequencies the first `fraction` are 2π / period, with periods
    log-spaced from 1 to 8 × patches; the rest are zero, so those features carry no position.
    `patches` are those of a window, `head_dim` is the width of an attention head.
    """

    def __init__(self, patches: int, head_dim: int, fraction: float) -> None:
        super().__init__()
        rotating = int(fraction * head_dim / 2)
        periods = np.logspace(0, math.log10(8 * patches), rotating)
        omega = torch.zeros(head_dim // 2, device="cpu")
        omega[:rotating] = torch.from_numpy(2 * math.pi / periods)
        self.register_buffer("omega", omega)
        self.omega: Tensor

    def rotation(self, patches: int) -> Tensor:
        """Return the rotation of every pair at every patch, complex (patches, 1, head_dim / 2)."""
        omega = _at_least_float32(self.omega)
        index = torch.arange(patches, device=omega.device, dtype=omega.dtype)
        theta = index[:, None, None] * omega
        return torch.polar(torch.ones_like(theta), theta)

    @staticmethod
    def rotate(x: Tensor, rotation: Tensor) -> Tensor:
        """Rotate the interleaved pairs of x (…, patches, …, head_dim); axes after it broadcast."""
        pairs = torch.view_as_complex(_at_least_float32(x).unflatten(-1, (-1, 2)))
        return torch.view_as_real(pairs * rotation).flatten(-2).type_as(x)


def _at_least_float32(x: Tensor) -> Tensor:
    """Return a tensor precise enough for angles: bfloat16 becomes float32, float64 stays."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


class _Projections(nn.Module):
    """What both kinds of attention share: the norm and the linear layers before and after."""

    def __init__(self, dim: int, heads: int, head_dim: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(dim)
        self.to_qkv = nn.Linear(dim, 3 * heads * head_dim)
        self.to_out = nn.Linear(heads * head_dim, dim)

    @property
    def weights(self) -> tuple[Tensor, ...]:
        """Weights and biases, in the order of `_fused`."""
        return _weights(self.norm, self.to_qkv, self.to_out)

    def _project_in(self, x: Tensor) -> Tensor:
        """Return query, key and value (batch, tokens, 3, heads, head_dim)."""
        qkv: Tensor = self.to_qkv(self.norm(x)).unflatten(-1, (3, self.heads, -1))
        return qkv

    def _project_out(self, attended: Tensor) -> Tensor:
        """Join the heads of (batch, tokens, heads, head_dim)."""
        out: Tensor = self.to_out(attended.flatten(2))
        return out


class Attention(_Projections):
    """Pre-norm multi-head attention over the second-last axis, with rotary positions.

    Queries, keys and values are rotated by their positions, and the output is rotated back by its
    own, so that what a token receives depends on relative positions only.
    """

    def forward(self, x: Tensor, rotation: Tensor) -> Tensor:
        """Attend among the tokens (batch, tokens, dim) of each row; `rotation` from `Rotary`."""
        qkv = Rotary.rotate(self._project_in(x), rotation[:, None])  # all three by one product
        return self._project_out(Rotary.rotate(_attend_tokens(qkv), rotation.conj()))


class PopulationAttention(_Projections):
    """Attention among the units of each population, without positions.

    `scope`: attention weights of every patch (published), or one set for the whole window, from the
    scores summed over its patches: units that are active together throughout the window then
    attend to each other, although a single patch of sparse spikes would not show it. `dropout`: in
    training, the fraction of the population that is left out is drawn between 0 and this in every
    call: a unit's embedding must not depend on which others happened to be recorded.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        head_dim: int,
        scope: AttentionScope = "patch",
        dropout: float = 0.0,
    ) -> None:
        super().__init__(dim, heads, head_dim)
        self.scope = scope
        self.dropout = dropout

    def forward(self, x: Tensor, sizes: list[int]) -> Tensor:
        """Attend among units (units, patches, dim), within each of the populations of `sizes`."""
        attend_part = _attend_tokens if self.scope == "patch" else _attend_windows
        attended = [
            attend_part(part.transpose(0, 1), self._kept_units(len(part))).transpose(0, 1)
            for part in self._project_in(x).split(sizes)
        ]
        return self._project_out(torch.cat(attended))

    def _kept_units(self, units: int) -> Tensor | None:
        """Draw the units that are attended to; None: all."""
        if not (self.training and self.dropout):
            return None
        share = 1 - self.dropout * float(torch.rand(()))
        return torch.randperm(units)[: max(int(share * units), 1)]


def _attend_tokens(qkv: Tensor, kept: Tensor | None = None) -> Tensor:
    """Attend along the tokens of qkv (batch, tokens, 3, heads, head_dim) to those `kept`."""
    query, key, value = qkv.permute(2, 0, 3, 1, 4)
    return _attend_kept(query, key, value, kept).transpose(1, 2)


def _attend_windows(qkv: Tensor, kept: Tensor | None = None) -> Tensor:
    """As `_attend_tokens`, with one set of weights for all rows: scores summed over the batch.

    The dot product of concatenated vectors is the sum of their dot products, so this is attention
    between tokens of batch × head_dim features.
    """
    query, key, value = qkv.permute(2, 3, 1, 0, 4).flatten(3)[:, None]
    attended = _attend_kept(query, key, value, kept)[0]
    return attended.unflatten(-1, (len(qkv), -1)).permute(2, 1, 0, 3)


def _attend_kept(query: Tensor, key: Tensor, value: Tensor, kept: Tensor | None) -> Tensor:
    """Attend from all tokens of (batch, heads, tokens, features) to those kept."""
    if kept is not None:
        kept = kept.to(key.device)
        key, value = key[:, :, kept], value[:, :, kept]
    return attend(query, key, value)


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attend along the tokens of (batch, heads, tokens, features); empty in, empty out.

    PyTorch's attention on the CPU is slow for few tokens and for bfloat16: there it is computed
    as matrix products, some rows at a time so that the scores stay in the cache.
    """
    if not query.numel():
        return query
    low = query.dtype == torch.bfloat16
    if query.device.type != "cpu" or not (low or query.shape[2] <= FEW):
        return F.scaled_dot_product_attention(query, key, value)
    scores = query.shape[2] * key.shape[2]
    parts = [x.flatten(0, 1).split(max(_SCORES // scores, 1)) for x in (query, key, value)]
    stored = query.shape[:2].numel() * scores <= _KEPT_SCORES or not torch.is_grad_enabled()
    attended = [
        _attention_bmm(*part) if stored else checkpoint(_attention_bmm, *part, use_reentrant=False)
        for part in zip(*parts, strict=True)
    ]
    rows = attended[0] if len(attended) == 1 else torch.cat(attended)
    return rows.unflatten(0, query.shape[:2])


def _attention_bmm(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attend by two batched products: (rows, tokens, features)."""
    scores = torch.bmm(query * query.shape[-1] ** -0.5, key.transpose(1, 2))
    return torch.bmm(scores.softmax(-1), value)


class Dropout(nn.Dropout):
    """Dropout whose random numbers cost little on the CPU."""

    def forward(self, x: Tensor) -> Tensor:
        """Drop values in training."""
        fast = self.training and self.p and _fused.suits(x)
        return _fused.dropout(x, self.p) if fast else super().forward(x)


class FeedForward(nn.Module):
    """Pre-norm feed-forward network with a GELU gate, widened four times.

    Values of the gated features are dropped.
    """

    def __init__(self, dim: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.in_proj = nn.Linear(dim, 8 * dim)
        self.out_proj = nn.Linear(4 * dim, dim)
        self.dropout = Dropout(dropout)

    @property
    def weights(self) -> tuple[Tensor, ...]:
        """Weights and biases, in the order of `_fused`."""
        return _weights(self.norm, self.in_proj, self.out_proj)

    def forward(self, x: Tensor) -> Tensor:
        """Transform each token (…, dim) separately."""
        value, gate = self.in_proj(self.norm(x)).chunk(2, dim=-1)
        out: Tensor = self.out_proj(self.dropout(F.gelu(gate) * value))
        return out


class Block(nn.Module):
    """Attention, then feed-forward, each added to its input.

    Attention is over time, or among the units of a population. Values are dropped on both branches
    and inside the feed-forward network.
    """

    def __init__(
        self, attention: Attention | PopulationAttention, dim: int, dropout: float
    ) -> None:
        super().__init__()
        self.attention = attention
        self.feed_forward = FeedForward(dim, dropout)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, context: Tensor | list[int]) -> Tensor:
        """Transform tokens (units, patches, dim); `context` is the attention's second argument."""
        fused, attention = _fused.suits(x), self.attention
        dropout = self.dropout.p if self.training else 0.0
        if fused and isinstance(attention, Attention) and x.shape[1] <= FEW:
            rotation = cast("Tensor", context)
            x = _fused.time_attention(x, rotation, attention.heads, attention.weights, dropout)
        else:
            x = x + self.dropout(attention(x, context))
        if fused:
            return _fused.feed_forward(x, self.feed_forward.weights, dropout)
        return x + self.dropout(self.feed_forward(x))


class SpatiotemporalBlock(nn.Module):
    """A block among the units of a population, then one over time, which alone has positions."""

    def __init__(self, population: Block, time: Block) -> None:
        super().__init__()
        self.population = population
        self.time = time

    def forward(self, x: Tensor, sizes: list[int], rotation: Tensor) -> Tensor:
        """Transform tokens (units, patches, dim); `sizes` are the units of each population."""
        out: Tensor = self.time(self.population(x, sizes), rotation)
        return out
