"""What a reader took from a file, and what it left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pynapple as nap

from pynapple_nuclr.user_warnings import show_span


@dataclass(frozen=True)
class ReadReport:
    """What was read from a file: printed by ``verbose=True`` and by ``nap-nuclr info FILE``."""

    source: str
    table: str  # where the table of neurons is in the file, such as "units"
    n_read: int  # neurons that were read
    time_support: nap.IntervalSet  # when they were observed
    time_from: str  # what the time support was taken from, such as "obs_intervals"
    # the columns that brain region, probe and the choice of cells were taken from. None: the file
    # has none
    region: str | None = None
    probe: str | None = None
    acceptance: str | None = None
    left_out: tuple[str, ...] = ()  # what was left out, how many, and why: a line each
    # further lines: name → text, such as `{"signal": "dff"}`
    more: Mapping[str, str] = field(default_factory=dict)

    def lines(self) -> dict[str, str]:
        """Return the report as name → text, in the order to show."""
        return {
            "time support": f"{_describe_time(self.time_support)}, from {self.time_from}",
            "region": self.region or "none",
            "probe": self.probe or "none",
            "acceptance": self.acceptance or "none",
            **self.more,
            "left out": "; ".join(self.left_out) or "nothing",
        }

    def __str__(self) -> str:
        head = f"{self.source}: read {self.n_read} of table {self.table!r}"
        return "\n".join([head, *(f"  {name}: {text}" for name, text in self.lines().items())])


def _describe_time(support: nap.IntervalSet) -> str:
    if not len(support):
        return "0 s"
    epochs = f"{len(support)} epoch" + ("s" if len(support) > 1 else "")
    return f"{support.tot_length():g} s in {epochs}, {show_span(support.start[0], support.end[-1])}"
