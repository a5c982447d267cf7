"""Chance: the same predictions, compared with shuffled labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pynapple_nuclr.baselines.base import EmbeddingSystem
from pynapple_nuclr.evaluation.out_of_fold import Engine
from pynapple_nuclr.evaluation.results import mean_of, scores_of
from pynapple_nuclr.evaluation.scoring import macro_f1_within_recording, most_likely
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
    """Return the mean scores of the probe's predictions against shuffled labels.

    That is what predictions score that know nothing of the labels; nothing is fitted again, so that
    many shuffles cost little. Labels are shuffled among all scored units; for
    ``macro_f1_within_recording`` within each recording, which keeps the frequency of each label
    there. ``chance_sd`` is the standard deviation of ``macro_f1`` over the shuffles.
    """
    task = engine.task
    recordings = task.recordings[task.scored]
    fits = engine.fits_of(system, folds, seed)
    predicted = [
        engine.probing.predict(fits[fold.visible_recordings].values, fold, standardize, task.y)
        for fold in folds
    ]
    probabilities = pool(folds, predicted, len(task.classes))
    of_units = most_likely(probabilities)
    anywhere, inside = [], []
    for number in range(n_shuffles):
        rng = np.random.default_rng([seed, number])
        anywhere.append(scores_of(probabilities, task, folds, rng.permutation(task.y)))
        shuffled = shuffle_within(task.y, recordings, rng)
        inside.append(macro_f1_within_recording(shuffled, of_units, recordings))
    return mean_of(anywhere) | {
        "macro_f1_within_recording": float(np.mean(inside)),
        "chance_sd": float(np.std([one["macro_f1"] for one in anywhere])),
    }


def shuffle_within(
    y: NDArray[np.intp], recordings: NDArray[np.str_], rng: np.random.Generator
) -> NDArray[np.intp]:
    """Return labels (units,) that were shuffled among the units of each recording."""
    shuffled = y.copy()
    for name in np.unique(recordings):
        shuffled[recordings == name] = rng.permutation(y[recordings == name])
    return shuffled
