"""Small recordings with known labels, and small systems that cheat wherever they can."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pynapple as nap

from pynapple_nuclr.baselines import EmbeddingSystem, LabelSystem

KINDS = ("PV", "SST", "VIP")
SPIKES = {"PV": 60, "SST": 30, "VIP": 15}


def recording(seed=0, n=30, animal="m0", kinds=KINDS, separation=1.0, order=None, **columns):
    """A population whose cell types differ in their number of spikes; no two units are alike."""
    rng = np.random.default_rng(seed)
    labels = np.array([kinds[i % len(kinds)] for i in range(n)])
    support = nap.IntervalSet(0, 100)
    counts = [rng.poisson(30 * (SPIKES.get(kind, 40) / 30) ** separation) + 3 for kind in labels]
    trains = [np.sort(rng.uniform(0, 100, count)) for count in counts]
    order = np.arange(n) if order is None else order
    metadata = {"cell_type": labels[order], "animal": [animal] * n}
    metadata |= {name: np.asarray(values)[order] for name, values in columns.items()}
    return nap.TsGroup(
        {100 + i: nap.Ts(trains[unit], time_support=support) for i, unit in enumerate(order)},
        time_support=support,
        metadata=metadata,
    )


def mice(n_animals=3, n=30, **options):
    """A recording of each of some animals."""
    return {f"day_{i}": recording(seed=i, n=n, animal=f"m{i}", **options) for i in range(n_animals)}


def fingerprint(units) -> list[float]:
    """A number by which to know every unit again: its first spike."""
    return [float(units[unit].t[0]) if len(units[unit]) else 0.0 for unit in units.index]


@dataclass
class Counting(EmbeddingSystem):
    """Log spike count, and noise: what the cell types differ in. Counts its fits."""

    name: ClassVar[str] = "counting"
    modalities: ClassVar[tuple[str, ...]] = ("spikes",)
    fits: ClassVar[list] = []
    useful: bool = True
    options: tuple[bool, ...] = ()

    def candidates(self):
        return [self, *(Counting(useful=one) for one in self.options)]

    def fit(self, recordings, *, seed=0, progress=False):
        self.fits.append((sorted(recordings), seed, self.useful))
        self.history_ = [{"step": float(i), "loss": 1.0 / (i + 1)} for i in range(300)]
        return self

    def embed(self, recordings):
        vectors = {}
        for name, units in recordings.items():
            counts = np.array([len(units[unit]) for unit in units.index], dtype=float)
            noise = 1e4 * np.array(fingerprint(units)) % 1
            own = np.log(counts + 1) if self.useful else noise**2
            vectors[name] = np.column_stack([own, noise])
        return vectors


@dataclass
class Unique(EmbeddingSystem):
    """A direction of its own for every unit: a probe remembers all it is shown, and no more."""

    name: ClassVar[str] = "unique"

    def fit(self, recordings, *, seed=0, progress=False):
        return self

    def embed(self, recordings):
        def direction(first_spike):
            return np.random.default_rng(int(first_spike * 1e9)).normal(size=400)

        return {
            name: np.stack([direction(one) for one in fingerprint(units)])
            for name, units in recordings.items()
        }


@dataclass
class KnowsWhatItSaw(EmbeddingSystem):
    """The true label of every unit of a recording that it was fitted on; else nothing of it.

    It knows the truth beforehand, and reads whatever label it is received.
    """

    name: ClassVar[str] = "remembers its training"
    truth: ClassVar[dict] = {}
    received: ClassVar[set] = set()

    def fit(self, recordings, *, seed=0, progress=False):
        self.received |= {
            column for units in recordings.values() for column in units.metadata_columns
        }
        self.saw_ = {one for units in recordings.values() for one in fingerprint(units)}
        return self

    def embed(self, recordings):
        self.received |= {
            column for units in recordings.values() for column in units.metadata_columns
        }

        def row(one):
            known = one in self.saw_
            return [float(known and self.truth[one] == kind) for kind in KINDS]

        return {
            name: np.array([row(one) for one in fingerprint(units)])
            for name, units in recordings.items()
        }


@dataclass
class RemembersLabels(LabelSystem):
    """The label of every unit that it was shown; of others it says what never occurs first."""

    name: ClassVar[str] = "remembers labels"
    shown: ClassVar[list] = []

    def fit(self, recordings, labels, *, seed=0, progress=False):
        assert list(recordings) == list(labels)
        self.known_ = {
            one: label
            for name, units in recordings.items()
            for one, label in zip(fingerprint(units), labels[name], strict=True)
        }
        self.shown.append({one: label for one, label in self.known_.items() if label})
        self.classes_ = np.unique([label for label in self.known_.values() if label])
        for units in recordings.values():
            assert "cell_type" not in units.metadata_columns
        return self

    def predict_proba(self, recordings):
        probabilities = {}
        for name, units in recordings.items():
            own = np.array([self.known_.get(one, "") for one in fingerprint(units)])
            probabilities[name] = (own[:, None] == self.classes_).astype(float)
            probabilities[name][~probabilities[name].any(axis=1), 0] = 1.0
        return probabilities


@dataclass
class MostCommonHere(LabelSystem):
    """The most common label of the recording: exists only where labels of it are shown."""

    name: ClassVar[str] = "prior: here"
    uses_test_recording_labels: ClassVar[bool] = True

    def fit(self, recordings, labels, *, seed=0, progress=False):
        self.classes_ = np.unique([one for own in labels.values() for one in own if one])
        self.labels_ = labels
        return self

    def predict_proba(self, recordings):
        probabilities = {}
        for name, units in recordings.items():
            counts = (np.asarray(self.labels_[name])[:, None] == self.classes_).sum(axis=0)
            probabilities[name] = np.tile(counts / max(counts.sum(), 1), (len(units), 1))
        return probabilities


def truth_of(recordings, column="cell_type") -> dict[float, str]:
    return {
        one: label
        for units in recordings.values()
        for one, label in zip(fingerprint(units), units[column], strict=True)
    }
