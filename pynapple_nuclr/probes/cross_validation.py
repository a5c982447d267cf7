"""How well a classifier predicts units it has not seen, beside chance."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GroupKFold, StratifiedKFold
from sklearn.utils.multiclass import check_classification_targets
from tqdm import tqdm

from pynapple_nuclr.calibration import (
    confidence_report,
    fit_temperature,
    macro_f1_of_predictions,
    with_temperature,
)
from pynapple_nuclr.columns import differ_in_case
from pynapple_nuclr.leakage import LeakError
from pynapple_nuclr.probes.default_estimator import one_blas_thread
from pynapple_nuclr.user_warnings import list_some, warn_user

Fold = tuple[NDArray[np.intp], NDArray[np.intp]]
Folds = list[Fold]
# Labels (units,) and probabilities (units, classes) by estimators of other folds.
Predicted = tuple[NDArray[Any], NDArray[np.float64] | None]

_FOLDS_OF_UNITS = 5
_FOLDS_OF_GROUPS = 10
_INNER_FOLDS = 5
_SECONDS_WITHOUT_BAR = 2


class Key(NamedTuple):
    """What names a way to predict."""

    inputs: str
    weights: str | None = None  # of the classes; see `default_estimator`
    c: float | None = None  # inverse regularisation; None: the user's own estimator


class Candidate(NamedTuple):
    """One of the ways to predict among which folds choose."""

    x: NDArray[np.float64]  # (units, columns)
    estimator: Any  # not fitted


class Score(NamedTuple):
    """A cross-validated score."""

    # macro F1 of the pooled out-of-fold predictions; its mean and standard deviation if the labels
    # are shuffled among the units
    f1: float
    chance: float
    chance_sd: float
    by: str  # {"animal", "recording", "unit"}: what each fold left out
    folds: int  # number of folds
    # by how much the classifier is too sure, learnt from its out-of-fold probabilities
    temperature: float
    # how far out-of-fold probabilities can be trusted; see `Probe`. Empty without any
    calibration: dict[str, float]
    chosen: Key  # the candidate
    f1_of: dict[Key, float]  # macro F1 of the out-of-fold predictions of each candidate


def check_classes(labels: NDArray[Any], target: str, n_unlabelled: int = 0) -> None:
    """Refuse labels that nothing can be learnt from; `n_unlabelled` other units have none."""
    try:
        if len(labels):
            check_classification_targets(labels)
    except ValueError as error:
        raise ValueError(
            f"{target!r} is no column of labels, but of numbers such as {labels[0]}; expected "
            f"names or whole numbers, a few units of each ({error})"
        ) from error
    classes, counts = np.unique(labels, return_counts=True)
    if alike := differ_in_case(classes.tolist()):
        warn_user(
            f"{target!r}: labels that differ only in case are taken for different classes: "
            f"{', '.join(map(repr, alike))}; write them alike if they are one"
        )
    if len(classes) < 2:
        found = f"one class, {classes[0]!s}" if len(classes) else "no labelled unit"
        others = ""
        if len(classes) and n_unlabelled:
            others = f'; label the {n_unlabelled} other units too, for example "other"'
        raise ValueError(
            f"{target!r} has {found}; expected at least two classes (not 1 class){others}"
        )
    if counts.min() < 2:
        if classes.dtype.kind in "iuf" and 2 * len(classes) > len(labels):
            raise ValueError(
                f"{target!r} holds {len(classes)} different numbers for {len(labels)} units; a "
                "probe predicts classes: expected names or whole numbers, a few units of each"
            )
        rare = ", ".join(str(one) for one in classes[counts < 2])
        raise ValueError(
            f"{target!r} has fewer than two units of: {rare}; label more of them, or clear these "
            "labels (None)"
        )


def cross_validate(
    candidates: dict[Key, Candidate],
    labels: NDArray[Any],
    recordings: NDArray[Any],
    animals: NDArray[Any] | None = None,
    target: str = "y",
    calibrate: bool = False,
    n_shuffles: int = 100,
    progress: bool = False,
) -> Score:
    """Predict every unit by a classifier that has not seen its animal, recording or itself.

    Of the candidates the one with the best out-of-fold predictions is chosen; in the score, that of
    each fold is chosen by the predictions of the other folds alone.
    `labels, recordings` (units,), `animals` (units,). `progress`: a bar, if it takes long.
    """
    # Folds and shuffles go by the units' data: the order in which they are given does not matter.
    columns = [column for one in candidates.values() for column in one.x.T]
    order = np.lexsort((*columns, recordings, labels))
    candidates = {key: one._replace(x=one.x[order]) for key, one in candidates.items()}
    labels, recordings = labels[order], recordings[order]
    animals = None if animals is None else animals[order]
    by, folds, warning = _folds(labels, recordings, animals)
    left_out = {"animal": animals, "recording": recordings}.get(by)
    check_apart(folds, f"the probe of {target!r}", by, left_out)
    if warning:
        warn_user(f"{target!r}: {warning}")
    bar = tqdm(
        total=len(candidates) * len(folds),
        desc="cross-validating",
        unit="fit",
        delay=_SECONDS_WITHOUT_BAR,
        disable=not progress,
    )

    def counted() -> Iterator[Fold]:
        for fold in folds:
            yield fold
            bar.update()

    with bar:
        of_each = {key: _out_of_fold(one, labels, counted()) for key, one in candidates.items()}
    chosen, f1_of = _best(labels, of_each)
    predicted, probabilities = _choose_by_other_folds(labels, folds, of_each)
    # What predictions that know nothing of the labels would score: no classifier is fitted again.
    shuffled = (np.random.default_rng(seed).permutation(labels) for seed in range(n_shuffles))
    chance = [macro_f1_of_predictions(one, predicted) for one in shuffled]
    score = Score(
        macro_f1_of_predictions(labels, predicted),
        float(np.mean(chance)),
        float(np.std(chance)),
        by,
        len(folds),
        1.0,
        {},
        chosen,
        f1_of,
    )
    if probabilities is None:
        return score
    figures = _figures(labels, probabilities)
    if not calibrate:
        return score._replace(calibration=figures)
    raw = {f"{name}_uncalibrated": figures[name] for name in ("ece", "brier")}
    by_fold = calibrate_folds(candidates[chosen], labels, recordings, animals, folds, probabilities)
    calibrated = _figures(labels, by_fold)
    if calibrated["ece"] > figures["ece"]:
        return score._replace(calibration=figures | raw | {"ece_rejected": calibrated["ece"]})
    return score._replace(
        temperature=_temperature(labels, probabilities), calibration=calibrated | raw
    )


def _best(
    labels: NDArray[Any], of_each: dict[Key, Predicted], units: Any = slice(None)
) -> tuple[Key, dict[Key, float]]:
    """Return the candidate that predicts these units best, and the score of each."""
    scores = {
        key: macro_f1_of_predictions(labels[units], predicted[units])
        for key, (predicted, _) in of_each.items()
    }
    return max(scores, key=lambda key: scores[key]), scores  # the first of equal ones


def _choose_by_other_folds(
    labels: NDArray[Any], folds: Folds, of_each: dict[Key, Predicted]
) -> Predicted:
    """Take each fold's predictions from the candidate that is best in the other folds.

    The best of all folds together would be above chance by choice alone. As in Tsamardinos et al.
    2018, doi:10.1007/s10994-018-5714-4, no candidate is fitted again.
    """
    labels_of, probabilities_of = next(iter(of_each.values()))
    predicted = labels_of.copy()
    probabilities = None if probabilities_of is None else probabilities_of.copy()
    for others, test in folds:
        chosen, its_own = of_each[_best(labels, of_each, others)[0]]
        predicted[test] = chosen[test]
        if probabilities is not None and its_own is not None:
            probabilities[test] = its_own[test]
    return predicted, probabilities


def calibrate_folds(
    candidate: Candidate,
    labels: NDArray[Any],
    recordings: NDArray[Any],
    animals: NDArray[Any] | None,
    folds: Folds,
    probabilities: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Calibrate out-of-fold probabilities (units, classes) by data without the fold's labels."""
    check_apart(folds, "what calibrates the probe")
    calibrated = probabilities.copy()
    for train, test in folds:
        seen = (labels[train], recordings[train], None if animals is None else animals[train])
        _, inner, _ = _folds(*seen, _INNER_FOLDS)
        of_training = candidate._replace(x=candidate.x[train])
        within = _out_of_fold(of_training, labels[train], inner)[1]
        known = np.isfinite(probabilities[test]).all(axis=0)
        calibrated[np.ix_(test, known)] = with_temperature(
            probabilities[np.ix_(test, known)], _temperature(labels[train], within)
        )
    return calibrated


