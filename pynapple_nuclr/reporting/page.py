"""The path of a page, which notebooks show as the page itself."""

from __future__ import annotations

from html import escape
from pathlib import Path


class Page(type(Path())):  # type: ignore[misc]
    """The path of a page; a notebook whose cell ends with it shows the page."""

    def _repr_html_(self) -> str:
        text = escape(self.read_text(encoding="utf-8"))
        style = "width: 100%; height: 44rem; border: 1px solid #ccc"
        return f'<iframe title="{escape(self.name)}" srcdoc="{text}" style="{style}"></iframe>'
