"""What is to be told: the labelled units of recordings, the animal of each, and who hides what."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import numpy as np

from pynapple_nuclr.columns import as_texts, metadata_frame
from pynapple_nuclr.columns.metadata import stored_columns, with_metadata
from pynapple_nuclr.leakage.fingerprints import all_fingerprints, copies_in
from pynapple_nuclr.leakage.label_columns import check_duplicate_units, label_revealing_columns
from pynapple_nuclr.probes.cross_validation import check_classes
from pynapple_nuclr.recording import Recording, as_recordings, name_recordings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pynapple_nuclr.config import Modality
    from pynapple_nuclr.recording import Units

Protocol: TypeAlias = Literal["transductive", "transductive_zero_shot", "inductive_zero_shot"]

PROTOCOLS: tuple[Protocol, ...] = (
    "transductive",
    "transductive_zero_shot",
    "inductive_zero_shot",
)
"""What a protocol may be called."""

ANIMAL_COLUMNS = ("animal", "subject")
"""Where the animal stands, if nobody says it."""


@dataclass(frozen=True)
class Task:
    """Recordings, and the labels that systems shall tell.

    Rows are the units of all recordings, these sorted by name, each with its units as given.

    Attributes
    ----------
    units : dict
        Name → TsGroup or TsdFrame, sorted by name, without the column of the labels and the
        columns that say the same: a system cannot read what it is not shown.
    modality : {"spikes", "calcium"}
        What they are.
    target : str
        What the labels are called.
    labels, recordings, animals : ndarray (rows,)
        Label ("" = missing), name of the recording, and animal ("" = not said) of each unit.
    unit_ids : ndarray (rows,)
        As in the pynapple objects.
    sorted_rows : ndarray (rows,)
        The rows, each recording's sorted by their data alone: what is drawn in this order does
        not depend on how units were given.
    scored : ndarray (scored,)
        Rows that count in the scores, in that order: with a label, and with a spike (if spikes).
    given : ndarray (scored,)
        Which of the scored units comes first, second, … in the objects as they were given.
    n_silent : int
        Labelled units that never fire, which are not scored.
    hidden : frozenset of str
        The columns that systems are not shown.
    fingerprints : dict
        Name → fingerprints of the units, by which they are known again.
    """

    units: dict[str, Units]
    modality: Modality
    target: str
    labels: NDArray[np.str_]
    recordings: NDArray[np.str_]
    animals: NDArray[np.str_]
    unit_ids: NDArray[Any]
    sorted_rows: NDArray[np.intp]
    scored: NDArray[np.intp]
    given: NDArray[np.intp]
    n_silent: int
    hidden: frozenset[str]
    fingerprints: dict[str, frozenset[str]]

    @cached_property
    def classes(self) -> NDArray[np.str_]:
        """The labels that are scored, sorted (classes,)."""
        return np.unique(self.labels[self.scored])

    @cached_property
    def y(self) -> NDArray[np.intp]:
        """Index among the classes of each scored unit (scored,)."""
        return np.searchsorted(self.classes, self.labels[self.scored])

    @cached_property
    def animal_numbers(self) -> NDArray[np.intp]:
        """Number of the animal of each scored unit (scored,)."""
        return np.unique(self.animals[self.scored], return_inverse=True)[1]

    def rows_of(self, name: str) -> slice:
        """Return the rows of a recording."""
        first = np.searchsorted(self.recordings, name, side="left")
        return slice(int(first), int(np.searchsorted(self.recordings, name, side="right")))

    def recordings_of(self, animals: Sequence[str]) -> tuple[str, ...]:
        """Return the names of the recordings of these animals."""
        return tuple(np.unique(self.recordings[np.isin(self.animals, animals)]).tolist())


class Fold(NamedTuple):
    """One part of the units, told from what the others show.

    Attributes
    ----------
    name : str
        The animal that is left out, or a number.
    train, test : ndarray (scored,)
        Which scored units show their label, and which are told.
    visible_recordings : tuple of str
        Recordings on which systems may be fitted.
    protocol : {"transductive", "transductive_zero_shot", "inductive_zero_shot"}
        What must stay hidden: labels of the tested units; of their animals; or all of these.
    """

    name: str
    train: NDArray[np.bool_]
    test: NDArray[np.bool_]
    visible_recordings: tuple[str, ...]
    protocol: Protocol


def read_task(recordings: Any, target: str, animals: Any = None) -> Task:
    """Read recordings, the labels of their units and their animals; check them once.

    Parameters
    ----------
    recordings : TsGroup, TsdFrame, list or mapping
        The recordings.
    target : str
        Metadata column of the labels. A recording without it is unlabelled (one warning).
    animals : mapping, list or str, optional
        Recording name → animal, one per recording, or a column. Default: ``animal``, else
        ``subject``, where every recording has it.

    Returns
    -------
    Task

    Raises
    ------
    TypeError, ValueError
        If recordings cannot be read or are of two modalities, no recording has the column,
        there are fewer than two classes or than two units of one, or an animal is not clear.
    LeakError
        If a unit is in two recordings, or twice in one.
    """
    given = name_recordings(recordings)
    recordings = as_recordings(dict(sorted(given.items())))
    modality = _one_modality(recordings)
    _check_target(recordings, target)
    known = {name: all_fingerprints(one) for name, one in recordings.items()}
    check_duplicate_units(known, {name: copies_in(one) for name, one in recordings.items()})
    raw = [_labels(given[name], target) for name in recordings]
    labels = as_texts(np.concatenate(raw))
    missing = labels == ""
    silent = np.concatenate([_silent(one) for one in recordings.values()])
    sizes = [one.n_units for one in recordings.values()]
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    order = [
        start + np.argsort(one.order())
        for start, one in zip(starts, recordings.values(), strict=True)
    ]
    rows = np.concatenate(order).astype(np.intp)
    counts = ~missing & ~silent
    check_classes(np.array(np.concatenate(raw)[counts].tolist()), target)
    of_recording = _animal_of_each(given, animals, target)
    names = np.repeat(list(recordings), sizes)
    hidden = label_revealing_columns(given, {name: labels[names == name] for name in given}, target)
    return Task(
        units={name: _without(given[name], hidden) for name in recordings},
        modality=modality,
        target=target,
        labels=labels,
        recordings=names,
        animals=np.repeat([of_recording[name] for name in recordings], sizes),
        unit_ids=_unit_ids(recordings),
        sorted_rows=rows,
        scored=rows[counts[rows]],
        given=_as_given(list(given), list(recordings), starts, sizes, rows, counts),
        n_silent=int((~missing & silent).sum()),
        hidden=hidden,
        fingerprints=known,
    )


def _one_modality(recordings: Mapping[str, Recording]) -> Modality:
    of_each = {one.modality: name for name, one in recordings.items()}
    if len(of_each) > 1:
        raise ValueError(
            f"recording {of_each['spikes']!r} holds spikes and {of_each['calcium']!r} calcium; "
            "evaluate them apart"
        )
    return next(iter(of_each))


def _check_target(recordings: Mapping[str, Recording], target: str) -> None:
    without = [name for name, one in recordings.items() if target not in one.metadata]
    if len(without) == len(recordings):
        first = next(iter(recordings.values()))
        raise ValueError(
            f"no recording has a metadata column {target!r}; {first.name!r} has: "
            f"{', '.join(map(str, first.metadata.columns))}"
        )
    if without:
        warnings.warn(
            f"taken for unlabelled, because they have no column {target!r}: {', '.join(without)}",
            UserWarning,
            stacklevel=4,
        )


def _labels(units: Units, target: str) -> NDArray[Any]:
    metadata = metadata_frame(units)
    if target not in metadata:
        return np.full(len(metadata), "", dtype=object)
    return metadata[target].to_numpy(dtype=object)


def _silent(recording: Recording) -> NDArray[np.bool_]:
    if recording.modality == "calcium":
        return np.zeros(recording.n_units, dtype=bool)
    return np.asarray(recording.activity() == 0)


def _without(units: Units, hidden: frozenset[str]) -> Units:
    columns = stored_columns(units)
    return with_metadata(units, {k: v for k, v in columns.items() if k not in hidden})


def _unit_ids(recordings: Mapping[str, Recording]) -> NDArray[Any]:
    ids = [one.unit_ids for one in recordings.values()]
    kinds = {one.dtype.kind for one in ids}
    return np.concatenate(ids if kinds <= {"i", "u"} else [one.astype(str) for one in ids])


def _as_given(
    given: Sequence[str],
    names: Sequence[str],
    starts: Sequence[int],
    sizes: Sequence[int],
    rows: NDArray[np.intp],
    counts: NDArray[np.bool_],
) -> NDArray[np.intp]:
    """Return the places among the scored units, in the order in which units were given."""
    place = np.full(len(rows), -1, dtype=np.intp)
    scored = rows[counts[rows]]
    place[scored] = np.arange(len(scored))
    number = {name: i for i, name in enumerate(names)}
    spans = [slice(starts[number[n]], starts[number[n]] + sizes[number[n]]) for n in given]
    ordered = np.concatenate([place[span] for span in spans])
    return ordered[ordered >= 0]


def _animal_of_each(recordings: Mapping[str, Units], animals: Any, target: str) -> dict[str, str]:
    """Return recording name → animal; "" where nobody says it."""
    if isinstance(animals, Mapping):
        said = dict(zip(map(str, animals), as_texts(list(animals.values())).tolist(), strict=True))
        unknown = [name for name in recordings if name not in said]
        if unknown:
            raise ValueError(f"animals does not name the animal of recording {unknown[0]!r}")
        return {name: said[name] for name in recordings}
    if animals is None:
        frames = [metadata_frame(units) for units in recordings.values()]
        columns = [c for c in ANIMAL_COLUMNS if c != target and all(c in f for f in frames)]
        if not columns:
            return dict.fromkeys(recordings, "")
        animals = columns[0]
    if isinstance(animals, str):
        return {name: _animal_in(units, animals, name) for name, units in recordings.items()}
    if len(animals) != len(recordings):
        raise ValueError(
            f"animals has {len(animals)} entries for {len(recordings)} recordings; expected one "
            "for each, a mapping recording name → animal, or the name of a metadata column"
        )
    return dict(zip(recordings, as_texts(animals).tolist(), strict=True))


def _animal_in(units: Units, column: str, name: str) -> str:
    metadata = metadata_frame(units)
    if column not in metadata:
        raise ValueError(
            f"recording {name!r} has no metadata column {column!r} that says its animal; it has: "
            f"{', '.join(map(str, metadata.columns))}"
        )
    values = np.setdiff1d(as_texts(metadata[column]), [""])
    if len(values) != 1:
        raise ValueError(
            f"recording {name!r} has {len(values)} animals in its column {column!r}; expected one "
            "for all its units"
        )
    return str(values[0])
