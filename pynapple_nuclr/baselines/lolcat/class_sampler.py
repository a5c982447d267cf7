"""Which units are drawn in training: those of classes that are mistaken come more often."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_MEMORY = 0.9  # of a class's error, at each step
_LEAST = 0.1  # error that a class counts for when it is never mistaken

Indices = NDArray[np.int64]


class AdaptiveSampler:
    """Draws units with replacement: first the class, by its recent error, then one of its units.

    `target` (units,) are the classes of the units to draw from.
    """

    def __init__(self, target: Indices, n_classes: int, rng: np.random.Generator) -> None:
        self.target, self.rng = target, rng
        self.counts = np.bincount(target, minlength=n_classes)
        self.error = np.ones(n_classes)

    def draw(self, n: int) -> Indices:
        """Draw the indices of `n` units."""
        weight = (self.error + _LEAST)[self.target] / self.counts[self.target]
        return self.rng.choice(len(self.target), n, p=weight / weight.sum())

    def update(self, target: Indices, predicted: Indices) -> None:
        """Take the classes that a batch was predicted to be of into the errors."""
        drawn = np.bincount(target, minlength=len(self.error))
        wrong = np.bincount(target, target != predicted, minlength=len(self.error))
        there = drawn > 0
        self.error[there] *= _MEMORY
        self.error[there] += (1 - _MEMORY) * (wrong[there] / drawn[there])
