"""An encoder made ready to embed: the same function, computed in the order that a machine likes.

Between two meetings of the population every unit is on its own. Units go through the layers
between two meetings a few at a time, so that what they leave on the way stays in the processor's
cache; and on the CPU the weights are laid out once for oneDNN, which is faster than PyTorch's
default library on some processors and gates while it writes.
"""

from __future__ import annotations

import copy
from functools import cache
from typing import TYPE_CHECKING, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pynapple_nuclr.model.layers import mix

if TYPE_CHECKING:
    from pynapple_nuclr.model.layers import (
        Attention,
        Block,
        FeedForward,
        PopulationAttention,
        Rotary,
        SpatiotemporalBlock,
    )
    from pynapple_nuclr.model.network import Network

Precision = Literal["float32", "bfloat16"]

# Tokens on their way at once: few enough for the cache, many enough for the products.
_AT_ONCE = {"cpu": 1_000}
# From so many units on, oneDNN's products for every head and patch are faster than torch's.
_MANY = 300
# Queries answered at once: their scores stay in the cache.
_QUERIES = 1_000


class InferenceEngine:
    """An encoder's function, without gradients; later changes of its weights do not reach it.

    Parameters
    ----------
    encoder : Encoder
        The encoder. Not changed.
    precision : {"float32", "bfloat16"}
        Of the products. What is added up between them is float32.
    device : torch device, optional
        Where to compute. Default: where the encoder is.

    Examples
    --------
    >>> import torch
    >>> from pynapple_nuclr import Encoder, EncoderConfig
    >>> from pynapple_nuclr.model.inference import InferenceEngine
    >>> _ = torch.manual_seed(0)
    >>> encoder = Encoder(EncoderConfig(dim=32, heads=2, head_dim=16)).eval()
    >>> patches = torch.rand(5, 10, 50)  # 5 units: 3 of one population, 2 of another
    >>> expected = encoder(patches, [3, 2])
    >>> difference = InferenceEngine(encoder)(patches, [3, 2]) - expected
    >>> bool(difference.norm() <= 1e-5 * expected.norm())
    True
    """

    def __init__(
        self,
        encoder: Network,
        precision: Precision = "float32",
        device: str | torch.device | None = None,
    ) -> None:
        kind = torch.bfloat16 if precision == "bfloat16" else torch.float32
        self.device = torch.device(device or encoder.read_in.weight.device)
        if self.device != encoder.read_in.weight.device:
            encoder = copy.deepcopy(encoder).to(self.device)
        self.dim = encoder.config.dim
        self.read_in = _Linear(encoder.read_in, kind)
        self.meetings: list[_PopulationAttention] = []
        # What units do on their own: before the first meeting, between two, after the last.
        self.alone: list[list[_TimeAttention | _GatedFeedForward]] = [[]]
        for block in cast("list[Block]", encoder.temporal):
            self.alone[-1] += [
                _TimeAttention(block.attention, kind),
                _GatedFeedForward(block.feed_forward, kind),
            ]
        for both in cast("list[SpatiotemporalBlock]", encoder.spatiotemporal):
            among, time = both.population, both.time
            self.meetings.append(
                _PopulationAttention(cast("PopulationAttention", among.attention), kind)
            )
            self.alone.append(
                [_GatedFeedForward(among.feed_forward, kind), _TimeAttention(time.attention, kind)]
            )
            self.alone[-1].append(_GatedFeedForward(time.feed_forward, kind))

    @torch.inference_mode()
    def __call__(self, patches: Tensor, population_sizes: list[int]) -> Tensor:
        """Embed the units of one or more populations, as `Encoder.forward` does.

        Parameters
        ----------
        patches : Tensor (units, patches, features)
            The activity of all units, population after population; float.
        population_sizes : list of int
            Units of each population.

        Returns
        -------
        Tensor (units, dim)
            float32.
        """
        parts = self._parts(*patches.shape[:2])
        x = patches.new_empty(*patches.shape[:2], self.dim)
        for part in parts:
            x[part] = self.read_in(patches[part])
            self._alone(0, x[part])
        for number, meeting in enumerate(self.meetings, start=1):
            asked = torch.cat([meeting.ask(x[part]) for part in parts])
            heard = torch.cat([meeting.mix(own) for own in asked.split(population_sizes)])
            for part in parts:
                x[part] += meeting.hear(heard[part])
                self._alone(number, x[part])
        return x.mean(dim=1)

    def _parts(self, units: int, patches: int) -> list[slice]:
        """Cut the units into parts that fit into the cache."""
        size = units if self.device.type not in _AT_ONCE else _AT_ONCE[self.device.type] // patches
        size = max(size, 1)
        return [slice(first, first + size) for first in range(0, units, size)]

    def _alone(self, stretch: int, x: Tensor) -> None:
        """Send units (units, patches, dim) through what they do on their own, in place."""
        for layer in self.alone[stretch]:
            x += layer(x)


class _Linear:
    """A linear layer, behind its normalisation if it has one.

    Scale and shift of the normalisation are part of the weights.
    """

    def __init__(
        self,
        linear: nn.Linear,
        kind: torch.dtype,
        norm: nn.LayerNorm | None = None,
        rows: slice = slice(None),
    ) -> None:
        weight, bias = linear.weight.detach()[rows], linear.bias.detach()[rows]
        if norm is not None:
            bias = bias + weight @ norm.bias.detach()
            weight = weight * norm.weight.detach()
        self.weight, self.bias = weight.to(kind).contiguous(), bias.to(kind).contiguous()
        self.packed = weight.device.type == "cpu" and _has_onednn(kind)
        if self.packed:
            self.weight = torch.ops.mkldnn._reorder_linear_weight(self.weight)

    def __call__(self, x: Tensor) -> Tensor:
        x = x.to(self.bias.dtype)
        if self.packed:
            return _product(x, self.weight, self.bias)
        return F.linear(x, self.weight, self.bias)

    def gelu(self, x: Tensor) -> Tensor:
        """Apply the layer, then GELU."""
        if self.packed:
            out: Tensor = torch.ops.mkldnn._linear_pointwise(
                x, self.weight, self.bias, "gelu", [], "none"
            )
            return out
        return F.gelu(self(x))

    def times(self, x: Tensor, factor: Tensor) -> Tensor:
        """Apply the layer, then multiply."""
        if self.packed:
            out: Tensor = torch.ops.mkldnn._linear_pointwise.binary(
                x, factor, self.weight, self.bias, "mul"
            )
            return out
        return self(x) * factor


