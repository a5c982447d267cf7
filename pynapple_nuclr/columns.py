"""The layout of our metadata columns on pynapple objects.

pynapple's ``repr`` shows only the first columns, so what people read comes first and the many
vector columns come last: ``predicted_*``, the summaries (``nuclr_stability``,
``nuclr_n_windows``, ``nuclr_encoder``), the user's own columns, then ``nuclr_0``, ``nuclr_1``, …
"""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pynapple as nap
import xarray as xr

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from pynapple_nuclr.recording import Units

logger = logging.getLogger("pynapple_nuclr")

PREDICTED = "predicted_"
"""What every column that a probe writes begins with."""

SUMMARIES = ("stability", "n_windows", "encoder")
"""What is said of every unit's embedding, in the order of its columns."""

_DIMENSIONS = ("unit", "feature", "window")


def lay_out(
    units: Units,
    *,
    predicted: Mapping[str, ArrayLike] | None = None,
    summary: Mapping[str, ArrayLike] | None = None,
    vectors: ArrayLike | None = None,
    prefix: str = "nuclr",
) -> Units:
    """Return a new object with more metadata columns, all of them in reading order.

    Parameters
    ----------
    units : TsGroup or TsdFrame
        Is never changed. The result shares its data (spikes, traces), as a slice does.
    predicted : mapping, optional
        Column (``predicted_…``) → values (units,). Replaces columns of these names.
    summary : mapping, optional
        Column (``{prefix}_…``) → values (units,).
    vectors : array-like (units, dim), optional
        Becomes the columns ``{prefix}_0`` … With `summary` or `vectors` given, all that an
        earlier embedding wrote under this prefix is dropped.
    prefix : str
        What the names of `summary` and `vectors` begin with. Sets of columns with other
        prefixes stay.

    Returns
    -------
    TsGroup or TsdFrame
        The same kind as `units`, with its ids, data, time support and other metadata.

    Raises
    ------
    TypeError
        If `units` is neither a ``TsGroup`` nor a ``TsdFrame``.
    ValueError
        If the prefix is unusable, a name does not begin as it should, or a column does not hold
        one value a unit.

    Examples
    --------
    >>> import pynapple as nap
    >>> from pynapple_nuclr.columns import lay_out
    >>> units = nap.TsGroup({4: nap.Ts([0.1, 0.7]), 9: nap.Ts([0.5, 0.9])},
    ...     time_support=nap.IntervalSet(0, 1), metadata={"depth": [120, 340]})
    >>> units = lay_out(units, vectors=[[0.5, 1.0], [1.5, 2.0]],
    ...     summary={"nuclr_n_windows": [3, 2], "nuclr_encoder": ["tiny@0a1b2c3d"] * 2})
    >>> lay_out(units, predicted={"predicted_cell_type": ["PV", "SST"]}).metadata_columns
    ... # doctest: +NORMALIZE_WHITESPACE
    ['rate', 'predicted_cell_type', 'nuclr_n_windows', 'nuclr_encoder', 'depth',
     'nuclr_0', 'nuclr_1']
    """
    stored = _stored(units)
    check_prefix(prefix, units)
    new = _begin_with(PREDICTED, predicted) | _begin_with(f"{prefix}_", summary)
    if vectors is not None:
        new |= _vector_columns(np.asarray(vectors), prefix)
    for name, values in new.items():
        if values.ndim != 1 or len(values) != len(_ids(units)):
            raise ValueError(
                f"column {name!r} has shape {values.shape}; expected one value for each of the "
                f"{len(_ids(units))} units"
            )

    is_replaced = new.keys() & stored.keys()
    if summary is not None or vectors is not None:
        is_replaced |= {name for name in stored if _member(name, prefix)}
    if is_replaced:
        names = [name for name in stored if name in is_replaced]
        shown = ", ".join(names[:4]) + (", …" if len(names) > 4 else "")
        logger.warning("replaced %d metadata columns: %s", len(names), shown)

    columns = new | {name: stored[name] for name in stored if name not in is_replaced}
    return _with_metadata(units, _in_order(columns))


