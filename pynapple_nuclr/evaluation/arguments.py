"""What several functions take in the same way, checked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any


def as_several(argument: str, given: Any, known: Sequence[str]) -> list[Any]:
    """Return one or several names as a list, each once."""
    names = [given] if isinstance(given, str) else list(dict.fromkeys(given))
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise ValueError(
            f"{argument}={given!r}; expected one or several of {', '.join(map(repr, known))}"
        )
    return names


def seeds_of(seeds: int | Iterable[int]) -> list[int]:
    """Return the seeds: so many from 0, or those given."""
    numbers = list(range(seeds)) if isinstance(seeds, int) else [int(one) for one in seeds]
    if not numbers or min(numbers) < 0 or len(set(numbers)) < len(numbers):
        raise ValueError(
            f"seeds={seeds!r}; expected how many (at least 1), or different numbers from 0"
        )
    return numbers


def check_counts(**counts: tuple[int, int]) -> None:
    """Refuse numbers below their least: ``name=(number, least)``."""
    for name, (number, least) in counts.items():
        if number < least:
            raise ValueError(f"{name}={number}; expected at least {least}")
