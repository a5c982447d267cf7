"""Recordings made readable in patches: spike counts per bin, or calcium frames."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pynapple_nuclr.config import EncoderConfig
from pynapple_nuclr.recording import Recording
from pynapple_nuclr.windows.interval_histograms import interval_histograms
from pynapple_nuclr.windows.trace_patches import TracePatchReader, open_traces

# pynapple keeps times to the nanosecond: a spike on an edge belongs to the bin that it opens.
EDGE = 0.5e-9


@dataclass(frozen=True)
class Thinning:
    """Keep each spike of a unit with the unit's probability."""

    probabilities: NDArray[np.float64]  # (units of the recording,)
    rng: np.random.Generator

    def keep(self, units: NDArray[Any]) -> NDArray[np.bool_]:
        """Draw which spikes stay; `units` (spikes,) says whose they are."""
        return self.rng.random(len(units)) < self.probabilities[units]


@dataclass(frozen=True)
class SpikePatchReader:
    """Patches of spike counts; a patch is named by its start in seconds."""

    recording: Recording
    config: EncoderConfig

    @property
    def length(self) -> float:
        """Length of a patch, in seconds."""
        return self.config.patch_duration

    @property
    def spans(self) -> NDArray[np.float64]:
        """Start and end of each epoch, in seconds (epochs, 2)."""
        return self.recording.epochs

    @property
    def attributes(self) -> dict[str, float]:
        """What was done to the data."""
        return {}

    def read(
        self,
        starts: NDArray[Any],
        units: NDArray[np.int64] | None = None,
        *,
        thinning: Thinning | None = None,
    ) -> NDArray[np.float32]:
        """Return the patches that begin at `starts` (units, patches, features).

        Counts per bin, then the histograms of intervals, if the encoder reads them. With
        `thinning`, of a random part of the spikes.
        """
        n_units, config = self.recording.n_units, self.config
        n_bins, n_intervals = config.bins, config.interval_bins
        units = np.arange(n_units) if units is None else units
        row = np.full(n_units, -1)
        row[units] = np.arange(len(units))
        shape = (len(units), len(starts))
        cells = [np.empty(0, np.int64)]
        intervals = np.zeros((*shape, 2 * n_intervals), dtype=np.float32)
        for first, last in self._stretches(starts):
            start, stop = starts[first] - self._edge, self._end(starts[last - 1]) - self._edge
            times, who = self.recording.between(start, stop)
            rows = row[who]
            read = rows >= 0 if thinning is None else (rows >= 0) & thinning.keep(who)
            times, rows = times[read], rows[read]
            bins = ((times - start) / config.bin_size).astype(np.int64)
            bins = np.minimum(bins, (last - first) * n_bins - 1) + first * n_bins
            cells.append(rows * (len(starts) * n_bins) + bins)
            if n_intervals:
                intervals += interval_histograms(times, rows, bins // n_bins, shape, n_intervals)
        counts = np.bincount(np.concatenate(cells), minlength=shape[0] * shape[1] * n_bins)
        patches = counts.reshape(*shape, n_bins).astype(np.float32)
        return np.concatenate([patches, intervals], axis=2) if n_intervals else patches

    def _stretches(self, starts: NDArray[Any]) -> list[tuple[int, int]]:
        """Return which patches (first, last) follow on each other without a gap."""
        cuts = np.flatnonzero(np.abs(np.diff(starts) - self.length) > self._edge) + 1
        ends = [0, *cuts.tolist(), len(starts)]
        return list(zip(ends[:-1], ends[1:], strict=True)) if len(starts) else []

    @cached_property
    def _edge(self) -> float:
        """By how much a spike may precede the bin that it opens, in seconds."""
        # Far from 0 floats lie further apart than nanoseconds: 2.4e-7 s since 1970.
        return max(EDGE, 2 * float(np.spacing(np.abs(self.spans).max())))

    def _end(self, start: float) -> float:
        """Return where a patch ends: the very float at which `tile` begins the next.

        Else a spike between two floats would be in two windows, or in none.
        """
        epoch = np.searchsorted(self.spans[:, 0] - self._edge, start, side="right") - 1
        begin = self.spans[max(epoch, 0), 0]
        end = begin + (np.round((start - begin) / self.length) + 1) * self.length
        plain = start + self.length
        return float(end if abs(end - plain) <= self._edge else plain)

    def present(self, patches: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Return which units (units,) take part in a window: those that fire in it."""
        return np.asarray(patches.any(axis=(1, 2)))

    def seconds(self, starts: NDArray[Any]) -> NDArray[np.float64]:
        """Return the times of patches, in seconds."""
        return starts


PatchReader = SpikePatchReader | TracePatchReader


def open_patch_reader(recording: Recording, config: EncoderConfig) -> PatchReader:
    """Make a recording readable in the patches of an encoder's configuration."""
    if recording.modality != config.modality:
        kinds = {"spikes": "spikes (a TsGroup)", "calcium": "calcium traces (a TsdFrame)"}
        raise ValueError(
            f"recording {recording.name!r} holds {kinds[recording.modality]}, but the encoder "
            f"reads {kinds[config.modality]}; use an encoder trained on {recording.modality}"
        )
    if config.modality == "spikes":
        return SpikePatchReader(recording, config)
    return open_traces(recording, config)
