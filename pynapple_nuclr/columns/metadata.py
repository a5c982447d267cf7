"""The metadata of a pynapple object, as it stores them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pynapple as nap

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from pynapple_nuclr.recording import Units


def metadata_frame(units: Units) -> pd.DataFrame:
    """Return the metadata of a ``TsGroup`` or ``TsdFrame``, a row per unit.

    Unlike the object's own ``metadata`` it keeps None in columns of strings (pandas makes it NaN).
    """
    columns = {}
    for name, values in stored_columns(units, rate=True).items():
        as_objects = values.dtype.kind in "OUS" or values.ndim > 1
        columns[name] = pd.Series(
            list(values), index=unit_ids(units), dtype=object if as_objects else values.dtype
        )
    return pd.DataFrame(columns, index=unit_ids(units))


def is_missing(labels: ArrayLike | Sequence[Any]) -> NDArray[np.bool_]:
    """Say which labels are missing: None, NaN, "" and "nan".

    pynapple turns ``["PV", np.nan]`` into strings, and so NaN into "nan".

    Examples
    --------
    >>> from pynapple_nuclr.columns import is_missing
    >>> is_missing(["PV", None, float("nan"), "", "nan", 0])
    array([False,  True,  True,  True,  True, False])
    """
    values = pd.Series(list(np.asarray(labels, dtype=object)), dtype=object)
    return (values.isna() | values.isin(["", "nan"])).to_numpy(dtype=bool)


def as_texts(labels: ArrayLike | Sequence[Any]) -> NDArray[np.str_]:
    """Write labels, or names of animals, as texts: "" where one is missing, 4.0 as "4".

    A missing value turns a column of whole numbers into floats, but not its labels into others.

    Examples
    --------
    >>> from pynapple_nuclr.columns import as_texts
    >>> as_texts([4.0, float("nan"), 5, True, "L4"])
    array(['4', '', '5', 'True', 'L4'], dtype='<U4')
    """
    values = np.asarray(labels, dtype=object).tolist()
    texts = ["" if gone else _text(v) for v, gone in zip(values, is_missing(labels), strict=True)]
    return np.array(texts, dtype=str)


def _text(value: Any) -> str:
    whole = isinstance(value, (float, np.floating)) and value.is_integer()
    return str(int(value) if whole else value)


def stored_columns(units: Units, *, rate: bool = False) -> dict[str, NDArray[Any]]:
    """Return the metadata as pynapple stores it; `rate`, which a TsGroup makes itself, if asked."""
    if not isinstance(units, (nap.TsGroup, nap.TsdFrame)):
        raise TypeError(
            f"units is a {type(units).__name__}; expected a pynapple TsGroup (spikes) or TsdFrame "
            "(calcium)"
        )
    # The public getters go through pandas, which would turn None into NaN and change dtypes.
    stored = {name: np.asarray(values) for name, values in units._metadata.items()}
    if isinstance(units, nap.TsGroup) and not rate:
        stored.pop("rate", None)
    return stored


def unit_ids(units: Units) -> Any:
    """Return the ids of the units, in the object's order."""
    return units.index if isinstance(units, nap.TsGroup) else units.columns


def with_metadata(units: Units, columns: dict[str, NDArray[Any]]) -> Units:
    """Return an object with the same data and these metadata columns."""
    if isinstance(units, nap.TsGroup):
        # The members are within the time support already: keep them as they are.
        result = nap.TsGroup(
            dict(units.items()), time_support=units.time_support, bypass_check=True
        )
    else:
        result = nap.TsdFrame(
            units.index,
            units.values,
            columns=units.columns,
            time_support=units.time_support,
            load_array=False,
        )
    with warnings.catch_warnings():
        # pynapple has warned of the user's own names when they were given.
        warnings.simplefilter("ignore")
        result.set_info(columns)
    return result
