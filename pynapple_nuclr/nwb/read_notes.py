"""Notes taken while a file is read: what was left out and why, and warnings to the user."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

_PACKAGE = str(Path(__file__).parents[1])


class ReadNotes:
    """What a reader has to say of one file, each thing once."""

    def __init__(self, source: Any) -> None:
        self.source = str(source)
        self.left_out: list[str] = []  # what was left out and why
        # "region" and "probe" → the columns that they were taken from
        self.columns: dict[str, str] = {}
        self.time_from = ""  # what the time support was taken from

    def warn(self, message: str, *, left_out: str | None = None) -> None:
        """Warn of something in this file, and note what was left out because of it."""
        if left_out:
            self.left_out.append(left_out)
        warn_user(f"{self.source}: {message}")


def warn_user(message: str) -> None:
    """Warn at the line outside this package that called it."""
    depth, frame = 2, sys._getframe(1)
    while frame.f_back and frame.f_code.co_filename.startswith(_PACKAGE):
        depth, frame = depth + 1, frame.f_back
    warnings.warn(message, UserWarning, stacklevel=depth)


def list_some(values: Any, most: int = 5) -> str:
    """Return the first of some values as text."""
    texts = [str(value) for value in values]
    return ", ".join(texts[:most]) + (" …" if len(texts) > most else "")
