"""Vectors of units that training has learned, or that are learned for a new recording."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from pynapple_nuclr.recording import Recording


def vectors_in_unit_order(
    recordings: Mapping[str, Recording],
    known: Mapping[str, NDArray[np.float64]],
    learn: Callable[[Recording], NDArray[np.float64]],
) -> dict[str, NDArray[np.float64]]:
    """Return the vectors (units, dim) of each recording, in the order of its units.

    `known` are those that training has learned, `learn` finds those of a new recording; both are
    in `Recording.order`.
    """
    found = {}
    for name, recording in recordings.items():
        vectors = known[name] if name in known else learn(recording)
        if len(vectors) != recording.n_units:
            raise ValueError(
                f"recording {name!r} has {recording.n_units} units, but that of this name in "
                f"training had {len(vectors)}; give another recording another name"
            )
        found[name] = vectors[recording.order()]
    return found
