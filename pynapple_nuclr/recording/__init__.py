"""From pynapple objects to compact arrays, checked once."""

from pynapple_nuclr.recording._as_recording import (
    Units,
    as_recording,
    as_recordings,
    intersect,
    modality_of,
    name_recordings,
)
from pynapple_nuclr.recording._recording import Recording

__all__ = [
    "Recording",
    "Units",
    "as_recording",
    "as_recordings",
    "intersect",
    "modality_of",
    "name_recordings",
]