def check_prefix(prefix: str, units: Units) -> None:
    """Refuse a prefix that could not begin the names of metadata columns.

    Parameters
    ----------
    prefix : str
        What the new columns' names begin with.
    units : TsGroup or TsdFrame
        The object that gets them.

    Raises
    ------
    ValueError
        If it is no identifier, is an attribute of the object (``count``, ``rate``), begins as the
        columns of a probe do, or makes names that a ``TsdFrame`` uses for its units.

    Examples
    --------
    >>> import pynapple as nap
    >>> from pynapple_nuclr.columns import check_prefix
    >>> check_prefix("count", nap.TsGroup({0: nap.Ts([0.1, 0.7])}))
    Traceback (most recent call last):
    ValueError: prefix='count' is an attribute of pynapple's TsGroup; choose another name
    """
    check_name(prefix, "prefix", units)
    if prefix.startswith(PREDICTED.rstrip("_")):
        raise ValueError(f"prefix={prefix!r} begins as the columns of a probe do; choose another")
    taken = [unit for unit in _ids(units) if isinstance(unit, str) and _member(unit, prefix)]
    if taken:
        raise ValueError(
            f"prefix={prefix!r} makes metadata of the name {taken[0]!r}, which is a unit of this "
            "TsdFrame; choose another"
        )


def check_name(value: Any, argument: str, units: Units | None = None) -> None:
    """Refuse a name for columns that is no identifier or meets an attribute of the object.

    Parameters
    ----------
    value : str
        The name.
    argument : str
        Which argument it was, for the error.
    units : TsGroup or TsdFrame, optional
        The object that gets the columns. Default: any ``TsGroup``.

    Raises
    ------
    ValueError
        If it cannot be used.
    """
    if not isinstance(value, str) or not value.isidentifier():
        raise ValueError(
            f"{argument}={value!r} is no identifier; expected letters, digits and underscores, "
            "for example 'cell_type'"
        )
    kind = nap.TsGroup if units is None else type(units)
    attributes = {"rate", "index", "data", "time_support", "nap_class", *dir(kind)}
    attributes |= vars(kind if units is None else units).keys()
    if value in attributes:
        raise ValueError(
            f"{argument}={value!r} is an attribute of pynapple's {kind.__name__}; choose another "
            "name"
        )


