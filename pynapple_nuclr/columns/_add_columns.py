"""Writing our columns in the order in which people read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pynapple_nuclr.columns.metadata import stored_columns, unit_ids, with_metadata
from pynapple_nuclr.columns.names import (
    PREDICTED,
    SCORE,
    SUMMARIES,
    TRAINING,
    check_prefix,
    is_member,
    prefixes_of,
    vector_index,
)
from pynapple_nuclr.recording import Units
from pynapple_nuclr.user_warnings import list_some, log


def add_columns(
    units: Units,
    *,
    predicted: Mapping[str, ArrayLike] | None = None,
    summary: Mapping[str, ArrayLike] | None = None,
    vectors: ArrayLike | None = None,
    prefix: str = "nuclr",
) -> Units:
    """Return a new object with more metadata columns, all of them in reading order.

    `units` is never changed; the result shares its data, as a slice does, and keeps ids, time
    support and other metadata. `predicted` and `summary` are column → values (units,), `vectors`
    (units, dim) become the columns ``{prefix}_0`` … With `summary` or `vectors` all that an earlier
    embedding wrote under this prefix is dropped; other prefixes stay. TypeError for other objects,
    ValueError for unusable names or values.

    Examples
    --------
    >>> import pynapple as nap
    >>> from pynapple_nuclr.columns import add_columns
    >>> units = nap.TsGroup({4: nap.Ts([0.1, 0.7]), 9: nap.Ts([0.5, 0.9])},
    ...     time_support=nap.IntervalSet(0, 1), metadata={"depth": [120, 340]})
    >>> units = add_columns(units, vectors=[[0.5, 1.0], [1.5, 2.0]],
    ...     summary={"nuclr_n_windows": [3, 2], "nuclr_encoder": ["tiny@0a1b2c3d"] * 2})
    >>> add_columns(units, predicted={"predicted_cell_type": ["PV", "SST"]}).metadata_columns
    ... # doctest: +NORMALIZE_WHITESPACE
    ['rate', 'predicted_cell_type', 'nuclr_n_windows', 'nuclr_encoder', 'depth',
     'nuclr_0', 'nuclr_1']
    """
    stored = stored_columns(units)
    check_prefix(prefix, units)
    new = _begin_with(PREDICTED, predicted) | _begin_with(f"{prefix}_", summary)
    if vectors is not None:
        new |= _vector_columns(np.asarray(vectors), prefix)
    for name, values in new.items():
        if values.ndim != 1 or len(values) != len(unit_ids(units)):
            raise ValueError(
                f"column {name!r} has shape {values.shape}; expected one value for each of the "
                f"{len(unit_ids(units))} units"
            )

    is_replaced = new.keys() & stored.keys()
    if summary is not None or vectors is not None:
        is_replaced |= {name for name in stored if is_member(name, prefix)}
    if is_replaced:
        names = [name for name in stored if name in is_replaced]
        log.warning("replaced %d metadata columns: %s", len(names), list_some(names))

    columns = new | {name: stored[name] for name in stored if name not in is_replaced}
    return with_metadata(units, _in_order(columns))


def _in_order(columns: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    prefixes = prefixes_of(columns)

    def rank(name: str) -> tuple[int, int, int]:
        if name.startswith(PREDICTED):
            return (1, len(prefixes), 0) if name.endswith((TRAINING, SCORE)) else (0, 0, 0)
        for i, prefix in enumerate(prefixes):
            number = vector_index(name, prefix)
            if number is not None:
                return 3, i, number
            if is_member(name, prefix):
                return 1, i, list(SUMMARIES).index(name.removeprefix(f"{prefix}_"))
        return 2, 0, 0

    return {name: columns[name] for name in sorted(columns, key=rank)}


def _vector_columns(vectors: NDArray[Any], prefix: str) -> dict[str, NDArray[Any]]:
    if vectors.ndim != 2:
        raise ValueError(f"vectors has shape {vectors.shape}; expected (units, dim)")
    # Copies, so that nobody's later change of `vectors` reaches into the metadata.
    return {f"{prefix}_{i}": column.copy() for i, column in enumerate(vectors.T)}


def _begin_with(start: str, columns: Mapping[str, ArrayLike] | None) -> dict[str, NDArray[Any]]:
    columns = {} if columns is None else columns
    for name in columns:
        if not name.startswith(start):
            raise ValueError(f"column {name!r} does not begin with {start!r}")
    return {name: np.asarray(values) for name, values in columns.items()}
