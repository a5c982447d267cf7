"""NEMO: images of a unit's autocorrelogram, and its waveform, trained against each other."""

from pynapple_nuclr.baselines.nemo._nemo import Nemo

__all__ = ["Nemo"]
