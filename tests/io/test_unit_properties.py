"""Properties of every type, gaps and segments of SpikeInterface; columns of ours in tables."""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd
import pynapple as nap
import pytest
from spikeinterface import create_sorting_analyzer
from spikeinterface.core import NumpySorting, generate_ground_truth_recording, generate_sorting

from pynapple_nuclr import from_spikeinterface, write_table
from pynapple_nuclr.io.unit_properties import plain_columns

NAN = float("nan")
PROPERTIES = {
    "object, blank": (np.array(["good", NAN, "mua"], object), ["good", "", "mua"]),
    "object, None": (np.array(["good", None, "mua"], object), ["good", "", "mua"]),
    "text": (np.array(["a", "", "c"]), ["a", "", "c"]),
    "bytes": (np.array([b"PV", b"", "é".encode()]), ["PV", "", "é"]),
    "bytes, blank": (np.array([b"PV", None, b"SST"], object), ["PV", "", "SST"]),
    "bool": (np.array([True, False, True]), [True, False, True]),
    "bool, blank": (np.array([True, None, False], object), [1.0, NAN, 0.0]),
    "boolean": (pd.array([True, None, False], "boolean"), [1.0, NAN, 0.0]),
    "Int64": (pd.array([1, None, 3], "Int64"), [1.0, NAN, 3.0]),
    "Int64, whole": (pd.array([1, 2, 3], "Int64"), [1, 2, 3]),
    "float": (np.array([1.5, NAN, 2]), [1.5, NAN, 2.0]),
    "float16": (np.array([1.5, NAN, 2], np.float16), [1.5, NAN, 2.0]),
    "category": (pd.Categorical(["a", None, "b"]), ["a", "", "b"]),
    "category of numbers": (pd.Series([1, 2, None], dtype="category"), [1.0, 2.0, NAN]),
    "string": (pd.array(["a", None, "b"], "string"), ["a", "", "b"]),
    "mixed": (np.array([1, "L4", None], object), ["1", "L4", ""]),
    "numbers as objects": (np.array([1, 2.5, np.int8(3)], object), [1.0, 2.5, 3.0]),
    "dates": (pd.to_datetime(pd.Series(["2020-01-01", None])), ["2020-01-01 00:00:00", ""]),
    "all blank": (np.array([None, NAN, None], object), ["", "", ""]),
    "one column": (np.array([[1.0], [2.0], [3.0]]), [1.0, 2.0, 3.0]),
}  # fmt: skip


@pytest.mark.parametrize("case", PROPERTIES)
def test_properties_of_every_type(case):
    values, right = PROPERTIES[case]
    (found,) = plain_columns({"x": values}).values()
    assert found.ndim == 1 and found.dtype.kind in "biufO"
    pd.testing.assert_series_equal(pd.Series(found.tolist()), pd.Series(right), check_dtype=False)


def test_several_values_a_unit_are_a_column_each_or_said(caplog):
    pair = np.array([(1, "a"), (2, "b")], dtype=[("n", int), ("name", "U1")])
    properties = {"location": np.arange(6.0).reshape(2, 3), "pair": pair}
    properties |= {"waveform": np.ones((2, 50)), "list": np.array([[1], {}], dtype=object)}
    with caplog.at_level(logging.WARNING, "pynapple_nuclr"):
        columns = plain_columns(properties)
    assert list(columns) == ["location_0", "location_1", "location_2", "pair_n", "pair_name"]
    assert columns["location_2"].tolist() == [2, 5]
    assert (
        "left out, as they hold no number, truth value or text a unit: waveform, list"
        in caplog.text
    )


def test_properties_of_a_sorting_with_blanks():
    sorting = generate_sorting(num_units=3, durations=[20.0], seed=0)
    for name, values in {"quality": ["good", NAN, "mua"], "n": [1, None, 2]}.items():
        sorting.set_property(name, np.array(values, dtype=object))
    sorting.set_property("KSLabel", np.array(["good"] * 3))
    sorting.set_property("place", np.arange(6.0).reshape(3, 2))
    units = from_spikeinterface(sorting)
    assert units["quality"].tolist() == ["good", "", "mua"]
    assert units["KSLabel"].tolist() == ["good"] * 3
    assert units["place_1"].tolist() == [1, 3, 5]
    np.testing.assert_array_equal(units["n"], [1, NAN, 2])


