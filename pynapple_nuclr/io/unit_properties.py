"""Properties of units of any type that pandas and SpikeInterface have, as pynapple holds them."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Number
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pynapple_nuclr.user_warnings import log

_MOST_COLUMNS = 4  # of a property with several values a unit, such as a location


def plain_columns(properties: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Return properties as columns of numbers, truth values or texts; log what cannot be one.

    Blanks become "" among texts, NaN among numbers and truth values (which become 0 and 1).
    Bytes are decoded, categories and dates become texts, and a property of up to four values a
    unit a column each (``location_0``, …).
    """
    columns: dict[str, NDArray[Any]] = {}
    left_out = []
    for name, values in properties.items():
        for key, one in _single_columns(str(name), values).items():
            plain = None if one is None else plain_column(one)
            if plain is None:
                left_out.append(key)
            else:
                columns[key] = plain
    if left_out:
        log.warning(
            "properties left out, as they hold no number, truth value or text a unit: %s",
            ", ".join(left_out),
        )
    return columns


def _single_columns(name: str, values: Any) -> dict[str, Any]:
    """Cut a property into columns of one value a unit; None: it has too many."""
    if isinstance(values, (pd.Series, pd.Index)) or hasattr(values, "isna"):
        return {name: pd.Series(values).to_numpy(dtype=object)}
    array = np.asarray(values)
    if array.dtype.names:
        return {f"{name}_{field}": array[field] for field in array.dtype.names}
    if array.ndim == 1:
        return {name: array}
    if array.ndim == 2 and array.shape[1] == 1:
        return {name: array[:, 0]}
    if array.ndim == 2 and array.shape[1] <= _MOST_COLUMNS:
        return {f"{name}_{i}": part for i, part in enumerate(array.T)}
    return {name: None}


def plain_column(values: NDArray[Any]) -> NDArray[Any] | None:
    """Return one value a unit as numbers, truth values or texts; None: it is none of these."""
    if values.ndim != 1:
        return None
    if values.dtype.kind in "biuf":
        return np.asarray(values, np.float64) if values.dtype == np.float16 else values
    plain = [_plain_value(value) for value in values.tolist()]
    present = [value for value in plain if value is not None]
    if all(isinstance(value, str) for value in present):
        return np.array(["" if value is None else value for value in plain], dtype=object)
    if any(not isinstance(value, (str, Number, np.bool_)) for value in present):
        return None
    if any(isinstance(value, str) for value in present):
        return np.array(["" if value is None else str(value) for value in plain], dtype=object)
    if len(present) == len(plain):
        return np.array(plain)
    return np.array([np.nan if value is None else value for value in plain], dtype=np.float64)


def _plain_value(value: Any) -> Any:
    """Return a value with bytes decoded and dates as texts; None for a blank."""
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    if isinstance(value, (list, tuple, dict, set, np.ndarray)):
        return value
    if value is None or pd.isna(value):
        return None
    if isinstance(value, (str, Number, np.bool_)):
        return value
    return str(value)
