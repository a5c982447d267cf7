"""The encoder's function for embedding, in an order of computation that suits the processor.

Between two population attentions every unit is independent of the others. Units go through the
layers in between a few at a time, so that their intermediate values stay in the processor's cache.
On the CPU the weights are packed once for oneDNN, which is faster than PyTorch's default library
on some processors and applies GELU and gate while it writes the product.
"""

from __future__ import annotations

import copy
import itertools
from typing import TYPE_CHECKING, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pynapple_nuclr.model import _onednn
from pynapple_nuclr.model._bfloat16 import warn_if_emulated
from pynapple_nuclr.model.layers import Rotary, attend

if TYPE_CHECKING:
    from pynapple_nuclr.model.layers import (
        Attention,
        Block,
        FeedForward,
        PopulationAttention,
        SpatiotemporalBlock,
    )
    from pynapple_nuclr.model.network import Network

Precision = Literal["float32", "bfloat16"]

# Tokens computed together: few enough for the cache, enough for fast products.
_TOKENS_TOGETHER = {"cpu": 1_000}
# From this many units on, oneDNN's products for each head and patch are faster than torch's.
_MANY = 300
# Queries computed together: their scores stay in the cache.
_QUERIES = 1_000


class InferenceEngine:
    """An encoder's function, without gradients; later changes of its weights do not reach it.

    `precision` is that of the products, what is added up between them is float32; `device` is where
    to compute (default: where the encoder is).

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
        if kind == torch.bfloat16:
            warn_if_emulated(self.device)
        self.dim = encoder.config.dim
        self.rotary = encoder.rotary
        self.read_in = _Linear(encoder.read_in, kind)
        self.population_layers: list[_PopulationAttention] = []
        # Layers without a population: before the first population attention, between two, after.
        self.unit_layers: list[list[_TimeAttention | _GatedFeedForward]] = [[]]
        for block in cast("list[Block]", encoder.temporal):
            self.unit_layers[-1] += [
                _TimeAttention(cast("Attention", block.attention), kind),
                _GatedFeedForward(block.feed_forward, kind),
            ]
        for both in cast("list[SpatiotemporalBlock]", encoder.spatiotemporal):
            among, time = both.population, both.time
            self.population_layers.append(
                _PopulationAttention(cast("PopulationAttention", among.attention), kind)
            )
            self.unit_layers.append(
                [
                    _GatedFeedForward(among.feed_forward, kind),
                    _TimeAttention(cast("Attention", time.attention), kind),
                    _GatedFeedForward(time.feed_forward, kind),
                ]
            )

    @torch.inference_mode()
    def __call__(self, patches: Tensor, population_sizes: list[int]) -> Tensor:
        """Embed the units of one or more populations, as `Encoder.forward` does, in float32."""
        x = patches.new_empty(*patches.shape[:2], self.dim)
        if not len(x):
            return x.mean(dim=1)
        rotation = self.rotary.rotation(patches.shape[1])
        parts = self._parts(*patches.shape[:2])
        for part in parts:
            x[part] = self.read_in(patches[part])
            self._apply_unit_layers(0, x[part], rotation)
        for number, layer in enumerate(self.population_layers, start=1):
            projected = torch.cat([layer.project_in(x[part]) for part in parts])
            attended = torch.cat([layer.attend(qkv) for qkv in projected.split(population_sizes)])
            for part in parts:
                x[part] += layer.project_out(attended[part])
                self._apply_unit_layers(number, x[part], rotation)
        return x.mean(dim=1)

    def _parts(self, units: int, patches: int) -> list[slice]:
        """Cut the units into parts that fit into the cache."""
        tokens = _TOKENS_TOGETHER.get(self.device.type, units * patches)
        size = max(tokens // patches, 1)
        return [slice(first, first + size) for first in range(0, units, size)]

    def _apply_unit_layers(self, number: int, x: Tensor, rotation: Tensor) -> None:
        """Apply a list of unit layers to some units (units, patches, dim), in place."""
        for layer in self.unit_layers[number]:
            x += layer(x, rotation)


class _Linear:
    """A linear layer; scale and shift of a normalisation before it become part of its weights."""

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
        self.packed = weight.device.type == "cpu" and _onednn.is_available(kind)
        if self.packed:
            self.weight = _onednn.pack(self.weight)

    def __call__(self, x: Tensor) -> Tensor:
        x = x.to(self.bias.dtype)
        if self.packed:
            return _onednn.linear(x, self.weight, self.bias)
        return F.linear(x, self.weight, self.bias)

    def gelu(self, x: Tensor) -> Tensor:
        """Apply the layer, then GELU."""
        if self.packed:
            return _onednn.linear_gelu(x, self.weight, self.bias)
        return F.gelu(self(x))

    def times(self, x: Tensor, factor: Tensor) -> Tensor:
        """Apply the layer, then multiply."""
        if self.packed:
            return _onednn.linear_times(x, self.weight, self.bias, factor)
        return self(x) * factor


class _GatedFeedForward:
    """The feed-forward network, as `FeedForward`."""

    def __init__(self, layer: FeedForward, kind: torch.dtype) -> None:
        width = layer.out_proj.in_features
        self.value = _Linear(layer.in_proj, kind, layer.norm, slice(None, width))
        self.gate = _Linear(layer.in_proj, kind, layer.norm, slice(width, None))
        self.out = _Linear(layer.out_proj, kind)

    def __call__(self, x: Tensor, rotation: Tensor) -> Tensor:
        normed = _normed(x, self.out.bias.dtype)
        return self.out(self.value.times(normed, self.gate.gelu(normed)))


class _TimeAttention:
    """Attention of a unit's patches among themselves, as `Attention`."""

    def __init__(self, layer: Attention, kind: torch.dtype) -> None:
        self.heads = layer.heads
        self.to_qkv = _Linear(layer.to_qkv, kind, layer.norm)
        self.to_out = _Linear(layer.to_out, kind)

    def __call__(self, x: Tensor, rotation: Tensor) -> Tensor:
        qkv = self.to_qkv(_normed(x, self.to_out.bias.dtype)).unflatten(-1, (3, self.heads, -1))
        rows = Rotary.rotate(qkv, rotation[:, None]).permute(2, 0, 3, 1, 4)
        attended = attend(*rows).transpose(1, 2)
        return self.to_out(Rotary.rotate(attended, rotation.conj()).flatten(2))


