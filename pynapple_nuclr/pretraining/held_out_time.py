"""What is trained on, and the blocks of time that are held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pynapple_nuclr.config import EncoderConfig
from pynapple_nuclr.recording import Recording
from pynapple_nuclr.windows import PatchReader, open_patch_reader, windows_in

# The ends of an epoch belong to it: blocks that touch are kept this far apart, in seconds.
_APART = 1e-8


def open_readers(
    recordings: Sequence[Recording], config: EncoderConfig, fraction: float
) -> tuple[list[PatchReader], list[PatchReader]]:
    """Open recordings for training, with a block of each held out where there is room.

    Returns
    -------
    (list of PatchReader, list of PatchReader)
        What is trained on, and the blocks of at least two windows that are not.
    """
    training, held_out = [], []
    for recording in recordings:
        kept, block = hold_out(recording, config, fraction)
        reader = None if block is None else open_patch_reader(block, config)
        if reader is not None and windows_in(reader) >= 2:
            held_out.append(reader)
        else:
            kept = recording
        training.append(open_patch_reader(kept, config))
    return training, held_out


def hold_out(
    recording: Recording, config: EncoderConfig, fraction: float
) -> tuple[Recording, Recording | None]:
    """Cut a contiguous block from the middle of a recording's time.

    The block is at least three windows long, and so is the rest; where there is no such room
    nothing is held out.

    Returns
    -------
    (Recording, Recording or None)
        What is trained on, and what is held out.
    """
    least = 3 * config.window_seconds
    block = max(fraction * recording.duration, least)
    if fraction == 0 or recording.duration - block < least:
        return recording, None
    start = (recording.duration - block) / 2
    before = _between(recording, 0, start - _APART)
    after = _between(recording, start + block + _APART, recording.duration)
    return (
        replace(recording, epochs=np.concatenate((before, after))),
        replace(recording, epochs=_between(recording, start, start + block)),
    )


def _between(recording: Recording, start: float, end: float) -> np.ndarray[Any, Any]:
    """Return the epochs (epochs, 2) between two moments of joined time."""
    lengths = np.diff(recording.epochs, axis=1).ravel()
    joined = np.cumsum(lengths) - lengths
    low = np.clip(start - joined, 0, lengths)
    high = np.clip(end - joined, 0, lengths)
    kept = high > low
    begin = recording.epochs[:, 0]
    return np.stack((begin + low, begin + high), axis=1)[kept]
