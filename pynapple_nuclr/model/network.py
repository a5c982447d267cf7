"""The NuCLR network: from packed population patches to one embedding per unit."""

from __future__ import annotations

from torch import Tensor, nn

from pynapple_nuclr.config import EncoderConfig
from pynapple_nuclr.model.layers import (
    Attention,
    Block,
    PopulationAttention,
    Rotary,
    SpatiotemporalBlock,
)


class Network(nn.Module):
    """Spatiotemporal transformer over the units of a population: `Encoder` adds name and card.

    Parameters
    ----------
    config : EncoderConfig
        Windows and size of the network.

    References
    ----------
    "Know Thyself by Knowing Others: Learning Neuron Identity from Population Context",
    NeurIPS 2025, arXiv:2512.01199.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.rotary = Rotary(config.patches, config.head_dim, config.rotary_fraction)
        self.read_in = nn.Linear(config.features, config.dim)
        self.temporal = nn.ModuleList(self._over_time() for _ in range(config.temporal_layers))
        self.spatiotemporal = nn.ModuleList(
            SpatiotemporalBlock(self._among_units(), self._over_time())
            for _ in range(config.spatiotemporal_layers)
        )

    def _over_time(self) -> Block:
        config = self.config
        attention = Attention(config.dim, config.heads, config.head_dim)
        return Block(attention, config.dim, config.dropout)

    def _among_units(self) -> Block:
        config = self.config
        attention = PopulationAttention(
            config.dim,
            config.heads,
            config.head_dim,
            config.attention_scope,
            config.population_dropout,
        )
        return Block(attention, config.dim, config.dropout)

    def forward(self, patches: Tensor, population_sizes: list[int]) -> Tensor:
        """Embed the units of one or more populations.

        Parameters
        ----------
        patches : Tensor (units, patches, features)
            The activity of all units, population after population; float.
        population_sizes : list of int
            Units of each population; their sum is the first axis of `patches`.

        Returns
        -------
        Tensor (units, dim)
            Without units: (0, dim).
        """
        x = self.read_in(patches)
        rotation = self.rotary.rotation(x.shape[1])
        for block in self.temporal:
            x = block(x, rotation)
        for block in self.spatiotemporal:
            x = block(x, population_sizes or [0], rotation)
        mean: Tensor = x.mean(dim=1)
        return mean

    @property
    def n_parameters(self) -> int:
        """Number of trained values."""
        return sum(parameter.numel() for parameter in self.parameters())