class _PopulationAttention:
    """Attention among the units of a population, as `PopulationAttention`."""

    def __init__(self, layer: PopulationAttention, kind: torch.dtype) -> None:
        self.heads, self.by_window = layer.heads, layer.scope == "window"
        self.to_qkv = _Linear(layer.to_qkv, kind, layer.norm)
        self.to_out = _Linear(layer.to_out, kind)

    def project_in(self, x: Tensor) -> Tensor:
        """Return query, key and value (units, patches, 3, heads, head_dim) of some units."""
        return self.to_qkv(_normed(x, self.to_out.bias.dtype)).unflatten(-1, (3, self.heads, -1))

    def attend(self, qkv: Tensor) -> Tensor:
        """Attend among the units of one population: (units, patches, heads, head_dim)."""
        patches = qkv.shape[1]
        if self.by_window:  # scores are summed over patches: one long vector a unit and head
            rows = qkv.permute(2, 3, 0, 1, 4).flatten(3)[:, None]
            return _attend_units(*rows)[0].unflatten(-1, (patches, -1)).permute(1, 2, 0, 3)
        return _attend_units(*qkv.permute(2, 1, 3, 0, 4)).permute(2, 0, 1, 3)

    def project_out(self, attended: Tensor) -> Tensor:
        """Return the output (units, patches, dim) of some units."""
        return self.to_out(attended.flatten(2))


def _normed(x: Tensor, kind: torch.dtype) -> Tensor:
    """Normalise without scale and shift, which are in the weights that follow."""
    return F.layer_norm(x, x.shape[-1:]).to(kind)


def _attend_units(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attend along units (batch, heads, units, features), by oneDNN where they are many."""
    many = query.shape[2] >= _MANY
    if not (many and query.device.type == "cpu" and _onednn.is_available(query.dtype)):
        return attend(query, key, value)
    attended = torch.empty(query.shape, dtype=query.dtype)
    scale = query.shape[-1] ** -0.5
    for row in itertools.product(*map(range, query.shape[:2])):
        queries, keys, values = query[row], key[row].contiguous(), value[row].T.contiguous()
        for first in range(0, len(queries), _QUERIES):
            some = slice(first, first + _QUERIES)
            weights = _onednn.linear(queries[some] * scale, keys).softmax(-1)
            attended[row][some] = _onednn.linear(weights, values)
    return attended
