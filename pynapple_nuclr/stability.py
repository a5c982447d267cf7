"""How repeatable embeddings are: stability of a unit, re-identification of a population."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_COMPARISON_UNITS = 20


def self_rank(
    vectors: NDArray[np.float32],
    order: NDArray[np.int64],
    total: NDArray[np.float64] | None = None,
    count: NDArray[np.int64] | None = None,
) -> NDArray[np.float64]:
    """Return how often each unit's embedding is nearer to its own mean than to those of like units.

    A unit's embedding in a window is compared (cosine, recording mean subtracted) with its own
    mean over its other windows, and with those of other units, likewise without that window.
    The result is the mean percentile rank of its own among them. The other units are the 20 that
    are most like it in activity: among all, an unusual firing rate alone would make a unit stable.

    `vectors` (windows, units, dim) are NaN where a unit does not take part in a window; `order`
    (units,) is each unit's position when they are sorted by activity (firing rate, mean of the
    trace). Where `vectors` holds only some of the windows, `total` (units, dim) and `count`
    (units,) are sum and number of the embeddings over all. The result (units,) is 1 for always
    itself, 0.5 for chance; NaN below two windows, or without another unit.

    Examples
    --------
    >>> import numpy as np
    >>> from pynapple_nuclr.stability import self_rank
    >>> constant = np.tile(np.eye(3, dtype=np.float32), (4, 1, 1))
    >>> self_rank(constant, np.array([1, 0, 2]))
    array([1., 1., 1.])
    """
    result = np.full(vectors.shape[1], np.nan)
    present = ~np.isnan(vectors[:, :, 0])
    if total is None or count is None:
        count, total = present.sum(axis=0), np.nansum(vectors, axis=0, dtype=np.float64)
    usable = np.flatnonzero((count >= 2) & present.any(axis=0))
    if len(usable) < 2:
        return result
    present, total, count = present[:, usable], total[usable], count[usable]
    # A window is left out of every mean that it is compared with: else it would match itself.
    centre = (total / count[:, None]).mean(axis=0)
    comparison_units = _like_units(order[usable])
    ranks = np.zeros(len(usable))
    for window, here in zip(vectors, present, strict=True):
        current = np.where(here[:, None], window[usable], 0.0)
        others = unit_length((total - current) / (count - here)[:, None] - centre)
        ranks[here] += _percentile_ranks(unit_length(current - centre), others, comparison_units)[
            here
        ]
    result[usable] = ranks / present.sum(axis=0)
    return result


def _like_units(order: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the units nearest to each in `order` (units,), as indices (comparisons, units)."""
    by_order = np.argsort(order)
    n_units = len(order)
    n_near = min(_COMPARISON_UNITS + 1, n_units)  # itself too
    position = np.arange(n_units)
    first = np.clip(position - n_near // 2, 0, n_units - n_near)
    near = first[:, None] + np.arange(n_near)
    others = near[near != position[:, None]].reshape(n_units, n_near - 1)
    like = np.empty_like(others)
    like[by_order] = by_order[others]
    return like.T


def _percentile_ranks(
    current: NDArray[np.float64], others: NDArray[np.float64], comparison_units: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the percentile rank of each unit's own mean among those of others (units,)."""
    own = (current * others).sum(axis=1)
    wins = np.zeros(len(current))
    for units in comparison_units:
        difference = own - (current * others[units]).sum(axis=1)
        # Equal similarities count half; rounding must not decide between identical units.
        wins += np.where(np.abs(difference) < 1e-9, 0.5, difference > 0)
    return wins / len(comparison_units)


def reidentification(first: NDArray[Any], second: NDArray[Any]) -> float:
    """Return how often a unit's nearest neighbour at another time is the unit itself.

    `first` and `second` (units, features) describe the same units at disjoint times; nearest by
    cosine after subtracting the mean over units, both directions averaged. Chance is 1 / units; NaN
    below two units without NaN.
    """
    present = np.isfinite(first).all(axis=1) & np.isfinite(second).all(axis=1)
    if present.sum() < 2:
        return float("nan")
    a, b = (unit_length(x[present] - x[present].mean(axis=0)) for x in (first, second))
    similarity = a @ b.T
    own = np.arange(len(similarity))
    hits = [similarity.argmax(axis=axis) == own for axis in (0, 1)]
    return float(np.mean(hits))


def unit_length(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return vectors (…, features) divided by their length; zeros stay zeros."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
