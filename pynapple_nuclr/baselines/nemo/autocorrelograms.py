"""Autocorrelograms of units, resolved by how fast the unit fires at the time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pynapple as nap
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from pynapple_nuclr.baselines._memoize_per_object import memoize_per_object
from pynapple_nuclr.recording import Recording, as_recording

Floats = NDArray[np.float64]
Counts = NDArray[np.float32]
Indices = NDArray[np.int64]

PARTS = 8  # of the time of a recording, among which its blocks are divided
_BLOCKS = 2 * PARTS  # into which a recording is cut, at least
_BLOCK = 20.0  # longest lags, in a block at most
_SMOOTHING = 0.25  # s, of the boxcar that gives the instantaneous firing rate
_EDGE = 1e-9  # s, tolerance for times at an edge
_FINEST = 0.001  # s of lags that a column shows, at least
_BLUR = 1.0  # columns, s.d. of the Gaussian that smooths an image along the lags
_SPIKES = 2**16  # spikes that are handled at a time, for memory's sake


@dataclass(frozen=True)
class Layout:
    """The axes of the images, the same for all units of all recordings."""

    longest: float  # longest lag, in seconds
    rates: int  # rows: quantiles of the instantaneous rate
    lags: int  # columns: one up to 1 ms, then in log steps

    @property
    def edges(self) -> Floats:
        """Edges of the lag bins in seconds (lags + 1,)."""
        return np.append(0.0, np.geomspace(min(_FINEST, self.longest / 2), self.longest, self.lags))

    @property
    def windows(self) -> Counts:
        """Share of each lag bin that each column of an image shows (columns, bins).

        A column shows its own bin, or 1 ms around its middle where that is wider.
        """
        edges = self.edges
        middles, widths = (edges[1:] + edges[:-1]) / 2, np.diff(edges)
        reach = np.maximum(widths, _FINEST)[:, None] / 2
        ends = np.minimum(middles[:, None] + reach, edges[1:])
        starts = np.maximum(middles[:, None] - reach, edges[:-1])
        return np.asarray(np.maximum(ends - starts, 0.0) / widths, dtype=np.float32)

    @property
    def smoothing(self) -> float:
        """Width of the window of the instantaneous rate, in seconds."""
        return min(_SMOOTHING, self.longest)


@dataclass(frozen=True)
class LagCounts:
    """What the images of a recording are made of, counted apart in parts of its time."""

    # Both (units, parts, rates, lags): spikes at each lag, on either side, from the unit's own
    # spikes of each rate; and the observed seconds for these. pairs / observed is a
    # firing rate, without bias by the length of epochs.
    pairs: Counts
    observed: Counts
    spikes: Floats  # (units, parts): number of spikes within the epochs
    seconds: Floats  # (units, parts): duration
    order: Indices  # (units,): each unit's place when they are sorted by their data alone
    layout: Layout

    @property
    def n_units(self) -> int:
        """Number of units."""
        return len(self.spikes)

    @property
    def active(self) -> NDArray[np.bool_]:
        """Which units (units,) have a spike."""
        return self.spikes.sum(axis=1) > 0


@dataclass(frozen=True)
class _Spikes:
    """Spikes of some units, sorted by unit, then by time."""

    segment: Indices  # (spikes,): index of the unit's block
    part: Indices  # (spikes,): of the part to which the block belongs
    unit: Indices  # (spikes,)
    since: Floats  # (spikes,): seconds from the start of the block
    until: Floats  # (spikes,): seconds to its end


def longest_lag(recordings: Mapping[str, nap.TsGroup], at_most: float) -> float:
    """Return the longest lag in seconds that half of an epoch of median length holds."""
    lengths = np.concatenate([np.diff(one.time_support.values) for one in recordings.values()])
    longest = round(float(min(at_most, np.median(lengths) / 2)), 6)  # as if clocks were exact
    if not longest > 0:
        raise ValueError(
            f"recordings {', '.join(map(repr, recordings))} have epochs of {np.median(lengths):g} "
            "s (median); expected time in which spikes can follow each other"
        )
    return longest


def lag_counts(group: nap.TsGroup, layout: Layout, *, name: str = "recording") -> LagCounts:
    """Count a group's pairs of spikes by lag and instantaneous rate, once for each object.

    The recording is cut into blocks, none across two epochs, which are divided among `PARTS`
    parts. Neither pairs nor instantaneous rates reach across blocks. The rate at a spike is that
    of the unit's other spikes in a window around it, as far as the block reaches; the rows of an
    image are the quantiles of this rate among the unit's spikes.
    """
    return memoize_per_object(group, layout, lambda: _count(as_recording(group, name=name), layout))


def images(counts: LagCounts, chosen: NDArray[np.bool_] | None = None) -> Counts:
    """Return the image of every unit (units, rates, lags): its firing rate in Hz at each lag.

    `chosen` (units, parts) are the parts of the recording to use for each unit; default: all. Where
    no pair could have been, the image shows the mean rate; then it is smoothed along the lags.
    """
    used = np.ones(counts.spikes.shape, np.float32) if chosen is None else chosen.astype(np.float32)
    mean = (counts.spikes * used).sum(axis=1) / (counts.seconds * used).sum(axis=1)
    pairs, observed = (
        np.einsum("up,uprl->url", used, values) @ counts.layout.windows.T
        for values in (counts.pairs, counts.observed)
    )
    rates = np.broadcast_to(mean[:, None, None], pairs.shape).astype(np.float32)
    np.divide(pairs, observed, out=rates, where=observed > 0)
    return np.asarray(gaussian_filter1d(rates, _BLUR, axis=-1), dtype=np.float32)


def pool(counts: Sequence[LagCounts], units: Sequence[Indices]) -> LagCounts:
    """Return the counts of chosen units of several recordings, one after the other."""
    chosen = list(zip(counts, units, strict=True))
    arrays = [(c.pairs[u], c.observed[u], c.spikes[u], c.seconds[u]) for c, u in chosen]
    pairs, observed, spikes, seconds = (np.concatenate(one) for one in zip(*arrays, strict=True))
    order = np.arange(len(spikes))
    return LagCounts(pairs, observed, spikes, seconds, order, counts[0].layout)


def _count(recording: Recording, layout: Layout) -> LagCounts:
    starts, ends = _cut(recording, layout)
    part_of = np.random.default_rng(0).permutation(len(starts)) % PARTS
    pairs, observed, spikes = [], [], []
    for some, n_units in _some_units(recording, starts, ends, part_of):
        row = some.part * layout.rates + _quantile(some, n_units, layout)
        cell = some.unit * PARTS * layout.rates + row
        shape = (n_units, PARTS, layout.rates, layout.lags)
        pairs.append(_pairs(some, cell, shape, layout))
        observed.append(_observed(some, cell, shape, layout))
        per_part = np.bincount(some.unit * PARTS + some.part, minlength=n_units * PARTS)
        spikes.append(per_part.reshape(n_units, PARTS))
    return LagCounts(
        pairs=np.concatenate(pairs),
        observed=np.concatenate(observed),
        spikes=np.concatenate(spikes).astype(np.float64),
        seconds=np.tile(np.bincount(part_of, ends - starts, PARTS), (recording.n_units, 1)),
        order=recording.order(),
        layout=layout,
    )


def _cut(recording: Recording, layout: Layout) -> tuple[Floats, Floats]:
    """Cut the epochs into blocks; return their starts and ends in seconds."""
    if not recording.duration > 0:
        raise ValueError(f"recording {recording.name!r} has epochs of no duration")
    length = min(_BLOCK * layout.longest, recording.duration / _BLOCKS)
    starts, ends = [], []
    for start, end in recording.epochs:
        edges = np.linspace(start, end, max(1, round((end - start) / length)) + 1)
        starts.append(edges[:-1])
        ends.append(edges[1:])
    return np.concatenate(starts), np.concatenate(ends)


def _some_units(
    recording: Recording, starts: Floats, ends: Floats, part_of: Indices
) -> Iterator[tuple[_Spikes, int]]:
    """Yield the spikes in blocks of some units at a time, and how many units these are."""
    for first, until in recording.blocks_of_units(_SPIKES):
        times, units = recording.trains(first, until)
        block = np.searchsorted(starts - _EDGE, times, side="right") - 1
        inside = (block >= 0) & (times <= ends[block] + _EDGE)
        times, block, units = times[inside], block[inside], units[inside] - first
        yield (
            _Spikes(
                segment=units * len(starts) + block,
                part=part_of[block],
                unit=units,
                since=np.maximum(times - starts[block], 0.0),
                until=np.maximum(ends[block] - times, 0.0),
            ),
            until - first,
        )


def _quantile(spikes: _Spikes, n_units: int, layout: Layout) -> Indices:
    """Return the quantile, among its unit's spikes, of the rate at each spike (spikes,)."""
    reach = layout.smoothing / 2
    # Segments laid far apart on one line, so that no window reaches the next.
    apart = float((spikes.since + spikes.until).max(initial=0.0)) + 2 * layout.smoothing
    line = spikes.segment * apart + spikes.since
    near = np.searchsorted(line, line + reach) - np.searchsorted(line, line - reach)
    window = np.minimum(spikes.since, reach) + np.minimum(spikes.until, reach)
    rate = (near - 1) / np.maximum(window, _EDGE)  # without itself, or the edge would seem fast
    per_unit = np.bincount(spikes.unit, minlength=n_units)
    first = np.cumsum(per_unit) - per_unit
    rank = np.empty(len(rate), np.int64)
    rank[np.lexsort((rate, spikes.unit))] = np.arange(len(rate))
    rank -= first[spikes.unit]
    return np.asarray(rank * layout.rates // per_unit[spikes.unit], dtype=np.int64)


def _pairs(
    spikes: _Spikes, cell: Indices, shape: tuple[int, int, int, int], layout: Layout
) -> Counts:
    """Count the spikes at each lag from the spikes of each cell (units, parts, rates, lags)."""
    edges, n = layout.edges, len(cell)
    found = [np.empty(0, np.int64)]
    first = np.arange(n - 1)
    step = 1  # each spike with the next, then the next but one, … while any is in reach
    while first.size:
        second = first + step
        lag = spikes.since[second] - spikes.since[first] + _EDGE
        reach = (lag < edges[-1]) & (spikes.segment[second] == spikes.segment[first])
        first, second = first[reach], second[reach]
        column = np.searchsorted(edges, lag[reach], side="right") - 1
        found += [cell[first] * layout.lags + column, cell[second] * layout.lags + column]
        step += 1
        first = first[first + step < n]
    # A pair counts for both of its spikes: each may be in another row and part.
    counted = np.bincount(np.concatenate(found), minlength=int(np.prod(shape)))
    return counted.reshape(shape).astype(np.float32)


def _observed(
    spikes: _Spikes, cell: Indices, shape: tuple[int, int, int, int], layout: Layout
) -> Counts:
    """Sum the time within the block at each lag from the spikes of each cell, in seconds."""
    # In a short epoch long lags are observed from few spikes only: raw counts would fall with the
    # lag for every unit. min(edge, time to the border) summed over spikes, and its difference
    # between edges, is the observed time on either side.
    observed = np.zeros((shape[0] * PARTS * layout.rates, layout.lags + 1))
    order = np.argsort(cell, kind="stable")
    cells, first = np.unique(cell[order], return_index=True)
    for side in (spikes.since, spikes.until):
        reached = np.minimum(layout.edges, side[order][:, None])
        if len(cells):
            observed[cells] += np.add.reduceat(reached, first, axis=0)
    return np.diff(observed, axis=1).reshape(shape).astype(np.float32)
