"""The parts of the encoder: rotary positions, attention, gated feed-forward, residual block."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from pynapple_nuclr.config import AttentionScope

# On the CPU: so few tokens that their attention is better spelt out; scores computed at once, so
# that they stay in the cache; and scores kept for the backward pass, beyond which they are
# computed again.
_FEW = 32
_SCORES = 2_000_000
_KEPT_SCORES = 20_000_000


class Rotary(nn.Module):
    """Rotate pairs of features by an angle that grows with the patch index.

    Of the ``head_dim / 2`` frequencies the first `fraction` are 2π / period, with periods
    log-spaced from 1 to 8 × patches; the rest are zero, so those features carry no position.

    Parameters
    ----------
    patches : int
        Patches in a window.
    head_dim : int
        Width of an attention head.
    fraction : float
        Fraction of the frequencies that rotate.
    """

    def __init__(self, patches: int, head_dim: int, fraction: float) -> None:
        super().__init__()
        rotating = int(fraction * head_dim / 2)
        periods = np.logspace(0, math.log10(8 * patches), rotating)
        omega = torch.zeros(head_dim // 2, device="cpu")
        omega[:rotating] = torch.from_numpy(2 * math.pi / periods)
        self.register_buffer("omega", omega)
        self.omega: Tensor

    def turns(self, patches: int) -> Tensor:
        """Return the rotation of every pair at every patch, complex (patches, 1, head_dim / 2)."""
        omega = _at_least_float32(self.omega)
        index = torch.arange(patches, device=omega.device, dtype=omega.dtype)
        theta = index[:, None, None] * omega
        return torch.polar(torch.ones_like(theta), theta)

    @staticmethod
    def rotate(x: Tensor, turns: Tensor) -> Tensor:
        """Rotate the interleaved pairs of x (…, patches, …, head_dim); axes after it broadcast."""
        pairs = torch.view_as_complex(_at_least_float32(x).unflatten(-1, (-1, 2)))
        return torch.view_as_real(pairs * turns).flatten(-2).type_as(x)


def _at_least_float32(x: Tensor) -> Tensor:
    """Return a tensor whose precision is enough for angles; float64 stays what it is."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


