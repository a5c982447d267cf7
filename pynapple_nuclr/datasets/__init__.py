"""Public recordings for tutorials: downloaded once, checked by hash, with licence and citation."""

from pynapple_nuclr.datasets._fetch import fetch, list_datasets

__all__ = [
    "fetch",
    "list_datasets",
]
