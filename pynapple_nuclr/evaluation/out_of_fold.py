"""From a system and some folds to out-of-fold probabilities of all units."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from pynapple_nuclr.baselines.base import EmbeddingSystem, LabelSystem, System
from pynapple_nuclr.evaluation.folds import inner_folds
from pynapple_nuclr.evaluation.leak_checks import (
    check_fold,
    check_inner,
    check_pretrained,
    check_settings,
)
from pynapple_nuclr.evaluation.scoring import confusion, f1_of_classes, most_likely
from pynapple_nuclr.evaluation.standard_probe import Probing, pool

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pynapple_nuclr.evaluation.fit_systems import Fit, Fits
    from pynapple_nuclr.evaluation.task import Fold, Protocol, Task

    Chances = NDArray[np.float64]

S = TypeVar("S", bound=System)

_CURVE = 200  # points of a training's course that are kept


class Answer(NamedTuple):
    """What a system says of the units of all folds.

    Attributes
    ----------
    chances : ndarray (scored, classes)
        Out-of-fold probabilities; NaN where nothing was said.
    chosen : list of str
        For each fold the settings that nested validation chose ("" = there was no choice).
    fits : dict
        Hash → the fits that it rests on.
    """

    chances: Chances
    chosen: list[str]
    fits: dict[str, Fit]

    @property
    def seconds(self) -> float:
        """What its fits took."""
        return float(sum(fit.seconds for fit in self.fits.values()))

    @property
    def history(self) -> list[dict[str, float]]:
        """The course of its first fit, thinned to at most 200 points."""
        course = next((fit.history for fit in self.fits.values() if fit.history), [])
        kept = np.unique(np.linspace(0, len(course) - 1, min(_CURVE, len(course))).astype(int))
        return [course[i] for i in kept]


@dataclass
class Engine:
    """All that systems are asked with.

    Parameters
    ----------
    task : Task
        Units and labels.
    fits : Fits
        Where systems are fitted.
    nested : bool
        Whether to choose among a system's candidates inside the training units of each fold.
    advance : callable
        Is called after every fold.
    """

    task: Task
    fits: Fits
    nested: bool = False
    advance: Callable[[], Any] = lambda: None
    probing: Probing = field(init=False)

    def __post_init__(self) -> None:
        self.probing = Probing(self.task)

    def ask(
        self,
        system: System,
        folds: Sequence[Fold],
        protocol: Protocol,
        seed: int,
        standardize: Sequence[str],
    ) -> dict[str, Answer]:
        """Return normalisation → answer; a system of labels has the same for all.

        Parameters
        ----------
        system : EmbeddingSystem or LabelSystem
            Who is asked.
        folds : sequence of Fold
            Each is told by what the others show.
        protocol : str
            How inner folds are made.
        seed : int
            Of the fits, and of inner folds.
        standardize : sequence of str
            Treatments of vectors before the probe.

        Raises
        ------
        TypeError
            If it is no system.
        LeakError
            If it would be fitted on what it is tested on, or asks for the labels.
        """
        if isinstance(system, EmbeddingSystem):
            return {how: self._by_probe(system, folds, protocol, seed, how) for how in standardize}
        if isinstance(system, LabelSystem):
            return dict.fromkeys(standardize, self._by_labels(system, folds, protocol, seed))
        raise TypeError(
            f"system {system.name!r} is a {type(system).__name__}; expected an EmbeddingSystem or "
            "a LabelSystem"
        )

    def vectors(self, system: EmbeddingSystem, fold: Fold, seed: int) -> Fit:
        """Return the vectors of all units, by a system fitted on what the fold lets it see.

        Raises
        ------
        LeakError
            If the fold, or the system's encoder, gives away what is tested.
        """
        check_fold(self.task, fold, system.name)
        check_pretrained(system, self.task, fold)
        return self.fits.vectors(system, fold.visible_recordings, seed)

    def _by_probe(
        self,
        system: EmbeddingSystem,
        folds: Sequence[Fold],
        protocol: Protocol,
        seed: int,
        standardize: str,
    ) -> Answer:
        def tell(one: EmbeddingSystem, fold: Fold, outer: Fold) -> tuple[Chances, Fit]:
            # Inner folds read the vectors of the outer fit: it saw no label, and no tested animal.
            fit = self.vectors(one, outer, seed)
            return self.probing.answer(fit.values, fold, standardize), fit

        return self._tell_folds(system, folds, protocol, seed, tell)

    def _by_labels(
        self, system: LabelSystem, folds: Sequence[Fold], protocol: Protocol, seed: int
    ) -> Answer:
        def tell(one: LabelSystem, fold: Fold, outer: Fold) -> tuple[Chances, Fit | None]:
            check_fold(self.task, fold, one.name)
            check_pretrained(one, self.task, outer)
            return self._told_by_labels(one, fold, seed)

        return self._tell_folds(system, folds, protocol, seed, tell)

    def _told_by_labels(
        self, system: LabelSystem, fold: Fold, seed: int
    ) -> tuple[Chances, Fit | None]:
        """Return the probabilities (tested units, classes), and the fit if there was one."""
        task = self.task
        rows = task.scored[
            fold.train & np.isin(task.recordings[task.scored], fold.visible_recordings)
        ]
        asked = tuple(np.unique(task.recordings[task.scored[fold.test]]).tolist())
        classes = np.unique(task.labels[rows])
        if len(classes) < 2:  # nothing to tell apart, and no system can learn from it
            told = np.full((int(fold.test.sum()), len(task.classes)), np.nan)
            if len(classes):
                told[:] = task.classes == classes[0]
            return told, None
        shown = np.zeros(len(task.labels), dtype=bool)
        shown[rows] = True
        fit = self.fits.chances(system, fold.visible_recordings, shown, asked, seed)
        return fit.values[task.scored[fold.test]].astype(np.float64), fit

    def _tell_folds(
        self, system: S, folds: Sequence[Fold], protocol: Protocol, seed: int, tell: Any
    ) -> Answer:
        """Tell each fold's units, by the configuration that is best inside its training units."""
        candidates = system.candidates() if self.nested else [system]
        for one in candidates:
            check_settings(one, self.task)
        answers, chosen, fits = [], [], {}
        for fold in folds:
            best = candidates[0]
            if len(candidates) > 1:
                inner = inner_folds(self.task, fold, protocol, seed)
                for part in inner:
                    check_inner(self.task, part, fold, system.name)
                scores = [self._inner_f1(one, inner, fold, tell) for one in candidates]
                best = candidates[int(np.argmax(scores))]
            told, fit = tell(best, fold, fold)
            answers.append(told)
            chosen.append(_difference(best, candidates))
            if fit is not None:
                fits[fit.key] = fit._replace(values=fit.values[:0])  # what the sums need
            self.advance()
        return Answer(pool(folds, answers, len(self.task.classes)), chosen, fits)

    def _inner_f1(self, system: System, inner: Sequence[Fold], outer: Fold, tell: Any) -> float:
        """Return the macro F1 of the outer fold's training units, each told by the others."""
        y, n_classes = self.task.y[outer.train], len(self.task.classes)
        told = pool(inner, [tell(system, fold, outer)[0] for fold in inner], n_classes)
        counts = confusion(y, most_likely(told[outer.train]), n_classes)
        return float(f1_of_classes(counts)[np.unique(y)].mean())


def _difference(chosen: System, candidates: Sequence[System]) -> str:
    """Return those settings of the chosen system in which the candidates differ, as JSON."""
    if len(candidates) < 2:
        return ""
    all_settings = [one.settings() for one in candidates]
    first = all_settings[0]
    differs = [k for k in first if any(one.get(k) != first[k] for one in all_settings)]
    return json.dumps({k: v for k, v in chosen.settings().items() if k in differs})
