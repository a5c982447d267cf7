"""What the tests have tried, counted: told at the end of a run, and kept as a page on request."""

from __future__ import annotations

import platform
from collections import Counter
from importlib.metadata import version
from pathlib import Path

counts: Counter[str] = Counter()
"""What was tried → how often; a test adds to it: ``counts["recordings generated"] += 1``."""

_PAGE = """\
# What was tried

Counted by the tests themselves, in one run of all of them, the slow ones too. Seeds are fixed, so
another run tries the same; only how often a training is killed before it ends depends on how fast
the machine is. Written by `make test-all` ({machine}).

{table}

Each of these ended as it should, but for what the tests that failed had counted, if any did. Unit
ids, their order and metadata came back, and the input was as before; a bad file was read right or
refused in words; a job that was killed left whole files behind and went on from them; a leak that
was planted was caught.

What is loaded, how, and what is never executed, says `SECURITY.md`. With which versions the tests
pass: [Versions](versions.md).
"""


def lines() -> list[str]:
    """Return what was tried, one line each, in the order of the words."""
    return [f"{often:>9,}  {what}" for what, often in sorted(counts.items())]


def write_page(path: Path, outcomes: dict[str, int]) -> None:
    """Write what was tried, and what became of the tests."""
    rows = {**{f"tests {how}": n for how, n in outcomes.items()}, **dict(sorted(counts.items()))}
    table = ["| what | how often |", "|---|---|", *(f"| {k} | {n:,} |" for k, n in rows.items())]
    names = ("numpy", "torch", "pynapple", "h5py", "pynwb", "scikit-learn", "skops", "safetensors")
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    system = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    text = _PAGE.format(machine=f"{system}, {versions}", table="\n".join(table))
    path.write_text(text, encoding="utf-8")
