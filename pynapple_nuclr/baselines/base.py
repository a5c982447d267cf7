"""What every system has in common: pynapple objects in, embeddings or class probabilities out."""

from __future__ import annotations

import hashlib
import json
import pickle
import uuid
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import PurePath
from types import MappingProxyType, SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from pynapple_nuclr.config import EncoderConfig

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pynapple_nuclr.recording import Units

    Recordings = Mapping[str, Units]
    Labels = Mapping[str, NDArray[np.str_]]


@dataclass
class System(ABC):
    """One way of saying what kind of unit each unit is.

    The fields of a system, and in a class that is no dataclass all of its attributes, are its
    settings: they decide its result together with the data and the seed. What it learns is kept
    in attributes that end with an underscore.

    Attributes
    ----------
    name : str
        Name of the system in tables; ends with ``-style`` where it departs from its paper.
    modalities : tuple of str
        What it can read: "spikes", "calcium".
    history_ : list of dict
        The course of its training: ``step``, ``seconds``, ``loss`` and the like.
    """

    name: ClassVar[str]
    modalities: ClassVar[tuple[str, ...]] = ("spikes", "calcium")
    history_: list[dict[str, float]] = field(default_factory=list, init=False, repr=False)

    @property
    def fingerprints(self) -> frozenset[str]:
        """By what recordings that it was trained on before any fit are known again; often none.

        Those on the cards of the encoders, and of the systems, among its attributes.
        """
        return _fingerprints(list(vars(self).values()))

    def settings(self) -> dict[str, Any]:
        """Return what decides the result, as plain values (for tables, and to hash).

        What is no plain value stands there as its ``identity``, if it has one, or else a hash of
        all that it holds. An object that cannot be read (a lambda) has another hash each time: no
        result is ever taken for its own.
        """
        chosen = _kept(self)
        chosen.pop("modalities", None)  # what it can read, not what it makes of it
        return {"name": self.name} | {name: _plain(value) for name, value in chosen.items()}

    def candidates(self) -> list[System]:
        """Return the systems among which nested validation may choose, this one first."""
        return [self]


class EmbeddingSystem(System):
    """A system that describes units by vectors, which a probe then reads."""

    @property
    def trainable(self) -> bool:
        """Whether `fit` does anything; if not, one embedding serves every protocol and seed.

        Then `fit` must not look at the recordings: an evaluation does not show them.
        """
        return True

    @abstractmethod
    def fit(
        self, recordings: Recordings, *, seed: int = 0, progress: bool = False
    ) -> EmbeddingSystem:
        """Learn from recordings without labels.

        Parameters
        ----------
        recordings : mapping
            Recording name → TsGroup or TsdFrame.
        seed : int
            Seed of all that is drawn.
        progress : bool
            Show a progress bar.

        Returns
        -------
        EmbeddingSystem
            Itself.
        """

    @abstractmethod
    def embed(self, recordings: Recordings) -> dict[str, NDArray[np.float64]]:
        """Describe the units of recordings, whether they were trained on or not.

        An evaluation asks about one recording at a time: what a system says of it may depend on
        what it was fitted on, never on the other recordings that it is asked about.

        Parameters
        ----------
        recordings : mapping
            Recording name → TsGroup or TsdFrame. A recording of a name that was trained on is
            that recording.

        Returns
        -------
        dict
            Name → (units, features), in the order of the units; NaN rows for units about which
            nothing can be said.
        """


class LabelSystem(System):
    """A system that learns from labels and answers with the probability of each class.

    Attributes
    ----------
    uses_test_recording_labels : bool
        Whether it can only speak of units whose recording has labelled units (a prior).
    classes_ : ndarray (classes,)
        The labels it knows, sorted.
    """

    uses_test_recording_labels: ClassVar[bool] = False
    classes_: NDArray[np.str_]

    @abstractmethod
    def fit(
        self, recordings: Recordings, labels: Labels, *, seed: int = 0, progress: bool = False
    ) -> LabelSystem:
        """Learn from labelled units.

        Parameters
        ----------
        recordings : mapping
            Recording name → TsGroup or TsdFrame: whole populations.
        labels : mapping
            Recording name → label of every unit (units,); "" where it is unknown or hidden.
        seed : int
            Seed of all that is drawn.
        progress : bool
            Show a progress bar.

        Returns
        -------
        LabelSystem
            Itself.
        """

    @abstractmethod
    def predict_proba(self, recordings: Recordings) -> dict[str, NDArray[np.float64]]:
        """Return the probability of each class for all units, those of training included.

        Parameters
        ----------
        recordings : mapping
            Recording name → TsGroup or TsdFrame.

        Returns
        -------
        dict
            Name → (units, classes), in the order of the units and of `classes_`; NaN rows for
            units about which nothing can be said.
        """


def _kept(one: Any) -> dict[str, Any]:
    """Return what an object was made with: fields of a dataclass, attributes of any other."""
    names = [f.name for f in fields(one) if f.init]
    names += [name for name in getattr(one, "__dict__", {}) if not name.endswith("_")]
    return {name: getattr(one, name) for name in names if hasattr(one, name)}


def _plain(value: Any) -> Any:
    """Return a setting as a value that JSON knows; two that differ are never the same."""
    value = value.item() if isinstance(value, np.generic) else value
    kind, identity = type(value).__qualname__, getattr(value, "identity", None)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, EncoderConfig):
        return json.loads(value.signature())  # unchanged by settings that came later
    if isinstance(value, (dict, MappingProxyType)):  # others (a TsGroup) hold more than items
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, System):
        return {kind: value.settings()}
    if isinstance(identity, str) and identity:
        return identity
    if is_dataclass(value) and not isinstance(value, type):
        return {kind: {name: _plain(item) for name, item in _kept(value).items()}}
    return f"{kind}@{_digest(value)}"


class _Reader(pickle.Pickler):
    """Reads all that an object holds; nothing that it writes is ever loaded."""

    def reducer_override(self, obj: Any) -> Any:
        """Read a tensor's bytes: pickled, it would say where in memory they lie."""
        if not hasattr(type(obj), "untyped_storage"):
            return NotImplemented
        import torch

        content = obj.detach().cpu().reshape(-1).view(torch.uint8).numpy()
        return np.asarray, (content, str(obj.dtype), tuple(obj.shape))


def _digest(value: Any) -> str:
    """Return the hash of all that an object holds; where it cannot be read, one of its own."""
    digest = hashlib.sha256()
    try:
        _Reader(SimpleNamespace(write=digest.update), protocol=5).dump(value)
    except Exception:  # objects refuse to be read in many ways
        return uuid.uuid4().hex[:16]
    return digest.hexdigest()[:16]


def _fingerprints(value: Any) -> frozenset[str]:
    """Return by what is known again what the encoders in a setting were trained on."""
    from pynapple_nuclr.leakage.fingerprints import known_fingerprints  # loads torch

    if isinstance(value, System):
        return value.fingerprints
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return frozenset().union(*map(_fingerprints, value))
    card = getattr(value, "card", None)
    return known_fingerprints(card) if isinstance(card, Mapping) else frozenset()
