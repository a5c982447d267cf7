"""Simulated populations whose cell types and regions are known."""

from pynapple_nuclr.simulation._simulate import simulate

__all__ = ["simulate"]
