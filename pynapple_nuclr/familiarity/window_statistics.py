"""Statistics of the activity in a recording's windows, without labels.

All are ratios of sums over bins, not means of ratios: a single window of a unit with few spikes
has an undefined or wild ratio, but sums of many windows do not.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pynapple_nuclr.config import Modality
from pynapple_nuclr.windows import PatchReader

Floats = NDArray[np.float64]
Sums = dict[str, Floats]

WINDOWS = 64
"""How many windows of a recording are read, evenly spaced."""

_UNITS = 64  # read at a time: small enough for the processor's cache
_PARTS = 4  # of the windows, and of the units, to see how properties vary among them
# With few units the mean correlation between them is mostly noise: it is shrunk to 0, as
# if there were this many more uncorrelated units.
_UNCORRELATED = 32


@dataclass(frozen=True)
class Scale:
    """A scale on which a property differs by about as much everywhere.

    `spread` is the usual s.d. between the sessions of one laboratory on it: a little above what was
    measured on 14 Neuropixels sessions, 7 worms and 56 sessions of calcium events.
    """

    to: Callable[[Any], Any]
    back: Callable[[Any], Any]
    spread: float


def _log(spread: float) -> Scale:
    return Scale(np.log, np.exp, spread)


def _fraction(spread: float) -> Scale:
    """Logit with finite ends: 0.999 differs little from 1."""
    return Scale(
        lambda p: np.log((p + 0.01) / (1.01 - p)),
        lambda x: np.clip((1.01 * np.exp(x) - 0.01) / (1 + np.exp(x)), 0, 1),
        spread,
    )


def _signed(bend: float, spread: float) -> Scale:
    """Linear up to about `bend`, logarithmic beyond, of either sign."""
    return Scale(lambda x: np.arcsinh(x / bend), lambda y: bend * np.sinh(y), spread)


PROPERTIES: dict[str, dict[str, Scale]] = {
    "spikes": {
        "rate": _log(0.35),
        "active units": _fraction(0.5),
        "bin variability": _log(0.12),
        "patch variability": _log(0.2),
        "persistence": _signed(0.05, 0.25),
        "bin synchrony": _signed(0.003, 0.7),
        "patch synchrony": _signed(0.003, 0.7),
    },
    "calcium": {
        "level": _signed(0.05, 0.3),
        "deviation": _log(0.3),
        "skewness": _signed(1.0, 0.3),
        "zeros": _fraction(1.0),
        "persistence": _signed(0.2, 0.3),
        "patch persistence": _signed(0.2, 0.3),
        "bin synchrony": _signed(0.003, 0.7),
        "patch synchrony": _signed(0.003, 0.7),
    },
}
"""What is measured, and on which scale; `familiarity_report` says what it is."""


@dataclass(frozen=True)
class WindowStatistics:
    """Sums over the bins of every unit in every window that was read.

    `sums` are name → (windows, units). `together` (windows, 1 + parts, 2) are sums of squares of
    the summed activity in bins and in patches: of all units, and of each part of them. `parts`
    (units,) does not depend on the order of the units.
    """

    modality: Modality
    window_seconds: float
    sums: Sums
    together: Floats
    parts: NDArray[np.int64]

    @property
    def windows(self) -> int:
        """Number of windows read."""
        return len(self.together)

    def values(self, windows: Any = slice(None), part: int | None = None) -> Floats:
        """Return the properties (properties,) on their scales; NaN where there are none."""
        units = slice(None) if part is None else self.parts == part
        totals = {k: v[windows][:, units].sum() for k, v in self.sums.items()}
        together = self.together[windows][:, 0 if part is None else part + 1].sum(axis=0)
        n_windows = len(self.together[windows])
        return self._on_scales(self._properties(totals) | _synchrony(totals, together, n_windows))

    def unit_values(self) -> Floats:
        """Return the same for every unit (units, properties); NaN for those of a population."""
        totals = {k: v.sum(axis=0) for k, v in self.sums.items()}
        values = self._on_scales(self._properties(totals))
        return np.where(totals["present"] > 0, values, np.nan).T

    def width(self, part: int | None = None) -> float:
        """Return how many units there are in effect: units of high variance weigh more."""
        power = self.sums["power"].sum(axis=0)
        power = power if part is None else power[self.parts == part]
        total = (power**2).sum()
        return float(power.sum() ** 2 / total) if total > 0 else 0.0

    def variances(self) -> tuple[Floats, Floats]:
        """Return the variance of each property (properties,) for one window, and for one unit."""
        blocks = [block for block in np.array_split(np.arange(self.windows), _PARTS) if len(block)]
        by_window = np.stack([self.values(windows=block) for block in blocks])
        by_unit = np.stack([self.values(part=part) for part in range(_PARTS)])
        width = float(np.mean([self.width(part) for part in range(_PARTS)]))
        return _variance(by_window) * self.windows / len(blocks), _variance(by_unit) * width

    def _properties(self, sums: Sums) -> Sums:
        with np.errstate(invalid="ignore", divide="ignore"):
            if self.modality == "spikes":
                return _of_spikes(sums, self.window_seconds)
            return _of_traces(sums)

    def _on_scales(self, properties: Sums) -> Floats:
        scales = PROPERTIES[self.modality]
        missing = np.full_like(next(iter(properties.values())), np.nan)
        with np.errstate(invalid="ignore", divide="ignore"):
            values = [scale.to(properties.get(name, missing)) for name, scale in scales.items()]
        stacked = np.stack(values)
        return np.where(np.isfinite(stacked), stacked, np.nan)


def window_statistics(source: PatchReader, starts: NDArray[Any]) -> WindowStatistics:
    """Read up to `WINDOWS` of the windows at `starts` (windows, patches), and sum over them."""
    parts = source.recording.order() % _PARTS
    chosen = np.unique(np.linspace(0, len(starts) - 1, min(WINDOWS, len(starts))).round())
    sums: list[Sums] = []
    together: list[Floats] = []
    for window in starts[chosen.astype(np.int64)]:
        patches = source.read(window)
        if source.config.modality == "spikes":
            patches = patches[..., : source.config.bins]  # counts alone, without intervals
        present = source.present(patches)
        some = [slice(first, first + _UNITS) for first in range(0, len(patches), _UNITS)]
        of_some = [_sums(patches[units].astype(np.float64), present[units]) for units in some]
        sums.append({name: np.concatenate([one[name] for one in of_some]) for name in of_some[0]})
        together.append(_together(patches, parts))
    return WindowStatistics(
        source.config.modality,
        source.config.window_seconds,
        {name: np.stack([one[name] for one in sums]) for name in sums[0]},
        np.stack(together),
        parts,
    )


def _sums(patches: Floats, present: NDArray[np.bool_]) -> Sums:
    """Return the sums that make up the properties, for each unit (units,) of a window."""
    n_patches, n_bins = patches.shape[1:]
    total = patches.sum(axis=(1, 2))
    away = patches - patches.mean(axis=(1, 2), keepdims=True)
    away_patch = away.sum(axis=2)
    squares = away * away
    power, patch_power = squares.sum(axis=(1, 2)), (away_patch**2).sum(axis=1)
    n = n_patches * n_bins
    # There are fewer neighbouring pairs than bins (patches): scale the sums to equal numbers.
    lagged = (away[:, :, 1:] * away[:, :, :-1]).sum(axis=(1, 2)) * n_bins / max(n_bins - 1, 1)
    patch_lagged = (away_patch[:, 1:] * away_patch[:, :-1]).sum(axis=1)
    return {
        "present": present.astype(np.float64),
        "log total": np.where(present, np.log(np.maximum(total, 1)), 0.0),
        "windows": np.ones(len(patches)),
        "bins": np.full(len(patches), float(n)),
        "total": total,
        "zeros": (patches == 0).sum(axis=(1, 2)).astype(np.float64),
        "power": power,
        "patch power": patch_power / max(n_patches - 1, 1) * n_patches,  # unbiased
        "lagged": lagged,
        "patch lagged": patch_lagged * (n_patches / max(n_patches - 1, 1)) ** 2,
        "cubes": (squares * away).sum(axis=(1, 2)),
        "cubed deviation": n * (power / n) ** 1.5,
    }


def _together(patches: NDArray[np.float32], parts: NDArray[np.int64]) -> Floats:
    """Return the population's sums of squares (1 + parts, 2), in bins and in patches."""
    n_patches = patches.shape[1]
    summed = np.stack(
        [patches[parts == part].sum(axis=0, dtype=np.float64) for part in range(_PARTS)]
    )
    summed = np.concatenate([summed.sum(axis=0, keepdims=True), summed])
    away = summed - summed.mean(axis=(1, 2), keepdims=True)
    in_patches = (away.sum(axis=2) ** 2).sum(axis=1) * n_patches / max(n_patches - 1, 1)
    return np.stack([(away**2).sum(axis=(1, 2)), in_patches], axis=1)


