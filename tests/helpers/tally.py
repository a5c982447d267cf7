"""Count the stress tests: printed at the end of a run, and written as a page on request."""

from __future__ import annotations

import platform
from collections import Counter
from importlib.metadata import version
from pathlib import Path

counts: Counter[str] = Counter()
"""Case → how often; a test adds to it: ``counts["recordings generated"] += 1``."""

_PAGE = """\
# Stress tests

Counts from one run of all tests, the slow ones included. Seeds are fixed, so another run tests the
same cases; only the number of times a training is killed before it ends depends on the speed of the
machine. Written by `make test-all` ({machine}).

{table}

Each case ended as it should, except those of failed tests, if any. Unit ids, their order and
metadata were kept, and the input was unchanged; a bad file was read correctly or refused with a
message; a killed job left whole files and continued from them; a planted leak was caught.

See `SECURITY.md` for what is loaded, how, and what is never executed. Versions with which the tests
pass: [tested versions](versions.md).
"""


def lines() -> list[str]:
    """Return one line per case, sorted by name."""
    return [f"{often:>9,}  {what}" for what, often in sorted(counts.items())]


def write_page(path: Path, outcomes: dict[str, int]) -> None:
    """Write the counts and the outcomes of the tests."""
    rows = {**{f"tests {how}": n for how, n in outcomes.items()}, **dict(sorted(counts.items()))}
    table = ["| case | count |", "|---|---|", *(f"| {k} | {n:,} |" for k, n in rows.items())]
    names = ("numpy", "torch", "pynapple", "h5py", "pynwb", "scikit-learn", "skops", "safetensors")
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    system = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    text = _PAGE.format(machine=f"{system}, {versions}", table="\n".join(table))
    path.write_text(text, encoding="utf-8")
