"""Figures of an embedded group: maps, predictions, stability and activity of its units.

Every function draws into matplotlib axes (``ax=``; default: a new figure) and returns them. Colours
can be distinguished with any colour vision; units that cannot be shown are counted in the title.
"""

from pynapple_nuclr.plotting._confidence import plot_confidence
from pynapple_nuclr.plotting._confusion import plot_confusion
from pynapple_nuclr.plotting._coverage import plot_coverage
from pynapple_nuclr.plotting._depth import plot_depth
from pynapple_nuclr.plotting._embedding import plot_embedding
from pynapple_nuclr.plotting._similarity import plot_similarity
from pynapple_nuclr.plotting._stability import plot_stability
from pynapple_nuclr.plotting._unit import plot_unit

__all__ = [
    "plot_confidence",
    "plot_confusion",
    "plot_coverage",
    "plot_depth",
    "plot_embedding",
    "plot_similarity",
    "plot_stability",
    "plot_unit",
]
