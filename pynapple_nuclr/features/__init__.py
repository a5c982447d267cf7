"""Single-unit statistics."""

from pynapple_nuclr.features._unit_statistics import unit_statistics

__all__ = ["unit_statistics"]
