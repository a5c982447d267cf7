"""Evaluate every system in every protocol on real recordings; writes docs/benchmarks.md.

    python benchmarks/identity.py --data ../shared/data

Fitted systems are kept in benchmarks/runs/identity, measured parts in its folder `parts`, so an
interrupted run continues with a second call. `--only regions ablations` repeats these parts and
writes the page from all parts that exist; `--only` alone only writes the page.
"""

from __future__ import annotations

import argparse
import datetime
import json
from collections.abc import Callable
from pathlib import Path

import lineups
import tasks
from page import machine, markdown
from tasks import Bench

import pynapple_nuclr as nap_nuclr

HERE = Path(__file__).parent
ROOT = HERE.parent
PARTS: dict[str, Callable[[Bench], str]] = {
    "regions": tasks.steinmetz_regions,
    "ablations": tasks.ablation,
    "labels": tasks.fewer_labels,
    "animals": tasks.fewer_animals,
    "head_direction": tasks.head_direction_cells,
    "tagged": tasks.tagged_cells,
    "worms": tasks.worm_classes,
    "calcium": tasks.calcium_regions,
    "insertions": tasks.insertions,
}
PAGE = (HERE / "benchmarks_page.md").read_text(encoding="utf-8")


def measure(bench: Bench, name: str) -> None:
    """Measure a part; keep its text and targets."""
    before = len(bench.targets)
    part = {
        "text": PARTS[name](bench),
        "targets": bench.targets[before:],
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
    }
    path = _kept(bench, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(part), encoding="utf-8")
    print(part["text"], flush=True)


def page(bench: Bench) -> str:
    """Return the page, from the parts that exist."""
    texts, targets = {}, []
    for name in PARTS:
        if not _kept(bench, name).exists():
            texts[name] = f"Not measured yet: `python benchmarks/identity.py --only {name}`."
            continue
        part = json.loads(_kept(bench, name).read_text(encoding="utf-8"))
        texts[name] = part["text"]
        targets += part["targets"]
    return PAGE.format(
        machine=machine(),
        encoder=nap_nuclr.load_encoder().identity,
        dim=lineups.DIM,
        pairs=bench.pairs,
        targets=markdown(targets) if targets else "",
        **texts,
    )


def _kept(bench: Bench, name: str) -> Path:
    return bench.cache / "parts" / f"{name}.json"


def main() -> None:
    """Read the command line, measure, write the page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--only", nargs="*", choices=list(PARTS))
    parser.add_argument(
        "--seeds", type=int, default=2, help="number of seeds of the Steinmetz table"
    )
    parser.add_argument("--pairs", type=int, default=lineups.PAIRS)
    arguments = parser.parse_args()
    bench = Bench(
        data=arguments.data,
        cache=HERE / "runs" / "identity",
        docs=ROOT / "docs",
        seeds=arguments.seeds,
        pairs=arguments.pairs,
    )
    missing = [name for name in PARTS if not _kept(bench, name).exists()]
    for name in missing if arguments.only is None else arguments.only:
        measure(bench, name)
    (bench.docs / "benchmarks.md").write_text(page(bench), encoding="utf-8")


if __name__ == "__main__":
    main()
