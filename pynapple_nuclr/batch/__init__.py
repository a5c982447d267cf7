"""Many recordings, on this machine or on a Dask cluster."""

import lazy_loader

# Lazy: the command line plans files before it loads torch.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
