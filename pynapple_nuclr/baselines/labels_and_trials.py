"""What several systems read of the recordings that they get: labels, and whether trials."""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Callable, Hashable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pynapple as nap

from pynapple_nuclr.columns import as_texts
from pynapple_nuclr.recording import name_recordings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pynapple_nuclr.recording import Recording, Units

T = TypeVar("T")

_FEWEST_TRIALS = 10  # epochs of equal length below which these are no trials
_SAME_LENGTH = 1e-3  # s by which the lengths of trials may differ; calcium: a frame
_MOST_KEPT = 4  # results that are remembered of one object

_kept: dict[int, dict[Hashable, Any]] = {}  # id of a living object → results


def read_labels(recordings: Any, labels: Any) -> dict[str, NDArray[np.str_]]:
    """Check the labels of recordings: a string for every unit, "" where it is not known.

    Parameters
    ----------
    recordings : mapping
        Recording name → TsGroup or TsdFrame.
    labels : mapping
        Recording name → (units,) labels; "", None and NaN where unknown.

    Returns
    -------
    dict
        Name → (units,).

    Raises
    ------
    TypeError, ValueError
        If `labels` is no mapping, lacks a recording, has another number of units, or holds no
        label at all.

    Examples
    --------
    >>> import pynapple as nap
    >>> from pynapple_nuclr.baselines.labels_and_trials import read_labels
    >>> units = nap.TsGroup({0: nap.Ts([0.1, 0.9]), 1: nap.Ts([0.2, 0.7])})
    >>> read_labels({"a": units}, {"a": ["PV", None]})
    {'a': array(['PV', ''], dtype='<U2')}
    """
    if not isinstance(labels, Mapping):
        raise TypeError(
            f"labels is a {type(labels).__name__}; expected a mapping recording name → labels"
        )
    read = {}
    for name, units in name_recordings(recordings).items():
        if name not in labels:
            raise ValueError(
                f'labels has no recording {name!r}; expected one label a unit, "" where unknown'
            )
        values = np.asarray(labels[name], dtype=object)
        n_units = len(unit_ids(units, name))
        if values.shape != (n_units,):
            raise ValueError(
                f"recording {name!r}: labels have shape {values.shape}; expected one a unit: "
                f"({n_units},)"
            )
        read[name] = as_texts(values)
    if not any((values != "").any() for values in read.values()):
        raise ValueError(
            f"no unit of the recordings {', '.join(read)} has a label; expected at least one"
        )
    return read


def classes_in(labels: Mapping[str, NDArray[np.str_]]) -> NDArray[np.str_]:
    """Return the labels that occur (classes,), sorted."""
    present = np.unique(np.concatenate(list(labels.values())))
    return present[present != ""]


def unit_ids(units: Units, name: str) -> NDArray[Any]:
    """Return the ids (units,) of a pynapple object without looking at its data."""
    if isinstance(units, nap.TsGroup):
        return np.asarray(units.index)
    if isinstance(units, nap.TsdFrame):
        return np.asarray(units.columns)
    raise TypeError(
        f"recording {name!r} is a {type(units).__name__}; expected a pynapple TsGroup (spikes) or "
        "TsdFrame (calcium)"
    )


def are_trials(recording: Recording) -> bool:
    """Say whether the epochs are trials: at least ten, all of one length.

    Examples
    --------
    >>> import pynapple_nuclr as nap_nuclr
    >>> from pynapple_nuclr.baselines.labels_and_trials import are_trials
    >>> from pynapple_nuclr.recording import as_recording
    >>> for trials in (None, (20, 0.4, 2.0)):
    ...     units = nap_nuclr.simulate("single", n_units=5, duration=9, trials=trials)
    ...     are_trials(as_recording(units))
    False
    True
    """
    lengths = np.diff(recording.epochs, axis=1)
    frame = recording.frame_period if recording.modality == "calcium" else 0.0
    alike = np.ptp(lengths) <= max(_SAME_LENGTH, 1.01 * frame) if len(lengths) else False
    return len(lengths) >= _FEWEST_TRIALS and bool(alike)


def memoize_per_object(units: Units, key: Hashable, make: Callable[[], T]) -> T:
    """Return `make()`, computed once for a pynapple object and kept for as long as it lives.

    Parameters
    ----------
    units : TsGroup or TsdFrame
        What the result is about. The values of a TsdFrame may be changed in place, so they are
        compared too.
    key : hashable
        All else that decides the result.
    make : callable
        Computes it.
    """
    if id(units) not in _kept:
        # The entry goes with the object: another one may get its id.
        weakref.finalize(units, _kept.pop, id(units), None)
    results = _kept.setdefault(id(units), {})
    if isinstance(units, nap.TsdFrame):
        values = np.ascontiguousarray(units.values)
        key = (key, hashlib.sha256(values.view(np.uint8).data).digest())
    if key not in results:
        made = make()
        while len(results) >= _MOST_KEPT:
            results.pop(next(iter(results)))
        results[key] = made
    found: T = results[key]
    return found


def in_their_order(
    recordings: Mapping[str, Recording],
    known: Mapping[str, NDArray[np.float64]],
    learn: Callable[[Recording], NDArray[np.float64]],
) -> dict[str, NDArray[np.float64]]:
    """Return the vectors of each recording's units, in the order in which they are given.

    Parameters
    ----------
    recordings : mapping
        Name → recording.
    known : mapping
        Name → vectors (units, dim) that were learned in training, in the order of the data.
    learn : callable
        Learns those of a new recording.

    Raises
    ------
    ValueError
        If a recording of a known name has another number of units.
    """
    found = {}
    for name, recording in recordings.items():
        vectors = known[name] if name in known else learn(recording)
        if len(vectors) != recording.n_units:
            raise ValueError(
                f"recording {name!r} has {recording.n_units} units, but that of this name in "
                f"training had {len(vectors)}; give another recording another name"
            )
        found[name] = vectors[recording.order()]
    return found
