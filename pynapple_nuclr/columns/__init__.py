"""The layout of our metadata columns on pynapple objects.

pynapple's ``repr`` shows only the first columns, so what people read comes first and the many
vector columns come last: ``predicted_*``, the summaries (``nuclr_stability``,
``nuclr_n_windows``, ``nuclr_encoder``), the user's own columns, then ``nuclr_0``, ``nuclr_1``, …
"""

from pynapple_nuclr.columns._add_columns import add_columns
from pynapple_nuclr.columns._embeddings import (
    embeddings,
    how_to_embed,
    is_embedded,
    unit_coordinates,
)
from pynapple_nuclr.columns.animals import ANIMAL_COLUMNS, recording_animals, unit_animals
from pynapple_nuclr.columns.metadata import metadata_frame
from pynapple_nuclr.columns.missing import (
    MISSING_LABELS,
    UNKNOWN,
    as_texts,
    differ_in_case,
    is_missing,
    is_missing_label,
    tidy_labels,
)
from pynapple_nuclr.columns.names import (
    PREDICTED,
    SCORE,
    SUMMARIES,
    TRAINING,
    check_name,
    check_prefix,
    coordinate_name,
    vector_columns,
)

__all__ = [
    "ANIMAL_COLUMNS",
    "MISSING_LABELS",
    "PREDICTED",
    "SCORE",
    "SUMMARIES",
    "TRAINING",
    "UNKNOWN",
    "as_texts",
    "check_name",
    "check_prefix",
    "coordinate_name",
    "differ_in_case",
    "embeddings",
    "how_to_embed",
    "is_embedded",
    "is_missing",
    "is_missing_label",
    "add_columns",
    "metadata_frame",
    "recording_animals",
    "tidy_labels",
    "unit_animals",
    "unit_coordinates",
    "vector_columns",
]
