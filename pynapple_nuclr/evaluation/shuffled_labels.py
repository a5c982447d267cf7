"""Chance: the same probe on the same vectors and folds, with shuffled labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pynapple_nuclr.baselines.base import EmbeddingSystem
from pynapple_nuclr.evaluation.out_of_fold import Engine
from pynapple_nuclr.evaluation.results import mean_of, scores_of
from pynapple_nuclr.evaluation.standard_probe import pool
from pynapple_nuclr.evaluation.task import Fold


def chance_scores(
    engine: Engine,
    system: EmbeddingSystem,
    folds: Sequence[Fold],
    standardize: str,
    seed: int,
    n_shuffles: int,
) -> dict[str, Any]:
    """Return the mean scores of runs with labels shuffled among all scored units.

    For ``macro_f1_within_recording`` they are shuffled within each recording, which keeps the
    frequency of each label there.
    """
    task = engine.task
    recordings = task.recordings[task.scored]
    fits = engine.fits_of(system, folds, seed)

    def run(y: NDArray[np.intp]) -> dict[str, Any]:
        predicted = [
            engine.probing.predict(fits[fold.visible_recordings].values, fold, standardize, y)
            for fold in folds
        ]
        return scores_of(pool(folds, predicted, len(task.classes)), task, folds, y)

    anywhere, inside = [], []
    for number in range(n_shuffles):
        rng = np.random.default_rng([seed, number])
        anywhere.append(run(rng.permutation(task.y)))
        inside.append(run(shuffle_within(task.y, recordings, rng)))
    return mean_of(anywhere) | {
        "macro_f1_within_recording": mean_of(inside)["macro_f1_within_recording"]
    }


def shuffle_within(
    y: NDArray[np.intp], recordings: NDArray[np.str_], rng: np.random.Generator
) -> NDArray[np.intp]:
    """Return labels (units,) that were shuffled among the units of each recording."""
    shuffled = y.copy()
    for name in np.unique(recordings):
        shuffled[recordings == name] = rng.permutation(y[recordings == name])
    return shuffled
