"""Which values of a metadata column are missing, and values as comparable texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

_BLANK = ("", "nan")  # pynapple turns ["PV", np.nan] into texts, and so NaN into "nan"

UNKNOWN = "unknown"
"""What `Probe.annotate` calls silent units, and units of too low a confidence."""

MISSING_LABELS = (
    *(*_BLANK, UNKNOWN, "unclassified", "unassigned", "unlabeled", "unlabelled", "undefined"),
    *("n/a", "<na>", "null", "none", "-", "?", "root", "void"),
)
"""Texts that are no label, in any case; None and NaN never are. ("root" and "void" are what
brain atlases write outside their regions. "NA" may be one: noradrenergic.)"""


def is_missing(values: ArrayLike | Sequence[Any]) -> NDArray[np.bool_]:
    """Return which values are not there: None, NaN, "" and "nan"."""
    series = pd.Series(list(np.asarray(values, dtype=object)), dtype=object)
    return (series.isna() | series.isin(_BLANK)).to_numpy(dtype=bool)


def is_missing_label(
    labels: ArrayLike | Sequence[Any], missing_labels: Collection[str] = MISSING_LABELS
) -> NDArray[np.bool_]:
    """Return which units (units,) have no label: None, NaN, or one of `missing_labels`."""
    if isinstance(missing_labels, str):
        raise TypeError(
            f"missing_labels={missing_labels!r} is one text; expected several: [{missing_labels!r}]"
        )
    values = pd.Series(list(np.asarray(labels, dtype=object)), dtype=object)
    excluded = {str(one).strip().casefold() for one in missing_labels}
    texts = values.map(lambda value: _text(value).casefold())
    return (values.isna() | texts.isin(excluded)).to_numpy(dtype=bool)


def as_texts(
    labels: ArrayLike | Sequence[Any], missing_labels: Collection[str] | None = None
) -> NDArray[np.str_]:
    """Return labels, or names of animals, as texts: "" where one is missing, 4.0 as "4".

    A missing value turns a column of whole numbers into floats, but its labels stay the same; so
    do texts with blanks around, as tables have them.
    `labels` (units,) → (units,).
    """
    values = np.asarray(labels, dtype=object).tolist()
    if missing_labels is None:
        missing = is_missing(labels)
    else:
        missing = is_missing_label(labels, missing_labels)
    texts = ["" if gone else _text(value) for value, gone in zip(values, missing, strict=True)]
    return np.array(texts, dtype=str)


def tidy_labels(labels: ArrayLike | Sequence[Any]) -> list[Any]:
    """Return labels as a list: texts without blanks around, values of other kinds as they are."""
    values = np.asarray(labels, dtype=object).tolist()
    return [_text(one) if isinstance(one, (str, bytes)) else one for one in values]


def differ_in_case(names: Iterable[Any]) -> list[str]:
    """Return the texts among these names that differ from another one only in case, sorted."""
    texts = sorted({one for one in names if isinstance(one, str)})
    counts = Counter(one.casefold() for one in texts)
    return [one for one in texts if counts[one.casefold()] > 1]


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        value = value.decode("utf-8", errors="replace")
    whole = isinstance(value, (float, np.floating)) and value.is_integer()
    return str(int(value) if whole else value).strip()
