"""The number of threads of a step: on a busy machine one is often faster than all."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

import torch
from torch.nn.functional import gelu

_SLOW = 3  # times the median step, at which the numbers are measured again
_ENOUGH = 5  # steps before a median means something
_KEPT = 50
_REST = 10  # steps from one measurement to the next at least; doubled each time
_WORTH = 1.2  # times as fast have several threads to be: they may have to wait at any time
_TOKENS = 2000
_REPEATS = 5


class StepThreads:
    """Choose between 1 and the caller's number of threads, by what is faster now.

    On busy cores the threads of a step wait for each other at every operation, and a step can
    take tens of times longer than with one. A few operations like those of a step are timed, not
    a step, which could take minutes. The last digits of sums depend on the number of threads, so
    only runs with a time limit (`active`) use this: these cannot be repeated bit by bit anyway.
    """

    def __init__(self, active: bool, dim: int) -> None:
        self.numbers = sorted({1, torch.get_num_threads()}) if active else []
        self.dim = dim
        self._costs: deque[float] = deque(maxlen=_KEPT)
        self._rest, self._next_rest = 0, _REST

    def measure(self) -> None:
        """Use the faster number of threads from now on."""
        if len(self.numbers) < 2:
            return
        one, several = self.numbers
        alone = self._time(one)
        faster = self._time(several, stop=alone) * _WORTH < alone
        torch.set_num_threads(several if faster else one)
        self._costs.clear()

    def add(self, cost: float) -> None:
        """Take in the cost of a step, seconds for so much data; measure after a slow one."""
        self._rest -= 1
        slow = len(self._costs) >= _ENOUGH and cost > _SLOW * median(self._costs)
        self._costs.append(cost)
        if slow and self._rest <= 0:
            self.measure()
            self._rest, self._next_rest = self._next_rest, 2 * self._next_rest

    def _time(self, number: int, stop: float = float("inf")) -> float:
        """Return the seconds of some operations, or those of the first ones, more than `stop`."""
        torch.set_num_threads(number)
        x, weight = torch.ones(_TOKENS, self.dim), torch.ones(self.dim, 4 * self.dim)
        gelu(x @ weight)  # starts the threads
        begun = time.monotonic()
        for _ in range(_REPEATS):
            gelu(x @ weight).sum()
            if time.monotonic() - begun > stop:
                break
        return time.monotonic() - begun


@contextmanager
def threads_restored() -> Iterator[None]:
    """Give torch the caller's number of threads back at the end."""
    number = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(number)
