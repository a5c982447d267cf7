"""POYO: unit embeddings from decoding behaviour from spikes."""

from pynapple_nuclr.baselines.poyo._poyo import Poyo, UnitEmbeddingDecoder

__all__ = ["Poyo", "UnitEmbeddingDecoder"]
