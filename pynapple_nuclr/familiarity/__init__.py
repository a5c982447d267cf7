"""Is a recording like those that an encoder was trained on? Asked before it is embedded."""

from pynapple_nuclr.familiarity._familiarity_report import (
    LEAST,
    compare,
    familiarity_report,
    warn_if_unlike,
)
from pynapple_nuclr.familiarity.training_reference import (
    describe_training,
    note_training,
    record_training_data,
)

__all__ = [
    "LEAST",
    "compare",
    "describe_training",
    "familiarity_report",
    "note_training",
    "record_training_data",
    "warn_if_unlike",
]
