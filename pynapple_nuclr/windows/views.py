"""Pairs of views for training: two windows of one recording, each with a part of its units."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pynapple_nuclr.config import Gaps
from pynapple_nuclr.windows.patch_readers import PatchReader, Thinning
from pynapple_nuclr.windows.tiling import check_windows_fit, whole_patches
from pynapple_nuclr.windows.trace_patches import TracePatchReader

# Starts of zero measure can still be drawn: in an epoch of exactly one window, or of one that
# rounding has shortened.
_POINT = 1e-5
_RATE_GROUPS = 3  # units of similar rate are about this part of a recording's units


@dataclass(frozen=True)
class ViewSettings:
    """How two views of a recording are drawn.

    Parameters
    ----------
    max_view_distance : float or None
        Largest distance between the starts of the two views, in seconds; None: anywhere.
    min_view_distance : float
        Smallest distance, in seconds; 0, as published: views may overlap.
    min_units : int
        A view with at most so many units left is skipped.
    units_kept : (float, float)
        Range of the random fraction of units that a view keeps.
    max_units : int or None
        Largest number of units of a view (bounds the cost of a step); None: no bound.
    spikes_kept : (float, float)
        Range of the random share of its spikes that each unit of each view keeps, so that a unit
        is not recognised by its firing rate alone. (1, 1), as published: all. Not for calcium.
    rate_matched : float
        Probability that both views of a pair take their units from units of similar firing rate:
        a contiguous part of the recording's units in order of rate. 0, as published: from all
        units. Not for calcium.
    """

    max_view_distance: float | None = 30.0
    min_view_distance: float = 0.0
    min_units: int = 10
    units_kept: tuple[float, float] = (0.5, 1.0)
    max_units: int | None = None
    spikes_kept: tuple[float, float] = (1.0, 1.0)
    rate_matched: float = 0.0

    def __post_init__(self) -> None:
        largest = self.max_view_distance
        if self.min_view_distance < 0 or (largest is not None and largest <= 0):
            raise ValueError(
                f"view distances are {self.min_view_distance} to {largest} s; expected positive"
            )
        if largest is not None and self.min_view_distance > largest:
            raise ValueError(
                f"min_view_distance ({self.min_view_distance} s) is above max_view_distance "
                f"({largest} s)"
            )
        for name in ("units_kept", "spikes_kept"):
            low, high = getattr(self, name)
            if not 0 < low <= high <= 1:
                raise ValueError(f"{name} is {(low, high)}; expected 0 < low <= high <= 1")
        for name in ("min_units", "max_units"):
            value = getattr(self, name)
            if name == "min_units" or value is not None:
                check_number(name, value, whole=True)
                object.__setattr__(self, name, int(value))  # of 1e2
        if self.max_units is not None and self.max_units <= self.min_units:
            raise ValueError(
                f"max_units is {self.max_units}; expected more than min_units ({self.min_units}): "
                "views of fewer units are left out"
            )
        if not 0 <= self.rate_matched <= 1:
            raise ValueError(f"rate_matched is {self.rate_matched}; expected 0 to 1")


def check_number(name: str, value: Any, *, whole: bool = False) -> None:
    """Raise TypeError unless a value is a (whole) number; 1e4 is one, and True is none."""
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not number or (whole and not (isinstance(value, Integral) or float(value).is_integer())):
        raise TypeError(f"{name} is {value!r}; expected a {'whole ' if whole else ''}number")


@dataclass(frozen=True)
class ViewPair:
    """Two views of one population."""

    patches1: NDArray[np.float32]  # (units of the view, patches, features): what the encoder reads
    patches2: NDArray[np.float32]
    ids1: NDArray[np.int64]  # (units of the view,): index of each unit in its recording
    ids2: NDArray[np.int64]


ViewPosition: TypeAlias = "tuple[int, NDArray[Any], NDArray[Any]]"
"""A pair before it is read: index of the reader, starts of the patches of either view."""


class ViewSampler:
    """Draw pairs of views; the same seed, epoch and position give the same pair.

    ValueError if a recording has no space for two windows, or is of calcium where `settings` ask
    for spikes.
    """

    def __init__(
        self, readers: Sequence[PatchReader], settings: ViewSettings, gaps: Gaps, seed: int = 0
    ) -> None:
        self.readers = list(readers)
        self.settings = settings
        self.gaps = gaps
        self.seed = seed
        too_short: dict[str, ValueError] = {}
        for reader in self.readers:
            self._check_modality(reader)
            try:
                check_windows_fit(reader, whole_patches(reader), gaps, windows=2)
            except ValueError as error:
                too_short[reader.recording.name] = error
        if too_short:
            first, *others = too_short
            more = f"; the same is true of {', '.join(map(repr, others))}" if others else ""
            raise ValueError(f"{too_short[first]}{more}")

    def plan(self, epoch: int) -> list[ViewPosition]:
        """Return the positions of all pairs of a training epoch, shuffled across recordings.

        First views tile every recording once, from a fresh random offset.
        """
        rng = np.random.default_rng((self.seed, epoch))
        draw = self._joined if self.gaps == "join" else self._within
        positions = [
            (index, first, second)
            for index, reader in enumerate(self.readers)
            for first, second in draw(reader, rng)
        ]
        return [positions[i] for i in rng.permutation(len(positions))]

    def pair(self, position: ViewPosition, rng: np.random.Generator) -> ViewPair | None:
        """Read the views at a position and drop units; None where too few are left."""
        index, first, second = position
        reader = self.readers[index]
        candidates = self._candidates(reader, rng)
        patches1, ids1 = self._view(reader, first, candidates, rng)
        patches2, ids2 = self._view(reader, second, candidates, rng)
        too_few = min(len(ids1), len(ids2)) <= self.settings.min_units
        if too_few or not np.isin(ids1, ids2).any():
            return None
        return ViewPair(patches1, patches2, ids1, ids2)

    def _check_modality(self, reader: PatchReader) -> None:
        if reader.config.modality == "spikes":
            return
        for name in ("spikes_kept", "rate_matched"):
            value, default = getattr(self.settings, name), getattr(ViewSettings, name)
            if value != default:
                raise ValueError(
                    f"{name} is {value}, and recording {reader.recording.name!r} holds calcium "
                    f"traces, which have no spikes; leave {name} at {default}"
                )

    def _candidates(self, reader: PatchReader, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return the units from which both views of a pair are drawn."""
        n_units = reader.recording.n_units
        # With the published settings nothing is drawn: the other draws stay what they were.
        if not self.settings.rate_matched or rng.random() >= self.settings.rate_matched:
            return np.arange(n_units)
        least = math.ceil((self.settings.min_units + 2) / self.settings.units_kept[0])
        most = self.settings.max_units or n_units
        size = min(max(min(n_units // _RATE_GROUPS, most), least), n_units)
        first = int(rng.integers(n_units - size + 1))
        by_rate = np.argsort(reader.recording.counts.sum(axis=0), kind="stable")
        return by_rate[first : first + size]

    def _view(
        self,
        reader: PatchReader,
        starts: NDArray[Any],
        candidates: NDArray[np.int64],
        rng: np.random.Generator,
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return the patches and the indices of the units that take part in a view."""
        low, high = self.settings.units_kept
        kept = int(np.ceil(rng.uniform(low, high) * len(candidates)))
        if self.settings.max_units is not None:
            kept = min(kept, self.settings.max_units)
        ids = np.sort(candidates[rng.permutation(len(candidates))[:kept]])
        patches = self._read(reader, starts, ids, rng)
        if not np.isfinite(patches).all():
            raise ValueError(
                f"recording {reader.recording.name!r}: NaN or infinity in the window at "
                f"{reader.seconds(starts[:1])[0]:g} s, where there was none when it was opened; "
                "were its file or arrays changed, or is its cache damaged (cache=)?"
            )
        # Units that are silent in the view leave after the draw, as published.
        present = reader.present(patches)
        return (patches, ids) if present.all() else (patches[present], ids[present])

    def _read(
        self,
        reader: PatchReader,
        starts: NDArray[Any],
        ids: NDArray[np.int64],
        rng: np.random.Generator,
    ) -> NDArray[np.float32]:
        """Read the patches of some units, with all of their spikes or a random part of them."""
        if self.settings.spikes_kept == (1, 1) or isinstance(reader, TracePatchReader):
            return reader.read(starts, ids)
        probabilities = rng.uniform(*self.settings.spikes_kept, reader.recording.n_units)
        return reader.read(starts, ids, thinning=Thinning(probabilities, rng))

    def _within(
        self, reader: PatchReader, rng: np.random.Generator
    ) -> list[tuple[NDArray[Any], NDArray[Any]]]:
        """Draw pairs of windows that cross no gap."""
        window = reader.length * reader.config.patches
        slack = reader.spans[:, 1] - reader.spans[:, 0] - window
        # A fresh phase each training epoch: no border of windows is always at the same time.
        offset = rng.uniform(0, 1, len(slack)) * np.clip(slack, 0, window)
        steps = np.arange(reader.config.patches) * reader.length
        pairs = []
        for run in whole_patches(reader, self._on_grid(reader, offset)):
            for start in run[: len(run) // len(steps) * len(steps) : len(steps)]:
                second = self._second_start(reader, start, slack, rng)
                if second is not None:
                    pairs.append((start + steps, second + steps))
        return pairs

    def _second_start(
        self, reader: PatchReader, start: float, slack: NDArray[Any], rng: np.random.Generator
    ) -> Any:
        """Draw the second window's start: uniform over all starts at an allowed distance."""
        # The allowed starts are an interval in each epoch on either side of the first window.
        # An interval drawn by its length, then a point in it: uniform over all allowed starts.
        unit = reader.length / reader.config.patch_seconds  # seconds to seconds, or to frames
        nearest = self.settings.min_view_distance * unit
        farthest = (self.settings.max_view_distance or np.inf) * unit
        low, high = reader.spans[:, 0], reader.spans[:, 0] + slack
        sides = [(start - farthest, start - nearest), (start + nearest, start + farthest)]
        lows = np.concatenate([np.maximum(low, a) for a, _ in sides])
        highs = np.concatenate([np.minimum(high, b) for _, b in sides])
        lengths = np.where(np.tile(slack, 2) > -_POINT, highs - lows + _POINT, 0)
        lengths = np.clip(lengths, 0, None)
        if not lengths.sum():
            return None
        side = rng.choice(len(lengths), p=lengths / lengths.sum())
        drawn = rng.uniform(lows[side], max(lows[side], highs[side]))
        return self._on_grid(reader, drawn)

    def _joined(
        self, reader: PatchReader, rng: np.random.Generator
    ) -> list[tuple[NDArray[Any], NDArray[Any]]]:
        """Draw pairs of windows of consecutive whole patches across epochs, sharing none."""
        slack = reader.spans[:, 1] - reader.spans[:, 0] - reader.length
        phase = rng.uniform(0, 1, len(slack)) * np.clip(slack, 0, reader.length)
        # Half of the epochs begin at their start: a later phase can cost a short trial a patch,
        # and windows of whole trials, which `tile` makes, must be seen in training, too.
        phase *= rng.random(len(slack)) < 0.5
        run = np.concatenate(whole_patches(reader, self._on_grid(reader, phase)))
        patches, length = reader.config.patches, reader.config.patch_seconds
        nearest = max(patches, int(np.ceil(self.settings.min_view_distance / length)))
        farthest = len(run)
        if self.settings.max_view_distance is not None:
            farthest = max(nearest, int(self.settings.max_view_distance / length))
        pairs = []
        for first in range(int(rng.integers(patches)), len(run) - patches + 1, patches):
            away = np.abs(np.arange(len(run) - patches + 1) - first)
            seconds = np.flatnonzero((away >= nearest) & (away <= farthest))
            if len(seconds):
                second = int(rng.choice(seconds))
                pairs.append((run[first : first + patches], run[second : second + patches]))
        return pairs

    @staticmethod
    def _on_grid(reader: PatchReader, value: Any) -> Any:
        """Return a position in the reader's own unit: frames are whole, seconds are not."""
        if reader.config.modality == "calcium":
            return np.floor(np.asarray(value) + _POINT).astype(np.int64)
        return value
