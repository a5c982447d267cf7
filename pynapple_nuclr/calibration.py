"""How far class probabilities can be trusted: calibration, and leaving out uncertain units.

Plain functions on arrays, the same for every system: labels, class probabilities, classes. Units
without a label (None, NaN, "") or without probabilities (NaN) are left out.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from pynapple_nuclr.columns import as_texts

_BINS = 15
_COVERAGE = np.arange(1, 21) / 20
_TINY = 1e-12  # probabilities below are taken for it, as scikit-learn does
_LOG_TEMPERATURES = (-3.0, 5.0)


def expected_calibration_error(
    labels: ArrayLike, probabilities: ArrayLike, classes: ArrayLike, bins: int = _BINS
) -> float:
    """Return how far confidence and accuracy lie apart.

    Units are sorted by the probability of their most probable class into bins of equal width; the
    result is the mean over bins of |accuracy − mean confidence|, weighted by their units.
    `labels` (units,), `probabilities` (units, classes), `classes` (classes,).
    """
    predictions = _checked(labels, probabilities, classes)
    right = predictions.labels == predictions.predicted
    confidence, accuracy, units = reliability(predictions.confidence, right, bins)
    gaps = np.abs(accuracy - confidence)[units > 0]
    return float(np.average(gaps, weights=units[units > 0]))


def reliability(
    confidence: NDArray[np.float64], right: NDArray[np.bool_], bins: int = _BINS
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Return mean confidence, accuracy (NaN where empty) and units of each bin (bins,)."""
    bin_of = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    units = np.bincount(bin_of, minlength=bins)
    confidences, hits = (np.bincount(bin_of, of, minlength=bins) for of in (confidence, right))
    with np.errstate(invalid="ignore"):
        return confidences / units, hits / units, units


