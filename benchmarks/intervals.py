"""Scores with bootstrap intervals over animals, from the predictions of every unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pynapple_nuclr.evaluation.scoring import confusion

Floats = NDArray[np.float64]
DRAWS = 2000


@dataclass(frozen=True)
class Predictions:
    """What one row of a table predicts.

    Parameters
    ----------
    labels, recordings : ndarray (units,)
        The label, and the recording, of each unit.
    predicted : ndarray (runs, units)
        Predicted labels of each run (seed); "" without a prediction.
    individuals : mapping
        Recording → the animal (or session) that intervals are over.
    within : bool
        Score each recording by itself and average, instead of all units together.
    """

    labels: NDArray[np.str_]
    recordings: NDArray[np.str_]
    predicted: NDArray[np.str_]
    individuals: Mapping[str, str]
    within: bool

    @cached_property
    def groups(self) -> NDArray[np.str_]:
        """What is drawn by the bootstrap: the recordings within which scores are, or animals."""
        if self.within:
            return self.recordings
        names, index = np.unique(self.recordings, return_inverse=True)
        return np.array([self.individuals[name] for name in names])[index]

    @cached_property
    def counts(self) -> Floats:
        """Confusion counts (runs, groups, classes, classes + 1)."""
        classes = np.unique(self.labels)
        y = np.searchsorted(classes, self.labels)
        runs = []
        for predicted in self.predicted:
            found = np.searchsorted(classes, predicted).clip(max=len(classes) - 1)
            found = np.where(classes[found] == predicted, found, -1)
            of_groups = (self.groups == name for name in np.unique(self.groups))
            runs.append([confusion(y[here], found[here], len(classes)) for here in of_groups])
        return np.array(runs)

    def of_each(self) -> dict[str, float]:
        """Return the macro F1 of each group, mean over runs."""
        scores = macro_f1_of(self.counts).mean(axis=0)
        return dict(zip(np.unique(self.groups), scores.tolist(), strict=True))

    def macro_f1(self, weights: Floats | None = None) -> Floats:
        """Return the macro F1, mean over runs, with weights (draws, groups) of the groups."""
        return self._score(macro_f1_of, weights)

    def accuracy(self, weights: Floats | None = None) -> Floats:
        """Return the share of the units whose label is predicted; weights as `macro_f1`."""
        return self._score(_accuracy, weights)

    def _score(self, score: object, weights: Floats | None) -> Floats:
        weights = np.ones((1, self.counts.shape[1])) if weights is None else weights
        if self.within:
            of_groups = score(self.counts)  # type: ignore[operator]  # (runs, groups)
            return (of_groups @ weights.T / weights.sum(axis=1)).mean(axis=0)
        # One run after the other: counts of many classes and draws need memory.
        runs = [score(np.tensordot(weights, own, 1)) for own in self.counts]  # type: ignore[operator]
        return np.mean(runs, axis=0)

    @cached_property
    def drawn(self) -> Floats:
        """How often each group is in each draw (draws, groups); the same for all rows."""
        rng, names = np.random.default_rng(0), np.unique(self.groups)
        if not self.within:
            return rng.multinomial(len(names), np.full(len(names), 1 / len(names)), DRAWS) * 1.0
        owners = np.array([self.individuals[name] for name in names])
        animals = np.unique(owners)
        weights = np.zeros((DRAWS, len(names)))
        for draw in weights:
            for animal in rng.choice(animals, len(animals)):
                own = np.flatnonzero(owners == animal)
                np.add.at(draw, rng.choice(own, len(own)), 1)
        return weights

    def only(self, groups: Sequence[str]) -> Predictions:
        """Return the predictions of some of the groups."""
        here = np.isin(self.groups, list(groups))
        return Predictions(
            self.labels[here],
            self.recordings[here],
            self.predicted[:, here],
            self.individuals,
            self.within,
        )


def interval(values: Floats) -> tuple[float, float]:
    """Return the 95 % interval of bootstrapped values."""
    low, high = np.nanquantile(values, [0.025, 0.975])
    return float(low), float(high)


def gain(row: Predictions, reference: Predictions) -> tuple[float, float, float]:
    """Return by how much the macro F1 exceeds that of another row, and the paired interval."""
    difference = row.macro_f1(row.drawn) - reference.macro_f1(row.drawn)
    return (float(row.macro_f1()[0] - reference.macro_f1()[0]), *interval(difference))


def macro_f1_of(counts: Floats) -> Floats:
    """Return the mean F1 of the classes that occur; counts (…, classes, classes + 1)."""
    n_classes = counts.shape[-2]
    true = counts.sum(axis=-1)
    predicted = counts[..., :n_classes].sum(axis=-2)
    hits = np.diagonal(counts[..., :n_classes], axis1=-2, axis2=-1)
    f1 = 2 * hits / np.maximum(true + predicted, 1e-9)
    return (f1 * (true > 0)).sum(axis=-1) / np.maximum((true > 0).sum(axis=-1), 1)


def _accuracy(counts: Floats) -> Floats:
    hits = np.diagonal(counts[..., : counts.shape[-2]], axis1=-2, axis2=-1).sum(axis=-1)
    return hits / np.maximum(counts.sum(axis=(-2, -1)), 1e-9)
