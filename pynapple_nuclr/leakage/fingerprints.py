"""Recordings known again: short hashes of their units' activity, to keep on an encoder's card.

Of two kinds: of how each unit begins, and of passages, by which a part of a recording is known
again, or one that counts its time from elsewhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pynapple_nuclr.recording import Recording

ENTRY = "fingerprints"
"""Where they stand in an encoder's card."""

_KEPT = 32  # of a recording: of half of its units, one is missed in 2³² times
_MOST = 16_000  # on a card, which stays a small file: of thousands of recordings fewer each
_SPIKES = 100  # of a unit, from its first on
_FEWEST = 10  # spikes of a unit by which it is known again
_FRAMES = 1000
_BLOCK = 2**20  # spikes, or values of traces, that are read at a time
_PASSAGE = 16  # intervals between spikes, or frames
_VARIED = 8  # different ones in it, at least: regular trains are not known by their rhythm
_PASSAGES = 4096  # of a recording, by which it is compared with what is on a card
_MIXERS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))  # of splitmix64


def all_fingerprints(recording: Recording) -> frozenset[str]:
    """Return all fingerprints of a recording: those of its units and those of passages."""
    return unit_fingerprints(recording) | passage_fingerprints(recording)


def passage_fingerprints(recording: Recording) -> frozenset[str]:
    """Return hashes of passages: runs of 16 intervals between spikes of a unit, or of 16 frames.

    Of all passages the 4,096 smallest hashes are kept. So two recordings that share a part share
    some of them (Broder, "On the resemblance and containment of documents", 1997,
    doi:10.1109/SEQUEN.1997.666900), whatever the zero of their times. Intervals count in
    microseconds; passages that hardly vary do not.

    Parameters
    ----------
    recording : Recording
        May stay in a file: it is read part by part.

    Returns
    -------
    frozenset of str
        "p" and 16 hexadecimal digits each.

    Examples
    --------
    >>> import pynapple as nap, pynapple_nuclr as nap_nuclr
    >>> from pynapple_nuclr.leakage.fingerprints import passage_fingerprints
    >>> from pynapple_nuclr.recording import as_recording
    >>> units = nap_nuclr.simulate("single", n_units=5, duration=60)
    >>> part = units.restrict(nap.IntervalSet(20, 40))
    >>> every, some = (passage_fingerprints(as_recording(u)) for u in (units, part))
    >>> len(every & some) > 5
    True
    """
    parts = _intervals if recording.modality == "spikes" else _runs_of_frames
    smallest = np.empty(0, dtype=np.uint64)
    for steps, within in parts(recording):
        smallest = np.union1d(smallest, _smallest_hashes(steps, within))[:_PASSAGES]
    return frozenset(f"p{one:016x}" for one in smallest.tolist())


def unit_fingerprints(recording: Recording) -> frozenset[str]:
    """Return a short hash for every unit, of its activity alone.

    Of its first 100 spikes, in microseconds, or of the first 1,000 frames of its trace: ids,
    metadata, the order of the units and who else is there do not matter. Units of fewer than 10
    spikes, or that do not vary, have none.

    Parameters
    ----------
    recording : Recording
        May stay in a file: it is read part by part.

    Returns
    -------
    frozenset of str
        16 hexadecimal digits each.

    Examples
    --------
    >>> import pynapple_nuclr as nap_nuclr
    >>> from pynapple_nuclr.leakage.fingerprints import unit_fingerprints
    >>> from pynapple_nuclr.recording import as_recording
    >>> units = nap_nuclr.simulate("single", n_units=5, duration=60)
    >>> every, some = (unit_fingerprints(as_recording(u)) for u in (units, units[[3, 1]]))
    >>> len(every), some < every
    (5, True)
    """
    return frozenset(_beginnings(recording).values())


def copies_in(recording: Recording) -> list[Any]:
    """Return the ids of units that are copies of an earlier one of the recording.

    They begin alike, spike for spike or frame for frame.
    """
    beginnings, first = _beginnings(recording), dict[str, int]()
    again = [unit for unit, begins in beginnings.items() if first.setdefault(begins, unit) != unit]
    return np.asarray(recording.unit_ids)[again].tolist()


def training_fingerprints(
    recordings: Iterable[Recording], card: Mapping[str, Any] | None = None
) -> list[str]:
    """Return by what an encoder's recordings of training can be known again, also in part.

    Parameters
    ----------
    recordings : iterable of Recording
        What it is trained on. Of each, the 32 smallest fingerprints of units and of passages are
        kept; of more than 250 recordings fewer each, 4 at least.
    card : mapping, optional
        Card of the encoder from which the training began: what that has seen is kept as well.

    Returns
    -------
    list of str
        Sorted; for ``card["fingerprints"]``.
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


def _beginnings(recording: Recording) -> dict[int, str]:
    """Return unit → hash of how it begins, for those that have one."""
    read = _spikes if recording.modality == "spikes" else _frames
    hashes = {unit: hashlib.blake2b(one.tobytes(), digest_size=8) for unit, one in read(recording)}
    return {unit: one.hexdigest() for unit, one in hashes.items()}


def _spikes(recording: Recording) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Yield units, and when each first fired, in microseconds."""
    for first, until in recording.blocks_of_units(_BLOCK):
        times, units = recording.trains(first, until)
        edges = np.searchsorted(units, np.arange(first, until + 1))
        for unit, start, stop in zip(range(first, until), edges[:-1], edges[1:], strict=True):
            if stop - start >= _FEWEST:
                yield unit, _microseconds(times[start : min(stop, start + _SPIKES)])


def _frames(recording: Recording) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Yield units, and the beginning of each one's trace."""
    for unit, trace in enumerate(np.asarray(recording.traces[:_FRAMES], dtype=np.float32).T):
        if np.ptp(trace) > 0:
            yield unit, trace


def _microseconds(seconds: NDArray[np.float64]) -> NDArray[np.int64]:
    # No sampling rate has its times on this edge, where rounding could fall either way.
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
    for i in range(_PASSAGE):  # a polynomial: the order counts
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
