"""Know what kind of neurons you recorded: NuCLR embeddings for pynapple objects."""

import lazy_loader

__version__ = "0.1.0"
# The names stand in __init__.pyi, once; each is imported at its first use, so that importing the
# package loads neither torch nor lightning nor matplotlib.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
