"""Figures of an embedded group: where its units lie, what they are called, how far to trust it.

Every function draws into matplotlib axes (``ax=``; default: a new figure) and returns them. Colours
are told apart with any colour vision; units that cannot be shown are counted in the title.
"""

from pynapple_nuclr.plotting.agreement import plot_confusion
from pynapple_nuclr.plotting.embedding_map import plot_embedding
from pynapple_nuclr.plotting.insertion import plot_depth
from pynapple_nuclr.plotting.reliability import plot_confidence
from pynapple_nuclr.plotting.repeatability import plot_stability
from pynapple_nuclr.plotting.resemblance import plot_similarity
from pynapple_nuclr.plotting.unit_card import plot_unit

__all__ = [
    "plot_confidence",
    "plot_confusion",
    "plot_depth",
    "plot_embedding",
    "plot_similarity",
    "plot_stability",
    "plot_unit",
]
