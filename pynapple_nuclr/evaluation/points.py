"""The points of a result: folds that every system predicts, and that are scored together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from tqdm import tqdm

from pynapple_nuclr.baselines.base import EmbeddingSystem, System
from pynapple_nuclr.evaluation.fit_systems import Fits
from pynapple_nuclr.evaluation.out_of_fold import Engine, Prediction
from pynapple_nuclr.evaluation.results import scores_of, write
from pynapple_nuclr.evaluation.results_cache import open_store
from pynapple_nuclr.evaluation.scoring import most_likely
from pynapple_nuclr.evaluation.shuffled_labels import chance_scores
from pynapple_nuclr.evaluation.systems import SHUFFLED, shuffled_system, supports_protocol
from pynapple_nuclr.evaluation.task import Fold, Protocol, Task


class Point(NamedTuple):
    """Folds that are scored together, and their position in the table."""

    place: dict[str, Any]  # dimension → label, among them the seed
    folds: list[Fold]

    @property
    def protocol(self) -> Protocol:
        """The protocol of the folds."""
        return self.folds[0].protocol


def coordinates(
    rows: Mapping[str, System], points: Sequence[Point], treatments: Sequence[str]
) -> dict[str, list[Any]]:
    """Return dimension → labels of the table that holds the scores of these points."""
    places = {dim: [point.place[dim] for point in points] for dim in points[0].place}
    return {
        "system": [*rows, SHUFFLED],
        "standardize": list(treatments),
        **{dim: list(dict.fromkeys(labels)) for dim, labels in places.items()},
        "fold": list(dict.fromkeys(fold.name for point in points for fold in point.folds)),
    }


def fill(
    dataset: xr.Dataset,
    task: Task,
    rows: Mapping[str, System],
    points: Sequence[Point],
    *,
    nested: bool = False,
    n_shuffles: int,
    cache: str | Path | None,
    progress: bool,
) -> dict[str, list[Prediction]]:
    """Write the scores of all systems and of shuffled labels; return the systems' predictions.

    Only what the dataset has a variable for is written.
    """
    treatments = dataset["standardize"].values.tolist()
    n_steps = _n_steps(rows, points, len(treatments), n_shuffles)
    predictions: dict[str, list[Prediction]] = {}
    with open_store(cache) as store, tqdm(total=n_steps, disable=not progress, unit="fold") as bar:
        engine = Engine(task, Fits(task, store), nested, bar.update)
        for row, system in rows.items():
            bar.set_description(row)
            for point in points:
                if not supports_protocol(system, point.protocol):
                    continue
                by_treatment = engine.predict(system, point.folds, point.place["seed"], treatments)
                predictions.setdefault(row, []).extend(by_treatment.values())
                for how, one in by_treatment.items():
                    place = {"system": row, "standardize": how, **point.place}
                    scores = scores_of(one.probabilities, task, point.folds)
                    write(dataset, scores | {"seconds": one.seconds}, **place)
                    if "predicted" in dataset:
                        _write_units(dataset, one, task, point.folds, place)
                    if "recording_decodability" in dataset and isinstance(system, EmbeddingSystem):
                        write(dataset, _decodability(engine, system, point, how), **place)
        bar.set_description(SHUFFLED)
        chance = shuffled_system(rows)
        for point in points if n_shuffles else ():
            for how in treatments:
                seed = point.place["seed"]
                scores = chance_scores(engine, chance, point.folds, how, seed, n_shuffles)
                write(dataset, scores, system=SHUFFLED, standardize=how, **point.place)
                bar.update()
    return predictions


def _n_steps(
    rows: Mapping[str, System], points: Sequence[Point], n_treatments: int, n_shuffles: int
) -> int:
    """Return how many folds will be predicted; those with shuffled labels count as one."""
    steps = [
        len(point.folds) * (n_treatments if isinstance(system, EmbeddingSystem) else 1)
        for system in rows.values()
        for point in points
        if supports_protocol(system, point.protocol)
    ]
    return sum(steps) + len(points) * n_treatments * (n_shuffles > 0)


def _write_units(
    dataset: xr.Dataset,
    prediction: Prediction,
    task: Task,
    folds: Sequence[Fold],
    place: dict[str, Any],
) -> None:
    predicted = most_likely(prediction.probabilities)[task.given]  # −1, the last, is ""
    dataset["predicted"].loc[place] = np.append(task.classes, "")[predicted]
    dataset["confidence"].loc[place] = prediction.probabilities.max(axis=1)[task.given]
    for fold, chosen in zip(folds, prediction.chosen, strict=True):
        dataset["chosen"].loc[{**place, "fold": fold.name}] = chosen


def _decodability(
    engine: Engine, system: EmbeddingSystem, point: Point, standardize: str
) -> dict[str, float]:
    """Return how well the recording can be decoded, mean over the fits of the folds."""
    fits = engine.fits_of(system, point.folds, point.place["seed"]).values()
    predicted = [engine.probing.decode_recordings(fit.values, standardize) for fit in fits]
    found, chance = np.mean(predicted, axis=0)
    return {"recording_decodability": found, "recording_chance": chance}
