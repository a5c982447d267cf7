"""One population, as arrays that are cheap to read by time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pynapple_nuclr.config import Modality
from pynapple_nuclr.recording.spike_layout import slice_indices

_BLOCK = 2**20  # values read at a time


@dataclass
class Recording:
    """One population, as arrays.

    Spikes are sorted by interval of time, then by unit, then by time (see
    `pynapple_nuclr.recording.spike_layout`). `times`, `offsets` and `traces` may stay in a file
    (see `pynapple_nuclr.recording.memory_map.Mapped`): then they are read part by part.
    """

    name: str  # used in errors and coordinates
    unit_ids: NDArray[Any]  # (units,): the ids of the pynapple object, in its order
    metadata: pd.DataFrame  # the object's metadata, a row per unit
    epochs: NDArray[np.float64]  # (epochs, 2): start and end in seconds, sorted, without overlap
    modality: Modality  # which of the following are set
    # (spikes,): in seconds, as above
    times: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    # (intervals,): where they begin, in seconds; what is before the first is in it
    begins: NDArray[np.float64] = field(default_factory=lambda: np.zeros(1))
    # (intervals × units + 1,): where the spikes of each unit in each interval begin in `times`
    offsets: NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, np.int64))
    # (frames, units): those of calcium
    traces: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 0), np.float32))
    frame_times: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))  # (frames,), in s
    frame_period: float = float("nan")  # median interval between frames, in seconds

    @property
    def n_units(self) -> int:
        """Number of units."""
        return len(self.unit_ids)

    @property
    def duration(self) -> float:
        """Total duration of the epochs, in seconds."""
        return float(np.diff(self.epochs, axis=1).sum())

    @property
    def units(self) -> NDArray[np.int32]:
        """The index of the unit that fired each of the spikes (spikes,), computed on access."""
        return self._units_of(self.offsets[:])

    @property
    def counts(self) -> NDArray[np.int64]:
        """Number of spikes of each unit in each interval (intervals, units)."""
        return np.diff(self.offsets).reshape(len(self.begins), self.n_units)

    def _units_of(self, offsets: NDArray[np.int64]) -> NDArray[np.int32]:
        """Return the unit of each spike in some whole intervals."""
        counts = np.diff(offsets)
        units = np.arange(self.n_units, dtype=np.int32)
        return np.repeat(np.tile(units, len(counts) // self.n_units), counts)

    def between(self, start: float, stop: float) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
        """Return the spikes from `start` until before `stop`, and the unit of each, unsorted."""
        first = max(int(np.searchsorted(self.begins, start, side="right")) - 1, 0)
        last = max(int(np.searchsorted(self.begins, stop)), 1)
        offsets = self.offsets[first * self.n_units : last * self.n_units + 1]
        times = self.times[offsets[0] : offsets[-1]]
        inside = (times >= start) & (times < stop)
        return times[inside], self._units_of(offsets)[inside]

    def trains(
        self, first: int = 0, until: int | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return times, sorted in each unit, and units (spikes,), of `first` to `until` − 1."""
        offsets = np.asarray(self.offsets)
        begin = offsets[:-1].reshape(-1, self.n_units)[:, first:until]
        counts = offsets[1:].reshape(-1, self.n_units)[:, first:until] - begin
        times = self.times[slice_indices(begin.T.ravel(), counts.T.ravel())]
        units = np.arange(first, first + counts.shape[1])
        return times, np.repeat(units, counts.sum(axis=0))

    def blocks_of_units(self, spikes: int, most: int | None = None) -> Iterator[tuple[int, int]]:
        """Yield units (first, until): one at least, `most` at most, of `spikes` at most."""
        return _blocks(np.cumsum(self.counts.sum(axis=0)), spikes, most or self.n_units)

    def activity(self) -> NDArray[np.float64]:
        """Return a number per unit that depends on its data alone: spikes, or summed trace."""
        if self.modality == "spikes":
            return self.counts.sum(axis=0).astype(float)
        return self._over_frames(np.ones(len(self.traces)))

    def split(self, by: str) -> list[tuple[NDArray[np.int64], Recording]]:
        """Split by a metadata column into (indices, Recording) that are embedded apart.

        ValueError if there is no such column, or it holds no name or number for some units.
        """
        if by not in self.metadata:
            columns = ", ".join(map(str, self.metadata.columns)) or "none"
            raise ValueError(
                f"recording {self.name!r} has no metadata column {by!r} to split its units by; "
                f"it has {columns}"
            )
        labels = self.metadata[by].astype(object)
        if not labels.map(pd.api.types.is_hashable).all():
            raise ValueError(
                f"recording {self.name!r}: {by!r} holds {labels.iloc[0]!r} for unit "
                f"{self.unit_ids[0]}; expected one name or number a unit"
            )
        missing = labels.isna() | labels.isin(["", "nan"])
        if missing.any():
            raise ValueError(
                f"recording {self.name!r}: {int(missing.sum())} of {self.n_units} units have no "
                f"value in {by!r}, the first is unit {self.unit_ids[np.argmax(missing)]}; name "
                "the population of every unit, or leave those units out"
            )
        return [
            (np.flatnonzero(labels == value), self._only(labels == value, f"{by} {value}"))
            for value in labels.unique()
        ]

    def _only(self, which: Any, what: str) -> Recording:
        """Return the recording of some of the units: a mask (units,)."""
        which = np.asarray(which, dtype=bool)
        spikes = self.modality == "spikes"
        return replace(
            self,
            name=f"{self.name} ({what})",
            unit_ids=self.unit_ids[which],
            metadata=self.metadata[which],
            times=np.asarray(self.times)[which[self.units]] if spikes else self.times,
            offsets=np.append(0, np.cumsum(self.counts[:, which])) if spikes else self.offsets,
            traces=self.traces if spikes else np.asarray(self.traces)[:, which],
        )

    def order(self) -> NDArray[np.int64]:
        """Return each unit's position (units,) when sorted by their data alone."""
        if self.modality == "spikes":
            when = self._summed_times()
        else:
            when = self._over_frames(self.frame_times)
        return np.argsort(np.lexsort((when, self.activity())))

    def _summed_times(self) -> NDArray[np.float64]:
        """Sum the spike times of each unit (units,), some intervals at a time."""
        when = np.zeros(self.n_units)
        stops = self.offsets[self.n_units :: self.n_units]
        zero = self.times[: stops[np.argmax(stops > 0)]].min(initial=np.inf)
        for first, until in _blocks(stops, _BLOCK, len(stops)):
            offsets = self.offsets[first * self.n_units : until * self.n_units + 1]
            times = self.times[offsets[0] : offsets[-1]]
            when += np.bincount(self._units_of(offsets), times - zero, self.n_units)
        return when

    def _over_frames(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sum the traces over frames, weighted (units,), some frames at a time."""
        total = np.zeros(self.n_units)
        step = max(_BLOCK // self.n_units, 1)
        for first in range(0, len(weights), step):
            part = slice(first, first + step)
            total += (weights[part, None] * self.traces[part]).sum(axis=0)
        return total


def _blocks(stops: NDArray[np.int64], size: int, most: int) -> Iterator[tuple[int, int]]:
    """Yield parts (first, until): one at least, `most` at most, of `size` spikes at most.

    `stops` (parts,) are where the spikes of each part end.
    """
    first = 0
    while first < len(stops):
        begun = stops[first - 1] if first else 0
        until = max(int(np.searchsorted(stops, begun + size, side="right")), first + 1)
        until = min(until, first + most)
        yield first, until
        first = until
