"""Results as labelled arrays."""

from __future__ import annotations

import datetime
import json
import platform
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import sklearn
import xarray as xr
from numpy.typing import NDArray

from pynapple_nuclr import __version__
from pynapple_nuclr.baselines.base import EmbeddingSystem, LabelSystem, System
from pynapple_nuclr.evaluation.out_of_fold import Prediction
from pynapple_nuclr.evaluation.score_tables import SAME_RECORDING
from pynapple_nuclr.evaluation.scoring import confusion, f1_of_folds, most_likely, score
from pynapple_nuclr.evaluation.systems import shuffled_system
from pynapple_nuclr.evaluation.task import Fold, Task

Scores = dict[str, Any]


def blank(
    coords: Mapping[str, Sequence[Any]], variables: Mapping[str, Sequence[str]]
) -> xr.Dataset:
    """Return a Dataset of NaN."""
    empty = {
        name: (tuple(dims), np.full([len(coords[dim]) for dim in dims], np.nan))
        for name, dims in variables.items()
    }
    return xr.Dataset(empty, coords={dim: np.asarray(labels) for dim, labels in coords.items()})


def write(dataset: xr.Dataset, scores: Scores, **where: Any) -> None:
    """Write the scores that a Dataset has at a position; those of folds at the folds' names."""
    for name in scores.keys() & dataset.data_vars.keys():
        value = scores[name]
        place = {dim: at for dim, at in where.items() if dim in dataset[name].dims}
        if isinstance(value, Mapping):
            place["fold"], value = list(value), list(value.values())
        dataset[name].loc[place] = value


def scores_of(
    probabilities: NDArray[np.float64],
    task: Task,
    folds: Sequence[Fold],
    y: NDArray[np.intp] | None = None,
) -> Scores:
    """Return all scores of out-of-fold probabilities."""
    y = task.y if y is None else y
    of_folds = f1_of_folds(probabilities, y, [fold.test for fold in folds])
    return {
        **score(probabilities, y, task.recordings[task.scored]),
        "macro_f1_fold": dict(zip([fold.name for fold in folds], of_folds, strict=True)),
        "confusion": confusion(y, most_likely(probabilities), len(task.classes)),
    }


def mean_of(several: Sequence[Scores]) -> Scores:
    """Return the mean over several runs of each score."""
    means: Scores = {}
    for name, first in several[0].items():
        values = [one[name] for one in several]
        if isinstance(first, Mapping):
            means[name] = {key: float(np.mean([v[key] for v in values])) for key in first}
        else:
            means[name] = np.mean(values, axis=0)
    return means


def system_coordinates(
    rows: Mapping[str, System], predictions: Mapping[str, Sequence[Prediction]]
) -> dict[str, Any]:
    """Return identity, training data and settings of every system, as coordinates on ``system``."""
    used: dict[str, set[str]] = {row: set() for row in rows}
    for row, several in predictions.items():
        used[row] = {fit.identity for one in several for fit in one.fits.values()} - {""}
    chance = shuffled_system(rows)
    name = next((row for row, one in rows.items() if one is chance), chance.name)
    trained_on = [*map(_training_data, rows.values()), f"shuffled labels; vectors of {name}"]
    settings = [*(json.dumps(one.settings()) for one in rows.values()), "{}"]
    return {
        "identity": ("system", [*(", ".join(sorted(one)) for one in used.values()), ""]),
        "pretrained_on": ("system", trained_on),
        "settings": ("system", settings),
    }


def _training_data(system: System) -> str:
    """Return in a few words what a system was trained on."""
    if system.pretrained_on:
        return str(system.pretrained_on)
    if isinstance(system, LabelSystem) and system.uses_test_recording_labels:
        return SAME_RECORDING
    if isinstance(system, EmbeddingSystem):
        return "unlabelled recordings of the protocol"
    return "labelled units of the training folds"


def attributes(kind: str, task: Task, **more: Any) -> dict[str, Any]:
    """Return the attributes of a result."""
    return {
        "kind": kind,
        "target": task.target,
        "modality": task.modality,
        "n_recordings": len(task.units),
        "n_animals": len(set(task.animals) - {""}),
        "n_units": len(task.scored),
        "n_silent": task.n_silent,
        "n_unlabelled": len(task.labels) - len(task.scored) - task.n_silent,
        "n_classes": len(task.classes),
        **more,
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "versions": (
            f"pynapple-nuclr {__version__}, scikit-learn {sklearn.__version__}, "
            f"numpy {np.__version__}, Python {platform.python_version()}"
        ),
    }
