"""What a probe reads of embedded recordings: one row per unit, checked here."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pynapple as nap
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from pynapple_nuclr.columns import (
    as_texts,
    coordinate_name,
    is_missing_label,
    tidy_labels,
    unit_animals,
)
from pynapple_nuclr.user_warnings import warn_user

ACTIVITY = "_activity_hash"
"""Coordinate of vectors: hash of each unit's activity; 0: none."""


class Rows(NamedTuple):
    """The units of all recordings, one after the other."""

    x: NDArray[np.float64]  # (units, columns): embedding and features
    has_embedding: NDArray[np.bool_]  # (units,): false for silent units, which have no embedding
    recordings: NDArray[Any]  # (units,): name of the recording of each
    # (units,): hashes of each unit's embedding and of its activity (0: none), to find units that
    # were in the training; none for arrays, in which few columns may well be equal
    row_hashes: NDArray[np.uint64]
    activity_hashes: NDArray[np.uint64]
    labels: NDArray[Any] = np.empty(0)  # (units,): empty where none were asked for
    animals: NDArray[Any] | None = None  # (units,): animal of each
    statistics: tuple[str, ...] = ()  # names of the first columns, where they are statistics

    def are_among(self, hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Return which units (units,) have a hash that is among these."""
        return np.isin(self.row_hashes, hashes) | np.isin(self.activity_hashes, hashes)

    @property
    def hashes(self) -> NDArray[np.uint64]:
        """All hashes of all units, sorted."""
        known = np.union1d(self.row_hashes, self.activity_hashes)
        return np.asarray(known[known > 0])


def are_recordings(recordings: Any) -> bool:
    """Return whether these are embedded recordings (or meant to be), not plain arrays."""
    if isinstance(recordings, (list, tuple)):
        return all(_is_recording(one) for one in recordings)
    # Some sparse matrices are mappings too; scikit-learn has an answer to those.
    is_mapping = isinstance(recordings, Mapping) and not hasattr(recordings, "shape")
    return _is_recording(recordings) or is_mapping


def _is_recording(one: Any) -> bool:
    if isinstance(one, xr.DataArray):
        return "encoder" in one.attrs
    return isinstance(one, (nap.TsGroup, nap.TsdFrame, xr.Dataset))


def common_encoder(recordings: dict[str, xr.DataArray], known: str | None = None) -> str:
    """Return the one encoder that made all these vectors."""
    made = {name: str(vectors.attrs["encoder"]) for name, vectors in recordings.items()}
    first = next(iter(made))
    for name, encoder in made.items():
        if known is not None and encoder != known:
            raise ValueError(
                f"recording {name!r} has vectors of the encoder {encoder}, but this probe was "
                f"trained on vectors of {known}; embed it with that encoder"
            )
        if encoder != made[first]:
            raise ValueError(
                f"recording {name!r} has vectors of the encoder {encoder}, but recording "
                f"{first!r} of {made[first]}; embed all of them with one encoder"
            )
    return made[first]


def read_rows(
    recordings: dict[str, xr.DataArray],
    *,
    features: Sequence[str] = (),
    standardize: bool = False,
    target: str | None = None,
) -> Rows:
    """Collect embedding, features and labels of all units."""
    x, has_embedding, row_hashes, activity_hashes = [], [], [], []
    for name, vectors in recordings.items():
        matrix = np.asarray(vectors.values, dtype=np.float64)
        known = np.asarray(np.isfinite(matrix).all(axis=1))
        has_embedding.append(known)
        row_hashes.append(_row_hashes(matrix))
        none = np.zeros(len(matrix), np.uint64)
        activity_hashes.append(np.asarray(vectors.coords.get(ACTIVITY, none)))
        if standardize:
            matrix = z_score(matrix, known)
        joined = [_feature(vectors, column, name, known) for column in features]
        x.append(np.column_stack([matrix, *joined]))
    labels: list[Any] = []
    for name, vectors in recordings.items():
        labels += [] if target is None else list(_column(vectors, target, name))
    statistics = vectors.coords["feature"].values if "feature" in vectors.coords else ()
    return Rows(
        x=np.concatenate(x),
        has_embedding=np.concatenate(has_embedding),
        recordings=np.repeat(list(recordings), list(map(len, x))),
        labels=np.array(labels, dtype=object),
        row_hashes=np.concatenate(row_hashes),
        activity_hashes=np.concatenate(activity_hashes),
        statistics=tuple(map(str, statistics)),
    )


def _row_hashes(x: NDArray[np.float64]) -> NDArray[np.uint64]:
    """Return a hash of each row of (units, columns)."""
    hashes = [hashlib.blake2b(row.tobytes(), digest_size=8).digest() for row in x]
    return np.frombuffer(b"".join(hashes), dtype=np.uint64)


def array_rows(x: NDArray[np.float64], n_features: int, standardize: bool) -> Rows:
    """Take a matrix (units, columns) as one recording; its last `n_features` are no embedding."""
    has_embedding = np.ones(len(x), dtype=bool)
    if standardize:
        dim = x.shape[1] - n_features
        x = np.column_stack([z_score(x[:, :dim], has_embedding), x[:, dim:]])
    none = np.zeros(len(x), np.uint64)
    return Rows(x, has_embedding, np.zeros(len(x), dtype=int), none, none)


def animals_of(
    recordings: dict[str, xr.DataArray], animals: Any, target: str
) -> NDArray[np.str_] | None:
    """Return the animal of every unit (units,), as `unit_animals` finds it."""
    frames = {
        name: pd.DataFrame({column: list(vectors[column].values) for column in _columns(vectors)})
        for name, vectors in recordings.items()
    }
    of_units = unit_animals(frames, animals, target=target)
    return None if of_units is None else np.concatenate(list(of_units.values()))


def row_animals(animals: ArrayLike | None, n_rows: int) -> NDArray[Any] | None:
    """Check the animals given beside a matrix: one a row."""
    if animals is None:
        return None
    of_rows = np.asarray(animals)
    if of_rows.shape != (n_rows,):
        raise ValueError(f"animals has shape {of_rows.shape}; expected one a row of X: {n_rows}")
    return of_rows


def without_nan(labels: Any, missing_labels: Collection[str]) -> Any:
    """Write missing labels as None: scikit-learn, which checks them next, refuses NaN."""
    values = np.asarray(labels, dtype=object)
    if values.ndim != 1 or not (missing := is_missing_label(values, missing_labels)).any():
        return labels
    values = values.copy()
    values[missing] = None
    return values


def z_score(x: NDArray[np.float64], has_embedding: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Give each column of (units, columns) mean 0 and deviation 1 over embedded units."""
    if not has_embedding.any():
        return x
    deviation = x[has_embedding].std(axis=0)
    return (x - x[has_embedding].mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)


def warn_of_units_left_out(rows: Rows, target: str, missing_labels: Collection[str]) -> None:
    """Warn of the units without a label or without an embedding, with their number."""
    missing = is_missing_label(rows.labels, missing_labels)
    silent = ~rows.has_embedding & ~missing
    if not (missing.any() or silent.any()):
        return
    counts = Counter(as_texts(rows.labels[missing]).tolist())
    written = ", ".join(f"{text!r}: {n}" for text, n in counts.most_common() if text)
    left_out = []
    if missing.any():
        left_out.append(f"{missing.sum()} units without a label in {target!r}")
        left_out[0] += f" ({written})" if written else ""
    if silent.any():
        left_out.append(f"{silent.sum()} silent units without an embedding")
    text = f"left out {' and '.join(left_out)}, of {len(missing)}"
    warn_user(text)


def labelled(rows: Rows, target: str, missing_labels: Collection[str]) -> Rows:
    """Return the units with a label and an embedding."""
    keep = ~is_missing_label(rows.labels, missing_labels) & rows.has_embedding
    labels = tidy_labels(rows.labels[keep])
    if len({isinstance(label, str) for label in labels}) > 1:
        raise ValueError(f"the labels in {target!r} are strings and numbers; expected one kind")
    return rows._replace(
        x=rows.x[keep],
        has_embedding=rows.has_embedding[keep],
        recordings=rows.recordings[keep],
        labels=np.array(labels),
        animals=None if rows.animals is None else rows.animals[keep],
        row_hashes=rows.row_hashes[keep],
        activity_hashes=rows.activity_hashes[keep],
    )


def with_labels(
    recordings: dict[str, xr.DataArray], labels: ArrayLike, target: str
) -> dict[str, xr.DataArray]:
    """Use `labels` (units,) in place of the column `target` of the one recording."""
    values = np.asarray(labels, dtype=object)
    sizes = [vectors.sizes["unit"] for vectors in recordings.values()]
    if [len(values)] != sizes:
        raise ValueError(
            f"y has {len(values)} labels for {len(sizes)} recordings of {sizes} units; expected "
            f"one label a unit of one recording; several have theirs in a column {target!r}"
        )
    return {
        name: vectors.assign_coords({coordinate_name(target): ("unit", values)})
        for name, vectors in recordings.items()
    }


def check_columns(there: Sequence[str], needed: Sequence[str], name: str = "recording") -> None:
    """Refuse a recording that lacks a metadata column; ValueError naming those that it has."""
    for column in needed:
        if column not in there:
            raise ValueError(
                f"recording {name!r} has no metadata column {column!r}; it has: {', '.join(there)}"
            )


def _columns(vectors: xr.DataArray) -> list[str]:
    hidden = ("unit", ACTIVITY)
    return [str(c) for c in vectors.coords if c not in hidden and vectors[c].dims == ("unit",)]


def _column(vectors: xr.DataArray, column: str, name: str) -> NDArray[Any]:
    there = _columns(vectors)
    if coordinate_name(column) in there:
        column = coordinate_name(column)
    check_columns(there, [column], name)
    return vectors[column].values


def _feature(
    vectors: xr.DataArray, column: str, name: str, has_embedding: NDArray[np.bool_]
) -> NDArray[np.float64]:
    values = _column(vectors, column, name)
    try:
        numbers = values.astype(np.float64)
    except (TypeError, ValueError):
        raise ValueError(
            f"recording {name!r}: feature {column!r} holds {str(values[0])!r}; expected numbers"
        ) from None
    bad = np.flatnonzero(has_embedding & ~np.isfinite(numbers))
    if len(bad):
        raise ValueError(
            f"recording {name!r}: feature {column!r} is {numbers[bad[0]]} for unit "
            f"{vectors['unit'].values[bad[0]]} and {len(bad) - 1} others; fill it, or leave those "
            "units out"
        )
    return numbers
