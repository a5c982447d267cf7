"""Whether the epochs of a recording are trials."""

from __future__ import annotations

import numpy as np

from pynapple_nuclr.recording import Recording

_FEWEST_TRIALS = 10  # epochs of equal length below which these are no trials
_SAME_LENGTH = 1e-3  # s by which the lengths of trials may differ; calcium: a frame


def are_trials(recording: Recording) -> bool:
    """Return whether the epochs are trials: at least ten, all of one length."""
    lengths = np.diff(recording.epochs, axis=1)
    frame = recording.frame_period if recording.modality == "calcium" else 0.0
    alike = np.ptp(lengths) <= max(_SAME_LENGTH, 1.01 * frame) if len(lengths) else False
    return len(lengths) >= _FEWEST_TRIALS and bool(alike)
