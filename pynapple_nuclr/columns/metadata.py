"""The metadata of a pynapple object, as it stores them."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pynapple as nap
from numpy.typing import NDArray

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
