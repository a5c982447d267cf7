"""The objective: recognise the same unit at two times among its own population."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ContrastiveLoss(nn.Module):
    """Decoupled InfoNCE between two views of each population.

    Positives are the same unit in both views; negatives are the other units of the same
    population, never another recording.

    Parameters
    ----------
    dim : int
        Width of the embeddings, and of the projector (LayerNorm → Linear → ReLU → Linear).
    temperature : float
        Divides the similarities between views.
    within_view_temperature : float
        Divides the similarities within a view. The published code leaves these undivided, so
        the default is 1.

    References
    ----------
    Decoupled contrastive learning: Yeh et al., ECCV 2022, arXiv:2110.06848. NuCLR:
    arXiv:2512.01199.

    Examples
    --------
    >>> import torch
    >>> from pynapple_nuclr import ContrastiveLoss
    >>> _ = torch.manual_seed(0)
    >>> loss = ContrastiveLoss(dim=8)
    >>> x1, x2 = torch.randn(5, 8), torch.randn(4, 8)
    >>> ids1, ids2 = [torch.tensor([0, 1, 2, 3, 4])], [torch.tensor([4, 2, 0, 7])]
    >>> loss(x1, x2, ids1, ids2).ndim
    0
    """

    def __init__(
        self, dim: int, temperature: float = 0.2, *, within_view_temperature: float = 1.0
    ) -> None:
        super().__init__()
        self.temperature = temperature
        self.within_view_temperature = within_view_temperature
        self.projector = nn.Sequential(
            nn.LayerNorm(dim), nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim)
        )

    def forward(
        self, x1: Tensor, x2: Tensor, ids1: Sequence[Tensor], ids2: Sequence[Tensor]
    ) -> Tensor:
        """Return the loss of a batch of populations.

        Parameters
        ----------
        x1, x2 : Tensor (units, dim)
            Embeddings of the two views, population after population.
        ids1, ids2 : sequence of Tensor (units of the population,)
            Unit ids of each population in each view; an id in both is a positive pair.

        Returns
        -------
        Tensor ()
            Mean over the matched units of all populations; a population of one unit, which has
            no negatives, is left out.

        Raises
        ------
        ValueError
            If the ids do not cover the embeddings, or no unit is in both views of a population of
            several.
        """
        sizes1, sizes2 = [len(ids) for ids in ids1], [len(ids) for ids in ids2]
        if len(ids1) != len(ids2) or sum(sizes1) != len(x1) or sum(sizes2) != len(x2):
            raise ValueError(
                f"ids cover {sum(sizes1)} and {sum(sizes2)} units in {len(ids1)} and {len(ids2)} "
                f"populations; the views hold {len(x1)} and {len(x2)}"
            )
        z1, z2 = self._directions(x1).split(sizes1), self._directions(x2).split(sizes2)
        terms = [self._population(*parts) for parts in zip(z1, z2, ids1, ids2, strict=True)]
        matched = sum(count for _, count in terms)
        if not matched:
            raise ValueError(
                "no unit is in both views of any population of two or more units: nothing to "
                "compare"
            )
        return torch.stack([total for total, _ in terms]).sum() / matched

    def _directions(self, x: Tensor) -> Tensor:
        """Return projected embeddings of length 1, in float32 at least (units, dim)."""
        z = self.projector(x)
        return F.normalize(z.to(torch.promote_types(z.dtype, torch.float32)), dim=-1)

    def _population(self, z1: Tensor, z2: Tensor, ids1: Tensor, ids2: Tensor) -> tuple[Tensor, int]:
        """Return the summed loss over the matched units of one population, and their number."""
        same = ids1[:, None] == ids2[None, :]  # (units of view 1, units of view 2)
        row1, row2 = same.nonzero(as_tuple=True)
        if not len(row1) or len(z1) == len(z2) == 1:  # no negatives
            return z1.sum() * 0, 0
        across = z1 @ z2.T / self.temperature
        positive = across[same]
        negatives = across.masked_fill(same, -torch.inf)
        size = math.log(len(z1) + len(z2))
        negatives1 = self._log_sum(negatives[row1], z1, row1) - size
        negatives2 = self._log_sum(negatives.T[row2], z2, row2) - size
        terms = 1 / self.temperature - positive + (negatives1 + negatives2) / 2
        return terms.sum(), len(row1)

    def _log_sum(self, across: Tensor, z: Tensor, rows: Tensor) -> Tensor:
        """Return the log-sum-exp over all negatives of each matched unit (matched,)."""
        within = z[rows] @ z.T / self.within_view_temperature
        itself = rows[:, None] == torch.arange(len(z), device=z.device)
        within = within.masked_fill(itself, -torch.inf)
        return torch.cat((across, within), dim=1).logsumexp(dim=1)

    @classmethod
    def load_published(
        cls, state_dict: Mapping[str, Any], *, temperature: float = 0.2
    ) -> ContrastiveLoss:
        """Build the loss from the published code's weights.

        Parameters
        ----------
        state_dict : mapping
            The loss's state dict (``projector.*``), or the whole dictionary that the published
            trainer saves, with its ``loss_state_dict``.
        temperature : float
            As in the constructor.

        Returns
        -------
        ContrastiveLoss

        Raises
        ------
        ValueError
            If the projector's weights are missing or do not fit.
        """
        state = dict(state_dict.get("loss_state_dict", state_dict))
        weight = state.get("projector.1.weight")
        if weight is None:
            raise ValueError(
                "no projector.1.weight in the state dict; expected the published loss's weights"
            )
        loss = cls(int(weight.shape[0]), temperature)
        try:
            loss.load_state_dict({key: torch.as_tensor(value) for key, value in state.items()})
        except RuntimeError as error:
            raise ValueError(f"the weights are not those of the published loss: {error}") from None
        return loss
