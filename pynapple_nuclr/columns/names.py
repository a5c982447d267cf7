"""Names of metadata columns: which are ours, and which nobody may choose."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Any

import pynapple as nap

from pynapple_nuclr.columns.metadata import unit_ids
from pynapple_nuclr.recording import Units

PREDICTED = "predicted_"
"""What every column that a probe writes begins with."""

TRAINING = "_training"
"""How the column ends that says of each unit whether the probe learned from it."""

SCORE = "_probe"
"""How the column ends that holds the score of the probe."""

SUMMARIES = {
    "stability": "How repeatable the embedding is over the recording's windows: 1 always the "
    "unit's own, 0.5 chance (NaN: below two windows)",
    "n_windows": "Windows averaged into the embedding: those with spikes (0: not embedded)",
    "encoder": "Encoder that made the embedding, name@hash of its weights",
}
"""What is said of every unit's embedding, in the order of its columns, with descriptions.

All but the encoder are variables of a result of `encode`.
"""

# What a result of `encode` calls its dimensions and variables.
_TAKEN = {"unit", "feature", "window", "embedding", "window_embedding", "start"}
_TAKEN |= SUMMARIES.keys() - {"encoder"}


def check_prefix(prefix: str, units: Units) -> None:
    """Refuse a prefix that could not begin the names of metadata columns."""
    check_name(prefix, "prefix", units)
    if prefix.startswith(PREDICTED.rstrip("_")):
        raise ValueError(f"prefix={prefix!r} begins as the columns of a probe do; choose another")
    taken = [unit for unit in unit_ids(units) if isinstance(unit, str) and is_member(unit, prefix)]
    if taken:
        raise ValueError(
            f"prefix={prefix!r} makes metadata of the name {taken[0]!r}, which is a unit of this "
            "TsdFrame; choose another"
        )


def check_name(value: Any, argument: str, units: Units | None = None) -> None:
    """Refuse a name for columns that is no identifier or meets an attribute of the object."""
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


def vector_columns(names: Iterable[str], prefix: str | None = None) -> list[str]:
    """Return which of these names are columns of vectors, in the order of their dimensions."""
    names = list(names)
    found = []
    for one in prefixes_of(names) if prefix is None else [prefix]:
        numbers = {name: vector_index(name, one) for name in names}
        mine = {name: number for name, number in numbers.items() if number is not None}
        found += sorted(mine, key=mine.__getitem__)
    return found


def coordinate_name(column: str) -> str:
    """Return what a metadata column is called as a coordinate.

    A trailing underscore keeps it apart from the dimensions and variables of `encode`.
    """
    return f"{column}_" if column.rstrip("_") in _TAKEN else column


def prefixes_of(names: Collection[str]) -> list[str]:
    """Return the prefixes of all embeddings among these names: an encoder and what it made."""
    there = set(names)
    made = ("0", "stability", "n_windows")
    prefixes = [name.removesuffix("_encoder") for name in names if name.endswith("_encoder")]
    return [one for one in prefixes if there & {f"{one}_{what}" for what in made}]


def is_member(name: str, prefix: str) -> bool:
    """Say whether a column of this name belongs to the embedding with this prefix."""
    is_summary = name in {f"{prefix}_{summary}" for summary in SUMMARIES}
    return is_summary or vector_index(name, prefix) is not None


def vector_index(name: str, prefix: str) -> int | None:
    """Return the dimension that a column of vectors holds; None for any other column."""
    match = re.fullmatch(rf"{re.escape(prefix)}_(0|[1-9][0-9]*)", name)
    return int(match[1]) if match else None
