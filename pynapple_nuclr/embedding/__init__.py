"""From pynapple objects to one embedding per unit."""

from pynapple_nuclr.embedding._embed import embed
from pynapple_nuclr.embedding._encode import MAX_POPULATION, encode

__all__ = ["MAX_POPULATION", "embed", "encode"]
