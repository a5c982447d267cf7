"""Our encoder, behind the interface that all systems share."""

from __future__ import annotations

import csv
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pynapple_nuclr.baselines.base import EmbeddingSystem, Recordings, System
from pynapple_nuclr.checkpoints import Encoder, as_encoder, bundled_encoder
from pynapple_nuclr.config import EncoderConfig
from pynapple_nuclr.embedding import encode
from pynapple_nuclr.leakage.fingerprints import known_fingerprints
from pynapple_nuclr.user_warnings import warn_user


@dataclass
class Nuclr(EmbeddingSystem):
    """The NuCLR encoder: as it is, or trained on the recordings of every fit.

    Parameters
    ----------
    encoder : Encoder, str or Path, optional
        Without `steps`, the encoder to use as it is (default: the bundled one); else the one to
        fine-tune (default: random weights).
    config : EncoderConfig, optional
        Windows and size of an encoder that is trained.
    steps : int, optional
        Steps to train on the recordings of every fit.
    training : mapping
        Settings of `pretrain`: ``batch_size``, ``learning_rate``, ``max_units`` and the like.
    embedding : mapping
        Settings of `encode`: ``max_windows``, ``tolerance``, ``device`` and the like.
    alternatives : tuple of mapping
        Changes to these fields, among which nested validation may choose.
    name : str
        Name of the system in tables.

    Attributes
    ----------
    encoder_ : Encoder
        The encoder that `embed` uses.

    References
    ----------
    "Know Thyself by Knowing Others: Learning Neuron Identity from Population Context",
    NeurIPS 2025, arXiv:2512.01199.

    Examples
    --------
    >>> import pynapple_nuclr as nap_nuclr
    >>> from pynapple_nuclr.baselines import Nuclr
    >>> units = nap_nuclr.simulate("single", n_units=20, duration=60, seed=0)
    >>> config = nap_nuclr.EncoderConfig(dim=32, heads=2, head_dim=16)
    >>> system = Nuclr(config=config, steps=2).fit({"mouse1": units})
    >>> system.embed({"mouse1": units})["mouse1"].shape
    (20, 32)
    """

    encoder: Encoder | str | Path | None = None
    config: EncoderConfig | None = None
    steps: int | None = None
    training: Mapping[str, Any] = field(default_factory=dict)
    embedding: Mapping[str, Any] = field(default_factory=dict)
    alternatives: tuple[Mapping[str, Any], ...] = ()
    name: str = field(default="nuclr", kw_only=True)  # type: ignore[misc]  # of each variant

    def __post_init__(self) -> None:
        self._start: Encoder | None = None  # loaded here: an error comes before any work
        self.encoder_: Encoder | None = None
        if self.steps is None or self.encoder is not None:
            self._start = as_encoder(self.encoder)
            self.modalities = (self._start.config.modality,)  # type: ignore[misc]

    @classmethod
    def for_recordings(cls, recordings: Recordings) -> Nuclr:
        """Return the bundled encoder that reads these recordings, as it is."""
        return cls(bundled_encoder(next(iter(recordings.values()))))

    @property
    def trainable(self) -> bool:
        """Whether `fit` does anything: an encoder that is used as it is does not change."""
        return self.steps is not None

    @property
    def identity(self) -> str:
        """Name and hash of the encoder in use; "" before it is trained."""
        used = self.encoder_ or (self._start if self.steps is None else None)
        return "" if used is None else str(used.identity)

    @property
    def pretrained_on(self) -> str:
        """What the encoder has been trained on before any fit."""
        if self._start is None:
            return ""
        card = self._start.card
        training = card.get("training", {})
        known = f"{training['recordings']} recordings" if "recordings" in training else "nothing"
        return str(card.get("data", known))

    @property
    def fingerprints(self) -> frozenset[str]:
        """Fingerprints of the recordings of the encoder's pretraining.

        Warns where an encoder was trained and its card does not name the recordings.
        """
        if self._start is None:
            return frozenset()
        encoder = self._start
        known = known_fingerprints(encoder.card)
        if not known and "training" in encoder.card:
            warn_user(
                f"encoder {encoder.identity} may have been trained on the animals left out: "
                "its card does not name its training recordings; "
                "familiarity.record_training_data(encoder, recordings) writes them there"
            )
        return known

    def settings(self) -> dict[str, Any]:
        """Return what decides the result; of an encoder its name and hash, not its folder."""
        start = None if self._start is None else self._start.identity
        return super().settings() | {"encoder": start}

    def candidates(self) -> list[System]:
        """Return this system, then one for each of the alternatives."""
        same = {"encoder": self._start, "alternatives": ()}
        return [self, *(replace(self, **{**same, **one}) for one in self.alternatives)]

    def fit(self, recordings: Recordings, *, seed: int = 0, progress: bool = False) -> Nuclr:
        """Train on the recordings, if steps are set."""
        if self.steps is None:
            self.encoder_ = self._start
            return self
        from pynapple_nuclr.pretraining import pretrain  # loads Lightning

        with tempfile.TemporaryDirectory() as folder:
            self.encoder_ = pretrain(
                recordings,
                self.config,
                init=self._start,
                steps=self.steps,
                seed=seed,
                out=folder,
                progress=progress,
                **self.training,
            )
            with (Path(folder) / "metrics.csv").open(encoding="utf-8") as file:
                self.history_ = [
                    {name: float(value) for name, value in row.items()}
                    for row in csv.DictReader(file)
                ]
        return self

    def embed(self, recordings: Recordings) -> dict[str, NDArray[np.float64]]:
        """Return the mean embedding of every unit over its windows."""
        with warnings.catch_warnings():
            # Silent units are NaN rows, as the interface requires.
            warnings.filterwarnings("ignore", message=".*no spike in any window")
            return {
                name: encode(units, self.encoder_, progress=False, **self.embedding)[
                    "embedding"
                ].values
                for name, units in recordings.items()
            }
