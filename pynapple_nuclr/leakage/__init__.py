"""Leaks and duplicates: nothing is trained on what it is tested on."""

from pynapple_nuclr.leakage._leak_error import LeakError
from pynapple_nuclr.leakage.duplicates import DuplicatePair, find_duplicate_units

__all__ = ["DuplicatePair", "LeakError", "find_duplicate_units"]
