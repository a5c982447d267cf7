"""From pynapple objects to one embedding per unit."""

from pynapple_nuclr.embedding._embed import MAX_POPULATION, embed, encode

__all__ = [
    "MAX_POPULATION",
    "embed",
    "encode",
]
