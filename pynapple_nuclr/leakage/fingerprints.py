"""Fingerprints of recordings: short hashes of their units' activity, kept on an encoder's card.

Two kinds: of the first spikes or frames of each unit; and of passages, which also identify a part
of a recording, or one with another zero of time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pynapple_nuclr.recording import Recording

ENTRY = "fingerprints"
"""Their entry in an encoder's card."""

_KEPT = 32  # of a recording: of half of its units, one is missed in 2³² times
_MOST = 16_000  # on a card, which stays a small file: of thousands of recordings fewer each
_SPIKES = 100  # of a unit, from its first on
_FEWEST = 10  # spikes of a unit that has a fingerprint
_FRAMES = 1000
_BLOCK = 2**20  # spikes, or values of traces, that are read at a time
_PASSAGE = 16  # intervals between spikes, or frames
_VARIED = 8  # different ones in it, at least: regular trains are all alike
_PASSAGES = 4096  # of a recording, by which it is compared with what is on a card
_MIXERS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))  # of splitmix64


def all_fingerprints(recording: Recording) -> frozenset[str]:
    """Return all fingerprints of a recording: those of its units and those of passages."""
    return unit_fingerprints(recording) | passage_fingerprints(recording)


def passage_fingerprints(recording: Recording) -> frozenset[str]:
    """Return hashes of passages: runs of 16 intervals between spikes of a unit, or of 16 frames.

    Of all passages the 4,096 smallest hashes are kept, so that two recordings that share a part
    share some of them (min-wise hashing: Broder, "On the resemblance and containment of
    documents", 1997, doi:10.1109/SEQUEN.1997.666900), whatever the zero of their times.
    Intervals are in microseconds; passages that hardly vary are left out.
    """
    parts = _intervals if recording.modality == "spikes" else _runs_of_frames
    smallest = np.empty(0, dtype=np.uint64)
    for steps, within in parts(recording):
        smallest = np.union1d(smallest, _smallest_hashes(steps, within))[:_PASSAGES]
    return frozenset(f"p{one:016x}" for one in smallest.tolist())


def unit_fingerprints(recording: Recording) -> frozenset[str]:
    """Return a short hash for every unit, of its activity alone.

    Of its first 100 spikes, in microseconds, or of the first 1,000 frames of its trace: ids,
    metadata, the order and the other units do not matter. Units of fewer than 10 spikes, or that do
    not vary, have none.
    """
    return frozenset(unit_hashes(recording).values())


def training_fingerprints(
    recordings: Iterable[Recording], card: Mapping[str, Any] | None = None
) -> list[str]:
    """Return the fingerprints that identify an encoder's training recordings, also in part.

    Sorted, for ``card["fingerprints"]``. Of each recording the 32 smallest of units and of passages
    are kept; of more than 250 recordings fewer each, 4 at least. Those on the `card` of the encoder
    from which the training began are kept as well.
    """
    known, recordings = set(known_fingerprints(card or {})), list(recordings)
    kept = min(_KEPT, max(4, _MOST // (2 * max(len(recordings), 1))))
    for one in recordings:
        known.update(sorted(unit_fingerprints(one))[:kept])
        known.update(sorted(passage_fingerprints(one))[:kept])
    return sorted(known)


def known_fingerprints(card: Mapping[str, Any]) -> frozenset[str]:
    """Return the fingerprints on a card; none where it has none, or something else."""
    entry = card.get(ENTRY)
    return frozenset(map(str, entry)) if isinstance(entry, list) else frozenset()


def unit_hashes(recording: Recording) -> dict[int, str]:
    """Return index of the unit → hash of its first spikes or frames, for those that have one."""
    read = _spikes if recording.modality == "spikes" else _frames
    hashes = {unit: hashlib.blake2b(one.tobytes(), digest_size=8) for unit, one in read(recording)}
    return {unit: one.hexdigest() for unit, one in hashes.items()}


def _spikes(recording: Recording) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Yield units, and the times of each one's first spikes, in microseconds."""
    for first, until in recording.blocks_of_units(_BLOCK):
        times, units = recording.trains(first, until)
        edges = np.searchsorted(units, np.arange(first, until + 1))
        for unit, start, stop in zip(range(first, until), edges[:-1], edges[1:], strict=True):
            if stop - start >= _FEWEST:
                yield unit, _microseconds(times[start : min(stop, start + _SPIKES)])


def _frames(recording: Recording) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Yield units, and the first frames of each one's trace."""
    for unit, trace in enumerate(np.asarray(recording.traces[:_FRAMES], dtype=np.float32).T):
        if np.ptp(trace) > 0:
            yield unit, trace


def _microseconds(seconds: NDArray[np.float64]) -> NDArray[np.int64]:
    # Times at usual sampling rates are far from this edge, so rounding errors change nothing.
    return np.floor(seconds * 1e6 + 0.1).astype(np.int64)


def _intervals(recording: Recording) -> Iterator[tuple[NDArray[np.int64], NDArray[np.bool_]]]:
    """Yield intervals between spikes (spikes, 1), and which passages are of one unit."""
    for first, until in recording.blocks_of_units(_BLOCK):
        times, units = recording.trains(first, until)
        if len(times) > _PASSAGE:
            yield _microseconds(np.diff(times))[:, None], units[_PASSAGE:] == units[:-_PASSAGE]


def _runs_of_frames(recording: Recording) -> Iterator[tuple[NDArray[np.int64], NDArray[np.bool_]]]:
    """Yield the bits of the traces (frames, units), and that every passage is of one unit."""
    traces, rows = recording.traces, max(_BLOCK // recording.n_units, _PASSAGE)
    for first in range(0, len(traces) - _PASSAGE + 1, rows):
        block = np.asarray(traces[first : first + rows + _PASSAGE - 1], dtype=np.float32)
        bits = np.ascontiguousarray(block).view(np.int32).astype(np.int64)
        yield bits, np.ones(len(bits) - _PASSAGE + 1, dtype=bool)


def _smallest_hashes(steps: NDArray[np.int64], within: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Return the smallest hashes of the passages that begin at each step (steps, columns)."""
    mixed, last = _mix(steps.astype(np.uint64)), len(steps) - _PASSAGE + 1
    hashes = np.zeros((last, steps.shape[1]), dtype=np.uint64)
    for i in range(_PASSAGE):  # a polynomial in the mixer, so that the order counts
        hashes = hashes * _MIXERS[0] + mixed[i : i + last]
    hashes = _mix(hashes)
    hashes[~within] = np.iinfo(np.uint64).max
    order = np.argsort(hashes, axis=None)[: 2 * _PASSAGES]
    begin, column = np.unravel_index(order, hashes.shape)
    passages = np.sort(steps[begin[:, None] + np.arange(_PASSAGE), column[:, None]], axis=1)
    varied = (np.diff(passages, axis=1) > 0).sum(axis=1) + 1 >= _VARIED
    return hashes[begin, column][varied & within[begin]]


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scatter numbers over all of 64 bits."""
    for mixer, shift in zip(_MIXERS, (30, 27), strict=True):
        values = (values ^ (values >> np.uint64(shift))) * mixer
    return values ^ (values >> np.uint64(31))
