"""Scores of out-of-fold predictions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pynapple_nuclr.calibration import (
    brier_score,
    confident_half,
    expected_calibration_error,
    macro_f1_of_predictions,
)

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

FEWEST = 20
"""Units of a label that make it count within a recording."""

_TOP = 5

POOLED = (
    "macro_f1",
    "macro_f1_within_recording",
    "balanced_accuracy",
    "top1",
    "top5",
    "ece",
    "brier",
    "macro_f1_confident_half",
    "coverage",
)
"""The scores that are one number for all units."""


def score(probabilities: Floats, y: Indices, recordings: NDArray[np.str_]) -> dict[str, float]:
    """Return the `POOLED` scores of the predictions of all units; `evaluate` describes them.

    A unit without a prediction (NaN) counts as missed: it lowers the recall of its class, and the
    precision of none. Equal probabilities are in random order for ``top5``.
    """
    n_classes = probabilities.shape[1]
    predicted = most_likely(probabilities)
    counts = confusion(y, predicted, n_classes)
    return {
        "macro_f1": macro_f1_of_predictions(y, predicted, np.arange(n_classes)),
        "macro_f1_within_recording": macro_f1_within_recording(y, predicted, recordings),
        "balanced_accuracy": _mean_recall(counts),
        "top1": float(np.mean(predicted == y)),
        "top5": _among_first(probabilities, y, _TOP),
        **_confidence(probabilities, y),
        "coverage": float(np.mean(predicted >= 0)),
    }


def most_likely(probabilities: Floats) -> Indices:
    """Return the index of the most probable class of each unit (units,); −1 where NaN."""
    known = np.isfinite(probabilities).all(axis=1)
    return np.where(known, np.nan_to_num(probabilities).argmax(axis=1), -1)


def confusion(y: Indices, predicted: Indices, n_classes: int) -> Floats:
    """Count true classes (rows) against predictions, of which the last column is "none".

    Examples
    --------
    >>> import numpy as np
    >>> from pynapple_nuclr.evaluation.scoring import confusion
    >>> confusion(np.array([0, 0, 1, 1]), np.array([0, 1, 1, -1]), 2)
    array([[1., 1., 0.],
           [0., 1., 1.]])
    """
    cells = y * (n_classes + 1) + np.where(predicted < 0, n_classes, predicted)
    counts = np.bincount(cells, minlength=n_classes * (n_classes + 1))
    return counts.reshape(n_classes, n_classes + 1).astype(np.float64)


def f1_of_present(y: Indices, predicted: Indices) -> float:
    """Return the macro F1 over the labels that occur among these units; NaN without units."""
    return macro_f1_of_predictions(y, predicted, np.unique(y)) if len(y) else float("nan")


def f1_of_folds(
    probabilities: Floats, y: Indices, folds: Sequence[NDArray[np.bool_]]
) -> list[float]:
    """Return the macro F1 of each fold's units, over the labels that occur among them."""
    predicted = most_likely(probabilities)
    return [f1_of_present(y[test], predicted[test]) for test in folds]


def macro_f1_within_recording(
    y: Indices, predicted: Indices, recordings: NDArray[np.str_]
) -> float:
    """Return the mean macro F1 of recordings with two groups of at least 20 units each.

    Within a recording the F1 is over the labels present in it. NaN without such a recording.
    """
    scores = []
    for name in np.unique(recordings):
        here = recordings == name
        if (np.bincount(y[here]) >= FEWEST).sum() >= 2:
            scores.append(f1_of_present(y[here], predicted[here]))
    return float(np.mean(scores)) if scores else float("nan")


def _confidence(probabilities: Floats, y: Indices) -> dict[str, float]:
    """Return the scores of the confidence; NaN where no unit has a prediction."""
    if not np.isfinite(probabilities).all(axis=1).any():
        return dict.fromkeys(("ece", "brier", "macro_f1_confident_half"), float("nan"))
    classes = np.arange(probabilities.shape[1])
    return {
        "ece": expected_calibration_error(y, probabilities, classes),
        "brier": brier_score(y, probabilities, classes),
        "macro_f1_confident_half": confident_half(y, probabilities, classes)[0],
    }


def _among_first(probabilities: Floats, y: Indices, first: int) -> float:
    if probabilities.shape[1] <= first:
        return float("nan")
    own = np.take_along_axis(probabilities, y[:, None], axis=1)
    better, equal = (probabilities > own).sum(axis=1), (probabilities == own).sum(axis=1)
    share = np.clip((first - better) / np.maximum(equal, 1), 0, 1)
    return float(np.where(equal > 0, share, 0.0).mean())  # NaN equals nothing: missed


def _mean_recall(counts: Floats) -> float:
    """Return the mean over all classes of their recall; 0 of a class without units."""
    return float(np.mean(np.diag(counts) / np.maximum(counts.sum(axis=1), 1)))
