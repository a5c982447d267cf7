"""One self-contained HTML page about a session's neurons, for people without Python."""

from pynapple_nuclr.reporting._report import report

__all__ = ["report"]