def check_apart(
    folds: Folds, what: str, by: str = "unit", groups: NDArray[Any] | None = None
) -> None:
    """Refuse folds that train on units, or on `groups` (units,), that they leave out."""
    for number, (train, test) in enumerate(folds, start=1):
        sides = (train, test) if groups is None else (groups[train], groups[test])
        both = np.intersect1d(*sides).tolist()
        if both:
            raise LeakError(
                f"{what} would be fitted in fold {number} on {by} "
                f"{list_some(both)}, which the fold leaves out; expected folds whose two parts "
                "share nothing"
            )


def _folds(
    labels: NDArray[Any],
    recordings: NDArray[Any],
    animals: NDArray[Any] | None,
    most: int = _FOLDS_OF_GROUPS,
) -> tuple[str, Folds, str]:
    """Return what the folds leave out, the folds (there may be none), and what to warn of."""
    n_classes, n_recordings = len(np.unique(labels)), len(np.unique(recordings))
    if animals is not None and len(np.unique(animals)) > 1:
        n_single = _classes_in_one_group(labels, animals)
        warning = (
            f"{n_single} of {n_classes} classes in one animal only: leaving animals out, they "
            "cannot be predicted and count as 0 in the cross-validated macro F1; label them in "
            "more animals, or fit each animal by itself"
        )
        return "animal", _by_group(labels, animals, most), warning if n_single else ""
    n_single = _classes_in_one_group(labels, recordings)
    if not n_single:
        return "recording", _by_group(labels, recordings, most), ""
    warning = (
        f"{n_single} of {n_classes} classes in one of {n_recordings} recordings only: folds leave "
        "out units, not recordings, and where classes and recordings coincide the score may be "
        "that of recognising recordings"
    )
    return "unit", _of_units(labels), warning if n_recordings > 1 else ""


