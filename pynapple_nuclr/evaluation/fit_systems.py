"""Fit systems, each once, on the recordings that a fold shows, and keep the result."""

from __future__ import annotations

import copy
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pynapple_nuclr import __version__
from pynapple_nuclr.baselines.base import EmbeddingSystem, LabelSystem, System
from pynapple_nuclr.evaluation.results_cache import (
    Store,
    hash_array,
    hash_columns,
    hash_recording,
    key_of,
)
from pynapple_nuclr.evaluation.task import Task
from pynapple_nuclr.leakage.label_columns import HiddenRecordings, string_values

_FORMAT = "pynapple_nuclr fit 1"
_NOTES = ("seconds", "history", "identity")


class Fit(NamedTuple):
    """Vectors or probabilities of all units, by a fitted system."""

    values: NDArray[np.float32]  # (rows, features or classes); NaN without vector or prediction
    seconds: float  # duration of fitting and predicting, when they were done
    history: list[dict[str, float]]  # of the training
    identity: str  # name@hash of the encoder that was used, if the system has one
    key: str  # hash of all that it depends on


class Fits:
    """The fits of systems to the recordings of a task, kept in a store."""

    def __init__(self, task: Task, store: Store) -> None:
        self.task = task
        self.store = store
        self._hashes = {name: hash_recording(units) for name, units in task.units.items()}

    def vectors(self, system: EmbeddingSystem, visible: Sequence[str], seed: int) -> Fit:
        """Return the vectors of all units, by a system fitted on the recordings `visible`.

        A system that is not trainable (a frozen encoder) depends neither on the seed nor on the
        recordings that it would be fitted on: it gets none.
        """
        names = tuple(self.task.units)
        trainable = system.trainable
        if not trainable:
            visible, seed = names, 0

        def work(fresh: EmbeddingSystem) -> Mapping[str, Any]:
            shown = self._units(visible) if trainable else HiddenRecordings(visible, system.name)
            fitted = fresh.fit(shown, seed=seed)
            return self._one_by_one(names, lambda group: copy.deepcopy(fitted).embed(group))

        return self._once(system, work, visible, names, seed, {})

    def probabilities(
        self,
        system: LabelSystem,
        visible: Sequence[str],
        shown: NDArray[np.bool_],
        tested: Sequence[str],
        seed: int,
    ) -> Fit:
        """Return the probability of each class of the task, by a system that learns from labels."""
        labels = np.where(shown, self.task.labels, "")
        by_name = {name: labels[self.task.rows_of(name)] for name in visible}

        def work(fresh: LabelSystem) -> Mapping[str, Any]:
            fitted = fresh.fit(self._units(visible), by_name, seed=seed)
            predictions = self._one_by_one(
                tested, lambda group: copy.deepcopy(fitted).predict_proba(group)
            )
            return {k: self._by_class(fitted, v, k) for k, v in predictions.items()}

        # The columns are these classes, whichever labels the fold shows.
        also = {
            "labels": {name: hash_array(one) for name, one in by_name.items()},
            "classes": self.task.classes.tolist(),
        }
        return self._once(system, work, visible, tested, seed, also)

    def _units(self, names: Sequence[str]) -> dict[str, Any]:
        return {name: self.task.units[name] for name in names}

    def _one_by_one(self, names: Sequence[str], predict: Callable[[Any], Any]) -> dict[str, Any]:
        """Predict each recording by itself, so that it cannot depend on the others."""
        return {name: predict(self._units([name]))[name] for name in names}

    def _once(
        self,
        system: System,
        work: Any,
        visible: Sequence[str],
        tested: Sequence[str],
        seed: int,
        also: dict[str, Any],
    ) -> Fit:
        settings = system.settings()
        words = string_values(settings)
        key = key_of(
            {
                "format": [_FORMAT, __version__],
                "system": [type(system).__module__, type(system).__qualname__],
                "settings": settings,
                "visible": self._content(words, visible),
                "tested": self._content(words, tested),
                "seed": seed,
                **also,
            }
        )
        stored = self.store.read(key)
        if stored is None:
            fresh, begun = copy.deepcopy(system), time.perf_counter()
            with _named(system, visible):
                values = self._rows(work(fresh), system, tested)
            seconds = time.perf_counter() - begun
            notes: dict[str, Any] = {
                "seconds": seconds,
                "history": json.loads(json.dumps(fresh.history_, default=float)),
                "identity": str(fresh.identity),
                "name": system.name,
            }
            self.store.write(key, {"values": values}, notes)
            stored = {"values": values}, notes
        arrays, notes = stored
        return Fit(arrays["values"], key=key, **{name: notes[name] for name in _NOTES})

    def _content(self, words: set[str], names: Sequence[str]) -> dict[str, Any]:
        """Return the hashes of recordings, and of the columns that the settings name."""
        return {n: [self._hashes[n], hash_columns(self.task.units[n], words)] for n in names}

    def _rows(
        self, predictions: Mapping[str, Any], system: System, tested: Sequence[str]
    ) -> NDArray[np.float32]:
        """Stack the arrays of recordings (rows, columns)."""
        arrays = {name: np.asarray(predictions[name], dtype=np.float32) for name in tested}
        widths = {one.shape[1] if one.ndim == 2 else -1 for one in arrays.values()}
        n_units = {name: len(self.task.labels[self.task.rows_of(name)]) for name in tested}
        wrong = [name for name, one in arrays.items() if len(one) != n_units[name]]
        if wrong or len(widths) != 1 or -1 in widths:
            name = (wrong or list(tested))[0]
            raise ValueError(
                f"system {system.name!r} returned shape {arrays[name].shape} for recording "
                f"{name!r} of {n_units[name]} units; expected (units, columns), and as many "
                "columns for every recording"
            )
        values = np.full((len(self.task.labels), widths.pop()), np.nan, dtype=np.float32)
        for name, one in arrays.items():
            values[self.task.rows_of(name)] = one
        return values

    def _by_class(self, system: LabelSystem, probabilities: Any, name: str) -> NDArray[np.float64]:
        """Return probabilities (units, classes) in the order of the task's classes."""
        probabilities = np.asarray(probabilities, dtype=np.float64)
        known = np.asarray(system.classes_).astype(str)
        if probabilities.ndim != 2 or probabilities.shape[1] != len(known):
            raise ValueError(
                f"system {system.name!r} returned shape {probabilities.shape} for recording "
                f"{name!r}; expected (units, {len(known)} classes)"
            )
        unknown = sorted(set(known.tolist()) - set(self.task.classes.tolist()))
        if unknown:
            raise ValueError(
                f"system {system.name!r} has {', '.join(map(repr, unknown))} among its classes_; "
                f"expected some of {', '.join(map(repr, self.task.classes.tolist()))}: let "
                "classes_ hold the labels that fit got"
            )
        ordered = np.zeros((len(probabilities), len(self.task.classes)))
        ordered[:, np.searchsorted(self.task.classes, known)] = probabilities
        ordered[~np.isfinite(probabilities).all(axis=1)] = np.nan
        return ordered


@contextmanager
def _named(system: System, visible: Sequence[str]) -> Iterator[None]:
    """Add to an error which system raised it, and on which recordings."""
    try:
        yield
    except Exception as error:
        if sys.version_info >= (3, 11):  # earlier ones cannot add to an error
            error.add_note(f"while the system {system.name!r} was fitted on {', '.join(visible)}")
        raise
