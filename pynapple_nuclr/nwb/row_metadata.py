"""Metadata in: what a table of an NWB file says of each of its rows, as pynapple can hold it."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping
from numbers import Number
from typing import Any

import numpy as np
import pynapple as nap
from hdmf.common import DynamicTableRegion, VectorIndex
from numpy.typing import NDArray

from pynapple_nuclr.columns import is_missing_label
from pynapple_nuclr.nwb.read_notes import ReadNotes
from pynapple_nuclr.nwb.values import (
    check_stored,
    decode,
    has_any_length,
    read_ragged,
    read_values,
)
from pynapple_nuclr.recording import Units
from pynapple_nuclr.user_warnings import list_some, warn_user

_READ_OTHERWISE = ("spike_times", "obs_intervals", "electrode_group")
_MOST_TEXTS = 20  # texts a row, of labels; with more they say something of each spike
_NOT_SINGLE = {
    *("noise", "artifact", "artefact", "reject", "rejected"),
    *("mua", "multi", "multiunit", "multiunits", "multiunitactivity"),
    *("hash", "thresholdcrossing", "thresholdcrossings"),
}
"""Words for clusters that are no single unit, as `plain_name` writes them."""
_UNSORTED = re.compile(r"threshold.?crossing|multi.?unit|unsorted|not (\w+.)?sorted", re.IGNORECASE)


def scalar_columns(table: Any) -> dict[str, NDArray[Any]]:
    """Read the columns of an NWB table that hold one number, truth value or text per row.

    Several texts in a row become one ("mua, reject"). Other ragged columns, images, waveforms and
    references are not read at all (`columns_not_read` names them); of one electrode a row, the
    electrode's own columns are. Where a row names an electrode that the table has not, such as -1,
    it has none (NaN or ""), with one warning a column.
    """
    n_rows = len(table.id)
    columns: dict[str, NDArray[Any]] = {}
    beside: dict[str, NDArray[Any]] = {}  # of other tables: a column of the table itself wins
    for name in table.colnames:
        column = table[name]
        if isinstance(column, DynamicTableRegion):
            rows = read_values(column.data).astype(np.int64)
            _warn_of_absent(column)
            others = scalar_columns(column.table)
            beside = {key: _taken(values, rows) for key, values in others.items()} | beside
        elif isinstance(column, VectorIndex):
            if isinstance(column.target, DynamicTableRegion):
                _warn_of_absent(column.target)
            elif (texts := _joined_texts(column)) is not None:
                columns[name] = texts
        elif name != "electrode_group" and _has_one_each(column, n_rows) and n_rows:
            check_stored(column.data)
            is_text = _may_be_texts(column.data)
            values = plain_values(_flat(read_values(column.data) if is_text else column[:]))
            if values is not None:
                columns[name] = values
    return columns | {
        name: values
        for name, values in beside.items()
        if name not in columns and len(values) == n_rows
    }


def _may_be_texts(data: Any) -> bool:
    """Return whether the values of a dataset may be texts of any length, or are bytes."""
    return getattr(getattr(data, "dtype", None), "kind", "") == "S" or has_any_length(data)


def _joined_texts(column: VectorIndex) -> NDArray[Any] | None:
    """Return the texts of each row of a ragged column as one; None if it holds anything else."""
    if isinstance(column.target, VectorIndex) or not _may_be_texts(column.target.data):
        return None
    if not 0 < len(column.target.data) <= _MOST_TEXTS * len(column.data):
        return None
    rows = [list(row) for row in read_ragged(column)]
    if not all(isinstance(text, str) for row in rows for text in row):
        return None
    return np.array([", ".join(filter(None, map(str.strip, row))) for row in rows], dtype=object)


def columns_not_read(table: Any, columns: Mapping[str, NDArray[Any]]) -> list[str]:
    """Return the names of the columns of an NWB table that are not among those that were read.

    Not named are those that a reader takes otherwise: spikes, observed time, electrodes.
    """
    return [
        name
        for name in table.colnames
        if name not in columns
        and name not in _READ_OTHERWISE
        and not isinstance(getattr(table[name], "target", table[name]), DynamicTableRegion)
    ]


def texts_of(table: Any, name: str) -> NDArray[Any] | None:
    """Return a column of texts (rows,) of a table; None if it has none of this name."""
    if name not in table.colnames or not _has_one_each(table[name], len(table.id)):
        return None
    values = plain_values(_flat(read_values(table[name].data)))
    return values if values is not None and values.dtype == object else None


def describe_units(units: Units, columns: Mapping[str, NDArray[Any]]) -> None:
    """Set metadata in place; a name that pynapple keeps for itself gets a trailing underscore."""
    taken = set(units.metadata_columns)  # of a TsGroup: its rate
    if isinstance(units, nap.TsdFrame):
        taken |= set(units.columns)
    named: dict[str, NDArray[Any]] = {}
    for name, values in columns.items():
        while name in taken or name in named:
            name += "_"
        named[name] = values
    with warnings.catch_warnings():  # of names that are no attributes: get_info reads them
        warnings.simplefilter("ignore")
        units.set_info(named)


def subject_of(nwbfile: Any) -> str:
    """Return the ``subject_id`` of an open file; "" if it has none."""
    subject = getattr(nwbfile.subject, "subject_id", None)
    return "" if is_missing_label([subject])[0] else str(subject)


def warn_of_noise(columns: Mapping[str, NDArray[Any]], source: Any) -> None:
    """Warn of units that a file calls noise or multi-unit: pynapple reads them, and this too."""
    named: list[NDArray[np.bool_]] = []
    for name, values in columns.items():
        called = not_single(values)
        if not called.any() or any(np.array_equal(called, one) for one in named):
            continue
        named.append(called)
        words = sorted(set(values[called]))
        without = f"units[{name!r}] != {words[0]!r}"
        if len(words) > 1:
            without = f"~units[{name!r}].isin({words})"
        warn_user(
            f"{source}: {called.sum()} of {len(values)} units have {name} {list_some(words)} and "
            f"are read; leave them out: units[{without}]"
        )


def warn_if_not_sorted(table: Any, notes: ReadNotes) -> None:
    """Warn if a table of units is described as threshold crossings or multi-unit activity."""
    if _UNSORTED.search(description := str(table.description)):
        notes.warn(
            f"units are read as single neurons, which some may not be: {table.name!r} is "
            f"described as {description[:100]!r}"
        )


def not_single(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Return of which rows (rows,) a label, or one of several, says noise or multi-unit."""
    texts = [text if isinstance(text, str) else "" for text in values.tolist()]
    words = [re.split("[,;/|+]", text) for text in texts]
    return np.array([not _NOT_SINGLE.isdisjoint(map(plain_name, one)) for one in words], bool)