def _of_units(labels: NDArray[Any]) -> Folds:
    # As many folds as the largest class has units: rarer classes are spread one to a fold.
    largest = int(np.unique(labels, return_counts=True)[1].max())
    if largest < 2:
        return []
    splitter = StratifiedKFold(min(_FOLDS_OF_UNITS, largest), shuffle=True, random_state=0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")
        return list(splitter.split(labels, labels))


def _by_group(labels: NDArray[Any], groups: NDArray[Any], most: int) -> Folds:
    n_folds = min(most, len(np.unique(groups)))
    return list(GroupKFold(n_folds).split(labels, labels, groups))


def _classes_in_one_group(labels: NDArray[Any], groups: NDArray[Any]) -> int:
    """Count the classes that are in one group only."""
    return sum(len(np.unique(groups[labels == one])) < 2 for one in np.unique(labels))


def _out_of_fold(candidate: Candidate, labels: NDArray[Any], folds: Iterable[Fold]) -> Predicted:
    """Return labels (units,) and probabilities (units, classes) by estimators of other folds."""
    x, estimator = candidate
    every = np.unique(labels)
    predicted = np.full_like(labels, labels[0])  # what no fold leaves out
    probabilities = np.full((len(labels), len(every)), np.nan)
    with_probabilities = hasattr(estimator, "predict_proba")
    for train, test in folds:
        classes = np.unique(labels[train])
        columns = np.searchsorted(every, classes)
        if len(classes) == 1:  # there is only this class to predict
            predicted[test] = classes[0]
            probabilities[test, columns[0]] = 1.0
            continue
        with warnings.catch_warnings(), one_blas_thread():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the final fit warns of it
            fitted = clone(estimator).fit(x[train], labels[train])
        if with_probabilities:  # as `most_probable`, without computing them twice
            of_fold = fitted.predict_proba(x[test])
            probabilities[np.ix_(test, columns)] = of_fold
            predicted[test] = classes[of_fold.argmax(axis=1)]
        else:
            predicted[test] = fitted.predict(x[test])
    return predicted, probabilities if with_probabilities else None


def most_probable(estimator: Any, x: NDArray[np.float64]) -> NDArray[Any]:
    """Return the label (units,) whose probability is highest, as it is written beside it.

    Some classifiers of scikit-learn predict by something else, as SVC does.
    """
    if not hasattr(estimator, "predict_proba"):
        return np.asarray(estimator.predict(x))
    return np.asarray(estimator.classes_[estimator.predict_proba(x).argmax(axis=1)])


def _temperature(labels: NDArray[Any], probabilities: NDArray[np.float64] | None) -> float:
    return (
        1.0 if probabilities is None else fit_temperature(labels, probabilities, np.unique(labels))
    )


def _figures(labels: NDArray[Any], probabilities: NDArray[np.float64]) -> dict[str, float]:
    report = confidence_report(labels, np.nan_to_num(probabilities), np.unique(labels))
    names = ("ece", "brier", "macro_f1", "macro_f1_confident_half")
    return {name: float(report[name]) for name in names}
