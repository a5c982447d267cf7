"""The folds of the three protocols."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold

from pynapple_nuclr.evaluation.leak_checks import check_fold, hidden_recordings
from pynapple_nuclr.evaluation.task import Fold, Protocol, Task
from pynapple_nuclr.user_warnings import warn_user

INNER = 3
"""Folds inside the training units or animals, for nested validation."""


def make_folds(task: Task, protocol: Protocol, n_folds: int, seed: int) -> list[Fold]:
    """Divide the scored units as a protocol requires."""
    everything = np.ones(len(task.scored), dtype=bool)
    names = tuple(task.units)
    if protocol == "transductive":
        folds = _by_unit(task, everything, n_folds, seed, names)
    else:
        folds = _by_animal(task, everything, names, protocol)
    return [check_fold(task, fold) for fold in folds]


def inner_folds(task: Task, fold: Fold, seed: int) -> list[Fold]:
    """Divide the training units of a fold once more, in the same way.

    Where only one animal is left to train on, the inner folds leave out units.
    """
    animals = np.unique(task.animals[task.scored][fold.train])
    if fold.protocol == "transductive" or len(animals) < 2:
        return _by_unit(task, fold.train, INNER, seed, fold.visible_recordings)
    return _by_animal(task, fold.train, fold.visible_recordings, fold.protocol, INNER)


def check_animals(task: Task, protocol: Protocol) -> None:
    """Refuse to leave out animals where there are not two; warn of classes in one only."""
    if protocol == "transductive":
        return
    of_unit = task.animals[task.scored]
    animals = np.unique(of_unit)
    if len(animals) < 2:
        found = f"only {str(animals[0])!r}" if animals[0] else "none is named"
        raise ValueError(
            f"protocol={protocol!r} leaves out animals, and needs labelled units of at least two; "
            f"{found}. Name the animal of each recording: animals={{'recording': 'animal', …}}, or "
            "a metadata column 'animal'"
        )
    single = [c for c in task.classes if len(np.unique(of_unit[task.labels[task.scored] == c])) < 2]
    if single:
        warn_user(
            f"{task.target!r}: in one animal only: {', '.join(single)}. With that animal left out "
            "they cannot be predicted, and count as 0 in the macro F1"
        )


def without_hidden(task: Task, fold: Fold) -> Fold:
    """Return the fold without the visible recordings that its protocol hides."""
    hidden = set(hidden_recordings(task, fold))
    return fold._replace(
        visible_recordings=tuple(name for name in fold.visible_recordings if name not in hidden)
    )


def _by_unit(
    task: Task, use: NDArray[np.bool_], n_folds: int, seed: int, visible: tuple[str, ...]
) -> list[Fold]:
    rows = np.flatnonzero(use)
    y = task.y[rows]
    n_folds = max(2, min(n_folds, int(np.bincount(y).max())))
    splitter = StratifiedKFold(n_folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")
        parts = [rows[test] for _, test in splitter.split(y, y)]
    return [_fold(f"fold {i + 1}", part, use, visible) for i, part in enumerate(parts)]


def _by_animal(
    task: Task,
    use: NDArray[np.bool_],
    visible: tuple[str, ...],
    protocol: Protocol,
    at_most: int | None = None,
) -> list[Fold]:
    """Leave out each animal in turn, or at most `at_most` parts of them.

    Not the folds of a probe (`probes.cross_validation`), which leave out at most ten groups of
    balanced size: here every animal is one fold of the table, under its name.
    """
    of_unit = task.animals[task.scored]
    animals = np.unique(of_unit[use])
    parts = [animals[i :: at_most or len(animals)] for i in range(at_most or len(animals))]
    folds = [
        _fold(" ".join(part), np.flatnonzero(use & np.isin(of_unit, part)), use, visible, protocol)
        for part in parts
        if len(part)
    ]
    return [without_hidden(task, fold) for fold in folds]


def _fold(
    name: str,
    tested: NDArray[np.intp],
    use: NDArray[np.bool_],
    visible: tuple[str, ...],
    protocol: Protocol = "transductive",
) -> Fold:
    test = np.zeros(len(use), dtype=bool)
    test[tested] = True
    return Fold(name, use & ~test, test, visible, protocol)
