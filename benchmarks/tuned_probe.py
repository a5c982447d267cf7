"""The probe of the tasks on real recordings: how it is trained is chosen by inner folds."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import sklearn
from features import Features
from intervals import macro_f1_of
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import StratifiedKFold

from pynapple_nuclr.baselines import LabelSystem
from pynapple_nuclr.evaluation.scoring import confusion
from pynapple_nuclr.probes.default_estimator import default_estimator

Floats = NDArray[np.float64]


class Setting(NamedTuple):
    """How a probe is trained: inverse regularisation, and whether all classes weigh the same."""

    c: float
    balanced: bool

    def __str__(self) -> str:
        return f"{self.c:g}{' balanced' if self.balanced else ''}"


SETTINGS = tuple(
    Setting(10.0**power, balanced) for balanced in (True, False) for power in range(-3, 3)
)
"""The settings among which inner folds choose; of each weighting, the smallest C first."""

MOST_ANIMALS = 8
"""Animals up to which each is an inner fold; of more, four parts are."""


class Choices(dict[str, list[str]]):
    """Row → what each of its fits has chosen; copies of a system share it."""

    identity = "choices"  # they are results, not settings

    def __deepcopy__(self, _: Any) -> Choices:
        return self


@dataclass
class TunedProbe(LabelSystem):
    """The standard probe on one kind of features or two, tuned inside the training units.

    Inner folds leave out animals; where only one animal is labelled, units. They choose the setting
    with the highest macro F1. With two kinds of features they also choose between one probe on both
    and the mean of the probabilities of two probes, each with its own C.

    Parameters
    ----------
    inputs : tuple of str
        Names of the features.
    features : Features
        Computes and keeps them.
    name : str
        Row of the table.
    animals : mapping
        Recording → animal, which inner folds leave out.
    shuffled : bool
        Learn from labels that are shuffled among the units: chance.
    choices : Choices
        Gets what every fit has chosen.
    """

    inputs: tuple[str, ...]
    features: Features
    name: str  # type: ignore[misc]  # of each row
    animals: Mapping[str, str]
    shuffled: bool = False
    choices: Choices = field(default_factory=Choices)

    def fit(
        self,
        recordings: Mapping[str, Any],
        labels: Mapping[str, NDArray[np.str_]],
        *,
        seed: int = 0,
        progress: bool = False,
    ) -> TunedProbe:
        """Choose the setting by inner folds, then train on all labelled units."""
        shown = np.concatenate([labels[name] != "" for name in recordings])
        texts = np.concatenate([labels[name] for name in recordings])[shown]
        if self.shuffled:
            texts = np.random.default_rng(seed).permutation(texts)
        self.classes_, y = np.unique(texts, return_inverse=True)
        animals = np.concatenate(
            [np.full(len(labels[name]), self.animals[name]) for name in recordings]
        )[shown]
        x = [
            np.concatenate([self.features.vectors(one, units) for units in recordings.values()])
            for one in self.inputs
        ]
        parts = [part[shown] for part in x]
        self.probes_ = _choose(parts, y, list(inner_folds(y, animals, seed)))
        self.choices.setdefault(self.name, []).append(self._chosen())
        return self

    def predict_proba(self, recordings: Mapping[str, Any]) -> dict[str, Floats]:
        """Return the probabilities (units, classes) of each recording; NaN without features."""
        found = {}
        for name, units in recordings.items():
            parts = [self.features.vectors(one, units) for one in self.inputs]
            found[name] = mean_known([probe.predict(parts) for probe in self.probes_])
        return found

    def _chosen(self) -> str:
        words = " and ".join(str(probe.setting) for probe in self.probes_)
        return words if len(self.probes_) == 1 else f"averaged {words}"


class Probe:
    """The standard probe on some of the inputs; a missing feature gets the mean in training."""

    def __init__(self, parts: list[Floats], y: NDArray[np.intp], used: list[int]) -> None:
        self.used, self.n_classes = used, int(y.max()) + 1
        x = self._join(parts)
        self.known = np.isfinite(x).any(axis=1)
        self.fill = np.nan_to_num(np.nanmean(x[self.known], axis=0))
        self.x, self.y = self._filled(x[self.known]), y[self.known]
        self.estimator = default_estimator().set_params(logisticregression__warm_start=True)

    def train(self, setting: Setting) -> Probe:
        """Train with this setting, from where the last one ended."""
        self.setting = setting
        if len(np.unique(self.y)) > 1:
            self.estimator.set_params(
                logisticregression__C=setting.c,
                logisticregression__class_weight="balanced" if setting.balanced else None,
            ).fit(self.x, self.y)
        return self

    def predict(self, parts: list[Floats]) -> Floats:
        """Return the probabilities (units, classes); NaN without any feature."""
        x = self._join(parts)
        known = np.isfinite(x).any(axis=1)
        predicted = np.full((len(x), self.n_classes), np.nan)
        classes = np.unique(self.y)
        predicted[known] = 0.0
        if len(classes) == 1:
            predicted[np.ix_(known, classes)] = 1.0
        elif known.any():
            of_known = self.estimator.predict_proba(self._filled(x[known]))
            predicted[np.ix_(known, classes)] = of_known
        return predicted

    def _join(self, parts: list[Floats]) -> Floats:
        return np.hstack([parts[i] for i in self.used])

    def _filled(self, x: Floats) -> Floats:
        return np.where(np.isfinite(x), x, self.fill)


def inner_folds(
    y: NDArray[np.intp], animals: NDArray[np.str_], seed: int
) -> Iterator[NDArray[np.bool_]]:
    """Yield the units (units,) that each inner fold leaves out."""
    names = np.unique(animals)
    if len(names) > 1:
        n_parts = len(names) if len(names) <= MOST_ANIMALS else 4
        for i in range(n_parts):
            yield np.isin(animals, names[i::n_parts])
        return
    for _, test in StratifiedKFold(3, shuffle=True, random_state=seed).split(y, y):
        yield np.isin(np.arange(len(y)), test)


def mean_known(each: list[Floats]) -> Floats:
    """Return the mean of probabilities; where one is missing, the other decides."""
    n_known = np.isfinite(each).sum(axis=0)
    return np.where(n_known, np.nansum(each, axis=0) / np.maximum(n_known, 1), np.nan)


def _choose(
    parts: list[Floats], y: NDArray[np.intp], folds: list[NDArray[np.bool_]]
) -> list[Probe]:
    """Return the probe, or the probes to average, that inner folds choose, trained on all."""
    kinds = [[i] for i in range(len(parts))]
    whole = list(range(len(parts)))
    used = kinds + ([whole] if len(parts) > 1 else [])
    quick = sklearn.config_context(assume_finite=True, skip_parameter_validation=True)
    with warnings.catch_warnings(), quick:
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", message="Mean of empty slice")
        warnings.filterwarnings("ignore", message="The least populated class")
        inner = {
            (tuple(one), how): p for one in used for how, p in _out_of_fold(parts, y, folds, one)
        }
        options = [[(tuple(whole), how)] for how in SETTINGS]
        if len(parts) > 1:
            averages = product(SETTINGS, repeat=len(parts))
            options += [
                [(tuple(k), how) for k, how in zip(kinds, hows, strict=True)]
                for hows in averages
                if len({how.balanced for how in hows}) == 1
            ]
        scores = [_f1(y, mean_known([inner[one] for one in option])) for option in options]
        best = options[int(np.argmax(scores))]
        return [Probe(parts, y, list(kind)).train(how) for kind, how in best]


def _out_of_fold(
    parts: list[Floats], y: NDArray[np.intp], folds: list[NDArray[np.bool_]], used: list[int]
) -> Iterator[tuple[Setting, Floats]]:
    """Yield for each setting the probabilities (units, classes) out of the inner folds."""
    found = {how: np.full((len(y), int(y.max()) + 1), np.nan) for how in SETTINGS}
    for test in folds:
        probe = Probe([part[~test] for part in parts], y[~test], used)
        for how in SETTINGS:
            predicted = probe.train(how).predict([part[test] for part in parts])
            found[how][test, : predicted.shape[1]] = predicted
            found[how][test, predicted.shape[1] :] = np.where(np.isnan(predicted[:, :1]), np.nan, 0)
    yield from found.items()


def _f1(y: NDArray[np.intp], probabilities: Floats) -> float:
    """Return the macro F1 of the most probable classes."""
    known = np.isfinite(probabilities).all(axis=1)
    predicted = np.where(known, np.nan_to_num(probabilities).argmax(axis=1), -1)
    return float(macro_f1_of(confusion(y, predicted, probabilities.shape[1])))
