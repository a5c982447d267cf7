"""Notes taken while a file is read: what was left out and why, and warnings to the user."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

_PACKAGE = str(Path(__file__).parents[1])
_COMMANDS = str(Path(_PACKAGE) / "cli")


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
    """Warn at the line outside this package that called it, or at the command that did.

    The command line shows the warnings of this package alone.
    """
    depth, frame = 2, sys._getframe(1)
    while frame.f_back and _is_ours(frame.f_code.co_filename):
        depth, frame = depth + 1, frame.f_back
    warnings.warn(message, UserWarning, stacklevel=depth)


def _is_ours(filename: str) -> bool:
    return filename.startswith(_PACKAGE) and not filename.startswith(_COMMANDS)


def list_some(values: Any, most: int = 5) -> str:
    """Return the first of some values as text."""
    texts = [str(value) for value in values]
    return ", ".join(texts[:most]) + (" …" if len(texts) > most else "")
