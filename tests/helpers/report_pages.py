"""What stands on a report page."""

import json
import re
from html import unescape

from pynapple_nuclr.reporting import report


def page_of(units, tmp_path, **options):
    path = report(units, tmp_path / "page.html", overwrite=True, **options)
    return path.read_text(encoding="utf-8")


def data_of(page):
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page)
    return json.loads(text)


def string_values(page):
    """The words that stand on the page before any script runs."""
    body = re.sub(r"<(script|style).*?</\1>", "", page, flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", body)).split())


def cautions_of(page):
    found = re.findall(r'<ul class="cautions">(.*?)</ul>', page, flags=re.DOTALL)
    return unescape(re.sub(r"</?li>", "", found[0])).split("\n")[1:-1] if found else []
