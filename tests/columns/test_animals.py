"""Whose recordings these are: one answer for probes, evaluate and the command line."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pynapple_nuclr.columns import ANIMAL_COLUMNS, recording_animals, unit_animals


def frames(**columns):
    """Two recordings of two units; each column: name=(first recording, second), None = absent."""
    of_each = [{name: both[i] for name, both in columns.items()} for i in (0, 1)]
    return {
        name: pd.DataFrame({k: v for k, v in one.items() if v is not None} | {"depth": [1, 2]})
        for name, one in zip(("day1", "day2"), of_each, strict=True)
    }


M1, M2, EMPTY = ["m1", "m1"], ["m2", "m2"], ["", ""]


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"animal": (M1, M2)}, ["m1", "m2"]),
        ({"animal": (EMPTY, EMPTY), "subject": (M1, M2)}, ["m1", "m2"]),
        ({"animal": ([None, None], [np.nan] * 2), "subject": (M1, M2)}, ["m1", "m2"]),
        ({"animal": (["unknown"] * 2, ["N/A"] * 2), "subject_id": (M1, M2)}, ["m1", "m2"]),
        ({"animal": (M1, EMPTY), "subject": (M2, M1)}, ["m2", "m1"]),
        ({"animal": (M1, M2), "subject": (M2, M1)}, ["m1", "m2"]),
        ({"animal": (["m1", ""], [None, "m2"])}, ["m1", "m2"]),
        ({"subject": ([4, 4], [4.0, np.nan])}, ["4", "4"]),
        ({"subject": (["4", "4"], [4, 4])}, ["4", "4"]),
        ({"subject": (["4.0", "4.0"], [b"4", b"4"])}, ["4", "4"]),
        ({"subject": ([" m1", "m1 "], M1)}, ["m1", "m1"]),
        ({}, ["", ""]),
        ({"animal": (EMPTY, EMPTY)}, ["", ""]),
    ],
)
def test_the_first_filled_column_names_the_animals(columns, expected):
    assert list(recording_animals(frames(**columns)).values()) == expected


@pytest.mark.parametrize("column", ANIMAL_COLUMNS)
def test_each_documented_column_is_read(column):
    assert recording_animals(frames(**{column: (M1, M2)})) == {"day1": "m1", "day2": "m2"}


@pytest.mark.parametrize(
    "animals",
    ["mouse", ["b", "c"], {"day1": "b", "day2": "c"}, {"day2": ["c", "c"], "day1": ["b", "b"]}],
)
def test_the_argument_comes_before_the_columns(animals):
    metadata = frames(animal=(M1, M2), mouse=(["b", "b"], ["c", "c"]))
    assert recording_animals(metadata, animals) == {"day1": "b", "day2": "c"}


def test_units_of_several_animals():
    metadata = frames(animal=(["m1", "m2"], M2))
    of_units = unit_animals(metadata)
    assert {name: animals.tolist() for name, animals in of_units.items()} == {
        "day1": ["m1", "m2"],
        "day2": ["m2", "m2"],
    }
    with pytest.raises(ValueError, match="'day1' has 2 animals .*m1, m2.*expected one"):
        recording_animals(metadata)
    with pytest.raises(ValueError, match="1 entries for recording 'day1' of 2 units"):
        unit_animals(metadata, {"day1": ["m1"], "day2": "m2"})


@pytest.mark.parametrize(
    "columns",
    [
        {"animal": (M1, None)},
        {"animal": (M1, EMPTY)},
        {"animal": (M1, EMPTY), "subject": (M1, None)},
    ],
)
def test_animals_that_only_some_recordings_name_are_not_used(columns):
    with pytest.warns(UserWarning, match="recordings day2 do not name theirs in a column 'animal'"):
        assert unit_animals(frames(**columns)) is None


@pytest.mark.parametrize("target", ANIMAL_COLUMNS[:3])
def test_predicting_animals_leaves_none_out(target):
    assert unit_animals(frames(animal=(M1, M2)), target=target) is None


def test_names_that_differ_in_case_only_are_reported():
    with pytest.warns(UserWarning, match="differ only in case .*'M1', 'm1'; write them alike"):
        assert len(unit_animals(frames(animal=(["M1", "M1"], M1)))) == 2
