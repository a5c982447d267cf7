"""Which metadata columns reveal the labels, and recordings that a system must not read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from pynapple_nuclr.columns import PREDICTED, is_missing
from pynapple_nuclr.columns.metadata import stored_columns
from pynapple_nuclr.columns.names import is_member, prefixes_of
from pynapple_nuclr.config import EncoderConfig
from pynapple_nuclr.leakage import LeakError
from pynapple_nuclr.recording import Units

Pairs = Sequence[tuple[Any, str]]  # value of a column and label of each unit

_CONFIG = json.loads(EncoderConfig().signature()).keys()


def label_revealing_columns(
    recordings: Mapping[str, Units], labels: Mapping[str, NDArray[Any]], target: str
) -> frozenset[str]:
    """Return the metadata columns that systems do not get, because they reveal the labels.

    These are the labels and their predictions; embeddings, whose encoder may have been trained on
    anything; every column with one value for each label (codes, ``is_pv``), over the labelled
    units of all recordings; and those of which each value occurs with one label only (``VISp5`` →
    ``VISp``), if the values are names: texts, and whole numbers that on average occur at least
    twice. In a column of several values per unit (one-hot) the whole row is the value. Floats that
    merely vary with the labels, such as a depth, are features. `labels` (units,) are "" where
    missing; `target` is their column.
    """
    columns: dict[str, list[tuple[NDArray[Any], NDArray[Any]]]] = {}
    for name, units in recordings.items():
        for column, values in stored_columns(units).items():
            columns.setdefault(column, []).append((values, labels[name]))
    prefixes = prefixes_of(columns)
    own = {target} | {one for one in columns if one.startswith(f"{PREDICTED}{target}")}
    own |= {one for one in columns if any(is_member(one, prefix) for prefix in prefixes)}
    return frozenset(own | {one for one in columns.keys() - own if _reveals(columns[one])})


def string_values(settings: Any) -> set[str]:
    """Return all strings in settings that may name metadata columns.

    Those of an `EncoderConfig` do not, nor does the system's name.
    """
    if isinstance(settings, str):
        return {settings}
    if isinstance(settings, Mapping):
        if settings.keys() >= _CONFIG:
            return set()
        settings = [value for key, value in settings.items() if key != "name"]
    return set().union(*map(string_values, settings)) if isinstance(settings, list) else set()


class HiddenRecordings(Mapping[str, Any]):
    """Names of recordings whose data raise a `LeakError` when they are read.

    A system that is not trainable gets them: its one fit is used in every fold, also those whose
    animals must stay hidden.
    """

    def __init__(self, names: Sequence[str], system: str) -> None:
        self._names = dict.fromkeys(names)
        self._system = system

    def __getitem__(self, name: str) -> NoReturn:
        if name not in self._names:
            raise KeyError(name)
        raise LeakError(
            f"system {self._system!r} has trainable = False, but its fit reads recording "
            f"{name!r}, which may be of an animal that it is tested on; expected trainable = "
            "True, with which it is fitted in every fold"
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _reveals(parts: Sequence[tuple[NDArray[Any], NDArray[Any]]]) -> bool:
    """Return whether a column, as (values, labels) of each recording, reveals the labels."""
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
    return _one_to_one(pairs) or _one_to_one(known) or (not measured and _names_labels(known))


def _as_values(column: NDArray[Any]) -> list[Any]:
    """Return the value of each unit, None where it is missing; of several values their bytes."""
    if column.ndim == 1:
        values = column.astype(object)
        values[is_missing(values)] = None
        return values.tolist()
    numbers = column.dtype.kind in "biuf"  # the same in every recording, whatever its kind there
    return [row.astype(float).tobytes() if numbers else str(row.tolist()) for row in column]


def _one_to_one(pairs: Pairs) -> bool:
    """Return whether each label has one value only, and not all of them the same."""
    return 1 < len({value for value, _ in pairs}) <= len(set(pairs)) == len({k for _, k in pairs})


def _names_labels(pairs: Pairs) -> bool:
    """Return whether values are names, of which each occurs with one label only."""
    values = {value for value, _ in pairs}
    whole = all(isinstance(one, (int, np.integer, bytes)) for one in values)
    repeated = len(pairs) >= 2 * len(values)
    names = all(isinstance(one, str) for one in values) or (whole and repeated)
    return names and len(set(pairs)) == len(values) and len({k for _, k in pairs}) > 1
