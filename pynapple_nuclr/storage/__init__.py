"""How an encoder stands on disk: a folder of safe files, and a card for people and the hub."""

from pynapple_nuclr.storage.cards import as_card, hub_header
from pynapple_nuclr.storage.folder import FILES, read_settings, read_weights, write_folder

__all__ = ["FILES", "as_card", "hub_header", "read_settings", "read_weights", "write_folder"]
