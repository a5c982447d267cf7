"""Many recordings, on this machine or on a Dask cluster."""

from pynapple_nuclr.batch._embed_many import embed_many

__all__ = [
    "embed_many",
]
