"""Compare all systems on simulated worlds, with the same time of training; write a page.

Every system gets so many steps as fill `--minutes` of processor time on one thread, or its own
number (`--minutes 0`); it may end sooner when its held-out loss falls no more. All fits are kept in
`benchmarks/runs/systems`, so an interrupted run continues where it stopped.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lineups import SIZE, ours
from page import machine, markdown
from variants import Variant

from pynapple_nuclr import simulate
from pynapple_nuclr.baselines import LabelSystem, Lolcat, Nemo, Neuprint, Poyo, Statistics, System
from pynapple_nuclr.evaluation import evaluate
from pynapple_nuclr.pretraining.training_settings import default_config
from pynapple_nuclr.recording import as_recordings
from recordings import renewal, tuned_session, with_waveforms

HERE = Path(__file__).parent
RUNS = HERE / "runs" / "systems"
_FEW = (4, 12)  # steps of two short fits, whose difference is the cost of a step


@dataclass(frozen=True)
class World:
    """Simulated recordings, and what is asked about them."""

    title: str
    recordings: Callable[[int], Mapping[str, Any]]  # of a seed
    system: str  # the system whose task this is
    published: str  # macro F1 of its published code, on another draw
    target: str = "cell_type"
    protocol: str = "inductive_zero_shot"
    behaviour: Callable[[int], Mapping[str, Any]] | None = None


def _pair(make: Callable[..., Any], seed: int, **how: Any) -> dict[str, Any]:
    return {f"animal{i}": make(2 * seed + i, **how) for i in range(2)}


def _tuned(seed: int) -> list[dict[str, Any]]:
    made = {f"session{i}": tuned_session(3 * seed + i) for i in range(3)}
    return [{name: pair[part] for name, pair in made.items()} for part in (0, 1)]


def _context(seed: int) -> dict[str, Any]:
    how = {"n_units": 80, "duration": 240, "modality": "calcium"}
    return dict(simulate("context", animals=2, seed=seed, **how))  # type: ignore[call-overload]


WORLDS = {
    "renewal": World(
        "Five kinds of renewal process, 2 × 90 units, 60 s; the animal left out",
        lambda seed: _pair(renewal, seed),
        Lolcat.name,
        "0.845",
    ),
    "context": World(
        "Coupling to the population, calcium, 2 × 80 units, 240 s; the animal left out",
        _context,
        Neuprint.name,
        "0.773",
    ),
    "waveforms": World(
        "Two ways of firing × two waveforms, 2 × 80 units, 120 s; the animal left out",
        lambda seed: _pair(with_waveforms, seed),
        Nemo.name,
        "0.924",
    ),
    "tuned": World(
        "Tuning to the side of a trial, 3 × 36 units, 120 trials; folds of the units",
        lambda seed: _tuned(seed)[0],
        Poyo.name,
        "0.692",
        target="tuning",
        protocol="transductive",
        behaviour=lambda seed: _tuned(seed)[1],
    ),
}


def systems_of(world: World, recordings: Mapping[str, Any], seed: int) -> dict[str, System]:
    """Return every system that reads the recordings, ours first."""
    config = replace(default_config(list(as_recordings(recordings).values())), **SIZE)
    rows = [ours(config), Statistics(), Lolcat(), Nemo(), Neuprint()]
    if world.behaviour is not None:
        rows.append(Poyo(behaviour=world.behaviour(seed)))
    return {one.row_name(recordings): one for one in rows if config.modality in one.modalities}


def with_steps(system: Any, steps: int) -> Any:
    """Return a system that is trained for some steps."""
    if isinstance(system, Variant):
        return replace(system, pairs=steps * system.batch_size)
    return replace(system, steps=steps)


def filled(system: Any, world: World, recordings: Mapping[str, Any], minutes: float) -> Any:
    """Return a system with the steps that fill some minutes of processor time."""
    if not minutes or isinstance(system, Statistics):
        return system
    labels = {name: np.asarray(one[world.target]).astype(str) for name, one in recordings.items()}
    shown = [recordings, labels] if isinstance(system, LabelSystem) else [recordings]
    costs = []
    for steps in (_FEW[0], *_FEW):  # the first reads the recordings, which are then kept
        begun = time.process_time()
        with_steps(system, steps).fit(*shown)
        costs.append(time.process_time() - begun)
    step = max(costs[2] - costs[1], 1e-3) / (_FEW[1] - _FEW[0])
    return with_steps(system, max(int(60 * minutes / step), _FEW[1]))


def measure(name: str, row: str, seed: int, minutes: float) -> dict[str, Any]:
    """Return the scores of a system in a world; those that are kept are not measured again."""
    path = RUNS / f"{name}, {row}, seed {seed}, {minutes:g} minutes.json"
    if path.exists():
        return dict(json.loads(path.read_text()))
    world = WORLDS[name]
    recordings = world.recordings(seed)
    system = filled(systems_of(world, recordings, seed)[row], world, recordings, minutes)
    begun = time.process_time()
    scores = evaluate(
        recordings,
        world.target,
        world.protocol,
        {row: system},
        animals={one: one for one in recordings},
        seeds=[seed],
        n_shuffles=0,
        progress=False,
    )
    spent = (time.process_time() - begun) / 60
    history = json.loads(scores.attrs["history"]).get(row) or [{}]
    found = {
        "macro_f1": float(scores["macro_f1"].sel(system=row).squeeze()),
        "minutes": spent,
        "steps": history[-1].get("step"),
        "held_out": [one["held_out_loss"] for one in history if "held_out_loss" in one],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found))
    return found


def table(name: str, seeds: list[int], minutes: float) -> str:
    """Return the table of a world; a system that was not measured has no number."""
    world, rows = WORLDS[name], []
    for row in systems_of(world, world.recordings(seeds[0]), seeds[0]):
        paths = [RUNS / f"{name}, {row}, seed {one}, {minutes:g} minutes.json" for one in seeds]
        kept = [json.loads(path.read_text()) for path in paths if path.exists()]
        scores = [one["macro_f1"] for one in kept]
        own = row == world.system
        verdict = ""
        if own and scores:
            verdict = "at or above" if np.mean(scores) >= float(world.published) else "**below**"
        rows.append(
            {
                "system": row,
                "macro F1": " ".join(f"{one:.3f}" for one in scores) or "not measured",
                "mean": f"{np.mean(scores):.3f}" if scores else "",
                "published code": f"{world.published}: {verdict}" if own else "",
                "minutes of all fits": f"{np.mean([one['minutes'] for one in kept]):.2f}"
                if kept
                else "",
                "steps": ", ".join(str(one["steps"]) for one in kept if one["steps"]),
                "held-out loss at half and end": ", ".join(map(_course, kept)),
            }
        )
    return f"## {world.title}\n\n{markdown(rows)}"


def _course(kept: Mapping[str, Any]) -> str:
    losses = kept["held_out"]
    return f"{losses[len(losses) // 2]:.3f} → {losses[-1]:.3f}" if losses else ""


def main() -> None:
    """Read the command line, measure, write the page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=0.1, help="0: each system's own steps")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0])
    parser.add_argument("--only", nargs="*", choices=list(WORLDS), default=list(WORLDS))
    parser.add_argument("--rows", nargs="*", help="systems to measure; default: all")
    parser.add_argument("--write", action="store_true", help="write docs/other_systems.md")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    logging.getLogger("pynapple_nuclr").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    for seed in arguments.seeds:
        for name in arguments.only:
            for row in systems_of(WORLDS[name], WORLDS[name].recordings(seed), seed):
                if row in (arguments.rows or [row]):
                    found = measure(name, row, seed, arguments.minutes)
                    print(name, row, seed, f"{found['macro_f1']:.3f}", flush=True)
    tables = "\n\n".join(table(name, arguments.seeds, arguments.minutes) for name in WORLDS)
    if arguments.write:
        page = (HERE / "systems_page.md").read_text(encoding="utf-8")
        text = page.format(
            machine=machine(),
            seeds=", ".join(map(str, arguments.seeds)),
            minutes=f"{arguments.minutes:g}",
            tables=tables,
        )
        (HERE.parent / "docs" / "other_systems.md").write_text(text, encoding="utf-8")
    print(tables)


if __name__ == "__main__":
    main()
