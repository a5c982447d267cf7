"""Probes: small classifiers on frozen embeddings that say what kind of neuron each unit is."""

from pynapple_nuclr.probes._load_probe import load_probe
from pynapple_nuclr.probes._probe import Probe

__all__ = ["Probe", "load_probe"]
