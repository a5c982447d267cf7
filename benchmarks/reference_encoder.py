"""The published network, layer by layer: the reference for our speed.

A plain forward pass with PyTorch's own `scaled_dot_product_attention`, dropout and linear layers,
whole populations at a time. Do not optimise it: it is the baseline.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from pynapple_nuclr import Encoder


class ReferenceEncoder(torch.nn.Module):
    """The same function as an encoder with attention scores per patch; shares its weights.

    Parameters
    ----------
    encoder : Encoder
        The encoder. In training mode dropout is that of its configuration.
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        if encoder.config.attention_scope != "patch" or encoder.config.population_dropout:
            raise ValueError("the reference is the published network: scores patch by patch")
        self.encoder = encoder

    def forward(self, patches: Tensor, population_sizes: list[int]) -> Tensor:
        """Embed units (units, patches, features) → (units, dim)."""
        x = self.encoder.read_in(patches)
        for block in self.encoder.temporal:
            x = x + self._drop(self._over_time(block.attention, x))
            x = x + self._drop(self._feed_forward(block.feed_forward, x))
        for block in self.encoder.spatiotemporal:
            among, time = block.population, block.time
            x = x + self._drop(self._among_units(among.attention, x, population_sizes))
            x = x + self._drop(self._feed_forward(among.feed_forward, x))
            x = x + self._drop(self._over_time(time.attention, x))
            x = x + self._drop(self._feed_forward(time.feed_forward, x))
        return x.mean(dim=1)

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.encoder.config.dropout, self.training)

    def _feed_forward(self, layer: torch.nn.Module, x: Tensor) -> Tensor:
        value, gate = layer.in_proj(layer.norm(x)).chunk(2, dim=-1)
        return layer.out_proj(self._drop(F.gelu(gate) * value))

    def _heads(self, layer: torch.nn.Module, x: Tensor) -> list[Tensor]:
        """Return query, key, value: each (units, patches, heads, head_dim)."""
        qkv = layer.to_qkv(layer.norm(x))
        return [part.unflatten(-1, (layer.heads, -1)) for part in qkv.chunk(3, dim=-1)]

    def _over_time(self, layer: torch.nn.Module, x: Tensor) -> Tensor:
        rotated = [self._rotate(part, 1).transpose(1, 2) for part in self._heads(layer, x)]
        mixed = F.scaled_dot_product_attention(*rotated).transpose(1, 2)
        return layer.to_out(self._rotate(mixed, -1).flatten(2))

    def _rotate(self, x: Tensor, sign: int) -> Tensor:
        """Rotate interleaved pairs of x (units, patches, heads, head_dim) by their patch."""
        index = torch.arange(x.shape[1], dtype=torch.float32)
        theta = sign * index[:, None, None] * self.encoder.rotary.omega
        cos, sin = theta.cos(), theta.sin()
        a, b = x[..., 0::2], x[..., 1::2]
        return torch.stack((a * cos - b * sin, a * sin + b * cos), dim=-1).flatten(-2)

    def _among_units(self, layer: torch.nn.Module, x: Tensor, sizes: list[int]) -> Tensor:
        populations = zip(*(part.split(sizes) for part in self._heads(layer, x)), strict=True)
        mixed = [
            F.scaled_dot_product_attention(*(part.permute(1, 2, 0, 3) for part in parts))
            for parts in populations
        ]
        return layer.to_out(torch.cat([one.permute(2, 0, 1, 3) for one in mixed]).flatten(2))
