"""Compare encoders with statistics on real recordings; writes docs/real_recordings.md.

    python benchmarks/real_recordings.py --data ../shared/data --only a b c --encoder FOLDER

Without `--encoder` the bundled ones are scored. `--encoder NAME=FOLDER,FOLDER,…` makes one row of
several encoders, as of several seeds; FOLDER@30 reads windows of 30 s. Features, and the
predictions of every row, are kept in benchmarks/runs/real, so another encoder costs only its own
rows. The tables are printed; with `--write` they also replace those of the same tasks in
docs/real_recordings.md, and the rows of the table in README.md.
"""

from __future__ import annotations

import argparse
import logging
import os
import time
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import real_page
import torch
from features import RATE, STANDARDIZED, STATISTICS, WITH_MEAN, Features, content
from intervals import Predictions
from label_free import measures
from real_tasks import LABEL, TASKS, Populations, RealTask
from scoring import untrained
from tuned_probe import SETTINGS, Choices, TunedProbe

from pynapple_nuclr import Encoder, __version__, load_encoder
from pynapple_nuclr.baselines import (
    CorrelatedNeighbours,
    EmbeddingSystem,
    Lolcat,
    MostCommonLabel,
    Nemo,
    Neuprint,
    System,
)
from pynapple_nuclr.evaluation import evaluate
from pynapple_nuclr.evaluation.results_cache import Store, hash_array, key_of
from pynapple_nuclr.recording import modality_of

HERE = Path(__file__).parent
UNTRAINED = "untrained network"
SHUFFLED = "shuffled labels, statistics"


@dataclass
class Bench:
    """What all tasks share.

    Parameters
    ----------
    data : Path
        Folder of the recordings.
    features : Features
        Computes features and keeps them.
    folder : Path
        Keeps encoders that tasks train.
    store : Store
        Keeps the predictions of the rows.
    encoders : dict
        Row → encoders, one a run; for both modalities.
    seeds : list of int
        Of the folds over units, and of untrained networks.
    systems : bool
        Also the other systems, which take long.
    """

    data: Path
    features: Features
    folder: Path
    store: Store
    encoders: dict[str, list[Encoder]]
    seeds: list[int]
    systems: bool = False


@dataclass
class Result:
    """The rows of a task."""

    rows: dict[str, Predictions]
    chosen: dict[str, Counter[str]] = field(default_factory=dict)
    encoders: dict[str, list[Encoder]] = field(default_factory=dict)
    seen: dict[str, dict[str, bool | None]] = field(default_factory=dict)  # row → group → seen


def run(bench: Bench, task: RealTask) -> tuple[Result, Populations]:
    """Predict the labels of a task by every row."""
    populations = task.read(bench.data)
    modality = modality_of(next(iter(populations.recordings.values())))
    given = bench.encoders
    if task.encoders:
        given = task.encoders(populations.recordings, bench.seeds, bench.folder)
    encoders = {
        row: [one for one in several if one.config.modality == modality]
        for row, several in given.items()
    }
    encoders = {row: several for row, several in encoders.items() if several}
    first = next(iter(encoders.values()))[0]
    encoders = {UNTRAINED: [untrained(first, seed) for seed in bench.seeds], **encoders}
    found: dict[str, list[dict[str, Any]]] = {}
    for number, seed in enumerate(bench.seeds):
        # Folds of animals are the same for every seed: only what is drawn is run again.
        repeated = number > 0 and not task.within
        systems = _systems(bench, encoders, populations, number, repeated, modality)
        for row, one in _predict(bench, task, populations, systems, seed).items():
            found.setdefault(row, []).append(one)
    rows = {row: _joined(several, populations, task) for row, several in found.items()}
    result = Result(rows, encoders=encoders)
    for row, several in found.items():
        result.chosen[row] = Counter(text for one in several for text in one["chosen"] if text)
    statistics = rows[STATISTICS]
    for row in encoders:
        result.seen[row] = _seen(bench.features, encoders[row][0], populations, statistics)
    return result, populations


