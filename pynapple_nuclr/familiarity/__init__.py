"""Compare a recording with those that an encoder was trained on."""

from pynapple_nuclr.familiarity._familiarity_report import (
    MIN_FAMILIARITY,
    compare,
    familiarity_report,
    probability_of_largest,
    warn_if_unfamiliar,
)
from pynapple_nuclr.familiarity.training_reference import (
    describe_training,
    record_training_data,
    write_training_data,
)

__all__ = [
    "MIN_FAMILIARITY",
    "compare",
    "describe_training",
    "familiarity_report",
    "probability_of_largest",
    "record_training_data",
    "warn_if_unfamiliar",
    "write_training_data",
]
