"""Units that occur twice: as exact copies, or sorted twice from the same spikes."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pynapple_nuclr.leakage._leak_error import LeakError
from pynapple_nuclr.leakage.fingerprints import unit_hashes
from pynapple_nuclr.recording import Recording, Units, as_recording

_BLOCK = 2**20  # spikes that are compared at a time
_FEWEST = 10  # spikes of a unit; of fewer, some coincide by chance
_ROUNDING = 1e-9  # seconds: 15 samples at 30 kHz are 0.5 ms


class DuplicatePair(NamedTuple):
    """Ids of two units that are probably one neuron, and their share of coincident spikes."""

    first: Any
    second: Any
    share: float


def find_duplicate_units(
    recording: Units | Recording, *, share: float = 0.3, within: float = 5e-4
) -> list[DuplicatePair]:
    """Find pairs of units that fire at the same times: probably one neuron, sorted twice.

    Of two independent units, one at 50 Hz, about 5 % of the spikes coincide by chance.

    Parameters
    ----------
    recording : TsGroup, TsdFrame or Recording
        Of traces only exact copies are found (share 1).
    share : float
        Least share of coincident spikes, of the unit with fewer spikes. Units of fewer than 10
        spikes are left out.
    within : float
        Seconds at most between two spikes that coincide.

    Returns
    -------
    list of DuplicatePair
        Highest share first.

    Raises
    ------
    TypeError, ValueError
        If the recording cannot be read, `share` is not between 0 and 1, or `within` negative.

    Examples
    --------
    >>> import numpy as np, pynapple as nap
    >>> from pynapple_nuclr.leakage import find_duplicate_units
    >>> times = np.arange(1, 100) * 0.7
    >>> units = nap.TsGroup({4: nap.Ts(times), 7: nap.Ts(times + 3e-4), 9: nap.Ts(times + 0.1)})
    >>> find_duplicate_units(units)
    [DuplicatePair(first=4, second=7, share=1.0)]
    """
    if not 0 < share <= 1:
        raise ValueError(f"share={share}; expected a share above 0 and up to 1")
    if not within >= 0:
        raise ValueError(f"within={within}; expected seconds, 0 or more")
    if not isinstance(recording, Recording):
        recording = as_recording(recording)
    if recording.modality == "calcium":
        return copied_units(recording)
    counts = recording.counts.sum(axis=0)
    fewer = np.minimum.outer(counts, counts)
    pairs = _coincidences(recording, within + _ROUNDING)
    # A spike with two neighbours counts twice, so these are candidates: none is missed.
    candidates = np.argwhere((pairs >= share * fewer) & (fewer >= _FEWEST) & (pairs > 0))
    trains = {unit: recording.trains(unit, unit + 1)[0] for unit in np.unique(candidates).tolist()}
    found = []
    for a, b in candidates.tolist():
        few, many = sorted((trains[a], trains[b]), key=len)
        coincident = _share(few, many, within + _ROUNDING)
        if coincident >= share:
            found.append(_pair(recording, a, b, coincident))
    return sorted(found, key=lambda pair: -pair.share)


def check_duplicate_units(
    hashes: Mapping[str, Iterable[Hashable]], evidence: str, *, counted: bool = True
) -> None:
    """Refuse recordings that have units in common: one would be trained on, the other tested.

    `hashes` (recording name → hashes) are equal only for the same unit; where each is one unit
    (`counted`), the error has their number. `evidence`, for the error: in what they are the same.
    """
    for (one, own), (other, others) in combinations(hashes.items(), 2):
        if common := set(own).intersection(others):
            how_many = f"{len(common)} units" if counted else "units"
            raise LeakError(
                f"recordings {one!r} and {other!r} have {how_many} in common, {evidence}: a unit "
                "would be trained on under one name and tested under the other; give every unit "
                "once"
            )


def repeated_units(hashes: Iterable[Hashable]) -> list[int]:
    """Return the indices of units that have the hash of an earlier one."""
    first: dict[Hashable, int] = {}
    return [i for i, one in enumerate(hashes) if first.setdefault(one, i) != i]


def _coincidences(recording: Recording, within: float) -> NDArray[np.int64]:
    """Count pairs of spikes (units, units), in the upper triangle, that are so close in time."""
    n = recording.n_units
    pairs = np.zeros(n * n, dtype=np.int64)
    for times, units, n_earlier in _blocks(recording, within):
        # Compare every spike with the next, the second next, …: those still close go on.
        close = np.arange(n_earlier)
        step = 1
        while len(close):
            close = close[close + step < len(times)]
            close = close[times[close + step] - times[close] <= within]
            a, b = units[close].astype(np.int64), units[close + step].astype(np.int64)
            code = np.minimum(a, b) * n + np.maximum(a, b)
            pairs += np.bincount(code[a != b], minlength=n * n)
            step += 1
    return pairs.reshape(n, n)


def _blocks(
    recording: Recording, within: float
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.int32], int]]:
    """Yield spikes sorted in time, their units, and how many come before the next block."""
    n_blocks = -(-len(recording.times) // _BLOCK)
    first, last = float(recording.epochs[0, 0]), float(recording.epochs[-1, 1])
    edges = np.linspace(first, last, max(n_blocks, 1) + 1)
    edges[-1] += 1  # the last spike may be at the very end
    for start, stop in zip(edges[:-1], edges[1:], strict=True):
        # Pairs across the border belong to the block of their earlier spike.
        times, units = recording.between(start, stop + within)
        order = np.argsort(times, kind="stable")
        yield times[order], units[order], int((times < stop).sum())


def _share(few: NDArray[np.float64], many: NDArray[np.float64], within: float) -> float:
    """Return the share of the first train's spikes with one of the second close by."""
    after = np.searchsorted(many, few)
    padded = np.concatenate([[-np.inf], many, [np.inf]])
    nearest = np.minimum(few - padded[after], padded[after + 1] - few)
    return float(np.mean(nearest <= within))


def copied_units(recording: Recording) -> list[DuplicatePair]:
    """Return the units whose first spikes or frames are those of an earlier one (share 1)."""
    hashes, first = unit_hashes(recording), dict[str, int]()
    pairs = [(first.setdefault(one, unit), unit) for unit, one in hashes.items()]
    return [_pair(recording, a, b, 1.0) for a, b in pairs if a != b]


def _pair(recording: Recording, first: int, second: int, share: float) -> DuplicatePair:
    ids = recording.unit_ids[[first, second]].tolist()
    return DuplicatePair(ids[0], ids[1], share)
