"""Compare all systems on simulated worlds, with the same time of training; write a page.

Every system gets so many steps as fill `--minutes` of processor time on one thread; it may end
sooner when its held-out loss falls no more. The system whose task a world is, and ours, are also
trained for `--longer`, to show whether they had converged. All fits are kept in
`benchmarks/runs/systems`, so an interrupted run continues where it stopped.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lineups import SIZE, ours
from page import machine, markdown
from system_worlds import WORLDS, World, real_worlds
from variants import Variant

from pynapple_nuclr.baselines import LabelSystem, Lolcat, Nemo, Neuprint, Poyo, Statistics, System
from pynapple_nuclr.evaluation import evaluate
from pynapple_nuclr.pretraining.training_settings import default_config
from pynapple_nuclr.recording import as_recordings

HERE = Path(__file__).parent
RUNS = HERE / "runs" / "systems"
OURS = "nuclr"
_FEW = (4, 12)  # steps of two short fits, whose difference is the cost of a step
_FEWEST_LOSSES = 4  # below which nothing can be said of their course
_AT_REST = 0.1  # of the whole fall of a loss


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
    if isinstance(system, Neuprint):  # most of its time goes into the vectors: the same share
        visits = math.ceil(steps * Neuprint.visits / Neuprint.steps)
        return replace(system, steps=steps, visits=visits)
    return replace(system, steps=steps)


def filled(system: Any, world: World, recordings: Mapping[str, Any], minutes: float) -> Any:
    """Return a system with the steps that fill some minutes of processor time."""
    if isinstance(system, Statistics):
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


def _file(name: str, row: str, seed: int, minutes: float) -> Path:
    return RUNS / f"{name}, {row}, seed {seed}, {minutes:g} minutes.json"


def measure(
    name: str,
    world: World,
    row: str,
    seed: int,
    minutes: float,
    *,
    configuration: str = "",
    **changes: Any,
) -> dict[str, Any]:
    """Return the scores of a system in a world; those that are kept are not measured again.

    `configuration` names the changes to the system.
    """
    path = _file(name, f"{row}, {configuration}" if changes else row, seed, minutes)
    if path.exists():
        return dict(json.loads(path.read_text()))
    recordings = world.recordings(seed)
    system: Any = systems_of(world, recordings, seed)[row]
    system = filled(replace(system, **changes), world, recordings, minutes)
    begun = time.process_time()
    scores = evaluate(
        recordings,
        world.target,
        world.protocol,
        {row: system},
        animals={one: world.left_out(one) for one in recordings},
        seeds=[seed],
        n_shuffles=0,
        progress=False,
    )
    spent = (time.process_time() - begun) / 60
    history = json.loads(scores.attrs["history"]).get(row) or [{}]
    if isinstance(system, Statistics):
        history = [{}]  # nothing is trained
    measured = "held_out_loss" if "held_out_loss" in history[-1] else "loss"
    losses = [one[measured] for one in history if measured in one]
    found = {
        "macro_f1": float(scores["macro_f1"].sel(system=row).squeeze()),
        "minutes": spent,
        "steps": history[-1].get("step"),
        "given": getattr(system, "steps", None),
        "machine": machine(),
        "losses": [float(np.mean(part)) for part in np.array_split(losses, min(len(losses), 20))]
        if losses
        else [],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found))
    return found


def table(name: str, world: World, seeds: list[int], minutes: float, longer: float = 0) -> str:
    """Return the table of a world; a system that was not measured has no number."""
    rows = []
    for row in systems_of(world, world.recordings(seeds[0]), seeds[0]):
        kept, more = _kept(name, row, seeds, minutes), _kept(name, row, seeds, longer)
        rows.append(
            {
                "system": row,
                "macro F1": stated(kept) or "not measured",
                "steps": steps_of(row, kept),
                "loss": courses(row, kept),
                f"macro F1, {longer:g} min": stated(more),
                f"steps, {longer:g} min": steps_of(row, more),
                f"loss, {longer:g} min": courses(row, more),
                "published code": compared(world.marks(seeds), kept, more)
                if row == world.system
                else "",
            }
        )
    filled_in = [column for column in rows[0] if any(one[column] for one in rows)]
    shown = [{column: one[column] for column in filled_in} for one in rows]
    return f"### {world.title}\n\n{markdown(shown)}"


def compared(marks: Sequence[float], *budgets: list[dict[str, Any]]) -> str:
    """Return the mean mark of the published code, and whether each budget reaches it.

    There is one mark for each seed; a budget of which a seed was not measured has no verdict.
    """
    verdicts = []
    for scores in map(_scores, budgets):
        if len(scores) != len(marks):
            continue
        above = np.subtract(scores, marks)
        mean, error = np.mean(above), np.std(above) / np.sqrt(max(len(above) - 1, 1))
        reached = "at or above" if mean >= 0 else "**below**"
        if mean < 0 <= mean + 2 * error:
            reached = "below by less than two standard errors"
        verdicts.append(reached)
    return f"{np.mean(marks):.3f}: {'; '.join(verdicts)}"


def elsewhere(here: str) -> str:
    """Return a sentence for each other machine on which fits that are kept were measured."""
    rows: dict[str, set[str]] = {}
    for path in sorted(RUNS.glob("*.json")):
        machine_of_fit = json.loads(path.read_text()).get("machine", here)
        rows.setdefault(machine_of_fit, set()).add(path.name.split(", ")[1])
    rows.pop(here, None)
    return "".join(
        f" Rows of {' and '.join(sorted(names))}: on {other}." for other, names in rows.items()
    )


def _kept(name: str, row: str, seeds: list[int], minutes: float) -> list[dict[str, Any]]:
    """Return what was measured, of every seed that was."""
    paths = [_file(name, row, one, minutes) for one in seeds]
    return [json.loads(path.read_text()) for path in paths if path.exists()]


def _scores(kept: list[dict[str, Any]]) -> list[float]:
    return [one["macro_f1"] for one in kept]


def stated(kept: list[dict[str, Any]]) -> str:
    """Return the mean, and each seed's score."""
    scores = _scores(kept)
    each = ", ".join(f"{one:.3f}" for one in scores)
    return f"{np.mean(scores):.3f} ({each})" if len(scores) > 1 else each


