"""Nothing is fitted on what it is tested on: what must stay hidden, and who refuses to go on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from pynapple_nuclr.columns import PREDICTED, is_missing
from pynapple_nuclr.columns.metadata import stored_columns
from pynapple_nuclr.columns.names import is_member, prefixes_of
from pynapple_nuclr.config import EncoderConfig
from pynapple_nuclr.probes.validation import LeakError as LeakError  # part of the face

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pynapple_nuclr.baselines.interface import System
    from pynapple_nuclr.evaluation.folds import Fold
    from pynapple_nuclr.evaluation.task import Task
    from pynapple_nuclr.recording import Units

    Pairs = Sequence[tuple[Any, str]]  # value of a column and label of each unit

HIDDEN = -1
"""What stands in place of the class of a unit whose label is not shown."""

_CONFIG = json.loads(EncoderConfig().signature()).keys()
_NAMED = 5  # units, recordings or columns that an error names


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
            f"animal {_names(animals)} is tested, and {_units(task, shown)} of it "
            "would show their labels",
        )
    seen = sorted(set(fold.seen) & set(hidden_recordings(task, fold)))
    if seen:
        _refuse(
            system,
            fold,
            f"recording {_names(seen)} is of a tested animal, and systems would be fitted on it",
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
    seen = sorted(set(inner.seen) - set(outer.seen))
    if seen:
        _refuse(system, outer, f"its inner fold {inner.name!r} would see recording {_names(seen)}")
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
            f"{_names(others)} (animal {_names(animals)}) as well; expected its own alone"
        )


def check_settings(system: System, task: Task) -> None:
    """Refuse a system that asks for the labels as if they were a feature.

    Raises
    ------
    LeakError
        If its settings name a column that systems are not shown.
    """
    settings = system.settings()
    named = sorted(words_of(settings) & task.hidden)
    if not named:
        return
    training = settings.get("training")
    by = training.get("by") if isinstance(training, Mapping) else None
    mend = "leave it out of its settings"
    if by in named and by != task.target:
        mend = f"to train by {by}, give each part as a recording of its own"
    raise LeakError(
        f"system {system.row!r} reads the metadata column {_names(named)}, which systems are not "
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
        encoder = getattr(system, "identity", "") or system.settings().get("encoder", "")
        _refuse(
            system.row,
            fold,
            f"recording {_names(seen)} is of a tested animal, and the system's encoder {encoder} "
            "was pretrained on it",
            mend="take an encoder that was not, train one anew in every fold (Nuclr(config=…, "
            "steps=…)), or ask what such an encoder can answer: "
            "protocol='transductive_zero_shot'",
        )


def check_twins(
    fingerprints: Mapping[str, frozenset[str]], copies: Mapping[str, list[Any]]
) -> None:
    """Refuse units that occur twice: one would be trained on, and the other tested.

    Parameters
    ----------
    fingerprints : mapping
        Recording name → by what its units are known again.
    copies : mapping
        Recording name → its units that are copies of others of it.

    Raises
    ------
    LeakError
        Naming the recordings.
    """
    for name, units in copies.items():
        if units:
            raise LeakError(
                f"in recording {name!r} {len(units)} units are copies of others of it, spike for "
                "spike or frame for frame: one would be trained on and the other tested; leave out "
                f"{_names(units)}"
            )
    for one, other in combinations(fingerprints, 2):
        if fingerprints[one] & fingerprints[other]:
            raise LeakError(
                f"recordings {one!r} and {other!r} have units in common, spike for spike or frame "
                "for frame, for all of their time or a part of it: a unit would be trained on "
                "under one name and tested under the other; give every unit once"
            )


def telling_columns(
    groups: Mapping[str, Units], labels: Mapping[str, NDArray[Any]], target: str
) -> frozenset[str]:
    """Return the metadata columns that systems must not see, because they tell labels.

    That are the labels and their predictions; embeddings, whose encoder may have seen anything;
    every column that has one value for each label (codes, ``is_pv``), over the labelled units of
    all recordings; and those of which each value goes with one label only (``VISp5`` → ``VISp``),
    if the values are names: texts, and whole numbers that on average occur at least twice. Of a
    column of several values a unit (one-hot) the whole row counts. Floats that merely go with the
    labels, such as a depth, are features.

    Parameters
    ----------
    groups : mapping
        Recording name → TsGroup or TsdFrame.
    labels : mapping
        Recording name → label of every unit (units,); "" where it is missing.
    target : str
        The column of the labels.
    """
    columns: dict[str, list[tuple[NDArray[Any], NDArray[Any]]]] = {}
    for name, units in groups.items():
        for column, values in stored_columns(units).items():
            columns.setdefault(column, []).append((values, labels[name]))
    prefixes = prefixes_of(columns)
    own = {target} | {one for one in columns if one.startswith(f"{PREDICTED}{target}")}
    own |= {one for one in columns if any(is_member(one, prefix) for prefix in prefixes)}
    return frozenset(own | {one for one in columns.keys() - own if _tells(columns[one])})


def words_of(settings: Any) -> set[str]:
    """Return all strings among the values of settings that may name metadata columns.

    Those of an `EncoderConfig` do not, nor does what a system is called.
    """
    if isinstance(settings, str):
        return {settings}
    if isinstance(settings, Mapping):
        if settings.keys() >= _CONFIG:
            return set()
        settings = [value for key, value in settings.items() if key not in ("row", "name")]
    return set().union(*map(words_of, settings)) if isinstance(settings, list) else set()


class Sealed(Mapping[str, Any]):
    """Recordings that may be counted and named, but not looked at.

    They are handed to a system that says it does not learn, because its one fit serves every
    fold, those included whose animals it must not see.

    Parameters
    ----------
    names : sequence of str
        Of the recordings.
    system : str
        Row of the system.
    """

    def __init__(self, names: Sequence[str], system: str) -> None:
        self._names = dict.fromkeys(names)
        self._system = system

    def __getitem__(self, name: str) -> NoReturn:
        if name not in self._names:
            raise KeyError(name)
        raise LeakError(
            f"system {self._system!r} says that it does not learn (learns = False), but its fit "
            f"reads recording {name!r}, which may be of an animal that it is tested on; let it "
            "say learns = True, and it is fitted anew in every fold"
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _tells(parts: Sequence[tuple[NDArray[Any], NDArray[Any]]]) -> bool:
    """Say whether labels can be read from a column: (values, labels) of each recording."""
    labels = np.concatenate([own[own != ""] for _, own in parts]).tolist()
    shown = [values[own != ""] for values, own in parts]
    measured = any(one.dtype.kind == "f" and not np.isin(one, (0, 1)).all() for one in shown)
    numbers = all(one.ndim == 1 and one.dtype.kind in "biuf" for one in shown)
    if measured and numbers and len(np.unique(np.concatenate(shown))) > len(set(labels)) + 1:
        return False  # most columns of numbers: features
    values = [value for one in shown for value in _as_values(one)]
    if not all(isinstance(one, (str, bytes, int, float, np.generic, type(None))) for one in values):
        return False
    pairs = list(zip(values, labels, strict=True))
    known = [(value, label) for value, label in pairs if value is not None]
    return _sorts(pairs) or _sorts(known) or (not measured and _names_them(known))


def _as_values(column: NDArray[Any]) -> list[Any]:
    """Return what a column says of each unit, None where it says nothing; of a row its bytes."""
    if column.ndim == 1:
        values = column.astype(object)
        values[is_missing(values)] = None
        return values.tolist()
    numbers = column.dtype.kind in "biuf"  # the same in every recording, whatever its kind there
    return [row.astype(float).tobytes() if numbers else str(row.tolist()) for row in column]


def _sorts(pairs: Pairs) -> bool:
    """Say whether each label has one value only, and not all of them the same."""
    return 1 < len({value for value, _ in pairs}) <= len(set(pairs)) == len({k for _, k in pairs})


def _names_them(pairs: Pairs) -> bool:
    """Say whether values are names, of which each goes with one label only."""
    values = {value for value, _ in pairs}
    whole = all(isinstance(one, (int, np.integer, bytes)) for one in values)
    repeated = len(pairs) >= 2 * len(values)
    names = all(isinstance(one, str) for one in values) or (whole and repeated)
    return names and len(set(pairs)) == len(values) and len({k for _, k in pairs}) > 1


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
    return f"unit{plural} {_names(units)} of recording {_names(recordings)}"


def _names(names: Iterable[Any]) -> str:
    some = [repr(str(one)) if isinstance(one, str) else str(one) for one in names]
    more = f" and {len(some) - _NAMED} more" if len(some) > _NAMED else ""
    return ", ".join(some[:_NAMED]) + more