def is_embedded(units: Units, prefix: str = "nuclr") -> bool:
    """Say whether the object has the columns of an embedding: vectors and their encoder."""
    return {f"{prefix}_0", f"{prefix}_encoder"} <= _stored(units).keys()


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
        NaN for silent units. Coordinates on ``unit``: the ids and all other metadata (a column
        called ``unit``, ``feature`` or ``window`` gets a trailing underscore).
        ``attrs["encoder"]``: who made the vectors, as name@hash.

    Raises
    ------
    ValueError
        If the group is not embedded, or by more than one encoder.

    Examples
    --------
    >>> import pynapple as nap
    >>> from pynapple_nuclr.columns import embeddings, lay_out
    >>> units = nap.TsGroup({4: nap.Ts([0.1, 0.7]), 9: nap.Ts([0.5, 0.9])},
    ...     time_support=nap.IntervalSet(0, 1), metadata={"depth": [120, 340]})
    >>> units = lay_out(units, vectors=[[0.5, 1.0], [1.5, 2.0]],
    ...     summary={"nuclr_encoder": ["tiny@0a1b2c3d"] * 2})
    >>> vectors = embeddings(units)
    >>> vectors.dims, vectors.attrs["encoder"]
    (('unit', 'feature'), 'tiny@0a1b2c3d')
    >>> vectors.sel(unit=9).values, vectors.depth.values
    (array([1.5, 2. ]), array([120, 340]))
    """
    stored = _stored(units)
    if not is_embedded(units, prefix):
        raise ValueError(
            f"recording {name!r} has no columns {prefix}_0, … and {prefix}_encoder; embed it "
            f"first: units = pynapple_nuclr.embed(units, prefix={prefix!r})"
        )
    signed = np.asarray(stored[f"{prefix}_encoder"])
    signed = signed[~is_missing(signed)]  # units that were left out are signed by nobody
    encoders = sorted({str(encoder) for encoder in signed})
    if len(encoders) != 1:
        raise ValueError(
            f"recording {name!r} has vectors of {len(encoders)} encoders in {prefix}_encoder "
            f"({', '.join(encoders)}); expected one: embed all its units together"
        )
    others = _prefixes(stored)
    vectors = [column for column in stored if _vector_index(column, prefix) is not None]
    vectors.sort(key=lambda column: _vector_index(column, prefix) or 0)
    metadata = metadata_frame(units).drop(
        columns=[c for c in stored if any(_vector_index(c, other) is not None for other in others)]
    )
    return xr.DataArray(
        np.column_stack([stored[column] for column in vectors]),
        dims=("unit", "feature"),
        coords={"unit": np.asarray(_ids(units)), **unit_coordinates(metadata)},
        name="embedding",
        attrs={"encoder": encoders[0]},
    )


def unit_coordinates(metadata: pd.DataFrame) -> dict[str, tuple[str, NDArray[Any]]]:
    """Turn metadata into coordinates on the dimension ``unit`` of an xarray object.

    Parameters
    ----------
    metadata : DataFrame
        A row per unit.

    Returns
    -------
    dict
        Name → (``"unit"``, values). A column called as a dimension of ours gets a trailing
        underscore.
    """
    coordinates = {}
    for name, column in metadata.items():
        values = column.to_numpy()
        if values.dtype == object and all(isinstance(value, str) for value in values):
            values = values.astype(str)
        coordinates[f"{name}_" if name in _DIMENSIONS else str(name)] = ("unit", values)
    return coordinates


def metadata_frame(units: Units) -> pd.DataFrame:
    """Return the metadata of a ``TsGroup`` or ``TsdFrame``, a row per unit.

    Unlike the object's own ``metadata`` it keeps None in columns of strings (pandas makes it NaN).
    """
    columns = {}
    for name, values in _stored(units, rate=True).items():
        as_objects = values.dtype.kind in "OUS" or values.ndim > 1
        columns[name] = pd.Series(
            list(values), index=_ids(units), dtype=object if as_objects else values.dtype
        )
    return pd.DataFrame(columns, index=_ids(units))


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


def _stored(units: Units, *, rate: bool = False) -> dict[str, NDArray[Any]]:
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


def _ids(units: Units) -> Any:
    return units.index if isinstance(units, nap.TsGroup) else units.columns


def _with_metadata(units: Units, columns: dict[str, NDArray[Any]]) -> Units:
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


def _in_order(columns: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    prefixes = _prefixes(columns)

    def rank(name: str) -> tuple[int, int, int]:
        if name.startswith(PREDICTED):
            return 0, 0, 0
        for i, prefix in enumerate(prefixes):
            number = _vector_index(name, prefix)
            if number is not None:
                return 3, i, number
            if _member(name, prefix):
                return 1, i, SUMMARIES.index(name.removeprefix(f"{prefix}_"))
        return 2, 0, 0

    return {name: columns[name] for name in sorted(columns, key=rank)}


def _prefixes(columns: Mapping[str, Any]) -> list[str]:
    """Return the prefixes of all embeddings in these columns: an encoder and what it made."""
    candidates = [name.removesuffix("_encoder") for name in columns if name.endswith("_encoder")]
    return [
        prefix
        for prefix in candidates
        if columns.keys() & {f"{prefix}_{made}" for made in ("0", "stability", "n_windows")}
    ]


def _member(name: str, prefix: str) -> bool:
    """Say whether a column of this name belongs to the embedding with this prefix."""
    is_summary = name in {f"{prefix}_{summary}" for summary in SUMMARIES}
    return is_summary or _vector_index(name, prefix) is not None


def _vector_index(name: str, prefix: str) -> int | None:
    match = re.fullmatch(rf"{re.escape(prefix)}_(0|[1-9][0-9]*)", name)
    return int(match[1]) if match else None


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
