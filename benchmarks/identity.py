"""Every system, every protocol, on real neurons; written to docs/benchmarks.md.

    python benchmarks/identity.py --data ../shared/data

Can be interrupted: what was fitted is kept in benchmarks/runs/identity, and what was measured in
its folder `parts`; a second call goes on. `--only regions ablations` computes some parts anew.
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
    "curves": tasks.curves,
    "head_direction": tasks.head_direction_cells,
    "tagged": tasks.tagged_cells,
    "worms": tasks.worm_classes,
    "calcium": tasks.calcium_regions,
}
PAGE = (HERE / "benchmarks_page.md").read_text(encoding="utf-8")


def measure(bench: Bench, name: str, anew: bool) -> str:
    """Return the text of a part, measured now or before."""
    path = bench.cache / "parts" / f"{name}.json"
    if anew or not path.exists():
        before = len(bench.targets)
        text = PARTS[name](bench)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = {
            "text": text,
            "targets": bench.targets[before:],
            "date": datetime.date.today().isoformat(),
            "pairs": bench.pairs,
            "seeds": bench.seeds,
        }
        path.write_text(json.dumps(part), encoding="utf-8")
        return text
    part = json.loads(path.read_text(encoding="utf-8"))
    bench.targets += part["targets"]
    return str(part["text"])


def main() -> None:
    """Read the command line, measure, write the page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--only", nargs="*", choices=list(PARTS), default=[])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--pairs", type=int, default=lineups.PAIRS)
    arguments = parser.parse_args()
    bench = Bench(
        data=arguments.data,
        cache=HERE / "runs" / "identity",
        docs=ROOT / "docs",
        seeds=arguments.seeds,
        pairs=arguments.pairs,
    )
    chosen = arguments.only or list(PARTS)
    texts = {name: measure(bench, name, anew=name in arguments.only) for name in chosen}
    if arguments.only:
        print("\n\n".join(texts.values()))
        return
    page = PAGE.format(
        machine=machine(),
        encoder=nap_nuclr.load_encoder().identity,
        dim=lineups.DIM,
        pairs=bench.pairs,
        seeds=bench.seeds,
        targets=markdown(bench.targets),
        **texts,
    )
    (bench.docs / "benchmarks.md").write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()
