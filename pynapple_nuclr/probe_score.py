"""The score of a probe in words, as metadata columns hold it."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

_TEXT = r"macro F1 (.+) by (\w+), chance (.+?)(: not above chance)?"


class ProbeScore(NamedTuple):
    """Cross-validated macro F1 of a probe, what its folds left out, and that of shuffled labels.

    Examples
    --------
    >>> from pynapple_nuclr.probe_score import ProbeScore
    >>> print(ProbeScore("0.31", "animal", "0.33 ± 0.05", above_chance=False))
    macro F1 0.31 by animal, chance 0.33 ± 0.05: not above chance
    """

    f1: str
    left_out: str
    chance: str
    above_chance: bool

    @classmethod
    def of(cls, probe: Any) -> ProbeScore:
        """Return the score of a fitted `Probe`."""
        score, chance, sd = probe.cv_score_, probe.cv_chance_, probe.cv_chance_sd_
        spread = f" ± {sd:.2f}" if sd >= 0 else ""
        # Shuffles of a few units scatter too widely to question a perfect score: it counts if the
        # 95 % interval (Wilson's) of the share of units that are right is above chance.
        perfect = score == 1 and probe.n_units_ / (probe.n_units_ + 1.96**2) > chance
        above = score > chance + 3 * (sd if sd >= 0 else 0.0) or perfect
        return cls(f"{score:.2f}", probe.cv_group_, f"{chance:.2f}{spread}", bool(above))

    @classmethod
    def parse(cls, text: str) -> ProbeScore | None:
        """Return the score that a text says; None for another text."""
        found = re.fullmatch(_TEXT, text)
        return found and cls(found[1], found[2], found[3], above_chance=found[4] is None)

    @property
    def expect_less_in(self) -> str:
        """Where the probe is probably worse than its score; "" if whole animals were left out.

        A probe that is not above chance cannot be worse.
        """
        where = {"unit": "other recordings and animals", "recording": "other animals"}
        return where.get(self.left_out, "") if self.above_chance else ""

    def __str__(self) -> str:
        verdict = "" if self.above_chance else ": not above chance"
        return f"macro F1 {self.f1} by {self.left_out}, chance {self.chance}{verdict}"
