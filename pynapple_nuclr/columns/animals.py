"""Whose recordings, or units, these are: one rule for probes, `evaluate` and the command line."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pynapple_nuclr.columns.missing import MISSING_LABELS, as_texts, differ_in_case
from pynapple_nuclr.columns.names import coordinate_name
from pynapple_nuclr.user_warnings import warn_user

Animals: TypeAlias = Mapping[Any, Any] | Sequence[Any] | str
"""Recording name → animal (or one for each unit), one per recording, or a metadata column."""

ANIMAL_COLUMNS = ("animal", "animal_id", "subject", "subject_id", "mouse_id", "rat_id")
"""Metadata columns that name the animal, in the order in which they are looked at."""


def unit_animals(
    metadata: Mapping[str, pd.DataFrame], animals: Animals | None = None, *, target: str = ""
) -> dict[str, NDArray[np.str_]] | None:
    """Return the animal of every unit."""
    if animals is None:
        animals = _animal_column(metadata, target)
    if animals is None:
        return None
    if isinstance(animals, str):
        named = {name: _column(frame, animals, name) for name, frame in metadata.items()}
    else:
        named = _of_each_recording(metadata, animals)
    of_units = {name: _fill(named[name], len(frame), name) for name, frame in metadata.items()}
    if alike := differ_in_case(one for values in of_units.values() for one in np.unique(values)):
        warn_user(
            "names of animals that differ only in case are taken for different animals: "
            f"{', '.join(map(repr, map(str, alike)))}; write them alike if they are one"
        )
    return of_units


def recording_animals(
    metadata: Mapping[str, pd.DataFrame], animals: Animals | None = None, *, target: str = ""
) -> dict[str, str]:
    """Return the one animal of each recording."""
    of_units = unit_animals(metadata, animals, target=target)
    if of_units is None:
        return dict.fromkeys(metadata, "")
    where = f" in its column {animals!r}" if isinstance(animals, str) else ""
    for name, values in of_units.items():
        if len(found := np.unique(values)) > 1:
            raise ValueError(
                f"recording {name!r} has {len(found)} animals{where} ({', '.join(found[:4])}); "
                "expected one for all its units"
            )
    return {name: str(values[0]) if len(values) else "" for name, values in of_units.items()}


def _animal_column(metadata: Mapping[str, pd.DataFrame], target: str) -> str | None:
    """Return the first column in which every recording names an animal."""
    if target in ANIMAL_COLUMNS:
        return None
    silent: dict[str, list[str]] = {}
    for column in ANIMAL_COLUMNS:
        without = [name for name, frame in metadata.items() if not _names_animals(frame, column)]
        if not without:
            return column
        if len(without) < len(metadata):
            silent[column] = without
    if silent:
        column, without = min(silent.items(), key=lambda item: len(item[1]))
        warn_user(
            f"animals are not used, because recordings {', '.join(without)} do not name "
            f"theirs in a column {column!r}; name them: animals={{recording: animal}}"
        )
    return None


def _names_animals(frame: pd.DataFrame, column: str) -> bool:
    return column in frame and bool((_texts(frame[column].to_numpy()) != "").any())


def _column(frame: pd.DataFrame, column: str, name: str) -> NDArray[np.str_]:
    # Results of `encode` have some columns under another name.
    found = [one for one in (coordinate_name(column), column) if one in frame]
    if not found:
        raise ValueError(
            f"recording {name!r} has no metadata column {column!r} that names its animal; it "
            f"has: {', '.join(map(str, frame.columns))}"
        )
    return _texts(frame[found[0]].to_numpy())


def _of_each_recording(
    metadata: Mapping[str, pd.DataFrame], animals: Mapping[Any, Any] | Sequence[Any]
) -> dict[str, NDArray[np.str_]]:
    if isinstance(animals, Mapping):
        given = {str(name): animal for name, animal in animals.items()}
        for name in metadata:
            if name not in given:
                raise ValueError(f"animals does not name the animal of recording {name!r}")
    elif len(animals) != len(metadata):
        raise ValueError(
            f"animals has {len(animals)} entries for {len(metadata)} recordings; expected one for "
            "each, a mapping recording name → animal, or the name of a metadata column"
        )
    else:
        given = dict(zip(metadata, animals, strict=True))
    named = {}
    for name, frame in metadata.items():
        one = given[name]
        if np.ndim(one) == 0:
            one = [one] * len(frame)
        elif len(one) != len(frame):
            raise ValueError(
                f"animals has {len(one)} entries for recording {name!r} of {len(frame)} units; "
                "expected one animal, or one for each unit"
            )
        named[name] = _texts(one)
    return named


def _fill(animals: NDArray[np.str_], n_units: int, name: str) -> NDArray[np.str_]:
    """Give units without an entry the animal of their recording, where it is one."""
    known = np.setdiff1d(animals, [""])
    if len(known) == 1:
        return np.full(n_units, known[0])
    if (animals == "").any():
        raise ValueError(
            f"recording {name!r} has {(animals == '').sum()} units without an animal, of {n_units}"
        )
    return animals


def _texts(values: Any) -> NDArray[np.str_]:
    """Return names of animals: "" where missing, without blanks around, "4.0" as "4"."""
    texts = as_texts(values, MISSING_LABELS).tolist()
    return np.array([re.sub(r"^(\d+)\.0+$", r"\1", one) for one in texts], dtype=str)
