"""Measure speed and memory; writes docs/speed.md.

    python benchmarks/throughput.py --data ../shared/data

Every part runs in its own process and is kept in benchmarks/runs/throughput; a second call
continues. `--only forward training` repeats these parts; `--only` alone only writes the page. Run
it on an idle machine: the page reports ratios within one run.
"""

from __future__ import annotations

import argparse
import datetime
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import speed
import speed_budget
import speed_embedding
import speed_training
import speed_widths
from page import machine

HERE = Path(__file__).parent
ROOT = HERE.parent
KEPT = HERE / "runs" / "throughput"
PARTS: dict[str, Callable[[speed.Bench], str]] = {
    "forward": speed.forward,
    "training": speed_training.steps,
    "widths": speed_widths.widths,
    "avx2": speed_widths.emulated_avx2,
    "overlay": speed_widths.overlay,
    "curves": speed_training.loss_curves,
    "reading": speed_training.reading,
    "memory": speed_training.larger_than_memory,
    "processes": speed_training.two_processes,
    "budget": speed_budget.time_limits,
    "anytime": speed_embedding.anytime,
    "context": speed_embedding.contexts,
    "joined": speed_embedding.joined_sessions,
    "large": speed_embedding.many_units,
    "statistics": speed.statistics_of_units,
    "start": speed.cold_start,
}
PAGE = (HERE / "speed_page.md").read_text(encoding="utf-8")


def measure(bench: speed.Bench, name: str) -> None:
    """Measure a part; keep its text and targets."""
    text = PARTS[name](bench)
    part = {
        "text": text,
        "targets": bench.targets,
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
    }
    KEPT.mkdir(parents=True, exist_ok=True)
    (KEPT / f"{name}.json").write_text(json.dumps(part), encoding="utf-8")
    print(text, flush=True)


def page() -> str:
    """Return the page, from the parts that exist."""
    texts, targets = {}, []
    for name in PARTS:
        path = KEPT / f"{name}.json"
        if not path.exists():
            texts[name] = f"Not measured yet: `python benchmarks/throughput.py --only {name}`."
            continue
        part = json.loads(path.read_text(encoding="utf-8"))
        texts[name] = f"{part['text']}\n\nMeasured on {part['date']}."
        targets += part["targets"]
    return PAGE.format(
        machine=machine(),
        targets=speed.markdown(targets) if targets else "",
        seed=speed.SEED,
        **texts,
    )


def main() -> None:
    """Read the command line, measure, write the page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--only", nargs="*", choices=list(PARTS))
    parser.add_argument("--part", choices=list(PARTS), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        measure(speed.Bench(data=arguments.data, docs=ROOT / "docs"), arguments.part)
        return
    missing = [name for name in PARTS if not (KEPT / f"{name}.json").exists()]
    for name in missing if arguments.only is None else arguments.only:
        call = [sys.executable, __file__, "--part", name, "--data", str(arguments.data)]
        subprocess.run(call, check=True)
    (ROOT / "docs" / "speed.md").write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
