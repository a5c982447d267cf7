"""Public recordings for tutorials: downloaded once, checked by hash, with licence and citation."""

from pynapple_nuclr.downloads._fetch import datasets, fetch

__all__ = ["fetch", "datasets"]
