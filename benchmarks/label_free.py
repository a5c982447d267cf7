"""What embeddings of real recordings are like, measured without labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from features import RATE, STATISTICS, Features
from numpy.typing import NDArray
from scipy.stats import spearmanr

from pynapple_nuclr import Encoder
from pynapple_nuclr.stability import unit_length

RIVALS = 20
"""Units of like rate among which a unit has to find itself."""
COMPONENTS = 3
MOST_FOR_STABILITY = 8  # recordings
_TIE = 1e-9  # similarities that differ by less are equal, and share the hit


def measures(
    features: Features, encoders: Mapping[str, Sequence[Encoder]], recordings: Mapping[str, Any]
) -> list[dict[str, str]]:
    """Return a row for the statistics and for each row of encoders (mean over its runs)."""
    rows = [{"features": STATISTICS} | _measure(features, STATISTICS, recordings)]
    for row, several in encoders.items():
        each = [_measure(features, features.add(one), recordings) for one in several]
        rows.append({"features": row} | {k: np.mean([one[k] for one in each]) for k in each[0]})
    return [{k: _text(v) for k, v in row.items()} for row in rows]


def _measure(features: Features, name: str, recordings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the measures of one kind of features, mean over recordings or over all units."""
    rates = [features.vectors(RATE, units)[:, 0] for units in recordings.values()]
    found = []
    for units, rate in zip(recordings.values(), rates, strict=True):
        odd, even = features.halves(name, units)
        found.append([reidentified(odd, even, rate, n) for n in (None, RIVALS)])
    of_all, of_like_rate = np.nanmean(found, axis=0)
    x = np.concatenate([features.vectors(name, units) for units in recordings.values()])
    rate = np.concatenate(rates)
    known = np.isfinite(x).all(axis=1) & np.isfinite(rate)
    components = _components(x[known], standardise=name == STATISTICS)
    rho = [abs(spearmanr(one, rate[known])[0]) for one in components]
    stability = np.nan
    if name != STATISTICS:
        # Of some recordings: each has to be embedded again where the measure has changed.
        some = np.unique(np.linspace(0, len(rates) - 1, MOST_FOR_STABILITY).round().astype(int))
        each = list(recordings.values())
        stable = np.concatenate([features.stability(name, each[i]) for i in some])
        unusual = np.concatenate([np.abs(rates[i] - np.nanmedian(rates[i])) for i in some])
        stability = spearmanr(stable, unusual, nan_policy="omit")[0]
    return {
        "finds itself": of_all,
        f"among {RIVALS} of like rate": of_like_rate,
        **{f"PC {i + 1} with rate, ρ": one for i, one in enumerate(rho)},
        "stability with unusual rate, ρ": stability,
    }


def reidentified(
    first: NDArray[Any], second: NDArray[Any], rate: NDArray[np.float64], rivals: int | None = None
) -> float:
    """Return how often a unit's nearest neighbour at another time is the unit itself.

    Parameters
    ----------
    first, second : ndarray (units, features)
        The same units, described from disjoint times. Units with NaN in either are left out.
    rate : ndarray (units,)
        Log rates.
    rivals : int, optional
        Compare each unit with this many of the nearest rate only, itself among them. Default: all.
    """
    known = np.isfinite(first).all(axis=1) & np.isfinite(second).all(axis=1)
    a, b = first[known], second[known]
    if len(a) < 2:
        return float("nan")
    centre = (a.mean(axis=0) + b.mean(axis=0)) / 2
    similarity = unit_length(a - centre) @ unit_length(b - centre).T
    apart = np.abs(rate[known][:, None] - rate[known])
    np.fill_diagonal(apart, -1)  # itself is always among them
    nearest = np.argsort(apart, axis=1, kind="stable")[:, :rivals]
    of_nearest = np.take_along_axis(similarity, nearest, axis=1)
    own = of_nearest[:, :1]  # the nearest in rate is itself
    tied = (np.abs(of_nearest - own) < _TIE).sum(axis=1)
    return float(np.mean(np.where((of_nearest > own + _TIE).any(axis=1), 0, 1 / tied)))


def _components(x: NDArray[np.float64], standardise: bool) -> NDArray[np.float64]:
    """Return the first principal components (components, units)."""
    x = x - x.mean(axis=0)
    if standardise:
        x = x / np.maximum(x.std(axis=0), 1e-9)
    _, directions = np.linalg.eigh(x.T @ x)
    return (x @ directions[:, ::-1][:, :COMPONENTS]).T


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "–" if np.isnan(value) else f"{value:.2f}"
