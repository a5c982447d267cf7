"""The NuCLR encoder: from packed population patches to one embedding per unit."""

from __future__ import annotations

import hashlib
import json
import weakref
from typing import Any

import torch
from torch import Tensor, nn

from pynapple_nuclr.config import EncoderConfig
from pynapple_nuclr.layers import Block, Rotary, SpatiotemporalBlock

_in_use: weakref.WeakValueDictionary[str, Encoder] = weakref.WeakValueDictionary()


class Encoder(nn.Module):
    """Spatiotemporal transformer over the units of a population.

    Equivariant to the order of the units, and blind to everything but their activity: it can be
    applied to populations that it has never seen, of any size.

    Parameters
    ----------
    config : EncoderConfig
        Windows and size of the network.
    name : str
        Name under which the embeddings are signed, as ``name@hash``.
    card : dict, optional
        What is known of its training (JSON-able): data, licence, recipe, seed, scores.

    References
    ----------
    "Know Thyself by Knowing Others: Learning Neuron Identity from Population Context",
    NeurIPS 2025, arXiv:2512.01199.

    Examples
    --------
    >>> import torch
    >>> from pynapple_nuclr import Encoder, EncoderConfig
    >>> encoder = Encoder(EncoderConfig(dim=32, heads=2, head_dim=16)).eval()
    >>> patches = torch.zeros(5, 10, 50)  # 5 units: 3 of one population, 2 of another
    >>> encoder(patches, [3, 2]).shape
    torch.Size([5, 32])
    """

    def __init__(
        self,
        config: EncoderConfig | None = None,
        *,
        name: str = "nuclr",
        card: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.config = config = config or EncoderConfig()
        self.name = name
        self.card: dict[str, Any] = dict(card or {})
        self.rotary = Rotary(config.patches, config.head_dim, config.rotary_fraction)
        size = (config.dim, config.heads, config.head_dim, config.dropout)
        self.read_in = nn.Linear(config.features, config.dim)
        self.temporal = nn.ModuleList(
            Block(*size, self.rotary) for _ in range(config.temporal_layers)
        )
        self.spatiotemporal = nn.ModuleList(
            SpatiotemporalBlock(*size, self.rotary) for _ in range(config.spatiotemporal_layers)
        )

    def forward(self, patches: Tensor, sizes: list[int]) -> Tensor:
        """Embed the units of one or more populations.

        Parameters
        ----------
        patches : Tensor (units, patches, features)
            The activity of all units, population after population; float.
        sizes : list of int
            Units of each population; their sum is the first axis of `patches`.

        Returns
        -------
        Tensor (units, dim)
        """
        x = self.read_in(patches)
        for block in self.temporal:
            x = block(x)
        for block in self.spatiotemporal:
            x = block(x, sizes)
        mean: Tensor = x.mean(dim=1)
        return mean

    @property
    def n_parameters(self) -> int:
        """Number of trained values."""
        return sum(parameter.numel() for parameter in self.parameters())

    @property
    def hash(self) -> str:
        """Eight hexadecimal digits of the weights and the configuration."""
        digest = hashlib.sha256(json.dumps(self.config.to_dict(), sort_keys=True).encode())
        for key, value in sorted(self.state_dict().items()):
            digest.update(key.encode())
            digest.update(value.detach().to("cpu", torch.float32).contiguous().numpy().tobytes())
        return digest.hexdigest()[:8]

    @property
    def identity(self) -> str:
        """Who signs the embeddings: ``name@hash``."""
        identity = f"{self.name}@{self.hash}"
        _in_use[identity] = self  # a probe can find the encoder that made its vectors
        return identity

    def __repr__(self) -> str:
        size = f"{self.n_parameters:,} parameters"
        return f"<Encoder {self.identity}: {self.config.modality}, {size}>"


def encoder_in_use(identity: str) -> Encoder | None:
    """Return the encoder of this name@hash if this process holds it, else None."""
    return _in_use.get(identity)
