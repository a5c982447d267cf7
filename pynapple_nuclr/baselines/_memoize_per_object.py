"""Results that are computed once for a pynapple object."""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import numpy as np
import pynapple as nap

from pynapple_nuclr.recording import Units

T = TypeVar("T")

_MOST_KEPT = 4  # results that are kept of one object

_kept: dict[int, dict[Hashable, Any]] = {}  # id of a living object → results


def memoize_per_object(units: Units, key: Hashable, make: Callable[[], T]) -> T:
    """Return `make()`, computed once for a pynapple object and a key, and kept while it lives.

    The values of a TsdFrame may be changed in place, so they belong to the key.
    """
    if id(units) not in _kept:
        # The entry goes with the object: another one may get its id.
        weakref.finalize(units, _kept.pop, id(units), None)
    results = _kept.setdefault(id(units), {})
    if isinstance(units, nap.TsdFrame):
        values = np.ascontiguousarray(units.values)
        key = (key, hashlib.sha256(values.view(np.uint8).data).digest())
    if key not in results:
        made = make()
        while len(results) >= _MOST_KEPT:
            results.pop(next(iter(results)))
        results[key] = made
    found: T = results[key]
    return found
