"""Notes taken while a file is read: what was left out and why, and where it is from."""

from __future__ import annotations

from typing import Any

from pynapple_nuclr.user_warnings import warn_user


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
