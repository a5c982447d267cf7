"""How well a classifier predicts units it has not seen, beside chance."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import f1_score
from sklearn.model_selection import GroupKFold, StratifiedKFold
from sklearn.utils.multiclass import check_classification_targets

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Folds = list[tuple[NDArray[np.intp], NDArray[np.intp]]]

_FOLDS_OF_UNITS = 5
_FOLDS_OF_GROUPS = 10
_SHUFFLES = 5


class Score(NamedTuple):
    """A cross-validated score.

    Attributes
    ----------
    f1, chance : float
        Macro F1 of the pooled out-of-fold predictions; its mean with shuffled labels.
    by : {"animal", "recording", "unit"}
        What each fold left out.
    folds : int
        Number of folds.
    """

    f1: float
    chance: float
    by: str
    folds: int


def check_classes(labels: NDArray[Any], target: str) -> None:
    """Refuse labels that nothing can be learnt from.

    Raises
    ------
    ValueError
        If they are continuous, of fewer than two classes, or a class has fewer than two units.
    """
    if len(labels):
        check_classification_targets(labels)
    classes, counts = np.unique(labels, return_counts=True)
    if len(classes) < 2:
        found = f"one class, {classes[0]!s}" if len(classes) else "no labelled unit"
        raise ValueError(f"{target!r} has {found}; expected at least two classes (not 1 class)")
    if counts.min() < 2:
        rare = ", ".join(str(one) for one in classes[counts < 2])
        raise ValueError(
            f"{target!r} has fewer than two units of: {rare}; label more of them, or clear these "
            "labels (None)"
        )


def cross_validate(
    estimator: Any,
    x: NDArray[np.float64],
    labels: NDArray[Any],
    recordings: NDArray[Any],
    animals: NDArray[Any] | None = None,
    target: str = "y",
) -> Score:
    """Predict every unit by a classifier that has not seen its animal, recording or itself.

    Parameters
    ----------
    estimator : classifier
        Is cloned for every fold.
    x : ndarray (units, columns)
        What it reads.
    labels, recordings : ndarray (units,)
        Label and recording of each unit.
    animals : ndarray (units,), optional
        Animal of each unit. At least two: folds leave out animals. Else recordings, if every
        class is in at least two of them; else units, stratified.
    target : str
        What the labels are called, in warnings.

    Returns
    -------
    Score
        Folds and shuffles are seeded; shuffled labels use the same folds.
    """
    by, folds = _folds(labels, recordings, animals, target)
    shuffled = [np.random.default_rng(seed).permutation(labels) for seed in range(_SHUFFLES)]
    scores = [_pooled_f1(estimator, x, y, folds) for y in (labels, *shuffled)]
    return Score(scores[0], float(np.mean(scores[1:])), by, len(folds))


def _folds(
    labels: NDArray[Any], recordings: NDArray[Any], animals: NDArray[Any] | None, target: str
) -> tuple[str, Folds]:
    n_classes, n_recordings = len(np.unique(labels)), len(np.unique(recordings))
    if animals is not None and len(np.unique(animals)) > 1:
        lonely = _lonely_classes(labels, animals)
        if lonely:
            warnings.warn(
                f"{target!r}: {lonely} of {n_classes} classes in one animal only: leaving "
                "animals out, they cannot be predicted and count as 0 in the cross-validated "
                "macro F1",
                UserWarning,
                stacklevel=4,
            )
        return "animal", _by_group(labels, animals)
    lonely = _lonely_classes(labels, recordings)
    if not lonely:
        return "recording", _by_group(labels, recordings)
    if n_recordings > 1:
        warnings.warn(
            f"{target!r}: {lonely} of {n_classes} classes in one of {n_recordings} recordings "
            "only: folds leave out units, not recordings, and where classes and recordings "
            "coincide the score may be that of telling recordings apart",
            UserWarning,
            stacklevel=4,
        )
    # As many folds as the largest class has units: rarer classes are spread one to a fold.
    most = int(np.unique(labels, return_counts=True)[1].max())
    splitter = StratifiedKFold(min(_FOLDS_OF_UNITS, most), shuffle=True, random_state=0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")
        return "unit", list(splitter.split(labels, labels))


def _by_group(labels: NDArray[Any], groups: NDArray[Any]) -> Folds:
    n_folds = min(_FOLDS_OF_GROUPS, len(np.unique(groups)))
    return list(GroupKFold(n_folds).split(labels, labels, groups))


def _lonely_classes(labels: NDArray[Any], groups: NDArray[Any]) -> int:
    """Count the classes that are in one group only."""
    return sum(len(np.unique(groups[labels == one])) < 2 for one in np.unique(labels))


def _pooled_f1(estimator: Any, x: NDArray[np.float64], labels: NDArray[Any], folds: Folds) -> float:
    predicted = np.empty_like(labels)
    for train, test in folds:
        classes = np.unique(labels[train])
        if len(classes) == 1:  # nothing to tell apart: all that can be said is this class
            predicted[test] = classes[0]
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the final fit will say it
            predicted[test] = clone(estimator).fit(x[train], labels[train]).predict(x[test])
    return float(f1_score(labels, predicted, average="macro", zero_division=0))
