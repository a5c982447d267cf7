"""A warning of units that occur twice: training would push apart what is one neuron."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable

import numpy as np

from pynapple_nuclr.leakage import DuplicatePair, find_duplicate_units
from pynapple_nuclr.leakage.fingerprints import unit_fingerprints
from pynapple_nuclr.recording import Recording
from pynapple_nuclr.user_warnings import log, warn_user

_NAMED = 5  # pairs that the warning names
_MOST_SPIKES = 500_000  # of a recording that are looked at
_MOST_SECONDS = 20.0  # of all recordings together
_LISTED = 20
_WITHIN = 5e-4  # s, between spikes that coincide
_ROUNDING = 1e-9
_SURE = 50  # spikes that would follow so closely by chance: that none does is no chance


def warn_of_duplicate_units(recordings: Iterable[Recording]) -> None:
    """Warn of recordings with units that fire at the same times, once for each of them.

    And of recordings that have units in common.
    """
    begun = time.monotonic()
    recording_of: dict[str, str] = {}
    for recording in recordings:
        if time.monotonic() - begun > _MOST_SECONDS:
            log.info("duplicate units were not looked for from %r on: no time", recording.name)
            return
        _warn_of_shared_units(recording, recording_of)
        if recording.modality == "spikes":
            stretch = _stretch(recording)
            pairs = (
                [] if _has_coarse_times(stretch) else find_duplicate_units(stretch, within=_WITHIN)
            )
            # So many pairs are no sorting error: times that were made from counts in bins.
            if 0 < len(pairs) <= recording.n_units:
                warn_user(_text(recording, pairs))


def _warn_of_shared_units(recording: Recording, recording_of: dict[str, str]) -> None:
    """Warn of units of an earlier recording; `recording_of` has fingerprint → name of these."""
    own = unit_fingerprints(recording)
    shared = Counter(recording_of[one] for one in own if one in recording_of)
    for other, n_units in shared.items():
        warn_user(
            f"recordings {other!r} and {recording.name!r} have {n_units} units in common, which "
            "count twice, and may be trained on in one while they are held out of the other; is "
            "one a copy, or a result, of the other? Give each once"
        )
    recording_of.update(dict.fromkeys(own, recording.name))


def _text(recording: Recording, pairs: list[DuplicatePair]) -> str:
    left_out: list[int] = []
    for first, second, _ in pairs:
        if first not in left_out and second not in left_out:
            left_out.append(second)
    named = [f"{first} and {second} ({share:.0%})" for first, second, share in pairs[:_NAMED]]
    more = f", and {len(pairs) - _NAMED} more pairs" if len(pairs) > _NAMED else ""
    ids = f"[{', '.join(map(str, sorted(left_out)))}]"
    if len(left_out) > _LISTED:
        ids = "[p.second for p in pynapple_nuclr.leakage.find_duplicate_units(units)]"
    return (
        f"recording {recording.name!r}: units {', '.join(named)}{more} share spikes within "
        "0.5 ms (share of the unit with fewer spikes) and are probably one neuron, sorted twice; "
        "training would take them for different neurons. Leave one of each pair out: "
        f"units[~np.isin(units.index, {ids})]"
    )


def _has_coarse_times(recording: Recording) -> bool:
    """Return whether the times lie on a grid so coarse that many spikes coincide on it."""
    times = np.sort(recording.times)
    apart = np.diff(times)
    apart = apart[apart > _ROUNDING]
    expected = len(times) ** 2 / recording.duration * _WITHIN  # spikes that follow so closely
    return bool(expected > _SURE and not (apart < _WITHIN).any())


def _stretch(recording: Recording) -> Recording:
    """Return the middle of a recording of very many spikes."""
    n_spikes = int(recording.counts.sum())
    if n_spikes <= _MOST_SPIKES:
        return recording
    middle = float(recording.times[n_spikes // 2])  # in time, but for its interval's order
    half = recording.duration * _MOST_SPIKES / n_spikes / 2
    start, stop = middle - half, middle + half
    times, units = recording.between(start, stop)
    counts = np.bincount(units, minlength=recording.n_units)
    return Recording(
        name=recording.name,
        unit_ids=recording.unit_ids,
        metadata=recording.metadata,
        epochs=np.array([[start, stop]]),
        modality="spikes",
        times=times[np.lexsort((times, units))],
        begins=np.array([start]),
        offsets=np.append(0, np.cumsum(counts)),
    )
