"""What a fold must hide, and checks that nothing is fitted on what it is tested on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from pynapple_nuclr.baselines.base import System
from pynapple_nuclr.evaluation.task import Fold, Task
from pynapple_nuclr.leakage import LeakError as LeakError  # re-exported
from pynapple_nuclr.leakage.label_columns import string_values
from pynapple_nuclr.user_warnings import list_some

HIDDEN = -1
"""Replaces the class of a unit whose label is not shown."""


def check_fold(task: Task, fold: Fold, system: str = "") -> Fold:
    """Refuse a fold that shows what it tests.

    A tested unit; in zero-shot protocols its animal; if inductive, a recording of this animal.
    """
    both = fold.train & fold.test
    if both.any():
        _refuse(system, fold, f"{_units(task, both)} would be trained on and then tested")
    shown = fold.train & hidden_units(task, fold)
    if shown.any():
        animals = np.unique(task.animals[task.scored[shown]])
        _refuse(
            system,
            fold,
            f"animal {list_some(animals)} is tested, and {_units(task, shown)} of it "
            "would show their labels",
        )
    visible = sorted(set(fold.visible_recordings) & set(hidden_recordings(task, fold)))
    if visible:
        _refuse(
            system,
            fold,
            f"recording {list_some(visible)} is of a tested animal, and systems would be fitted on "
            "it",
        )
    return fold


def check_inner(task: Task, inner: Fold, outer: Fold, system: str) -> Fold:
    """Refuse an inner fold that leaks, or reaches beyond its outer fold's training."""
    beyond = (inner.train | inner.test) & ~outer.train
    if beyond.any():
        _refuse(
            system,
            outer,
            f"{_units(task, beyond)} would decide which configuration is chosen, "
            "and are not among its training units",
        )
    visible = sorted(set(inner.visible_recordings) - set(outer.visible_recordings))
    if visible:
        _refuse(
            system, outer, f"its inner fold {inner.name!r} would see recording {list_some(visible)}"
        )
    return check_fold(task, inner, system)


def hidden_units(task: Task, fold: Fold) -> NDArray[np.bool_]:
    """Return which labels to hide (scored,): of tested units; zero-shot: of their animals."""
    if fold.protocol == "transductive":
        return fold.test
    tested = np.zeros(len(task.scored), dtype=bool)
    tested[task.animal_numbers[fold.test]] = True
    return tested[task.animal_numbers]


def hidden_recordings(task: Task, fold: Fold) -> tuple[str, ...]:
    """Return the recordings on which nothing may be fitted: of tested animals, if inductive."""
    if fold.protocol != "inductive_zero_shot":
        return ()
    return task.recordings_of(np.unique(task.animals[task.scored[fold.test]]).tolist())


def shown_labels(task: Task, fold: Fold, y: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the classes of the units that show them (scored,); `HIDDEN` for all others."""
    return np.where(fold.train & ~hidden_units(task, fold), y, HIDDEN)


def check_shown(y: NDArray[np.intp]) -> None:
    """Refuse to train on hidden labels."""
    hidden = int((y == HIDDEN).sum())
    if hidden:
        raise LeakError(
            f"a probe would be fitted on {hidden} units, of {len(y)}, whose labels are hidden from "
            "it because it is tested on them or on their animal; expected units that the fold shows"
        )


def check_normaliser(task: Task, name: str, rows: Any) -> None:
    """Refuse to standardise a recording by other units than its own.

    Its own are allowed in every protocol, tested or not: no label is read, and no other recording
    depends on them.
    """
    others = np.unique(task.recordings[rows][task.recordings[rows] != name])
    if len(others):
        animals = np.unique(task.animals[np.isin(task.recordings, others)])
        raise LeakError(
            f"the normaliser of recording {name!r} would be fitted on units of recording "
            f"{list_some(others)} (animal {list_some(animals)}) as well; expected its own alone"
        )


def check_settings(system: System, task: Task) -> None:
    """Refuse a system whose settings name the labels as a feature."""
    settings = system.settings()
    named = sorted(string_values(settings) & task.hidden)
    if not named:
        return
    training = settings.get("training")
    by = training.get("by") if isinstance(training, Mapping) else None
    advice = "leave it out of its settings"
    if by in named and by != task.target:
        advice = f"to train by {by}, give each part as a recording of its own"
    raise LeakError(
        f"system {system.name!r} reads the metadata column {list_some(named)}, which systems do "
        f"not get: it reveals {task.target!r}, the label to predict, or it is part of an "
        f"embedding, whose encoder may have been trained on tested recordings; {advice}"
    )


def check_pretrained(system: System, task: Task, fold: Fold) -> None:
    """Refuse an encoder that was pretrained on the animal left out, if the protocol is inductive.

    The fingerprints on the encoder's card identify its training recordings.
    """
    hidden = hidden_recordings(task, fold)
    known = system.fingerprints if hidden else frozenset()
    if pretrained := [name for name in hidden if known & task.fingerprints[name]]:
        encoder = system.identity or system.settings().get("encoder", "")
        _refuse(
            system.name,
            fold,
            f"recording {list_some(pretrained)} is of a tested animal, and the system's encoder "
            f"{encoder} was pretrained on it",
            advice="take an encoder that was not, train one in every fold (Nuclr(config=…, "
            "steps=…)), or choose the protocol of such an encoder: "
            "protocol='transductive_zero_shot'",
        )


def _refuse(system: str, fold: Fold, what: str, advice: str = "") -> NoReturn:
    who = f"system {system!r}, " if system else ""
    raise LeakError(
        f"{who}fold {fold.name!r} of protocol {fold.protocol!r}: {what}; "
        + (advice or "expected folds that keep what is tested apart from what is learned from")
    )


def _units(task: Task, which: NDArray[np.bool_]) -> str:
    """Name some of the scored units, and the recordings that they are of."""
    rows = task.scored[which]
    plural = "s" if len(rows) > 1 else ""
    units, recordings = task.unit_ids[rows].tolist(), np.unique(task.recordings[rows])
    return f"unit{plural} {list_some(units)} of recording {list_some(recordings)}"