class _GatedFeedForward:
    """The feed-forward network, as `FeedForward`."""

    def __init__(self, layer: FeedForward, kind: torch.dtype) -> None:
        width = layer.out_proj.in_features
        self.value = _Linear(layer.in_proj, kind, layer.norm, slice(None, width))
        self.gate = _Linear(layer.in_proj, kind, layer.norm, slice(width, None))
        self.out = _Linear(layer.out_proj, kind)

    def __call__(self, x: Tensor) -> Tensor:
        normed = _normed(x, self.out.bias.dtype)
        return self.out(self.value.times(normed, self.gate.gelu(normed)))


class _TimeAttention:
    """Attention of a unit's patches among themselves, as `Attention`."""

    def __init__(self, layer: Attention, kind: torch.dtype) -> None:
        self.heads, self.rotary = layer.heads, cast("Rotary", layer.rotary[0])
        self.ask = _Linear(layer.to_qkv, kind, layer.norm)
        self.out = _Linear(layer.to_out, kind)

    def __call__(self, x: Tensor) -> Tensor:
        qkv = self.ask(_normed(x, self.out.bias.dtype)).unflatten(-1, (3, self.heads, -1))
        turns = self.rotary.turns(x.shape[1])
        mixed = _mix_short(self.rotary.rotate(qkv, turns[:, None]))
        return self.out(self.rotary.rotate(mixed, turns.conj()).flatten(2))


class _PopulationAttention:
    """Attention among the units of a population, as `PopulationAttention`."""

    def __init__(self, layer: PopulationAttention, kind: torch.dtype) -> None:
        self.heads, self.by_window = layer.heads, layer.scores == "window"
        self.to_qkv = _Linear(layer.to_qkv, kind, layer.norm)
        self.to_out = _Linear(layer.to_out, kind)

    def ask(self, x: Tensor) -> Tensor:
        """Return query, key and value (units, patches, 3, heads, head_dim) of some units."""
        return self.to_qkv(_normed(x, self.to_out.bias.dtype)).unflatten(-1, (3, self.heads, -1))

    def mix(self, qkv: Tensor) -> Tensor:
        """Mix the units of one population: (units, patches, heads, head_dim)."""
        patches = qkv.shape[1]
        if self.by_window:  # scores are summed over patches: one long vector a unit and head
            rows = qkv.permute(2, 3, 0, 1, 4).flatten(3)
            return _attend_many(*rows).unflatten(-1, (patches, -1)).permute(1, 2, 0, 3)
        rows = qkv.permute(2, 1, 3, 0, 4).flatten(1, 2)
        return _attend_many(*rows).unflatten(0, (patches, -1)).permute(2, 0, 1, 3)

    def hear(self, mixed: Tensor) -> Tensor:
        """Return what some units heard (units, patches, dim)."""
        return self.to_out(mixed.flatten(2))


def _normed(x: Tensor, kind: torch.dtype) -> Tensor:
    return F.layer_norm(x, x.shape[-1:]).to(kind)


def _mix_short(qkv: Tensor) -> Tensor:
    """Attend along few tokens: qkv (batch, tokens, 3, heads, width) → without the 3."""
    rows = qkv.permute(2, 0, 3, 1, 4).flatten(1, 2)
    return mix(*rows).unflatten(0, (len(qkv), -1)).transpose(1, 2)


def _attend_many(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attend along many tokens (groups, tokens, width); groups never meet."""
    many = query.shape[1] >= _MANY
    if not (many and query.device.type == "cpu" and _has_onednn(query.dtype)):
        return mix(query, key, value)
    mixed = torch.empty(query.shape, dtype=query.dtype)
    for group, (asked, keys, values) in enumerate(zip(query, key, value, strict=True)):
        keys, values = keys.contiguous(), values.T.contiguous()
        first = 0
        for some in (asked * query.shape[-1] ** -0.5).split(_QUERIES):
            heard = _product(some, keys).softmax(-1)
            mixed[group, first : first + len(some)] = _product(heard, values)
            first += len(some)
    return mixed


def _product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return x @ weight.T + bias by oneDNN."""
    out: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return out


@cache
def _has_onednn(kind: torch.dtype) -> bool:
    """Return whether torch and the processor let us call oneDNN: its door is not a public one."""
    if not torch.backends.mkldnn.is_available():
        return False
    x, weight, bias = (torch.ones(shape, dtype=kind) for shape in ((2, 3), (4, 3), (4,)))
    call = torch.ops.mkldnn
    try:
        packed = call._reorder_linear_weight(weight)
        plain = call._linear_pointwise(x, packed, bias, "none", [], "")
        gated = call._linear_pointwise(x, packed, bias, "gelu", [], "none")
        times = call._linear_pointwise.binary(x, plain, packed, bias, "mul")
    except (AttributeError, RuntimeError):
        return False
    close = torch.allclose(gated.float(), F.gelu(plain.float()), rtol=1e-2)
    return bool((plain == 4).all() and (times == 16).all() and close)