def _of_spikes(sums: Sums, window_seconds: float) -> Sums:
    """Return the properties of spike counts; one added spike limits the noise of units with few."""
    return {
        "rate": np.exp(sums["log total"] / sums["present"]) / window_seconds,
        "active units": sums["present"] / sums["windows"],
        "bin variability": (sums["power"] + 1) / (sums["total"] + 1),
        "patch variability": (sums["patch power"] + 1) / (sums["total"] + 1),
        "persistence": sums["lagged"] / (sums["power"] + 1),
    }


def _of_traces(sums: Sums) -> Sums:
    return {
        "level": sums["total"] / sums["bins"],
        "deviation": np.sqrt(sums["power"] / sums["bins"]),
        "skewness": sums["cubes"] / sums["cubed deviation"],
        "zeros": sums["zeros"] / sums["bins"],
        "persistence": sums["lagged"] / sums["power"],
        "patch persistence": sums["patch lagged"] / sums["patch power"],
    }


def _synchrony(totals: Sums, together: Floats, n_windows: int) -> Sums:
    """Return the mean correlation between units, from the variance of their sum."""
    others = max(float(totals["present"]) / max(n_windows, 1) - 1, 0) + _UNCORRELATED
    with np.errstate(invalid="ignore", divide="ignore"):
        alone = np.stack([totals["power"], totals["patch power"]])
        bins, patches = (together / alone - 1) / others
    return {"bin synchrony": bins, "patch synchrony": patches}


def _variance(values: Floats) -> Floats:
    """Return the variance over the first axis, NaN left out; NaN where fewer than two are left."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of the NaN
        return np.asarray(np.nanvar(values, axis=0, ddof=1))
