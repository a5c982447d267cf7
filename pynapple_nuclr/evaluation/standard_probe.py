"""The probe that every embedding gets: the same classifier, trained on the units of a fold."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import sklearn
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pynapple_nuclr.evaluation.leak_checks import check_normaliser, check_shown, shown_labels
from pynapple_nuclr.evaluation.results_cache import hash_array
from pynapple_nuclr.probes.rows import z_score

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pynapple_nuclr.evaluation.task import Fold, Task

    Chances = NDArray[np.float64]

_PER_RECORDING = 200  # units, at most, from which recordings are told
_FOLDS = 5


class Probing:
    """Trains the probe on the vectors of a task's units; the same training is done once.

    Parameters
    ----------
    task : Task
        Whose units they are.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        self._known: dict[Any, Any] = {}

    def answer(
        self,
        vectors: NDArray[np.float32],
        fold: Fold,
        standardize: str,
        y: NDArray[np.intp] | None = None,
    ) -> Chances:
        """Return the probabilities (tested units, classes) that a probe gives to a fold's units.

        Parameters
        ----------
        vectors : ndarray (rows, features)
            Of all units, NaN where there are none.
        fold : Fold
            Who shows a label, and who is told.
        standardize : {"none", "recording"}
            Whether vectors are standardised within each recording first.
        y : ndarray (scored,), optional
            Other labels than the true ones (shuffled).

        Returns
        -------
        ndarray (tested units, classes)
            NaN for units without a vector.

        Raises
        ------
        LeakError
            If the probe, or what standardises its vectors, would be fitted on units that are
            tested, or on others whose labels the fold hides.
        """
        task = self.task
        # Labels that a fold does not show cannot matter: nothing from here on knows them.
        y = shown_labels(task, fold, task.y if y is None else y)
        key = (hash_array(vectors), standardize, *map(hash_array, (fold.train, y, fold.test)))
        if key not in self._known:
            x = self._standardized(vectors, standardize)[task.scored]
            told = train_probe(x[fold.train], y[fold.train], x[fold.test], len(task.classes))
            self._known[key] = told
        answer: Chances = self._known[key]
        return answer

    def tell_recordings(
        self, vectors: NDArray[np.float32], standardize: str
    ) -> tuple[float, float]:
        """Return how well a probe tells the recording from one unit's vector, and chance.

        Balanced accuracy of five stratified folds over all units with a vector, labelled or not:
        at most 200 of a recording, and recordings with at least 5.

        Returns
        -------
        (float, float)
            NaN where there are not two such recordings.
        """
        key = (hash_array(vectors), standardize, "recordings")
        if key not in self._known:
            self._known[key] = self._tell_recordings(vectors, standardize)
        scores: tuple[float, float] = self._known[key]
        return scores

    def _tell_recordings(
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
        told = np.empty_like(y)
        for train, test in StratifiedKFold(_FOLDS, shuffle=True, random_state=0).split(y, y):
            told[test] = train_probe(x[train], y[train], x[test], len(mine)).argmax(axis=1)
        return float(balanced_accuracy_score(y, told)), 1 / len(mine)

    def _standardized(self, vectors: NDArray[np.float32], standardize: str) -> NDArray[np.float64]:
        x = vectors.astype(np.float64)
        if standardize == "recording":
            for name in self.task.units:
                rows = self.task.rows_of(name)
                check_normaliser(self.task, name, rows)
                heard = np.asarray(np.isfinite(x[rows]).all(axis=1))
                x[rows] = z_score(x[rows], heard)
        return x


def new_probe() -> Any:
    """Return the untrained classifier, the same as that of `pynapple_nuclr.Probe`."""
    classifier = LogisticRegression(max_iter=1000, class_weight="balanced")
    return make_pipeline(StandardScaler(), classifier)


def train_probe(
    x: NDArray[np.float64], y: NDArray[np.intp], asked: NDArray[np.float64], n_classes: int
) -> Chances:
    """Train the probe and ask it.

    Parameters
    ----------
    x : ndarray (units, features)
        Vectors to learn from; rows with NaN are left out.
    y : ndarray (units,)
        Index of the class of each.
    asked : ndarray (asked units, features)
        Vectors to tell.
    n_classes : int
        All classes; those without a unit to learn from get probability 0.

    Returns
    -------
    ndarray (asked units, classes)
        NaN where the vector is; everywhere, if there is nothing to learn from.

    Raises
    ------
    LeakError
        If a class is `guards.HIDDEN`.

    Examples
    --------
    >>> import numpy as np
    >>> from pynapple_nuclr.evaluation.standard_probe import train_probe
    >>> x, y = np.array([[0.0], [0.2], [1.0], [1.2]]), np.array([0, 0, 2, 2])
    >>> train_probe(x, y, np.array([[0.1], [np.nan]]), 3).round(1)
    array([[0.7, 0. , 0.3],
           [nan, nan, nan]])
    """
    check_shown(y)
    told = np.full((len(asked), n_classes), np.nan)
    heard, can = np.isfinite(x).all(axis=1), np.isfinite(asked).all(axis=1)
    classes = np.unique(y[heard])
    if not len(classes) or not can.any():
        return told
    told[can] = 0.0
    if len(classes) == 1:  # nothing to tell apart: all that can be said is this class
        told[np.ix_(can, classes)] = 1.0
        return told
    # All has been checked; small probes spend more time on checks than on learning.
    quick = sklearn.config_context(assume_finite=True, skip_parameter_validation=True)
    with warnings.catch_warnings(), quick:
        warnings.simplefilter("ignore", ConvergenceWarning)
        probe = new_probe().fit(x[heard], y[heard])
        told[np.ix_(can, classes)] = probe.predict_proba(asked[can])
    return told


def pool(folds: Sequence[Fold], answers: Sequence[Chances], n_classes: int) -> Chances:
    """Lay the answers about the folds' units together (scored, classes); NaN where untested."""
    pooled = np.full((len(folds[0].test), n_classes), np.nan)
    for fold, answer in zip(folds, answers, strict=True):
        pooled[fold.test] = answer
    return pooled
