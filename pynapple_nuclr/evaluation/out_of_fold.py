"""From a system and some folds to out-of-fold probabilities of all units."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pynapple_nuclr.baselines.base import EmbeddingSystem, LabelSystem, System
from pynapple_nuclr.evaluation.fit_systems import Fit, Fits
from pynapple_nuclr.evaluation.folds import inner_folds
from pynapple_nuclr.evaluation.leak_checks import (
    check_fold,
    check_inner,
    check_pretrained,
    check_settings,
)
from pynapple_nuclr.evaluation.scoring import f1_of_present, most_likely
from pynapple_nuclr.evaluation.standard_probe import Probing, pool
from pynapple_nuclr.evaluation.task import Fold, Task

Probabilities = NDArray[np.float64]

_CURVE = 200  # points of a training history that are kept


class Prediction(NamedTuple):
    """What a system predicts of the units of all folds."""

    probabilities: Probabilities  # (scored, classes), out of fold; NaN without a prediction
    chosen: list[str]  # of each fold, the settings that nested validation chose; "" without choice
    fits: dict[str, Fit]  # hash → the fits that were used

    @property
    def seconds(self) -> float:
        """Duration of its fits."""
        return float(sum(fit.seconds for fit in self.fits.values()))

    @property
    def history(self) -> list[dict[str, float]]:
        """The training history of its first fit, thinned to at most 200 points."""
        history = next((fit.history for fit in self.fits.values() if fit.history), [])
        kept = np.unique(np.linspace(0, len(history) - 1, min(_CURVE, len(history))).astype(int))
        return [history[i] for i in kept]


@dataclass
class Engine:
    """Predicts the units of folds by systems."""

    task: Task
    fits: Fits
    nested: bool = False  # choose among candidates inside the training units of each fold
    advance: Callable[[], Any] = lambda: None  # called after every fold
    probing: Probing = field(init=False)

    def __post_init__(self) -> None:
        self.probing = Probing(self.task)

    def predict(
        self, system: System, folds: Sequence[Fold], seed: int, standardize: Sequence[str]
    ) -> dict[str, Prediction]:
        """Return a prediction for each way to standardise; that of a `LabelSystem` for all."""
        if isinstance(system, EmbeddingSystem):
            return {how: self._predict(system, folds, seed, how) for how in standardize}
        if isinstance(system, LabelSystem):
            return dict.fromkeys(standardize, self._predict(system, folds, seed, ""))
        raise TypeError(
            f"system {system.name!r} is a {type(system).__name__}; expected an EmbeddingSystem or "
            "a LabelSystem"
        )

    def vectors(self, system: EmbeddingSystem, fold: Fold, seed: int) -> Fit:
        """Return the vectors of all units, by a system fitted on the fold's visible recordings."""
        check_fold(self.task, fold, system.name)
        check_pretrained(system, self.task, fold)
        return self.fits.vectors(system, fold.visible_recordings, seed)

    def fits_of(
        self, system: EmbeddingSystem, folds: Sequence[Fold], seed: int
    ) -> dict[tuple[str, ...], Fit]:
        """Return the fits that these folds need, by their visible recordings."""
        return {fold.visible_recordings: self.vectors(system, fold, seed) for fold in folds}

    def _predict_fold(
        self, system: System, fold: Fold, outer: Fold, seed: int, standardize: str
    ) -> tuple[Probabilities, Fit | None]:
        """Return the probabilities (tested units, classes), and the fit if there was one.

        `outer` is the fold that contains an inner one, or the same.
        """
        if isinstance(system, EmbeddingSystem):
            # Inner folds use the vectors of the outer fit: it got no label, and no tested animal.
            fit = self.vectors(system, outer, seed)
            return self.probing.predict(fit.values, fold, standardize), fit
        assert isinstance(system, LabelSystem)
        check_fold(self.task, fold, system.name)
        check_pretrained(system, self.task, outer)
        task = self.task
        of_unit = task.recordings[task.scored]
        rows = task.scored[fold.train & np.isin(of_unit, fold.visible_recordings)]
        classes = np.unique(task.labels[rows])
        if len(classes) < 2:  # no system can learn from one class
            predicted = np.full((int(fold.test.sum()), len(task.classes)), np.nan)
            if len(classes):
                predicted[:] = task.classes == classes[0]
            return predicted, None
        shown = np.zeros(len(task.labels), dtype=bool)
        shown[rows] = True
        tested = tuple(np.unique(of_unit[fold.test]).tolist())
        fit = self.fits.probabilities(system, fold.visible_recordings, shown, tested, seed)
        return fit.values[task.scored[fold.test]].astype(np.float64), fit

    def _predict(
        self, system: System, folds: Sequence[Fold], seed: int, standardize: str
    ) -> Prediction:
        """Predict each fold's units by the candidate that is best inside its training units."""
        candidates = system.candidates() if self.nested else [system]
        for one in candidates:
            check_settings(one, self.task)
        predictions, chosen, fits = [], [], {}
        for fold in folds:
            best = candidates[0]
            if len(candidates) > 1:
                inner = inner_folds(self.task, fold, seed)
                for part in inner:
                    check_inner(self.task, part, fold, system.name)
                scores = [self._inner_f1(one, inner, fold, seed, standardize) for one in candidates]
                best = candidates[int(np.argmax(scores))]
            predicted, fit = self._predict_fold(best, fold, fold, seed, standardize)
            predictions.append(predicted)
            chosen.append(_difference(best, candidates))
            if fit is not None:
                fits[fit.key] = fit._replace(values=fit.values[:0])  # its notes are enough
            self.advance()
        return Prediction(pool(folds, predictions, len(self.task.classes)), chosen, fits)

    def _inner_f1(
        self, system: System, inner: Sequence[Fold], outer: Fold, seed: int, standardize: str
    ) -> float:
        """Return the macro F1 of the outer fold's training units, out of the inner folds."""
        y, n_classes = self.task.y[outer.train], len(self.task.classes)
        parts = [self._predict_fold(system, one, outer, seed, standardize)[0] for one in inner]
        predicted = pool(inner, parts, n_classes)
        return f1_of_present(y, most_likely(predicted[outer.train]))


def _difference(chosen: System, candidates: Sequence[System]) -> str:
    """Return those settings of the chosen system in which the candidates differ, as JSON."""
    if len(candidates) < 2:
        return ""
    all_settings = [one.settings() for one in candidates]
    first = all_settings[0]
    differs = [k for k in first if any(one.get(k) != first[k] for one in all_settings)]
    return json.dumps({k: v for k, v in chosen.settings().items() if k in differs})
