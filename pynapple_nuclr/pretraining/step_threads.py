"""The number of threads of a step: on a busy machine one is often faster than all."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

import torch

_SLOW = 3  # times the median step, at which both numbers are measured again
_WORTH = 1.2  # times as fast have several threads to be: they may have to wait at any time
_ENOUGH = 5  # steps before a median means something
_KEPT = 50


class StepThreads:
    """Choose between 1 and the caller's number of threads by the time of steps.

    On busy cores the threads of a step wait for each other at every operation, and a step can
    take tens of times longer than with one. The last digits of sums depend on the number, so only
    runs with a time limit use this: these cannot be repeated bit by bit anyway.

    Parameters
    ----------
    active : bool
        Whether to choose at all.
    """

    def __init__(self, active: bool) -> None:
        self.numbers = sorted({1, torch.get_num_threads()}) if active else []
        self._costs: deque[float] = deque(maxlen=_KEPT)
        self._to_try: list[int] = []
        self._tried: dict[int, float] = {}
        self._rest, self._next_rest = 0, 10  # steps until the next measurement at the earliest

    def start(self) -> None:
        """Measure by the first steps, unless that was done before."""
        if len(self.numbers) > 1 and not self._tried:
            self._try()

    def use_fastest(self, seconds: dict[int, float]) -> None:
        """Use the number of threads whose steps took the fewest seconds."""
        self._tried = seconds
        fastest = min(seconds, key=lambda number: seconds[number] * (1 if number == 1 else _WORTH))
        torch.set_num_threads(fastest)

    def add(self, cost: float) -> None:
        """Take in the cost of a step, seconds for so much data; change the number where due."""
        if len(self.numbers) < 2:
            return
        if self._to_try:
            self._add_trial(cost)
            return
        self._rest -= 1
        slow = len(self._costs) >= _ENOUGH and cost > _SLOW * median(self._costs)
        self._costs.append(cost)
        if slow and self._rest <= 0:
            self._try()

    def _try(self) -> None:
        self._tried = {}
        self._to_try = 2 * self.numbers
        torch.set_num_threads(self._to_try[0])

    def _add_trial(self, cost: float) -> None:
        number = self._to_try.pop(0)
        self._tried[number] = min(cost, self._tried.get(number, cost))
        if self._to_try:
            torch.set_num_threads(self._to_try[0])
            return
        self.use_fastest(self._tried)
        self._costs.clear()
        self._rest, self._next_rest = self._next_rest, 2 * self._next_rest


@contextmanager
def threads_restored() -> Iterator[None]:
    """Give torch the caller's number of threads back at the end."""
    number = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(number)
