"""LOLCAT: cell types from inter-spike intervals."""

from pynapple_nuclr.baselines.lolcat._lolcat import Lolcat

__all__ = ["Lolcat"]
