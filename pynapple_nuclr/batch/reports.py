"""What came of each file: one report for `embed_many` and for the command line."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from pynapple_nuclr.recording import Units

Report: TypeAlias = dict[str, Any]
"""``file``, ``output``, ``units``, ``silent``, ``stability``, ``encoder``, ``skipped``,
``warnings`` (a list) and ``error`` (None: there was none); results of a bad file are None."""

EXPECTED = (ValueError, TypeError, OSError, ImportError, RuntimeError)
"""Errors whose message says what to do: no traceback for these."""

_RESULTS = ("output", "units", "silent", "stability", "encoder")


def blank_report(source: str) -> Report:
    """Return the report of a file of which nothing is known yet."""
    return {
        "file": source,
        **dict.fromkeys(_RESULTS),
        "skipped": False,
        "warnings": [],
        "error": None,
    }


def process(
    source: str,
    work: Callable[[], Report],
    *,
    results: Sequence[str] = (),
    keep_warnings: bool = True,
    show: Callable[[str], None] | None = None,
    reraise: bool = False,
) -> Report:
    """Do the work on one file and report it, whatever goes wrong.

    `work` returns a part of the report; `results` are its keys beside the usual ones. Warnings are
    kept in the report, and `show` is called with each. `reraise`: errors that are not `EXPECTED`.
    """
    report = {**blank_report(source), **dict.fromkeys(results)}
    recording = record_warnings(report["warnings"], show) if keep_warnings else nullcontext()
    try:
        with recording:
            report |= work()
    except Exception as error:  # in a long run no odd file may cost the others
        if reraise and not isinstance(error, EXPECTED):
            raise
        kind = "" if isinstance(error, EXPECTED) and str(error) else f"{type(error).__name__}: "
        report["error"] = f"{kind}{error}"
    return report


@contextmanager
def record_warnings(
    messages: list[str], show: Callable[[str], None] | None = None
) -> Iterator[None]:
    """Append the text of every warning to `messages`, and show it if wanted."""

    def record(message: Warning | str, *_: Any, **__: Any) -> None:
        messages.append(str(message))
        if show is not None:
            show(str(message))

    before = warnings.showwarning
    warnings.showwarning = record
    try:
        yield
    finally:
        warnings.showwarning = before


def summarize(units: Units, output: Path, prefix: str = "nuclr") -> Report:
    """Return what is reported of units: embedded, or labelled by a probe on statistics."""
    from pynapple_nuclr.columns import metadata_frame
    from pynapple_nuclr.columns.metadata import unit_ids

    n_windows = metadata_frame(units).get(f"{prefix}_n_windows")
    if n_windows is None:
        found = {"units": len(unit_ids(units)), "silent": 0, "stability": math.nan, "encoder": ""}
        return {"output": str(output)} | found
    return {
        "output": str(output),
        "units": len(n_windows),
        "silent": int((n_windows == 0).sum()),
        "stability": float(units[f"{prefix}_stability"].median()),
        "encoder": str(units[f"{prefix}_encoder"].iloc[0]),
    }


def as_table(reports: Sequence[Report]) -> pd.DataFrame:
    """Return reports as a table, a row per file: nothing found is 0, NaN or ""."""
    import pandas as pd

    table = pd.DataFrame(reports).set_index("file")
    table["warnings"] = ["; ".join(one) for one in table["warnings"]]
    table = table.astype({"stability": float})
    for column in ("units", "silent"):
        table[column] = table[column].fillna(0).astype(int)
    for column in ("output", "encoder", "error"):
        table[column] = table[column].fillna("").astype(object)
    return table
