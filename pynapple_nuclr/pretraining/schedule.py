"""How far a training has come, by steps and by time, and the learning rate that follows."""

from __future__ import annotations

import math
import time

_WARMUP = 5


class Schedule:
    """How far the training has come, 0 to 1: by steps, by time, whichever is further.

    `minutes` are those from beginning to end, with the earlier runs that this one resumes; the
    time counts from `began` (`time.monotonic`; default: now).
    """

    def __init__(self, steps: int | None, minutes: float | None, began: float | None = None):
        self.steps = steps
        self.seconds = None if minutes is None else 60 * minutes
        self.warmup = 1  # steps over which the learning rate rises
        self.spent = 0.0  # s, of this and earlier runs
        self.setup = 0.0  # s, those of `spent` before the first step of each run
        self.reserve = 0.0  # s, kept free for what follows the last step: measuring and saving
        self._since = time.monotonic() if began is None else began
        self._earlier = 0.0

    def restore(self, spent: float, setup: float) -> None:
        """Go on from the seconds of earlier runs; the time of this run is added to them."""
        self.spent = self._earlier = spent
        self.setup = setup

    def start(self) -> None:
        """Begin with the steps: what came before in this run was setup."""
        self.lap()
        self.setup += self.spent - self._earlier

    def lap(self) -> None:
        """Add the time since the last call."""
        now = time.monotonic()
        self.spent += now - self._since
        self._since = now

    def progress(self, step: int) -> float:
        """Return how far the training has come after `step` steps; 1: the steps have to end."""
        by_time = 0.0
        if self.seconds:
            trained, planned = self.spent - self.setup, self.seconds - self.reserve - self.setup
            by_time = trained / planned if planned > 0 else 1.0
        return min(max(self._by_steps(step), by_time), 1.0)

    def share(self, step: int) -> float:
        """Return how much of the whole run is over, from 0 to 1, with all that is not a step."""
        by_time = self.spent / self.seconds if self.seconds else 0.0
        return min(max(self._by_steps(step), by_time), 1.0)

    def seconds_left(self, step: int, seconds_a_step: float) -> float:
        """Return the seconds left for steps."""
        left = math.inf if self.steps is None else (self.steps - step) * seconds_a_step
        if self.seconds is not None:
            left = min(left, self.seconds - self.reserve - self.spent)
        return max(left, 0.0)

    def factor(self, step: int) -> float:
        """Return the learning rate of a step as a fraction: linear warm-up, then cosine to 0.

        A training shorter than five times the warm-up warms up over its first fifth.
        """
        rise = max((step + 1) / max(self.warmup, 1), self.progress(step) * _WARMUP)
        rise = min(rise, 1.0)
        return rise * 0.5 * (1 + math.cos(math.pi * self.progress(step)))

    def _by_steps(self, step: int) -> float:
        return step / self.steps if self.steps else 0.0
