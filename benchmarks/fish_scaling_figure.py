"""Draw the scaling curve of zebrafish from the table on docs/real_recordings.md.

    python benchmarks/fish_scaling_figure.py

The table is written by benchmarks/real_recordings.py --only f_scaling.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from features import STATISTICS
from fish_scaling import NO_FISH, PAIRS, ROWS
from page import figure
from real_page import PAGE, first_table

FIGURE = PAGE.parent / "fish_scaling.png"
COLORS = {600: "#7f8fa6", 2400: "#0072b2", 9600: "#d55e00"}
ALONE = "14 fish, no population attention"
LEVELS = {STATISTICS: "statistics of single units", NO_FISH: NO_FISH}


def draw(axes: Any, table: Mapping[str, Sequence[str]]) -> None:
    """Draw the macro F1 of each encoder against the number of fish, a line for each budget."""
    for pairs, color in COLORS.items():
        rows = [row for row, how in ROWS.items() if how.pairs == pairs and row in table]
        curve = [row for row in rows if row != ALONE]
        # A little to the side, so that the intervals of the budgets do not overlap.
        aside = 1 + 0.03 * (list(COLORS).index(pairs) - 1)
        counts = [ROWS[row].count * aside for row in curve]
        scores = [_score(table[row]) for row in curve]
        if curve:
            label = f"{pairs:,} pairs of views of fish"
            axes.plot(counts, scores, "o-", color=color, label=label)
            intervals = np.array([table[row][2].split(" to ") for row in curve], dtype=float)
            axes.vlines(counts, *intervals.T, color=color, lw=1, alpha=0.6)
    alone = f"{PAIRS} pairs, without population attention"
    axes.plot(ROWS[ALONE].count, _score(table[ALONE]), "s", color="black", mfc="white", label=alone)
    for row, style in zip(LEVELS, ("-", ":"), strict=True):
        level = _score(table[row])
        axes.axhline(level, color="black", lw=1, ls=style, label=LEVELS[row])
    counts = sorted({how.count for how in ROWS.values()})
    axes.set(xscale="log", xticks=counts, xticklabels=counts, ylim=(0, None))
    axes.minorticks_off()
    axes.set(xlabel="zebrafish in pretraining", ylabel="macro F1, 68 regions, unseen fish")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize="small")


def _score(cells: Sequence[str]) -> float:
    return float(cells[1])


if __name__ == "__main__":
    print(figure(FIGURE, lambda axes: draw(axes, first_table("f_scaling"))))
