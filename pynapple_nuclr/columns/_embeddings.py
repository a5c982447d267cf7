"""Our columns as labelled arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from pynapple_nuclr.columns.metadata import metadata_frame, stored_columns, unit_ids
from pynapple_nuclr.columns.missing import is_missing
from pynapple_nuclr.columns.names import coordinate_name, vector_columns
from pynapple_nuclr.recording import Units


def is_embedded(units: Units, prefix: str = "nuclr") -> bool:
    """Say whether the object has the columns of an embedding: vectors and their encoder."""
    return {f"{prefix}_0", f"{prefix}_encoder"} <= stored_columns(units).keys()


def embeddings(units: Units, prefix: str = "nuclr", *, name: str = "recording") -> xr.DataArray:
    """Collect the vector columns of an embedded group into one labelled array.

    Parameters
    ----------
    units : TsGroup or TsdFrame
        Embedded by ``embed``.
    prefix : str
        What the columns' names begin with.
    name : str
        Name of the recording, as it stands in errors.

    Returns
    -------
    DataArray (unit, feature)
        NaN for silent units. Coordinates on ``unit``: the ids and all other metadata, named as
        `coordinate_name` says.
        ``attrs["encoder"]``: who made the vectors, as name@hash.

    Raises
    ------
    ValueError
        If the group is not embedded, or by more than one encoder.

    Examples
    --------
    >>> import pynapple as nap
    >>> from pynapple_nuclr.columns import embeddings, add_columns
    >>> units = nap.TsGroup({4: nap.Ts([0.1, 0.7]), 9: nap.Ts([0.5, 0.9])},
    ...     time_support=nap.IntervalSet(0, 1), metadata={"depth": [120, 340]})
    >>> units = add_columns(units, vectors=[[0.5, 1.0], [1.5, 2.0]],
    ...     summary={"nuclr_encoder": ["tiny@0a1b2c3d"] * 2})
    >>> vectors = embeddings(units)
    >>> vectors.dims, vectors.attrs["encoder"]
    (('unit', 'feature'), 'tiny@0a1b2c3d')
    >>> vectors.sel(unit=9).values, vectors.depth.values
    (array([1.5, 2. ]), array([120, 340]))
    """
    stored = stored_columns(units)
    if not is_embedded(units, prefix):
        left_out = f"{prefix}_encoder" in stored
        why = " (columns='summary' left them out)" if left_out else f" and {prefix}_encoder"
        raise ValueError(
            f"recording {name!r} has no columns {prefix}_0, …{why}; embed it first: "
            f"units = {how_to_embed(prefix)}"
        )
    signed = np.asarray(stored[f"{prefix}_encoder"])
    signed = signed[~is_missing(signed)]  # units that were left out are signed by nobody
    encoders = sorted({str(encoder) for encoder in signed})
    if len(encoders) != 1:
        raise ValueError(
            f"recording {name!r} has vectors of {len(encoders)} encoders in {prefix}_encoder "
            f"({', '.join(encoders)}); expected one: embed all its units together"
        )
    return xr.DataArray(
        np.column_stack([stored[column] for column in vector_columns(stored, prefix)]),
        dims=("unit", "feature"),
        coords={"unit": np.asarray(unit_ids(units)), **unit_coordinates(metadata_frame(units))},
        name="embedding",
        attrs={"encoder": encoders[0]},
    )


def unit_coordinates(metadata: pd.DataFrame) -> dict[str, tuple[str, NDArray[Any]]]:
    """Turn metadata, but for vectors, into coordinates on the dimension ``unit`` of xarray."""
    coordinates = {}
    for name, column in metadata.drop(columns=vector_columns(metadata.columns)).items():
        values = column.to_numpy()
        if values.dtype == object and all(isinstance(value, str) for value in values):
            values = values.astype(str)
        coordinates[coordinate_name(str(name))] = ("unit", values)
    return coordinates


def how_to_embed(prefix: str) -> str:
    """Return the call that makes the columns of a prefix, for errors."""
    return f"nap_nuclr.embed(units{'' if prefix == 'nuclr' else f', {prefix=}'})"
