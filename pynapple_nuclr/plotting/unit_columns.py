"""Read labels, numbers and vectors from a group's metadata, for figures."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pynapple_nuclr.columns import (
    PREDICTED,
    SCORE,
    TRAINING,
    UNKNOWN,
    as_texts,
    embeddings,
    is_missing_label,
    metadata_frame,
    vector_columns,
)
from pynapple_nuclr.probe_score import ProbeScore
from pynapple_nuclr.recording import Units
from pynapple_nuclr.stability import unit_length


class Labels(NamedTuple):
    """The labels of units: texts ("" for none), and classes in natural order ("L2", "L10")."""

    texts: NDArray[np.str_]
    missing: NDArray[np.bool_]
    unsure: NDArray[np.bool_]
    classes: list[str]

    @property
    def known(self) -> NDArray[np.bool_]:
        """Return which units have a label other than "unknown" (units,)."""
        return ~self.missing & ~self.unsure

    def count(self, label: str) -> int:
        """Return the number of units with this label."""
        return int((self.texts == label).sum())


def read_labels(values: Any) -> Labels:
    """Read labels of any kind, one a unit."""
    texts = as_texts(values)
    missing = texts == ""
    unsure = texts == UNKNOWN
    return Labels(texts, missing, unsure, in_order(np.unique(texts[~missing & ~unsure])))


def in_order(labels: Any) -> list[str]:
    """Sort labels as people do: "L2" before "L10"."""

    def key(text: str) -> list[tuple[bool, int, str]]:
        parts = re.findall(r"\d+|\D+", text)
        return [(p.isdecimal(), int(p) if p.isdecimal() else 0, p) for p in parts]

    return sorted((str(label) for label in labels), key=key)


def read_column(units: Units, name: str, argument: str) -> pd.Series:
    """Return a metadata column; the error names the argument and the columns that are there."""
    metadata = metadata_frame(units)
    if name not in metadata:
        raise ValueError(
            f"{argument}={name!r} is not a metadata column; there are {column_names(metadata)}"
        )
    return metadata[name]


def column_names(metadata: pd.DataFrame) -> str:
    """Return the names of the columns that hold no vectors, as they stand in errors."""
    return ", ".join(metadata.columns.drop(vector_columns(metadata.columns))) or "none"


def is_number(values: pd.Series) -> bool:
    """Return whether a column holds numbers; true and false are classes."""
    numeric = pd.api.types.is_numeric_dtype(values)
    return bool(numeric and not pd.api.types.is_bool_dtype(values))


def read_numbers(units: Units, name: str, argument: str) -> NDArray[np.float64]:
    """Return a metadata column of numbers (units,)."""
    values = read_column(units, name, argument)
    if not is_number(values):
        numbers = [str(one) for one, column in metadata_frame(units).items() if is_number(column)]
        numbers = sorted(set(numbers) - set(vector_columns(metadata_frame(units).columns)))
        raise ValueError(
            f"{argument}={name!r} holds no numbers ({values.iloc[0]!r}, …); columns of numbers "
            f"are {', '.join(numbers) or 'none'}"
        )
    return values.to_numpy(dtype=float)


def read_predictions(units: Units, target: str) -> tuple[Labels, NDArray[np.float64] | None]:
    """Return what a probe has written about a target: labels, and confidence (units,) if there."""
    metadata, column = metadata_frame(units), f"{PREDICTED}{target}"
    if column not in metadata:
        raise ValueError(
            f"target={target!r}: there is no column {column!r}; write it with a probe: units = "
            f"Probe({target!r}).fit(…).annotate(units). There are {column_names(metadata)}"
        )
    confidence = f"{column}_confidence"
    has = confidence in metadata
    return read_labels(metadata[column]), (
        read_numbers(units, confidence, "target") if has else None
    )


def read_true_and_predicted(
    units: Units, target: str
) -> tuple[Labels, Labels, NDArray[np.float64] | None]:
    """Return true labels, and what `read_predictions` returns, to compare them.

    Texts such as "n/a" (`MISSING_LABELS`) are no true label, unless a probe predicts them: one
    with a list of its own may have learned them.
    """
    texts = as_texts(read_column(units, target, "target"))
    predicted, confidence = read_predictions(units, target)
    is_none = is_missing_label(texts) & ~np.isin(texts, predicted.classes)
    return read_labels(np.where(is_none, "", texts)), predicted, confidence


def read_score(metadata: pd.DataFrame, target: str) -> ProbeScore | None:
    """Return the score of the probe that predicted a target; None if the units do not say it."""
    texts = np.unique(as_texts(metadata.get(f"{PREDICTED}{target}{SCORE}", [])))
    return next(filter(None, map(ProbeScore.parse, map(str, texts))), None)


def training_units(metadata: pd.DataFrame, target: str) -> NDArray[np.bool_]:
    """Return which units the probe of a target learned from (units,), as far as it is known."""
    column = metadata.get(f"{PREDICTED}{target}{TRAINING}", np.zeros(len(metadata)))
    return np.asarray(pd.to_numeric(column, errors="coerce") == 1)


def training_note(units: Units, target: str, shown: NDArray[np.bool_]) -> str:
    """Return how many of the units shown (units,) the probe learned from, or nothing for none."""
    n = int((training_units(metadata_frame(units), target) & shown).sum())
    which = "training units of the probe" if n == shown.sum() else f"{n} are training units"
    return f"{which}: no measure of it" if n else ""


def predicted_targets(names: Sequence[str]) -> list[str]:
    """Return the targets that a probe has written into columns of these names."""
    there = set(names)
    columns = [name for name in names if f"{name}_confidence" in there]
    return [name.removeprefix(PREDICTED) for name in columns if name.startswith(PREDICTED)]


def target_to_show(metadata: pd.DataFrame, target: str | None, where: str = "") -> str | None:
    """Return `target`, or the first that was predicted; ValueError (in `where`) if not there."""
    if target is None:
        return next(iter(predicted_targets(list(metadata))), None)
    if target not in metadata and f"{PREDICTED}{target}" not in metadata:
        raise ValueError(
            f"{where}target={target!r} is neither a metadata column nor predicted; there are "
            f"{column_names(metadata)}"
        )
    return target


def class_probabilities(
    metadata: pd.DataFrame, target: str, classes: Sequence[str]
) -> tuple[list[str], NDArray[np.float64]]:
    """Return the classes of which a probe has written probabilities, and these (units, classes)."""
    stem = f"{PREDICTED}{target}_p_"
    columns = [name for name in metadata if str(name).startswith(stem)]
    # Column names have no punctuation: the labels restore it.
    written = {re.sub(r"\W", "_", one): one for one in classes}
    names = [str(name).removeprefix(stem) for name in columns]
    return [written.get(one, one) for one in names], metadata[columns].to_numpy(dtype=float)


def read_vectors(
    units: Units, prefix: str, least: int, what: str
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the vectors of the units that have one (shown, dim), and a mask of these (units,)."""
    vectors = np.asarray(embeddings(units, prefix).values, dtype=np.float64)
    shown = np.asarray(np.isfinite(vectors).all(axis=1))
    if shown.sum() < least:
        raise ValueError(
            f"{shown.sum()} of {len(shown)} units have an embedding; {what} needs at least {least}"
        )
    return vectors[shown], shown


def directions(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return vectors of length 1 from the mean of all: their products are cosine similarities."""
    return np.asarray(unit_length(vectors - vectors.mean(axis=0)))
