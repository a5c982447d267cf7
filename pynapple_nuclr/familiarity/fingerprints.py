"""Recordings known again: short hashes of their units' activity, to keep on an encoder's card."""

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
_BLOCK = 2**20  # spikes that are read at a time


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
    >>> from pynapple_nuclr.familiarity.fingerprints import unit_fingerprints
    >>> from pynapple_nuclr.recording import as_recording
    >>> units = nap_nuclr.simulate("single", n_units=5, duration=60)
    >>> every, some = (unit_fingerprints(as_recording(u)) for u in (units, units[[3, 1]]))
    >>> len(every), some < every
    (5, True)
    """
    read = _spikes if recording.modality == "spikes" else _frames
    hashes = (hashlib.blake2b(one.tobytes(), digest_size=8) for one in read(recording))
    return frozenset(one.hexdigest() for one in hashes)


def training_fingerprints(
    recordings: Iterable[Recording], card: Mapping[str, Any] | None = None
) -> list[str]:
    """Return by what an encoder's recordings of training can be known again, also in part.

    Parameters
    ----------
    recordings : iterable of Recording
        What it is trained on. Of each, the 32 smallest fingerprints of its units are kept; of
        more than 500 recordings fewer each, 4 at least.
    card : mapping, optional
        Card of the encoder from which the training began: what that has seen is kept as well.

    Returns
    -------
    list of str
        Sorted; for ``card["fingerprints"]``.
    """
    known, recordings = set(known_fingerprints(card or {})), list(recordings)
    kept = min(_KEPT, max(4, _MOST // max(len(recordings), 1)))
    for one in recordings:
        known.update(sorted(unit_fingerprints(one))[:kept])
    return sorted(known)


def known_fingerprints(card: Mapping[str, Any]) -> frozenset[str]:
    """Return the fingerprints on a card; none where it has none, or something else."""
    entry = card.get(ENTRY)
    return frozenset(map(str, entry)) if isinstance(entry, list) else frozenset()


def _spikes(recording: Recording) -> Iterator[NDArray[np.int64]]:
    """Yield when each unit first fired, in microseconds."""
    for first, until in recording.blocks_of_units(_BLOCK):
        times, units = recording.trains(first, until)
        edges = np.searchsorted(units, np.arange(first, until + 1))
        for start, stop in zip(edges[:-1], edges[1:], strict=True):
            if stop - start >= _FEWEST:
                seconds = times[start : min(stop, start + _SPIKES)]
                # No sampling rate has its times on this edge, where rounding could fall either way.
                yield np.floor(seconds * 1e6 + 0.1).astype(np.int64)


def _frames(recording: Recording) -> Iterator[NDArray[np.float32]]:
    """Yield the beginning of each unit's trace."""
    for trace in np.asarray(recording.traces[:_FRAMES], dtype=np.float32).T:
        if np.ptp(trace) > 0:
            yield trace