class Attention(nn.Module):
    """Pre-norm multi-head attention over the second-last axis, optionally with rotary positions.

    Rotary turns queries, keys and values, and the output back by its own position, so that what
    a token receives depends on relative positions only.

    Parameters
    ----------
    dim, heads, head_dim : int
        Width of the tokens, number of heads, and width of a head.
    rotary : Rotary, optional
        Positions; none for attention among the units of a population.
    """

    def __init__(self, dim: int, heads: int, head_dim: int, rotary: Rotary | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(dim)
        self.to_qkv = nn.Linear(dim, 3 * heads * head_dim)
        self.to_out = nn.Linear(heads * head_dim, dim)
        self.rotary = [rotary]  # in a list: one shared buffer, registered once by the encoder

    def forward(self, x: Tensor) -> Tensor:
        """Mix tokens (batch, tokens, dim) within each row of the batch."""
        qkv = self._projected(x)
        rotary = self.rotary[0]
        if rotary is None:
            return self._out(_attend(qkv))
        turns = rotary.turns(x.shape[1])
        mixed = _attend(rotary.rotate(qkv, turns[:, None]))  # all three by one product
        return self._out(rotary.rotate(mixed, turns.conj()))

    def _projected(self, x: Tensor) -> Tensor:
        """Return query, key and value (batch, tokens, 3, heads, head_dim)."""
        qkv: Tensor = self.to_qkv(self.norm(x)).unflatten(-1, (3, self.heads, -1))
        return qkv

    def _out(self, mixed: Tensor) -> Tensor:
        """Join the heads of (batch, tokens, heads, head_dim)."""
        out: Tensor = self.to_out(mixed.flatten(2))
        return out


class PopulationAttention(Attention):
    """Attention among the units of each population, without positions.

    Parameters
    ----------
    dim, heads, head_dim : int
        As `Attention`.
    scores : {"patch", "window"}
        Whom a unit listens to is decided at every patch anew (published), or once for the whole
        window, by the scores summed over its patches: then units that go together throughout the
        window find each other, although a single patch of sparse spikes could not tell.
    dropout : float
        In training, the part of the population that is not heard is drawn anew between 0 and
        this, every time: what a unit is must not hang on who else happened to be recorded.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        head_dim: int,
        scores: AttentionScope = "patch",
        dropout: float = 0.0,
    ) -> None:
        super().__init__(dim, heads, head_dim)
        self.scores = scores
        self.dropout = dropout

    def forward(self, x: Tensor, sizes: list[int] | None = None) -> Tensor:
        """Mix tokens (patches, units, dim); units of different populations never meet.

        Parameters
        ----------
        x : Tensor (patches, units, dim)
            Tokens, population after population.
        sizes : list of int, optional
            Units of each population. Default: all are of one.

        Returns
        -------
        Tensor (patches, units, dim)
        """
        parts = self._projected(x).split(sizes or [x.shape[1]], dim=1)
        heard = [self._heard(part.shape[1]) for part in parts]
        attend = _attend if self.scores == "patch" else _attend_by_window
        mixed = [attend(part, units) for part, units in zip(parts, heard, strict=True)]
        return self._out(torch.cat(mixed, dim=1))

    def _heard(self, units: int) -> Tensor | None:
        """Draw the units of a population that are heard; None: all."""
        if not (self.training and self.dropout):
            return None
        share = 1 - self.dropout * float(torch.rand(()))
        return torch.randperm(units)[: max(int(share * units), 1)]


def _attend(qkv: Tensor, heard: Tensor | None = None) -> Tensor:
    """Attend along the tokens of qkv (batch, tokens, 3, heads, head_dim).

    Parameters
    ----------
    qkv : Tensor
        Query, key and value of every token.
    heard : Tensor, optional
        Indices of the tokens that may be attended to. Default: all.

    Returns
    -------
    Tensor (batch, tokens, heads, head_dim)
    """
    query, key, value = qkv.permute(2, 0, 3, 1, 4)
    return _mix(query, key, value, heard).transpose(1, 2)


def _attend_by_window(qkv: Tensor, heard: Tensor | None = None) -> Tensor:
    """As `_attend`, with one set of weights for all rows: scores summed over the batch.

    A product of vectors laid end to end is the sum of their products, so that this is attention
    between tokens of batch × head_dim features.
    """
    query, key, value = qkv.permute(2, 3, 1, 0, 4).flatten(3)[:, None]
    mixed = _mix(query, key, value, heard)[0]
    return mixed.unflatten(-1, (len(qkv), -1)).permute(2, 1, 0, 3)


def _mix(query: Tensor, key: Tensor, value: Tensor, heard: Tensor | None) -> Tensor:
    """Attend from all tokens to those that are heard: (batch, heads, tokens, features)."""
    if heard is not None:
        heard = heard.to(key.device)
        key, value = key[:, :, heard], value[:, :, heard]
    rows = [x.flatten(0, 1) for x in (query, key, value)]
    return mix(*rows).unflatten(0, query.shape[:2])


def mix(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attend along the tokens of (groups, tokens, features); groups never meet.

    PyTorch's attention on the CPU is slow for few tokens, and for bfloat16: there the products
    are spelt out, some groups at a time.
    """
    low = query.dtype == torch.bfloat16
    if query.device.type != "cpu" or not (low or query.shape[1] <= _FEW):
        return F.scaled_dot_product_attention(query[None], key[None], value[None])[0]
    scores = query.shape[1] * key.shape[1]
    parts = [x.split(max(_SCORES // scores, 1)) for x in (query, key, value)]
    kept = len(query) * scores <= _KEPT_SCORES or not torch.is_grad_enabled()
    mixed = [
        _attention_bmm(*part) if kept else checkpoint(_attention_bmm, *part, use_reentrant=False)
        for part in zip(*parts, strict=True)
    ]
    return mixed[0] if len(mixed) == 1 else torch.cat(mixed)


def _attention_bmm(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attend as three products: (groups, tokens, features)."""
    scores = torch.bmm(query * query.shape[-1] ** -0.5, key.transpose(1, 2))
    return torch.bmm(scores.softmax(-1), value)


class Dropout(nn.Dropout):
    """Dropout whose random numbers cost little on the CPU.

    A byte decides on a value, so the probability is a multiple of 1/256; values that stay are
    scaled to the same mean.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Drop values in training."""
        if not (self.training and self.p) or x.device.type != "cpu":
            return super().forward(x)
        dropped = min(round(256 * self.p), 255)
        words = torch.empty(-(-x.numel() // 8), dtype=torch.int64)
        dice = words.random_(-(2**63), None).view(torch.uint8)[: x.numel()].view(x.shape)
        return x * (dice >= dropped).to(x.dtype).mul_(256 / (256 - dropped))


class FeedForward(nn.Module):
    """Pre-norm feed-forward network with a GELU gate, widened four times.

    Parameters
    ----------
    dim : int
        Width of the tokens.
    dropout : float
        Dropout on the gated features.
    """

    def __init__(self, dim: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.in_proj = nn.Linear(dim, 8 * dim)
        self.out_proj = nn.Linear(4 * dim, dim)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Transform every token (…, dim) by itself."""
        value, gate = self.in_proj(self.norm(x)).chunk(2, dim=-1)
        out: Tensor = self.out_proj(self.dropout(F.gelu(gate) * value))
        return out


class Block(nn.Module):
    """Attention, then feed-forward, each added to what came in.

    Parameters
    ----------
    attention : Attention
        How tokens are mixed.
    dim : int
        Width of the tokens.
    dropout : float
        Dropout on both branches and inside the feed-forward network.
    """

    def __init__(self, attention: Attention, dim: int, dropout: float) -> None:
        super().__init__()
        self.attention = attention
        self.feed_forward = FeedForward(dim, dropout)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, *sizes: list[int]) -> Tensor:
        """Transform tokens (batch, tokens, dim); `sizes` for a `PopulationAttention`."""
        x = x + self.dropout(self.attention(x, *sizes))
        x = x + self.dropout(self.feed_forward(x))
        return x


class SpatiotemporalBlock(nn.Module):
    """A block among the units of a population, then one over each unit's own time.

    Parameters
    ----------
    population, time : Block
        Only the block over time knows positions.
    """

    def __init__(self, population: Block, time: Block) -> None:
        super().__init__()
        self.population = population
        self.time = time

    def forward(self, x: Tensor, sizes: list[int]) -> Tensor:
        """Transform tokens (units, patches, dim); `sizes` are the units of each population."""
        # Units of a population meet at the same patch: the patch becomes the batch axis.
        x = self.population(x.transpose(0, 1), sizes).transpose(0, 1)
        out: Tensor = self.time(x)
        return out
