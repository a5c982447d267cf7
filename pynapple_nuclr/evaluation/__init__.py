"""Evaluation: every system, every protocol, one table; and how scores grow with data."""

import lazy_loader

from pynapple_nuclr.evaluation import accessor as _accessor  # noqa: F401  # dataset.nuclr

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
