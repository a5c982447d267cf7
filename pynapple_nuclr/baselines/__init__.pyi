from .interface import EmbeddingSystem, LabelSystem, System

__all__ = [
    "EmbeddingSystem",
    "LabelSystem",
    "System",
]
