"""Warnings that point at the line of the user, however deep in the package they arise."""

from __future__ import annotations

import os
import sys
import warnings

_PACKAGE = os.path.join(os.path.dirname(__file__), "")
# These show or keep the warnings of this package, which they know by where they point.
_COMMANDS = (f"{_PACKAGE}cli", f"{_PACKAGE}batch")


def warn_user(message: str) -> None:
    """Warn at the line outside this package that called it, or at the command that did."""
    depth, frame = 2, sys._getframe(1)
    while frame.f_back and _is_ours(frame.f_code.co_filename):
        depth, frame = depth + 1, frame.f_back
    warnings.warn(message, UserWarning, stacklevel=depth)


def _is_ours(filename: str) -> bool:
    return filename.startswith(_PACKAGE) and not filename.startswith(_COMMANDS)
