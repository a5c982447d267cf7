"""Encoders in folders and on the hub: saved, loaded, described on a card."""

from pynapple_nuclr.checkpoints._encoder import Encoder
from pynapple_nuclr.checkpoints._load_encoder import (
    as_encoder,
    bundled_encoder,
    find_encoder,
    load_encoder,
    save_encoder,
)
from pynapple_nuclr.checkpoints._load_published import load_published, load_reference

__all__ = [
    "Encoder",
    "as_encoder",
    "bundled_encoder",
    "find_encoder",
    "load_encoder",
    "load_published",
    "load_reference",
    "save_encoder",
]
