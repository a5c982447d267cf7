"""Probes: small classifiers on frozen embeddings that say what kind of neuron each unit is."""

from pynapple_nuclr.probes._load_probe import BUNDLED_PROBES, load_probe
from pynapple_nuclr.probes._probe import Probe

__all__ = ["BUNDLED_PROBES", "Probe", "load_probe"]
