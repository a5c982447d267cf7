"""Scores of out-of-fold predictions, exactly as the design says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from pynapple_nuclr.calibration import brier_score, confident_half, expected_calibration_error

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Indices = NDArray[np.intp]

FEWEST = 20
"""Units of a group for it to count within a recording."""

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


def score(chances: Floats, y: Indices, recordings: NDArray[np.str_]) -> dict[str, float]:
    """Score the predictions of all units together.

    A unit about which a system said nothing (NaN) counts as missed: it takes from the recall of
    its class, and from the precision of none.

    Parameters
    ----------
    chances : ndarray (units, classes)
        Probabilities.
    y : ndarray (units,)
        Index of the true class.
    recordings : ndarray (units,)
        Recording of each.

    Returns
    -------
    dict
        ``macro_f1`` over all classes; ``macro_f1_within_recording``: mean over recordings with at
        least two groups of 20 units of the macro F1 over the labels present there;
        ``balanced_accuracy``, the mean recall of all classes; ``top1``, ``top5``: share of the
        units whose class is the first, or among the first five (equal probabilities in random
        order; NaN below six classes); ``ece``, ``brier`` and ``macro_f1_confident_half`` of the
        answered units, as in `pynapple_nuclr.calibration`; ``coverage``: share of the units about
        which something was said.
    """
    n_classes = chances.shape[1]
    told = most_likely(chances)
    counts = confusion(y, told, n_classes)
    return {
        "macro_f1": float(np.mean(f1_of_classes(counts))),
        "macro_f1_within_recording": macro_f1_within_recording(y, told, recordings, n_classes),
        "balanced_accuracy": float(np.mean(_share(np.diag(counts), counts.sum(axis=1)))),
        "top1": float(np.mean(told == y)),
        "top5": _among_first(chances, y, _TOP),
        **_confidence(chances, y),
        "coverage": float(np.mean(told >= 0)),
    }


def most_likely(chances: Floats) -> Indices:
    """Return the index of the most probable class of each unit (units,); −1 where NaN."""
    known = np.isfinite(chances).all(axis=1)
    return np.where(known, np.nan_to_num(chances).argmax(axis=1), -1)


def confusion(y: Indices, told: Indices, n_classes: int) -> Floats:
    """Count true classes (rows) against predictions, of which the last column is "no answer".

    Returns
    -------
    ndarray (classes, classes + 1)

    Examples
    --------
    >>> import numpy as np
    >>> from pynapple_nuclr.evaluation.scoring import confusion, f1_of_classes
    >>> counts = confusion(np.array([0, 0, 1, 1]), np.array([0, 1, 1, -1]), 2)
    >>> counts
    array([[1., 1., 0.],
           [0., 1., 1.]])
    >>> f1_of_classes(counts).round(3)
    array([0.667, 0.5  ])
    """
    cells = y * (n_classes + 1) + np.where(told < 0, n_classes, told)
    counts = np.bincount(cells, minlength=n_classes * (n_classes + 1))
    return counts.reshape(n_classes, n_classes + 1).astype(np.float64)


def f1_of_classes(counts: Floats) -> Floats:
    """Return the F1 of every class (classes,): 2 hits / (true + predicted); 0 where there is none.

    Parameters
    ----------
    counts : ndarray (classes, classes + 1)
        From `confusion`.
    """
    predicted = counts[:, :-1].sum(axis=0)
    return _share(2 * np.diag(counts), counts.sum(axis=1) + predicted)


def f1_of_present(y: Indices, told: Indices, n_classes: int) -> float:
    """Return the macro F1 over the labels that occur among these units; NaN without units."""
    counts = confusion(y, told, n_classes)
    present = counts.sum(axis=1) > 0
    return float(f1_of_classes(counts)[present].mean()) if present.any() else float("nan")


def f1_of_folds(chances: Floats, y: Indices, folds: Sequence[NDArray[np.bool_]]) -> list[float]:
    """Return the macro F1 of each fold's units, over the labels that occur among them.

    Parameters
    ----------
    chances : ndarray (units, classes)
        Probabilities.
    y : ndarray (units,)
        Index of the true class.
    folds : sequence of ndarray (units,)
        Which units each fold tests.
    """
    told = most_likely(chances)
    return [f1_of_present(y[test], told[test], chances.shape[1]) for test in folds]


def macro_f1_within_recording(
    y: Indices, told: Indices, recordings: NDArray[np.str_], n_classes: int
) -> float:
    """Return the mean macro F1 of recordings with two groups of at least 20 units each.

    Within a recording the F1 is over the labels present in it. NaN without such a recording.
    """
    scores = []
    for name in np.unique(recordings):
        here = recordings == name
        if (np.bincount(y[here]) >= FEWEST).sum() >= 2:
            scores.append(f1_of_present(y[here], told[here], n_classes))
    return float(np.mean(scores)) if scores else float("nan")


def _confidence(chances: Floats, y: Indices) -> dict[str, float]:
    """Return how far confidence can be trusted; NaN where nothing was said of any unit."""
    if not np.isfinite(chances).all(axis=1).any():
        return dict.fromkeys(("ece", "brier", "macro_f1_confident_half"), float("nan"))
    classes = np.arange(chances.shape[1])
    return {
        "ece": expected_calibration_error(y, chances, classes),
        "brier": brier_score(y, chances, classes),
        "macro_f1_confident_half": confident_half(y, chances, classes)[0],
    }


def _among_first(chances: Floats, y: Indices, first: int) -> float:
    if chances.shape[1] <= first:
        return float("nan")
    own = np.take_along_axis(chances, y[:, None], axis=1)
    better, equal = (chances > own).sum(axis=1), (chances == own).sum(axis=1)
    share = np.clip((first - better) / np.maximum(equal, 1), 0, 1)
    return float(np.where(equal > 0, share, 0.0).mean())  # NaN equals nothing: missed


def _share(part: Floats, whole: Floats) -> Floats:
    """Divide where there is something to divide by, else 0."""
    return np.divide(part, whole, out=np.zeros_like(part, dtype=np.float64), where=whole > 0)
