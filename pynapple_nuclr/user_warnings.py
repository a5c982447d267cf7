"""Warnings that point at the line of the user, however deep in the package they arise."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

_PACKAGE = Path(__file__).parent
# The command line shows the warnings of this package alone, which it knows by where they point.
_COMMANDS = str(_PACKAGE / "cli")


def warn_user(message: str) -> None:
    """Warn at the line outside this package that called it, or at the command that did."""
    depth, frame = 2, sys._getframe(1)
    while frame.f_back and _is_ours(frame.f_code.co_filename):
        depth, frame = depth + 1, frame.f_back
    warnings.warn(message, UserWarning, stacklevel=depth)


def _is_ours(filename: str) -> bool:
    return filename.startswith(str(_PACKAGE)) and not filename.startswith(_COMMANDS)
