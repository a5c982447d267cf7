"""Nothing is fitted on what it is tested on: what must stay hidden, and who refuses to go on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from pynapple_nuclr.leakage import LeakError as LeakError  # re-exported
from pynapple_nuclr.leakage.label_columns import listed, string_values

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pynapple_nuclr.baselines.base import System
    from pynapple_nuclr.evaluation.task import Fold, Task

HIDDEN = -1
"""What stands in place of the class of a unit whose label is not shown."""


def check_fold(task: Task, fold: Fold, system: str = "") -> Fold:
    """Refuse a fold that shows what it tests.

    Parameters
    ----------
    task : Task
        The units.
    fold : Fold
        Who shows a label, who is told, and on which recordings systems may be fitted.
    system : str
        Row of the system that would be fitted on it.

    Returns
    -------
    Fold
        The same.

    Raises
    ------
    LeakError
        If a unit shows its label and is tested; in zero-shot protocols if an animal does; in
        "inductive_zero_shot" also if a recording of a tested animal is among those seen.
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
            f"animal {listed(animals)} is tested, and {_units(task, shown)} of it "
            "would show their labels",
        )
    seen = sorted(set(fold.visible_recordings) & set(hidden_recordings(task, fold)))
    if seen:
        _refuse(
            system,
            fold,
            f"recording {listed(seen)} is of a tested animal, and systems would be fitted on it",
        )
    return fold


def check_inner(task: Task, inner: Fold, outer: Fold, system: str) -> Fold:
    """Refuse a fold of nested validation that leaks, or reaches beyond its outer fold's training.

    Raises
    ------
    LeakError
        As `check_fold`; if it holds a unit that the outer fold does not show, or a recording that
        it does not let systems see.
    """
    beyond = (inner.train | inner.test) & ~outer.train
    if beyond.any():
        _refuse(
            system,
            outer,
            f"{_units(task, beyond)} would decide which configuration is chosen, "
            "and are not among its training units",
        )
    seen = sorted(set(inner.visible_recordings) - set(outer.visible_recordings))
    if seen:
        _refuse(system, outer, f"its inner fold {inner.name!r} would see recording {listed(seen)}")
    return check_fold(task, inner, system)


def hidden_units(task: Task, fold: Fold) -> NDArray[np.bool_]:
    """Say whose label nothing may learn from (scored,): tested units; zero-shot: their animals'."""
    if fold.protocol == "transductive":
        return fold.test
    tested = np.zeros(len(task.scored), dtype=bool)
    tested[task.animal_numbers[fold.test]] = True
    return tested[task.animal_numbers]


def hidden_recordings(task: Task, fold: Fold) -> tuple[str, ...]:
    """Return the recordings whose activity nothing may be fitted on: inductive, of the tested."""
    if fold.protocol != "inductive_zero_shot":
        return ()
    return task.recordings_of(np.unique(task.animals[task.scored[fold.test]]).tolist())


def shown_labels(task: Task, fold: Fold, y: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the classes of the units that show them (scored,); `HIDDEN` for all others."""
    return np.where(fold.train & ~hidden_units(task, fold), y, HIDDEN)


def check_shown(y: NDArray[np.intp]) -> None:
    """Refuse to train on hidden labels.

    Raises
    ------
    LeakError
        If one of the classes (units,) is `HIDDEN`.
    """
    hidden = int((y == HIDDEN).sum())
    if hidden:
        raise LeakError(
            f"a probe would be fitted on {hidden} units, of {len(y)}, whose labels are hidden from "
            "it because it is tested on them or on their animal; expected units that the fold shows"
        )


def check_normaliser(task: Task, name: str, rows: Any) -> None:
    """Refuse to standardise a recording by other units than its own.

    Its own are allowed in every protocol, tested or not: no label is read, and what is learned of
    a test recording reaches no other.

    Parameters
    ----------
    task : Task
        The units.
    name : str
        Recording whose vectors are standardised.
    rows : slice or ndarray
        Units from which mean and deviation are taken.

    Raises
    ------
    LeakError
        Naming the other recordings and their animals.
    """
    others = np.unique(task.recordings[rows][task.recordings[rows] != name])
    if len(others):
        animals = np.unique(task.animals[np.isin(task.recordings, others)])
        raise LeakError(
            f"the normaliser of recording {name!r} would be fitted on units of recording "
            f"{listed(others)} (animal {listed(animals)}) as well; expected its own alone"
        )


def check_settings(system: System, task: Task) -> None:
    """Refuse a system that asks for the labels as if they were a feature.

    Raises
    ------
    LeakError
        If its settings name a column that systems are not shown.
    """
    settings = system.settings()
    named = sorted(string_values(settings) & task.hidden)
    if not named:
        return
    training = settings.get("training")
    by = training.get("by") if isinstance(training, Mapping) else None
    mend = "leave it out of its settings"
    if by in named and by != task.target:
        mend = f"to train by {by}, give each part as a recording of its own"
    raise LeakError(
        f"system {system.name!r} reads the metadata column {listed(named)}, which systems are not "
        f"shown: from it {task.target!r}, the label that it shall tell, can be read, or it is of "
        f"an embedding, whose encoder may have seen what is tested; {mend}"
    )


def check_pretrained(system: System, task: Task, fold: Fold) -> None:
    """Refuse an encoder that has seen the animal left out, where none may have seen it.

    Recordings are known again by the fingerprints on the encoder's card.

    Raises
    ------
    LeakError
        If a recording of a tested animal is among them, in "inductive_zero_shot".
    """
    hidden = hidden_recordings(task, fold)
    known = system.fingerprints if hidden else frozenset()
    if seen := [name for name in hidden if known & task.fingerprints[name]]:
        encoder = system.identity or system.settings().get("encoder", "")
        _refuse(
            system.name,
            fold,
            f"recording {listed(seen)} is of a tested animal, and the system's encoder {encoder} "
            "was pretrained on it",
            mend="take an encoder that was not, train one anew in every fold (Nuclr(config=…, "
            "steps=…)), or ask what such an encoder can answer: "
            "protocol='transductive_zero_shot'",
        )


def _refuse(system: str, fold: Fold, what: str, mend: str = "") -> NoReturn:
    who = f"system {system!r}, " if system else ""
    raise LeakError(
        f"{who}fold {fold.name!r} of protocol {fold.protocol!r}: {what}; "
        + (mend or "expected folds that keep what is tested apart from what is learned from")
    )


def _units(task: Task, which: NDArray[np.bool_]) -> str:
    """Name some of the scored units, and the recordings that they are of."""
    rows = task.scored[which]
    plural = "s" if len(rows) > 1 else ""
    units, recordings = task.unit_ids[rows].tolist(), np.unique(task.recordings[rows])
    return f"unit{plural} {listed(units)} of recording {listed(recordings)}"
