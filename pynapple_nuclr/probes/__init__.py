"""Probes: small classifiers on frozen embeddings that say what kind of neuron each unit is."""

from pynapple_nuclr.probes.classifier import Probe
from pynapple_nuclr.probes.loading import load_probe

__all__ = ["Probe", "load_probe"]
