"""What every system has in common: pynapple objects in, embeddings or class probabilities out."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pynapple_nuclr.config import EncoderConfig

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pynapple_nuclr.recording import Units

    Groups = Mapping[str, Units]
    Labels = Mapping[str, NDArray[np.str_]]


@dataclass
class System(ABC):
    """One way of saying what kind of unit each unit is.

    The fields of a system are its settings, in their order: they decide its result together with
    the data and the seed. What it learns is kept in attributes that end with an underscore.

    Attributes
    ----------
    row : str
        Name of the system in tables; ends with ``-style`` where it departs from its paper.
    modalities : tuple of str
        What it can read: "spikes", "calcium".
    history_ : list of dict
        The course of its training: ``step``, ``seconds``, ``loss`` and the like.
    """

    row: ClassVar[str]
    modalities: ClassVar[tuple[str, ...]] = ("spikes", "calcium")
    history_: list[dict[str, float]] = field(default_factory=list, init=False, repr=False)

    @property
    def fingerprints(self) -> frozenset[str]:
        """By what recordings that it was trained on before any fit are known again; often none."""
        return frozenset()

    def settings(self) -> dict[str, Any]:
        """Return what decides the result, as plain values (for tables, and to hash)."""
        chosen = {f.name: getattr(self, f.name) for f in fields(self) if f.init}
        return {"row": self.row} | {name: _plain(value) for name, value in chosen.items()}

    def configurations(self) -> list[System]:
        """Return the systems among which nested validation may choose, this one first."""
        return [self]


class EmbeddingSystem(System):
    """A system that describes units by vectors, which a probe then reads."""

    @property
    def learns(self) -> bool:
        """Whether `fit` does anything; if not, one embedding serves every protocol and seed.

        Then `fit` must not look at the recordings: an evaluation does not show them.
        """
        return True

    @abstractmethod
    def fit(self, groups: Groups, *, seed: int = 0, progress: bool = False) -> EmbeddingSystem:
        """Learn from recordings without labels.

        Parameters
        ----------
        groups : mapping
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
    def embed(self, groups: Groups) -> dict[str, NDArray[np.float64]]:
        """Describe the units of recordings, whether they were trained on or not.

        An evaluation asks about one recording at a time: what a system says of it may depend on
        what it was fitted on, never on the other recordings that it is asked about.

        Parameters
        ----------
        groups : mapping
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
    needs_labels_here : bool
        Whether it can only speak of units whose recording has labelled units (a prior).
    classes_ : ndarray (classes,)
        The labels it knows, sorted.
    """

    needs_labels_here: ClassVar[bool] = False
    classes_: NDArray[np.str_]

    @abstractmethod
    def fit(
        self, groups: Groups, labels: Labels, *, seed: int = 0, progress: bool = False
    ) -> LabelSystem:
        """Learn from labelled units.

        Parameters
        ----------
        groups : mapping
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
    def predict_proba(self, groups: Groups) -> dict[str, NDArray[np.float64]]:
        """Return the probability of each class for all units, those of training included.

        Parameters
        ----------
        groups : mapping
            Recording name → TsGroup or TsdFrame.

        Returns
        -------
        dict
            Name → (units, classes), in the order of the units and of `classes_`; NaN rows for
            units about which nothing can be said.
        """


def _plain(value: Any) -> Any:
    """Return a setting as a value that JSON knows."""
    if isinstance(value, EncoderConfig):
        return json.loads(value.signature())  # unchanged by settings that came later
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return getattr(value, "identity", None) or repr(value)