def confidence_above_share(
    probabilities: NDArray[np.float64], shares: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return how far confidence lies above a guess by share: 0 as sure as a guess, 1 certain.

    (p − s) / (1 − s) of the most probable class, where s is the class's share for the classifier.
    `probabilities` (units, classes), `shares` (classes,), 0: 1 / classes; NaN where there are no
    probabilities.
    """
    n_classes = probabilities.shape[1]
    best = np.nan_to_num(probabilities).argmax(axis=1)
    guess = np.broadcast_to(np.where(shares > 0, shares, 1 / n_classes), n_classes)[best]
    return np.asarray((probabilities.max(axis=1) - guess) / (1 - guess))


def brier_score(labels: ArrayLike, probabilities: ArrayLike, classes: ArrayLike) -> float:
    """Return the mean squared distance between probabilities and what was true."""
    predictions = _checked(labels, probabilities, classes)
    truth = predictions.labels[:, None] == predictions.classes
    squares = ((predictions.probabilities - truth) ** 2).sum(axis=1)
    return float(np.mean(squares + ~truth.any(axis=1)))


def macro_f1(labels: ArrayLike, probabilities: ArrayLike, classes: ArrayLike) -> float:
    """Return the macro F1 of the most probable classes."""
    return _f1_of_surest(_checked(labels, probabilities, classes), 1.0)[0]


def macro_f1_of_predictions(
    labels: ArrayLike,
    predicted: ArrayLike,
    classes: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
) -> float:
    """Return the macro F1 of predicted labels: the package's one definition of it.

    `labels, predicted` (units,), `classes` (classes,; default: those that occur in either),
    `sample_weight` (units,). A class that occurs in neither counts as 0. As scikit-learn's
    `f1_score`, of which the checks would take most of the time of a cross-validation.
    """
    both = np.concatenate([np.asarray(labels), np.asarray(predicted)])
    every, codes = np.unique(both, return_inverse=True)
    true, chosen = np.split(codes, 2)
    weight = np.ones(len(true)) if sample_weight is None else np.asarray(sample_weight, float)
    hits, positives = (
        np.bincount(of, weights, len(every))
        for of, weights in ((true, weight * (true == chosen)), (codes, np.tile(weight, 2)))
    )
    f1 = 2 * hits / np.maximum(positives, np.finfo(float).tiny)
    scored = every if classes is None else np.unique(np.asarray(classes))
    return float(f1[np.isin(every, scored)].sum() / len(scored))


def confident_half(
    labels: ArrayLike, probabilities: ArrayLike, classes: ArrayLike
) -> tuple[float, float]:
    """Return the macro F1 on the half of the units with the highest confidence, and on all.

    Both are averages over the same classes: one of which the half holds nothing counts as 0, so
    that nothing is won by never naming a rare class. Units that are as sure as the last of the
    half belong to it.
    """
    predictions = _checked(labels, probabilities, classes)
    return _f1_of_surest(predictions, 0.5)[0], _f1_of_surest(predictions, 1.0)[0]


def confidence_report(
    labels: ArrayLike, probabilities: ArrayLike, classes: ArrayLike
) -> xr.Dataset:
    """Return all that `plot_confidence` and `plot_coverage` draw.

    Parameters
    ----------
    labels : array-like (units,)
        What they are; None, NaN or "" leaves a unit out.
    probabilities : array-like (units, classes)
        Predictions for units that nothing was fitted to; NaN leaves a unit out.
    classes : array-like (classes,)
        Name of each column.

    Returns
    -------
    Dataset
        ``ece``, ``brier``, ``macro_f1``, ``accuracy``, ``macro_f1_confident_half``; by the
        fraction of units that are kept, the most confident first (``coverage``, 0.05 to 1):
        ``coverage_macro_f1``, ``coverage_accuracy``, ``coverage_units`` and
        ``coverage_threshold``, the least confidence among them; by bins of confidence (``bin``,
        their centres): ``bin_confidence``, ``bin_accuracy`` (NaN where empty), ``bin_units``.
        Attributes: ``units``, and ``left_out`` (without a label or without probabilities).

    Raises
    ------
    ValueError
        If the shapes do not fit, rows do not sum to 1, or no unit is left.

    Examples
    --------
    >>> from pynapple_nuclr.calibration import confidence_report
    >>> report = confidence_report(["PV", "SST", None], [[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]],
    ...     ["PV", "SST"])
    >>> round(float(report["ece"]), 2), report.attrs
    (0.15, {'units': 2, 'left_out': 1})
    """
    predictions = _checked(labels, probabilities, classes)
    kept = (predictions.labels, predictions.probabilities, predictions.classes)
    right = predictions.labels == predictions.predicted
    confidence, accuracy, units = reliability(predictions.confidence, right)
    surest = [_f1_of_surest(predictions, coverage) for coverage in _COVERAGE]
    names = ("macro_f1", "accuracy", "units", "threshold")
    by_coverage = dict(zip(names, zip(*surest, strict=True), strict=True))
    return xr.Dataset(
        {
            "ece": expected_calibration_error(*kept),
            "brier": brier_score(*kept),
            "macro_f1": surest[-1][0],
            "accuracy": surest[-1][1],
            "macro_f1_confident_half": confident_half(*kept)[0],
            **{f"coverage_{k}": ("coverage", np.array(v)) for k, v in by_coverage.items()},
            "bin_confidence": ("bin", confidence),
            "bin_accuracy": ("bin", accuracy),
            "bin_units": ("bin", units),
        },
        coords={"coverage": _COVERAGE, "bin": (np.arange(_BINS) + 0.5) / _BINS},
        attrs={"units": len(predictions.labels), "left_out": predictions.left_out},
    )


def fit_temperature(labels: ArrayLike, probabilities: ArrayLike, classes: ArrayLike) -> float:
    """Learn by how much a classifier is too sure.

    The temperature T that makes probabilities ∝ p^(1/T) most likely. Each label counts as
    (n + 1)/(n + 2), where its class has n units, and the rest is shared among the other classes:
    few units, all of them right, are no reason to be sure for ever.
    `labels` (units,), `probabilities` (units, classes), `classes` (classes,).
    """
    values = np.asarray(probabilities, dtype=np.float64)
    own = as_texts(labels)[:, None] == as_texts(classes)
    known = np.isfinite(values)
    usable = (own & known).any(axis=1) & (known.sum(axis=1) > 1)
    if not usable.any():
        return 1.0
    own, known = own[usable], known[usable]
    counts = own.sum(axis=0)
    sure = (counts + 1) / (counts + 2)
    rest = (1 - (own * sure).sum(axis=1, keepdims=True)) / (known.sum(axis=1, keepdims=True) - 1)
    smoothed = np.where(own, sure, rest) * known
    logits = np.where(known, np.log(np.clip(values[usable], _TINY, None)), -np.inf)

    def loss(log_temperature: float) -> float:
        log_probabilities = log_softmax(logits / np.exp(log_temperature), axis=1)
        return float(-(smoothed * np.where(known, log_probabilities, 0.0)).sum())

    best = minimize_scalar(loss, bounds=_LOG_TEMPERATURES, method="bounded")
    return float(np.exp(best.x))


def with_temperature(probabilities: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """Return probabilities ∝ p^(1/T) (units, classes); the order of the classes stays."""
    if temperature == 1:
        return probabilities
    return np.asarray(softmax(np.log(np.clip(probabilities, _TINY, None)) / temperature, axis=1))


class _Predictions(NamedTuple):
    """Labels (units,), probabilities (units, classes) and classes, checked."""

    labels: NDArray[Any]
    probabilities: NDArray[np.float64]
    classes: NDArray[Any]
    left_out: int

    @property
    def confidence(self) -> NDArray[np.float64]:
        return np.asarray(self.probabilities.max(axis=1))

    @property
    def predicted(self) -> NDArray[Any]:
        return np.asarray(self.classes[self.probabilities.argmax(axis=1)])


def _checked(labels: ArrayLike, probabilities: ArrayLike, classes: ArrayLike) -> _Predictions:
    # As texts: labels that a missing value has made floats, or a table texts, are the same ones.
    truth, names = as_texts(labels), as_texts(classes)
    values = np.asarray(probabilities, dtype=np.float64)
    if names.ndim != 1 or values.shape != (len(truth), len(names)):
        raise ValueError(
            f"probabilities has shape {values.shape} for {len(truth)} labels and "
            f"{names.size} classes; expected (units, classes)"
        )
    kept = np.isfinite(values).all(axis=1) & (truth != "")
    if not kept.any():
        raise ValueError(f"none of {len(truth)} units has a label and probabilities")
    values = values[kept]
    off = np.abs(values.sum(axis=1) - 1).max()
    if off > 1e-3 or values.min() < 0:
        raise ValueError(
            f"rows of probabilities lie up to {off:.3g} from a sum of 1 (least value "
            f"{values.min():.3g}); expected probabilities, as of predict_proba"
        )
    return _Predictions(truth[kept], values, names, int((~kept).sum()))


def _f1_of_surest(predictions: _Predictions, coverage: float) -> tuple[float, float, int, float]:
    """Return macro F1, accuracy, number and least confidence of the surest units."""
    confidence, predicted = predictions.confidence, predictions.predicted
    # By their confidence, not by their position: the order of the units must not matter.
    least = np.sort(confidence)[::-1][int(np.ceil(coverage * len(confidence))) - 1]
    kept = confidence >= least
    every = np.union1d(predictions.labels, predicted)
    f1 = macro_f1_of_predictions(predictions.labels[kept], predicted[kept], every)
    right = predictions.labels[kept] == predicted[kept]
    return float(f1), float(right.mean()), int(kept.sum()), float(least)
