"""Other ways of telling units apart, behind one interface: what our encoder is measured against."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
