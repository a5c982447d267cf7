"""The interface of a system: pynapple objects in, vectors or class probabilities out.

A system of another package is one class, a subclass of `EmbeddingSystem` or `LabelSystem`, that
this package registers as an entry point; see the page "Add a system" of the documentation.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pynapple as nap
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from typing_extensions import Self

from pynapple_nuclr.baselines.plain_values import HasCard, as_plain_value
from pynapple_nuclr.recording import Units, modality_of, name_recordings

Recordings = Mapping[str, Units]
Labels = Mapping[str, NDArray[np.str_]]
Vectors = NDArray[np.float64]


class System(BaseEstimator, ABC):
    """One way to find out what kind of unit each unit is.

    The conventions are those of scikit-learn's estimators: the constructor only keeps its
    arguments, each in an attribute of the same name (a dataclass does), and `get_params` returns
    them. They decide the result, together with the data and the seed. What is learned is kept in
    attributes that end with an underscore.

    Attributes
    ----------
    name : str
        Name of the system in tables; ends with ``-style`` where it departs from its paper.
    modalities : tuple of str
        What it can read: "spikes", "calcium". Default: both.
    history_ : list of dict
        The history of its training, set by `fit`: ``step``, ``seconds``, ``loss`` and the like.
        Default: empty.
    """

    name: ClassVar[str]
    modalities: ClassVar[tuple[str, ...]] = ("spikes", "calcium")
    history_: list[dict[str, float]] = []

    @classmethod
    def for_recordings(cls, recordings: Recordings) -> Self:
        """Return the system that a name means. Default: with its default arguments."""
        return cls()

    @property
    def identity(self) -> str:
        """Name and hash of the encoder in use. Default: "", no encoder."""
        return ""

    @property
    def pretrained_on(self) -> str:
        """Data that the system was trained on before any `fit`, in words. Default: "", none."""
        return ""

    @property
    def fingerprints(self) -> frozenset[str]:
        """Fingerprints of the recordings that it was trained on before any `fit`.

        Default: those on the cards of encoders, and of systems, among its attributes.
        """
        return _fingerprints(list(vars(self).values()))

    def settings(self) -> dict[str, Any]:
        """Return `name` and `get_params()` as plain values, for tables and to hash.

        A value that JSON does not have is written as its ``identity``, if it has one, or else as a
        hash of all that it holds. One that cannot be read (a lambda) gets another hash each time,
        so that no stored result is taken for its own.

        Raises
        ------
        TypeError
            If the constructor does not keep an argument.
        """
        try:
            params = self.get_params(deep=False)
        except AttributeError as error:
            raise TypeError(
                f"system {self.name!r} does not keep all arguments of its constructor ({error}); "
                "expected each in an attribute of the same name, so that results are not confused"
            ) from error
        return {"name": self.name} | {key: as_plain_value(one) for key, one in params.items()}

    def candidates(self) -> list[System]:
        """Return the systems among which nested validation may choose, this one first."""
        return [self]

    def row_name(self, recordings: Recordings) -> str:
        """Return the name of its row in a table about these recordings. Default: `name`."""
        return self.name

    def check_recordings(self, recordings: Any) -> dict[str, Units]:
        """Return recordings by name, if they are pynapple objects that this system reads.

        An evaluation passes checked recordings; systems that are used by themselves call this.

        Raises
        ------
        TypeError, ValueError
            If a recording is neither a TsGroup nor a TsdFrame, holds what the system cannot read,
            or there is none.
        """
        named = name_recordings(recordings)
        for name, units in named.items():
            if not isinstance(units, (nap.TsGroup, nap.TsdFrame)):
                raise TypeError(
                    f"recording {name!r} is a {type(units).__name__}; expected a pynapple TsGroup "
                    "(spikes) or TsdFrame (calcium)"
                )
            if modality_of(units) not in self.modalities:
                raise ValueError(
                    f"recording {name!r} holds {modality_of(units)} (a {type(units).__name__}), "
                    f"but system {self.name!r} reads {' and '.join(self.modalities)}"
                )
        return named


class EmbeddingSystem(System):
    """A system that describes units by vectors, which a probe then reads."""

    @property
    def trainable(self) -> bool:
        """Whether `fit` does anything; if not, one embedding serves every protocol and seed.

        Then `fit` must not look at the recordings: an evaluation does not show them.
        """
        return True

    @abstractmethod
    def fit(self, recordings: Recordings, *, seed: int = 0, progress: bool = False) -> Self:
        """Learn from recordings without labels.

        Parameters
        ----------
        recordings : mapping
            Recording name → TsGroup or TsdFrame, all of one of the `modalities`.
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
    def embed(self, recordings: Recordings) -> dict[str, Vectors]:
        """Describe the units of recordings, whether they were trained on or not.

        An evaluation passes one recording at a time: its vectors may depend on what the system was
        fitted on, never on the other recordings to embed.

        Parameters
        ----------
        recordings : mapping
            Recording name → TsGroup or TsdFrame. A recording of a name that was trained on is
            that recording.

        Returns
        -------
        dict
            Name → (units, features), in the order of the units; NaN rows for units about which
            nothing is known.
        """


class LabelSystem(System):
    """A system that learns from labels and returns the probability of each class.

    Attributes
    ----------
    uses_test_recording_labels : bool
        Whether it can only predict units whose recording has labelled units (a prior).
    classes_ : ndarray (classes,)
        The labels that it can predict, sorted.
    """

    uses_test_recording_labels: ClassVar[bool] = False
    classes_: NDArray[np.str_]

    @abstractmethod
    def fit(
        self, recordings: Recordings, labels: Labels, *, seed: int = 0, progress: bool = False
    ) -> Self:
        """Learn from labelled units.

        Parameters
        ----------
        recordings : mapping
            Recording name → TsGroup or TsdFrame: whole populations, of one of the `modalities`.
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
    def predict_proba(self, recordings: Recordings) -> dict[str, Vectors]:
        """Return the probability of each class for all units, those of training included.

        Parameters
        ----------
        recordings : mapping
            Recording name → TsGroup or TsdFrame.

        Returns
        -------
        dict
            Name → (units, classes), in the order of the units and of `classes_`; NaN rows for
            units about which nothing is known.
        """


def _fingerprints(value: Any) -> frozenset[str]:
    """Return the fingerprints of the training data of all encoders in a value."""
    from pynapple_nuclr.leakage.fingerprints import known_fingerprints  # loads torch

    if isinstance(value, System):
        return value.fingerprints
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return frozenset().union(*map(_fingerprints, value))
    has_card = isinstance(value, HasCard) and isinstance(value.card, Mapping)
    return known_fingerprints(value.card) if has_card else frozenset()
