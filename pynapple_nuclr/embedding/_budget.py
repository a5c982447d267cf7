"""How many windows to read, and in what order."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MIN_WINDOWS = 4  # below this, the standard error of a mean is not reliable


@dataclass(frozen=True)
class Budget:
    """How many windows to read at most, and when to stop.

    After `max_seconds` of embedding, the current window is finished. With `tolerance` reading stops
    when the standard error of every unit's mean embedding is below this fraction of its distance
    from the population's mean (about the error of its direction in radians), after at least four
    windows.
    """

    max_windows: int | None = None
    max_seconds: float | None = None
    tolerance: float | None = None

    def __post_init__(self) -> None:
        for name in ("max_windows", "max_seconds", "tolerance"):
            value = getattr(self, name)
            if not isinstance(value, (int, float, np.number, type(None))):
                raise TypeError(f"{name} is {value!r}; expected a positive number, or None")
            if value is not None and not value > 0:
                raise ValueError(f"{name} is {value}; expected a positive number, or None")
        if self.max_windows is not None and self.max_windows % 1 != 0:  # infinity % 1 is NaN
            raise ValueError(f"max_windows is {self.max_windows}; expected a whole number")

    @property
    def limited(self) -> bool:
        """Whether some windows may be left out."""
        return any(one is not None for one in (self.max_windows, self.max_seconds, self.tolerance))

    def windows(self, available: int) -> NDArray[np.int64]:
        """Return the indices of the windows to read (windows,), in order."""
        if not self.limited:
            return np.arange(available)
        n = min(self.max_windows or available, available)
        evenly = ((np.arange(n) + 0.5) * available / n).astype(np.int64)
        return evenly[golden_ratio_order(n)]


def golden_ratio_order(n: int) -> NDArray[np.int64]:
    """Return the numbers below `n`, ordered so that any first few are evenly spaced.

    Multiples of the golden ratio, modulo 1, fill an interval in this way.

    Examples
    --------
    >>> from pynapple_nuclr.embedding._budget import golden_ratio_order
    >>> golden_ratio_order(8)
    array([0, 5, 2, 7, 4, 1, 6, 3])
    """
    golden = np.arange(n) * ((np.sqrt(5) - 1) / 2) % 1
    return np.argsort(np.argsort(golden))


@dataclass
class ConvergenceMonitor:
    """Tracks the mean embedding of every unit while windows are read."""

    budget: Budget
    units: int
    dim: int
    count: NDArray[np.int64] = field(init=False)
    begun: float = field(default_factory=time.perf_counter)

    def __post_init__(self) -> None:
        self.count = np.zeros(self.units, dtype=np.int64)
        self.mean = np.zeros((self.units, self.dim))
        self.squares = np.zeros(self.units)

    def add(self, present: NDArray[Any], vectors: NDArray[np.float32]) -> None:
        """Add one window: which units take part, and their embeddings."""
        if self.budget.tolerance is None:
            return
        # Welford's recurrence: a sum of squares minus a squared sum would lose all digits.
        self.count[present] += 1
        change = vectors - self.mean[present]
        self.mean[present] += change / self.count[present, None]
        self.squares[present] += (change * (vectors - self.mean[present])).sum(axis=1)

    def errors(self) -> NDArray[np.float64]:
        """Return the relative standard error of each unit that has taken part in a window."""
        known = self.count > 0
        count, mean = self.count[known], self.mean[known]
        distance = np.linalg.norm(mean - mean.mean(axis=0), axis=1)
        variance = self.squares[known] / np.maximum(count - 1, 1) / count
        error = np.sqrt(variance) / np.maximum(distance, 1e-12)
        return np.where(count < _MIN_WINDOWS, np.inf, error)

    def enough(self) -> bool:
        """Return whether to stop now."""
        limit = self.budget.max_seconds
        if limit is not None and time.perf_counter() - self.begun >= limit:
            return True
        if self.budget.tolerance is None or not self.count.any():
            return False
        return bool((self.errors() <= self.budget.tolerance).all())