def steps_of(row: str, kept: list[dict[str, Any]]) -> str:
    """Return the steps of each seed; of ours the history that is kept has at most 200."""
    most = 200 if row == OURS else math.inf
    steps = [one["steps"] for one in kept if one["steps"]]
    return ", ".join(f"{one}" if one < most else f"{one} or more" for one in steps)


def courses(row: str, kept: list[dict[str, Any]]) -> str:
    return ", ".join(filter(None, (_course(row, one) for one in kept)))


def _course(row: str, kept: Mapping[str, Any]) -> str:
    """Return the loss at half and at the end, and whether it has come to rest.

    It has if the second half of the training lowered it by less than a tenth of its whole fall.
    Ours has no held-out loss: that of single steps is too noisy to say it.
    """
    losses = np.array(kept["losses"])
    if len(losses) < _FEWEST_LOSSES:
        return ""
    lowest, half = losses.min(), losses[: len(losses) // 2 + 1].min()
    ends = f"{losses[len(losses) // 2]:.2f} → {losses[-1]:.2f}"
    if row == OURS:
        return ends
    flat = half - lowest <= _AT_REST * (losses[0] - lowest)
    return f"{ends} {'flat' if flat else 'falls'}"


def use_one_thread() -> None:
    """Measure on one thread, and print results alone, no warning."""
    torch.set_num_threads(1)
    logging.getLogger("pynapple_nuclr").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")


def main() -> None:
    """Read the command line, measure, write the page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=0.15, help="of each fit")
    parser.add_argument("--longer", type=float, default=0.6, help="of ours and of the world's own")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0])
    parser.add_argument("--data", type=Path, help="folder of the real recordings, for these too")
    parser.add_argument("--real-minutes", type=float, default=0.3, help="of each fit on these")
    parser.add_argument("--only", nargs="*", choices=list(WORLDS), default=list(WORLDS))
    parser.add_argument("--rows", nargs="*", help="systems to measure; default: all")
    parser.add_argument("--write", action="store_true", help="write docs/other_systems.md")
    arguments = parser.parse_args()
    use_one_thread()
    budgets = (arguments.minutes, arguments.longer)
    for seed, minutes, name in product(arguments.seeds, budgets, arguments.only):
        own = (OURS, WORLDS[name].system)
        rows = arguments.rows if minutes == arguments.minutes else own
        _measure_all(name, WORLDS[name], seed, minutes, rows)
    real = real_worlds(arguments.data) if arguments.data else {}
    for seed, (name, world) in product(arguments.seeds, real.items()):
        _measure_all(name, world, seed, arguments.real_minutes, arguments.rows)
    tables = [table(name, WORLDS[name], arguments.seeds, *budgets) for name in WORLDS]
    real_tables = [
        table(name, world, arguments.seeds, arguments.real_minutes) for name, world in real.items()
    ]
    if arguments.write:
        page = (HERE / "systems_page.md").read_text(encoding="utf-8")
        text = page.format(
            machine=machine(),
            elsewhere=elsewhere(machine()),
            seeds_given=" ".join(map(str, arguments.seeds)),
            seeds=", ".join(map(str, arguments.seeds)),
            minutes=f"{arguments.minutes:g}",
            longer=f"{arguments.longer:g}",
            real_minutes=f"{arguments.real_minutes:g}",
            tables="\n\n".join(tables),
            real_tables="\n\n".join(real_tables),
        )
        (HERE.parent / "docs" / "other_systems.md").write_text(text, encoding="utf-8")
    print("\n\n".join(tables + real_tables))


def _measure_all(
    name: str, world: World, seed: int, minutes: float, rows: Sequence[str] | None
) -> None:
    for row in systems_of(world, world.recordings(seed), seed):
        if row in (rows or [row]):
            found = measure(name, world, row, seed, minutes)
            print(name, row, seed, minutes, f"{found['macro_f1']:.3f}", flush=True)


if __name__ == "__main__":
    main()
