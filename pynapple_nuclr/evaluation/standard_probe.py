"""The probe that every embedding gets: the same classifier, trained on the units of a fold."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import sklearn
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import StratifiedKFold

from pynapple_nuclr.evaluation.leak_checks import check_normaliser, check_shown, shown_labels
from pynapple_nuclr.evaluation.results_cache import hash_array
from pynapple_nuclr.evaluation.task import Fold, Task
from pynapple_nuclr.probes.default_estimator import default_estimator, one_blas_thread
from pynapple_nuclr.probes.rows import z_score

Probabilities = NDArray[np.float64]

_PER_RECORDING = 200  # units, at most, to decode the recording
_FOLDS = 5


class Probing:
    """Trains the probe on the vectors of a task's units; the same training is done once."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self._known: dict[Any, Any] = {}

    def predict(
        self,
        vectors: NDArray[np.float32],
        fold: Fold,
        standardize: str,
        y: NDArray[np.intp] | None = None,
    ) -> Probabilities:
        """Return the probabilities (tested units, classes) that a probe gives to a fold's units."""
        task = self.task
        # From here on, no label exists that the fold does not show.
        y = shown_labels(task, fold, task.y if y is None else y)
        key = (hash_array(vectors), standardize, *map(hash_array, (fold.train, y, fold.test)))
        if key not in self._known:
            x = self._standardized(vectors, standardize)[task.scored]
            predicted = train_probe(x[fold.train], y[fold.train], x[fold.test], len(task.classes))
            self._known[key] = predicted
        probabilities: Probabilities = self._known[key]
        return probabilities

    def decode_recordings(
        self, vectors: NDArray[np.float32], standardize: str
    ) -> tuple[float, float]:
        """Return how well a probe decodes the recording from one unit's vector, and chance.

        Balanced accuracy of five stratified folds over all units with a vector, labelled or not:
        at most 200 of a recording, and recordings with at least 5.
        """
        key = (hash_array(vectors), standardize, "recordings")
        if key not in self._known:
            self._known[key] = self._decode_recordings(vectors, standardize)
        scores: tuple[float, float] = self._known[key]
        return scores

    def _decode_recordings(
        self, vectors: NDArray[np.float32], standardize: str
    ) -> tuple[float, float]:
        rows, rng = self.task.sorted_rows, np.random.default_rng(0)
        rows = rows[np.isfinite(vectors[rows]).all(axis=1)]
        names, y = np.unique(self.task.recordings[rows], return_inverse=True)
        mine = [rng.permutation(rows[y == i])[:_PER_RECORDING] for i in range(len(names))]
        mine = [some for some in mine if len(some) >= _FOLDS]
        if len(mine) < 2:
            return float("nan"), float("nan")
        y = np.repeat(np.arange(len(mine)), list(map(len, mine)))
        x = self._standardized(vectors, standardize)[np.concatenate(mine)]
        predicted = np.empty_like(y)
        for train, test in StratifiedKFold(_FOLDS, shuffle=True, random_state=0).split(y, y):
            predicted[test] = train_probe(x[train], y[train], x[test], len(mine)).argmax(axis=1)
        return float(balanced_accuracy_score(y, predicted)), 1 / len(mine)

    def _standardized(self, vectors: NDArray[np.float32], standardize: str) -> NDArray[np.float64]:
        x = vectors.astype(np.float64)
        if standardize == "recording":
            for name in self.task.units:
                rows = self.task.rows_of(name)
                check_normaliser(self.task, name, rows)
                has_embedding = np.asarray(np.isfinite(x[rows]).all(axis=1))
                x[rows] = z_score(x[rows], has_embedding)
        return x


def train_probe(
    x: NDArray[np.float64], y: NDArray[np.intp], x_test: NDArray[np.float64], n_classes: int
) -> Probabilities:
    """Train the probe on x (units, features) and classes y (units,); predict (tested, classes).

    Rows of x with NaN are left out; predictions are NaN where x_test is, and everywhere if there
    is nothing to learn from. Classes without a unit to learn from get probability 0.
    """
    check_shown(y)
    predicted = np.full((len(x_test), n_classes), np.nan)
    train, test = np.isfinite(x).all(axis=1), np.isfinite(x_test).all(axis=1)
    classes = np.unique(y[train])
    if not len(classes) or not test.any():
        return predicted
    predicted[test] = 0.0
    if len(classes) == 1:
        predicted[np.ix_(test, classes)] = 1.0
        return predicted
    # The input is checked, and small probes spend more time on checks than on learning.
    quick = sklearn.config_context(assume_finite=True, skip_parameter_validation=True)
    with warnings.catch_warnings(), quick, one_blas_thread():
        warnings.simplefilter("ignore", ConvergenceWarning)
        probe = default_estimator().fit(x[train], y[train])
        predicted[np.ix_(test, classes)] = probe.predict_proba(x_test[test])
    return predicted


def pool(
    folds: Sequence[Fold], predictions: Sequence[Probabilities], n_classes: int
) -> Probabilities:
    """Join the predictions of all folds (scored, classes); NaN where no fold tests a unit."""
    pooled = np.full((len(folds[0].test), n_classes), np.nan)
    for fold, probabilities in zip(folds, predictions, strict=True):
        pooled[fold.test] = probabilities
    return pooled