def _systems(
    bench: Bench,
    encoders: Mapping[str, Sequence[Encoder]],
    populations: Populations,
    number: int,
    repeated: bool,
    modality: str,
) -> dict[str, System]:
    """Return the rows of one run."""

    choices = Choices()

    def probe(row: str, *inputs: str, **how: Any) -> TunedProbe:
        return TunedProbe(
            inputs, bench.features, row, populations.individuals, choices=choices, **how
        )

    rows: list[System] = []
    if not repeated:
        # Within a recording, or standardised, its mean says nothing.
        mean = [WITH_MEAN] if populations.left_out and not populations.standardized else []
        rows += [probe(one, one) for one in (RATE, STATISTICS, *mean)]
    rows.append(probe(SHUFFLED, STATISTICS, shuffled=True))
    for row, several in encoders.items():
        if repeated and number >= len(several):
            continue
        name = bench.features.add(several[number % len(several)])
        rows.append(probe(row, name))
        if row != UNTRAINED:
            rows.append(probe(both(row), STATISTICS, name))
    if not populations.left_out:
        rows += [MostCommonLabel(), CorrelatedNeighbours()]  # named here, so that they are kept
    if bench.systems and not repeated:
        others = [one() for one in (Lolcat, Nemo, Neuprint) if modality in one.modalities]
        for one in others:  # without labels all are trained on all recordings, as encoders may be
            if isinstance(one, EmbeddingSystem):
                seed = bench.seeds[number]
                name = bench.features.train(one, populations.recordings, seed)
                rows.append(probe(one.row_name(populations.recordings), name))
            else:
                rows.append(one)
    if populations.standardized:
        rows = _standardized(rows)
    return {one.name: one for one in rows}


def _standardized(rows: Sequence[System]) -> list[System]:
    """Return rows of features standardised within recordings, then the main ones as they were."""
    controls = (RATE, SHUFFLED, UNTRAINED)
    probes = [one for one in rows if isinstance(one, TunedProbe)]
    standardized = {
        one.name: replace(one, inputs=tuple(f"{STANDARDIZED}{name}" for name in one.inputs))
        for one in probes
    }
    raw = [
        replace(one, name=f"{one.name}, not standardised")
        for one in probes
        if one.name not in controls
    ]
    return [*(standardized.get(one.name, one) for one in rows), *raw]


def both(row: str) -> str:
    """Return the name of the row that adds the statistics to an embedding."""
    return f"statistics + {row}"


def _predict(
    bench: Bench,
    task: RealTask,
    populations: Populations,
    systems: Mapping[str, System],
    seed: int,
) -> dict[str, dict[str, Any]]:
    """Return the predictions of every row; those that are kept are not made again."""
    everything = populations.recordings
    parts = [{name: one} for name, one in everything.items()] if task.within else [everything]
    whole: dict[str, dict[str, Any]] = {}
    for recordings in parts:
        for row, one in _predict_part(bench, recordings, populations, systems, seed).items():
            if row not in whole:
                whole[row] = one
                continue
            for name, values in one.items():
                whole[row][name] = np.append(whole[row][name], values)
    return whole


def _predict_part(
    bench: Bench,
    recordings: Mapping[str, Any],
    populations: Populations,
    systems: Mapping[str, System],
    seed: int,
) -> dict[str, dict[str, Any]]:
    """Return the predictions of every row, evaluated together."""
    data = {
        name: [content(one), hash_array(np.asarray(one[LABEL]).astype(str))]
        for name, one in recordings.items()
    }
    zero_shot = bool(populations.left_out)
    keys = {
        row: key_of(
            [
                __version__,
                data,
                populations.left_out,
                seed,
                one.settings(),
                bench.features.max_windows,
                list(map(str, SETTINGS)),
            ]
        )
        for row, one in systems.items()
    }
    found = {row: bench.store.read(key) for row, key in keys.items()}
    missing = {row: systems[row] for row, known in found.items() if known is None}
    if missing:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            scores = evaluate(
                recordings,
                LABEL,
                "transductive_zero_shot" if zero_shot else "transductive",
                missing,
                animals=populations.left_out if zero_shot else None,
                seeds=[seed],
                n_shuffles=0,
                progress=False,
            )
        for row in scores["system"].values.tolist():
            own = scores.sel(system=row).squeeze(["protocol", "standardize", "seed"])
            arrays = {
                "predicted": own["predicted"].values.astype(str),
                "label": scores["label"].values.astype(str),
                "recording": scores["recording"].values.astype(str),
                "chosen": np.array(_choices(missing.get(row)), dtype=str),
            }
            if row in missing:  # not the row that evaluate adds without a prediction
                bench.store.write(keys[row], arrays, {})
                found[row] = arrays, {}
    return {row: arrays for row, (arrays, _) in found.items()}


