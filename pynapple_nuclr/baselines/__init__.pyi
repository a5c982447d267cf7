from .interface import EmbeddingSystem, LabelSystem, System
from .nuclr import Nuclr

__all__ = [
    "EmbeddingSystem",
    "LabelSystem",
    "Nuclr",
    "System",
]
