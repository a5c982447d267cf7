"""Leaks and duplicates: nothing is trained on what it is tested on."""

from pynapple_nuclr.leakage._leak_error import LeakError

__all__ = ["LeakError"]