def plain_values(values: Any) -> NDArray[Any] | None:
    """Return values as an array; None if they are no numbers, truth values or texts.

    Texts are without blanks around them, with which MATLAB makes those of an array equally long.
    """
    values, _ = decode(values)
    if all(isinstance(value, str) for value in values):
        return np.array([value.strip() for value in values], dtype=object)
    if all(isinstance(value, Number | np.bool_) for value in values):
        return np.array(values)
    return None


def plain_name(name: str) -> str:
    """Return a column's name without case and punctuation."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def columns_called(names: Iterable[str], wanted: Iterable[str]) -> list[str]:
    """Return which columns have a wanted name, in any spelling (brainRegion), in its order."""
    there = {plain_name(name): name for name in reversed(list(names))}
    return [there[one] for one in map(plain_name, wanted) if one in there]


def _has_one_each(column: Any, n_rows: int) -> bool:
    """Return whether a column has one value a row: (rows,), or (rows, 1) as MATLAB stores it."""
    shape = np.shape(column.data)
    return shape[:1] == (n_rows,) and all(size == 1 for size in shape[1:])


def _flat(values: Any) -> Any:
    """Return values (rows,) of a column that has one a row."""
    return np.reshape(values, -1) if len(np.shape(values)) > 1 else values


def _is_there(rows: NDArray[np.int64], values: Any) -> NDArray[np.bool_]:
    """Return which rows there are in a column or table."""
    return np.asarray((rows >= 0) & (rows < len(values)))


def _taken(values: NDArray[Any], rows: NDArray[np.int64]) -> NDArray[Any]:
    """Return the values at rows; NaN, or "" for a text, where there is no such row."""
    found = _is_there(rows, values)
    if found.all():
        return values[rows]
    is_text = values.dtype == object
    taken = np.full(len(rows), "" if is_text else np.nan, dtype=object if is_text else np.float64)
    taken[found] = values[rows[found]]
    return taken


def _warn_of_absent(column: Any) -> None:
    """Warn of rows to which a column refers, and which its table has not."""
    rows = read_values(column.data).astype(np.int64)
    absent = rows[~_is_there(rows, column.table.id)]
    if len(absent):
        warn_user(
            f"{column.container_source}: {len(absent)} of {len(rows)} rows in the column "
            f"{column.name!r} are not in the table {column.table.name!r} it refers to "
            f"({list_some(np.unique(absent))}); they count as no electrode"
            + if_counted_from_1(rows, len(column.table.id))
        )


def if_counted_from_1(rows: NDArray[np.int64], n_rows: int) -> str:
    """Return what to do if rows of a table were counted as MATLAB does; "" if they were not."""
    if not len(rows) or rows.min() < 1 or rows.max() != n_rows:
        return ""
    return (
        ". If the file counts rows from 1, as MATLAB does, all of them are one row off, and so is "
        "what is read of them: subtract 1 in the file (NWB counts from 0)"
    )
