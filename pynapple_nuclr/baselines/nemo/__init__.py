"""NEMO: images of a unit's autocorrelogram, and its waveform, trained against each other."""

from pynapple_nuclr.baselines.nemo.system import Nemo

__all__ = ["Nemo"]
