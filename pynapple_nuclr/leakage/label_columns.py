"""What systems are handed: nothing from which a label can be read, and every unit once."""

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
from pynapple_nuclr.leakage import LeakError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pynapple_nuclr.recording import Units

    Pairs = Sequence[tuple[Any, str]]  # value of a column and label of each unit

_CONFIG = json.loads(EncoderConfig().signature()).keys()
_NAMED = 5  # units, recordings or columns that an error names


def check_duplicate_units(
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
                f"{listed(units)}"
            )
    for one, other in combinations(fingerprints, 2):
        if fingerprints[one] & fingerprints[other]:
            raise LeakError(
                f"recordings {one!r} and {other!r} have units in common, spike for spike or frame "
                "for frame, for all of their time or a part of it: a unit would be trained on "
                "under one name and tested under the other; give every unit once"
            )


def label_revealing_columns(
    recordings: Mapping[str, Units], labels: Mapping[str, NDArray[Any]], target: str
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
    recordings : mapping
        Recording name → TsGroup or TsdFrame.
    labels : mapping
        Recording name → label of every unit (units,); "" where it is missing.
    target : str
        The column of the labels.
    """
    columns: dict[str, list[tuple[NDArray[Any], NDArray[Any]]]] = {}
    for name, units in recordings.items():
        for column, values in stored_columns(units).items():
            columns.setdefault(column, []).append((values, labels[name]))
    prefixes = prefixes_of(columns)
    own = {target} | {one for one in columns if one.startswith(f"{PREDICTED}{target}")}
    own |= {one for one in columns if any(is_member(one, prefix) for prefix in prefixes)}
    return frozenset(own | {one for one in columns.keys() - own if _tells(columns[one])})


def string_values(settings: Any) -> set[str]:
    """Return all strings among the values of settings that may name metadata columns.

    Those of an `EncoderConfig` do not, nor does what a system is called.
    """
    if isinstance(settings, str):
        return {settings}
    if isinstance(settings, Mapping):
        if settings.keys() >= _CONFIG:
            return set()
        settings = [value for key, value in settings.items() if key != "name"]
    return set().union(*map(string_values, settings)) if isinstance(settings, list) else set()


class HiddenRecordings(Mapping[str, Any]):
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
            f"system {self._system!r} says that it does not learn (trainable = False), but its fit "
            f"reads recording {name!r}, which may be of an animal that it is tested on; let it "
            "say trainable = True, and it is fitted anew in every fold"
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


def listed(names: Iterable[Any]) -> str:
    """Return some of the names, as they stand in errors, and how many more there are."""
    some = [repr(str(one)) if isinstance(one, str) else str(one) for one in names]
    more = f" and {len(some) - _NAMED} more" if len(some) > _NAMED else ""
    return ", ".join(some[:_NAMED]) + more
