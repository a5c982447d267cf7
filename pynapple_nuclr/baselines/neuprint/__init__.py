"""NeuPRINT: what stays the same of a unit, learned by predicting what the unit does next."""

from pynapple_nuclr.baselines.neuprint._neuprint import Neuprint

__all__ = ["Neuprint"]
