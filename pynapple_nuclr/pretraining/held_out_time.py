"""What is trained on, the blocks of time that are held out, and re-identification in them."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pynapple_nuclr.checkpoints import Encoder
from pynapple_nuclr.config import EncoderConfig
from pynapple_nuclr.embedding.window_batches import embed_windows
from pynapple_nuclr.recording import Recording
from pynapple_nuclr.stability import reidentification
from pynapple_nuclr.windows import PatchReader, open_patch_reader, tile, windows_in

# The ends of an epoch belong to it: blocks that touch are kept this far apart, in seconds.
_APART = 1e-8
_MOST_WINDOWS = 16  # of a held-out block, to keep a check short
_MOST_RECORDINGS = 8


def open_readers(
    recordings: Sequence[Recording], config: EncoderConfig, fraction: float
) -> tuple[list[PatchReader], list[PatchReader]]:
    """Return what is trained on of recordings, and the blocks of at least two windows that are not.

    Nothing is held out of a recording that is too short for it.
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
    """Return what is trained on, and what is held out: a block in the middle of the time.

    The block is at least three windows long, and so is the rest; of a shorter recording nothing
    is held out.
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


class HeldOutCheck:
    """Re-identification between the halves of up to 8 held-out blocks, of up to 16 windows each."""

    def __init__(self, readers: Sequence[PatchReader]) -> None:
        # A single unit is always found again.
        several = [reader for reader in readers if reader.recording.n_units > 1]
        self.readers = _spread(several, _MOST_RECORDINGS)
        self.windows = _MOST_WINDOWS
        self.seconds = 0.0  # that a measurement takes: the longer one of the last two
        self._last = 0.0

    def limit(self, encoder: Encoder, seconds: float) -> None:
        """Use fewer windows, then fewer blocks, so that a check takes about so many seconds."""
        if not self.readers:
            return
        begun = time.monotonic()
        held_out_score(encoder, self.readers[0], windows=2)
        affordable = int(2 * seconds / (time.monotonic() - begun))
        self.readers = _spread(self.readers, max(affordable // 2, 1))
        each = affordable // len(self.readers)
        self.windows = min(max(each // 2 * 2, 2), _MOST_WINDOWS)

    def measure(self, encoder: Encoder) -> float:
        """Return the mean over the blocks; NaN: there are none."""
        begun = time.monotonic()
        scores = [held_out_score(encoder, reader, self.windows) for reader in self.readers]
        took = time.monotonic() - begun
        self.seconds, self._last = max(took, self._last), took
        known = [score for score in scores if math.isfinite(score)]
        return float(np.mean(known)) if known else math.nan

    @property
    def chance(self) -> float:
        """Re-identification by guessing: one unit of each block."""
        units = [reader.recording.n_units for reader in self.readers]
        return float(np.mean([1 / n for n in units])) if units else math.nan

    def state(self) -> dict[str, Any]:
        """Return what a resumed run has to measure by, too."""
        return {"windows": self.windows, "recordings": len(self.readers), "seconds": self.seconds}

    def restore(self, state: dict[str, Any]) -> None:
        """Measure as the run did that is resumed."""
        self.windows, self.seconds = state["windows"], state["seconds"]
        self.readers = _spread(self.readers, state["recordings"])


def held_out_score(encoder: Encoder, source: PatchReader, windows: int = _MOST_WINDOWS) -> float:
    """Return the re-identification between the halves of a block of at least two windows."""
    starts = tile(source).starts[:windows]
    half = len(starts) // 2
    device = next(encoder.parameters()).device
    halves = [
        embed_windows(encoder, source, part, device=device).mean
        for part in (starts[:half], starts[half : 2 * half])
    ]
    return reidentification(*halves)


def describe_reidentification(training: Mapping[str, Any]) -> str:
    """Return how often units of held-out blocks were found again; "": not measured."""
    found, chance, untrained = (
        training[f"{kind}_reidentification"] for kind in ("best_held_out", "chance", "untrained")
    )
    if found is None:
        return ""
    before = "" if untrained is None else f", untrained {untrained:.2g}"
    return f"held-out re-identification {found:.2g} (chance {chance:.2g}{before})"


def _spread(readers: Sequence[PatchReader], most: int) -> list[PatchReader]:
    """Return so many readers at most, spread over all of them."""
    return list(readers[:: -(-len(readers) // max(most, 1)) or 1])
