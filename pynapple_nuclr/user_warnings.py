"""Texts of warnings and errors, warnings that point at the line of the user, and the log."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterable
from typing import Any

log = logging.getLogger("pynapple_nuclr")

_NAMED = 5  # of several values
_PACKAGE = os.path.join(os.path.dirname(__file__), "")
# These show or keep the warnings of this package, which they know by where they point.
_COMMANDS = (f"{_PACKAGE}cli", f"{_PACKAGE}batch")


def warn_user(message: str) -> None:
    """Warn at the line outside this package that called it, or at the command that did."""
    depth, frame = 2, sys._getframe(1)
    while frame.f_back and _is_ours(frame.f_code.co_filename):
        depth, frame = depth + 1, frame.f_back
    warnings.warn(message, UserWarning, stacklevel=depth)


def list_some(values: Iterable[Any]) -> str:
    """Return the first of some values as text, and how many more there are."""
    texts = [repr(str(one)) if isinstance(one, str) else str(one) for one in values]
    more = f" and {len(texts) - _NAMED} more" if len(texts) > _NAMED else ""
    return ", ".join(texts[:_NAMED]) + more


def show_span(start: float, end: float) -> str:
    """Return a span of time as text; times in Unix seconds are not rounded to days."""
    first, last = (f"{time:.{10 if abs(time) >= 1e5 else 6}g}" for time in (start, end))
    return f"{first} to {last} s"


def _is_ours(filename: str) -> bool:
    return filename.startswith(_PACKAGE) and not filename.startswith(_COMMANDS)
