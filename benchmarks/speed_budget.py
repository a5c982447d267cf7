"""Wall time of `pretrain` against `max_minutes`, on an idle machine and on a busy one.

    python benchmarks/speed_budget.py --minutes 1 3

Every run is kept in benchmarks/runs/throughput/budget; `throughput.py` runs those that are missing.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from speed import SEED, Bench, table

ROOT = Path(__file__).parent.parent
KEPT = Path(__file__).parent / "runs" / "throughput" / "budget"
MINUTES = (1, 3, 10)
LOOPS = (0, 2)
_UNITS, _SECONDS = 300, 2400.0
_BUSY = [sys.executable, "-c", "while True: pass"]


@contextmanager
def busy_loops(number: int) -> Iterator[None]:
    """Keep so many processor cores busy."""
    loops = [subprocess.Popen(_BUSY) for _ in range(number)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def run(minutes: float) -> dict[str, Any]:
    """Train for so many minutes on two recordings, with the defaults; return what it took."""
    import tempfile

    import pynapple_nuclr as nap_nuclr

    recordings = nap_nuclr.simulate(
        "context", n_units=_UNITS, duration=_SECONDS, animals=2, seed=SEED
    )
    pretrain = nap_nuclr.pretrain  # imports what it needs, which the call does not count
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as out:
        begun = time.monotonic()
        encoder = pretrain(recordings, max_minutes=minutes, out=out, progress=False)
        took = time.monotonic() - begun
    training = encoder.card["training"]
    return {
        "wall time / limit": took / 60 / minutes,
        "steps": training["steps"],
        "pairs a step": training["pairs_a_step"],
        "units of a view at most": encoder.card["settings"]["max_units"],
        "load before": load,
    }


def kept(minutes: float, loops: int) -> dict[str, Any]:
    """Return a run, of before or a new one in a process of its own."""
    path = KEPT / f"minutes_{minutes:g}_loops_{loops}.json"
    if not path.exists():
        with busy_loops(loops):
            call = [sys.executable, __file__, "--one", str(minutes)]
            answer = subprocess.run(call, check=True, capture_output=True, text=True).stdout
        KEPT.mkdir(parents=True, exist_ok=True)
        path.write_text(answer.splitlines()[-1], encoding="utf-8")
    row: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return {"max_minutes": minutes, "busy loops beside it": loops, **row}


def time_limits(bench: Bench) -> str:
    """Compare the wall time with the limit, of all runs."""
    rows = [kept(minutes, loops) for minutes in MINUTES for loops in LOOPS]
    worst = max(row["wall time / limit"] for row in rows)
    bench.add_target("wall time of `pretrain` over `max_minutes`", worst, 1.10, least=False)
    return (
        f"{table(rows)}\n\nTwo simulated recordings of {_UNITS} units and {_SECONDS / 60:.0f} min, "
        "default encoder; opening, measuring and saving included."
    )


def main() -> None:
    """Measure the runs asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, nargs="*", default=MINUTES)
    parser.add_argument("--one", type=float, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one is not None:
        print(json.dumps(run(arguments.one)))
        return
    for minutes in arguments.minutes:
        for loops in LOOPS:
            print(kept(minutes, loops), flush=True)


if __name__ == "__main__":
    main()