def recorded(durations, gaps=()):
    """A recording and its sorting; each gap is (segment, part of it, seconds)."""
    recording, sorting = generate_ground_truth_recording(
        durations=list(durations), num_channels=2, num_units=3, seed=0
    )
    for segment, part, seconds in gaps:
        times = recording.get_times(segment).copy()
        times[int(len(times) * part) :] += seconds
        recording.set_times(times, segment_index=segment)
    return recording, sorting


@pytest.mark.parametrize(
    ("durations", "gaps", "epochs"),
    [
        ([20], [(0, 0.5, 1000)], [[0, 10], [1010, 1020]]),
        ([20], [(0, 0.25, 3), (0, 0.5, 0.5)], [[0, 5], [8, 13], [13.5, 23.5]]),
        ([20], [(0, 0.5, 0.005)], [[0, 20.005]]),  # a clock that was corrected
        ([10, 5], [], [[0, 10], [11, 16]]),
        ([10, 5], [(0, 0.5, 2), (1, 0.2, 4)], [[0, 5], [7, 12], [13, 14], [18, 22]]),
    ],
)
@pytest.mark.parametrize("how", ["sorting", "analyzer"])
def test_gaps_and_segments_are_in_the_support(how, durations, gaps, epochs):
    recording, sorting = recorded(durations, gaps)
    if how == "sorting":
        sorting.register_recording(recording)
        units = from_spikeinterface(sorting)
    else:
        units = from_spikeinterface(create_sorting_analyzer(sorting, recording, sparse=False))
    np.testing.assert_allclose(units.time_support.values, epochs, atol=1e-3)
    spikes = sum(
        len(sorting.get_unit_spike_train(unit, segment))
        for unit in sorting.unit_ids
        for segment in range(len(durations))
    )
    assert sum(map(len, units.values())) == spikes


COLUMNS = {
    "unit": ({"unit": ["a", "b"]}, "unit_id"),
    "both": ({"unit": ["a", "b"], "unit_id": [5, 6]}, "nuclr_unit_id"),
    "unit_id": ({"unit_id": ["a", "b"]}, "unit"),
    "mixed types": ({"label": np.array([1, "L4"], dtype=object)}, "unit"),
    "blanks": ({"label": np.array(["PV", None], dtype=object), "n": [1.0, NAN]}, "unit"),
}


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("case", COLUMNS)
def test_columns_of_the_users_are_kept_in_tables(case, suffix, tmp_path):
    columns, ids = COLUMNS[case]
    units = nap.TsGroup({3: nap.Ts([0.1, 0.7]), 8: nap.Ts([0.5, 0.9])})
    units.set_info(**columns)
    path = write_table(units, tmp_path / f"day1{suffix}")
    table = (pd.read_csv if suffix == ".csv" else pd.read_parquet)(path)
    assert table.columns[0] == ids and table[ids].tolist() == [3, 8]
    for name, values in columns.items():
        right = ["" if pd.isna(one) else str(one) for one in values]
        assert ["" if pd.isna(one) else str(one) for one in table[name]] == right


def test_a_table_whose_ids_have_no_name_left_is_refused(tmp_path):
    units = nap.TsGroup({3: nap.Ts([0.1, 0.7])})
    units.set_info(unit=["a"], unit_id=["b"], nuclr_unit_id=["c"])
    with pytest.raises(ValueError, match=r"the names of the ids; rename one"):
        write_table(units, tmp_path / "day1.csv")


def test_ids_and_spikes_of_a_numpy_sorting_are_unchanged():
    sorting = NumpySorting.from_unit_dict([{"5": np.array([10, 20])}], sampling_frequency=10.0)
    np.testing.assert_allclose(from_spikeinterface(sorting)[5].t, [1, 2])