def _choices(system: System | None) -> list[str]:
    """Return what the fits of a row have chosen since the last call."""
    return system.choices.pop(system.name, []) if isinstance(system, TunedProbe) else []


def _joined(
    several: Sequence[Mapping[str, Any]], populations: Populations, task: RealTask
) -> Predictions:
    """Return the runs of a row together."""
    joined = Predictions(
        labels=several[0]["label"],
        recordings=several[0]["recording"],
        predicted=np.stack([one["predicted"] for one in several]),
        individuals=populations.individuals,
        within=bool(task.within),
    )
    return joined.only(populations.scored) if populations.scored else joined


def _seen(
    features: Features, encoder: Encoder, populations: Populations, rows: Predictions
) -> dict[str, bool | None]:
    """Return of each group whether the encoder was trained on any of its recordings."""
    name = features.add(encoder)
    seen: dict[str, list[bool | None]] = {}
    for recording, units in populations.recordings.items():
        group = recording if rows.within else populations.individuals[recording]
        if group not in rows.groups:
            continue
        seen.setdefault(group, []).append(features.seen(name, units))
    return {group: None if None in each else any(each) for group, each in seen.items()}


def encoders_of(arguments: Sequence[str]) -> dict[str, list[Encoder]]:
    """Return row → encoders, of FOLDER[@SECONDS] or NAME=FOLDER,…; default: the bundled ones."""
    if not arguments:
        return {"bundled encoder": [load_encoder("spikes"), load_encoder("calcium")]}
    rows = {}
    for text in arguments:
        name, equals, folders = text.partition("=")
        several = [_encoder_of(one) for one in (folders if equals else name).split(",")]
        rows[name if equals else Path(name).name] = several
    return rows


def _encoder_of(text: str) -> Encoder:
    """Return the encoder of FOLDER, or of FOLDER@SECONDS with windows of so many seconds."""
    folder, _, seconds = text.partition("@")
    encoder = load_encoder(Path(folder))
    return encoder.with_window(float(seconds)) if seconds else encoder


def main() -> None:
    """Read the command line, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=HERE.parent.parent / "shared" / "data")
    parser.add_argument("--only", nargs="*", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--encoder", nargs="*", default=[], metavar="[NAME=]FOLDER[@SECONDS][,…]")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0])
    parser.add_argument("--max-windows", type=int, default=64, help="that an encoder reads")
    parser.add_argument("--systems", action="store_true", help="the other systems too: hours")
    parser.add_argument("--write", action="store_true", help="write docs/real_recordings.md")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    logging.getLogger("pynapple_nuclr").setLevel(logging.ERROR)
    runs = HERE / "runs" / "real"
    bench = Bench(
        data=arguments.data,
        features=Features(runs / "features", arguments.max_windows),
        folder=runs / "encoders",
        store=Store(runs / "predictions"),
        encoders=encoders_of(arguments.encoder),
        seeds=arguments.seeds,
        systems=arguments.systems,
    )
    for name in arguments.only:
        begun = time.perf_counter()
        result, populations = run(bench, TASKS[name])
        scored = {
            name: one
            for name, one in populations.recordings.items()
            if not populations.scored or populations.individuals[name] in populations.scored
        }
        free = measures(bench.features, result.encoders, scored)
        text = real_page.part(TASKS[name], result, free, bench.seeds)
        print(f"{text}\n\n({(time.perf_counter() - begun) / 60:.1f} minutes)\n", flush=True)
        if arguments.write:
            real_page.replace(name, text)


if __name__ == "__main__":
    main()
