"""From pynapple objects to compact arrays, checked once, at the door."""

from pynapple_nuclr.recording.population import Recording
from pynapple_nuclr.recording.reading import (
    Units,
    as_recording,
    as_recordings,
    modality_of,
    name_groups,
)

__all__ = ["Recording", "Units", "as_recording", "as_recordings", "modality_of", "name_groups"]
