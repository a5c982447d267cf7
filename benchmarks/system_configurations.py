"""Compare settings of the four other systems, each in its own world; write a page.

    python benchmarks/system_configurations.py --seeds 0 1 2 --write

Each system gets its default and one or two other values of what matters most for it; worlds,
budgets and rules are those of benchmarks/systems.py. Steps are compared by the two budgets. Fits
are kept in `benchmarks/runs/systems`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

from page import machine, markdown
from system_worlds import WORLDS
from systems import compared, courses, measure, stated, steps_of, use_one_thread

HERE = Path(__file__).parent
CONFIGURATIONS: dict[str, dict[str, dict[str, Any]]] = {
    "renewal": {
        "default": {},
        "64 dimensions, not 32": {"dim": 64},
        "batches of 32 units, not 128": {"batch_size": 32},
    },
    "context": {
        "default": {},
        "learning rate 0.01, not 0.003": {"learning_rate": 0.01},
        "50 steps of the past, not 200": {"past": 50},
    },
    "waveforms": {
        "default": {},
        "batches of 64 units, not all": {"batch_size": 64},
        "learning rate 0.002, not 0.0005": {"learning_rate": 0.002},
    },
    "tuned": {
        "default": {},
        "batches of 64 windows, not 16": {"batch_size": 64},
    },
}
"""World → name of the configuration → what it changes in the world's own system."""


def table(
    name: str,
    found: dict[tuple[str, float], list[dict[str, Any]]],
    seeds: Sequence[int],
    budgets: Any,
) -> str:
    """Return the table of a world: a row for each configuration."""
    world = WORLDS[name]
    marks = world.marks(seeds)
    rows = []
    for row in CONFIGURATIONS[name]:
        cells = {"configuration": row}
        for minutes in budgets:
            kept = found[row, minutes]
            cells[f"macro F1, {minutes:g} min"] = stated(kept)
            cells[f"steps, {minutes:g} min"] = steps_of(row, kept)
            cells[f"loss, {minutes:g} min"] = courses(row, kept)
        cells["published code"] = compared(marks, *(found[row, one] for one in budgets))
        rows.append(cells)
    return f"## {world.system}\n\n{world.title}.\n\n{markdown(rows)}"


def main() -> None:
    """Read the command line, measure, write the page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, nargs=2, default=[0.15, 0.6], help="of each fit")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0])
    page_or_part = parser.add_mutually_exclusive_group()
    page_or_part.add_argument("--only", nargs="+", choices=list(CONFIGURATIONS), help="worlds")
    page_or_part.add_argument(
        "--write", action="store_true", help="write docs/system_configurations.md"
    )
    arguments = parser.parse_args()
    use_one_thread()
    tables = []
    for name in arguments.only or CONFIGURATIONS:
        configurations = CONFIGURATIONS[name]
        found: dict[tuple[str, float], list[dict[str, Any]]] = {}
        for row, minutes, seed in product(configurations, arguments.minutes, arguments.seeds):
            world, changes = WORLDS[name], configurations[row]
            one = measure(name, world, world.system, seed, minutes, configuration=row, **changes)
            found.setdefault((row, minutes), []).append(one)
            print(name, row, seed, minutes, f"{one['macro_f1']:.3f}", flush=True)
        tables.append(table(name, found, arguments.seeds, arguments.minutes))
    if arguments.write:
        page = (HERE / "system_configurations_page.md").read_text(encoding="utf-8")
        text = page.format(
            machine=machine(),
            seeds=", ".join(map(str, arguments.seeds)),
            seeds_given=" ".join(map(str, arguments.seeds)),
            tables="\n\n".join(tables),
        )
        (HERE.parent / "docs" / "system_configurations.md").write_text(text, encoding="utf-8")
    print("\n\n".join(tables))


if __name__ == "__main__":
    main()
