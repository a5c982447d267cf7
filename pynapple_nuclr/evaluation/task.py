"""What systems predict: the labelled units of recordings, with the animal of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from pynapple_nuclr.columns import (
    MISSING_LABELS,
    as_texts,
    metadata_frame,
    recording_animals,
    tidy_labels,
)
from pynapple_nuclr.columns.metadata import stored_columns, with_metadata
from pynapple_nuclr.config import Modality
from pynapple_nuclr.leakage import LeakError
from pynapple_nuclr.leakage.duplicates import check_duplicate_units, repeated_units
from pynapple_nuclr.leakage.fingerprints import all_fingerprints, unit_hashes
from pynapple_nuclr.leakage.label_columns import label_revealing_columns
from pynapple_nuclr.probes.cross_validation import check_classes
from pynapple_nuclr.recording import Recording, Units, as_recordings, name_recordings
from pynapple_nuclr.user_warnings import list_some, warn_user

Protocol: TypeAlias = Literal["transductive", "transductive_zero_shot", "inductive_zero_shot"]

PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)


@dataclass(frozen=True)
class Task:
    """Recordings, and the labels that systems predict.

    Rows are the units of all recordings, sorted by the recording's name, each with its units in
    the given order.
    """

    # Sorted by name, without the columns that reveal the labels: a system cannot read these.
    units: dict[str, Units]
    modality: Modality
    target: str  # name of the labels
    labels: NDArray[np.str_]  # (rows,); "" where missing
    recordings: NDArray[np.str_]  # (rows,)
    animals: NDArray[np.str_]  # (rows,); "" where unknown
    unit_ids: NDArray[Any]  # (rows,), as in the pynapple objects
    # (rows,), each recording's sorted by their data alone: random draws in this order do not
    # depend on the order of the units.
    sorted_rows: NDArray[np.intp]
    # (scored,): rows that count in the scores, in that order: with a label and, of spikes, a spike
    scored: NDArray[np.intp]
    given: NDArray[np.intp]  # (scored,): index among the scored units, in the given order of units
    n_silent: int  # labelled units that never fire, which are not scored
    hidden: frozenset[str]  # the columns that systems do not get
    fingerprints: dict[str, frozenset[str]]  # of the units, by which duplicates are recognised

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
    """One part of the units, predicted from labels of the others."""

    name: str  # the animal that is left out, or a number
    train: NDArray[np.bool_]  # (scored,): the units that show their label
    test: NDArray[np.bool_]  # (scored,): the units that are predicted
    visible_recordings: tuple[str, ...]  # on which systems may be fitted
    # What must stay hidden: labels of the tested units; of their animals; or all of these
    protocol: Protocol


def read_task(recordings: Any, target: str, animals: Any = None) -> Task:
    """Read recordings, the labels of their units and their animals; check them once."""
    given = name_recordings(recordings)
    recordings = as_recordings(dict(sorted(given.items())))
    modality = _one_modality(recordings)
    _check_target(recordings, target)
    known = {name: all_fingerprints(one) for name, one in recordings.items()}
    _check_duplicates(recordings, known)
    raw = [_labels(given[name], target) for name in recordings]
    labels = as_texts(np.concatenate(raw), MISSING_LABELS)
    missing = labels == ""
    silent = np.concatenate([_silent(one) for one in recordings.values()])
    sizes = [one.n_units for one in recordings.values()]
    starts = dict(zip(recordings, np.cumsum(sizes) - sizes, strict=True))
    order = [starts[name] + np.argsort(one.order()) for name, one in recordings.items()]
    rows = np.concatenate(order).astype(np.intp)
    counts = ~missing & ~silent
    scored = rows[counts[rows]]
    place = np.empty(len(rows), dtype=np.intp)
    place[scored] = np.arange(len(scored))
    as_given = np.concatenate(
        [starts[name] + np.arange(recordings[name].n_units) for name in given]
    )
    check_classes(np.array(tidy_labels(np.concatenate(raw)[counts])), target, int(missing.sum()))
    frames = {name: metadata_frame(units) for name, units in given.items()}
    of_recording = recording_animals(frames, animals, target=target)
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
        scored=scored,
        given=place[as_given[counts[as_given]]],
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


def _check_duplicates(
    recordings: Mapping[str, Recording], fingerprints: Mapping[str, frozenset[str]]
) -> None:
    for name, recording in recordings.items():
        hashes = unit_hashes(recording)
        copies = np.array([*hashes], dtype=int)[repeated_units(hashes.values())]
        if len(copies):
            raise LeakError(
                f"in recording {name!r} {len(copies)} units are copies of others of it, spike for "
                "spike or frame for frame: one would be trained on and the other tested; leave out "
                f"{list_some(recording.unit_ids[copies].tolist())}"
            )
    evidence = "spike for spike or frame for frame, for all of their time or a part of it"
    check_duplicate_units(fingerprints, evidence, counted=False)


def _check_target(recordings: Mapping[str, Recording], target: str) -> None:
    without = [name for name, one in recordings.items() if target not in one.metadata]
    if len(without) == len(recordings):
        first = next(iter(recordings.values()))
        raise ValueError(
            f"no recording has a metadata column {target!r}; {first.name!r} has: "
            f"{', '.join(map(str, first.metadata.columns))}"
        )
    if without:
        warn_user(
            f"taken for unlabelled, because they have no column {target!r}: {', '.join(without)}"
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
