"""SpikeInterface: sortings and analyzers in, embeddings and labels back as unit properties."""

from __future__ import annotations

import sys

import numpy as np
import pynapple as nap
import pytest
import torch
from nwb_recordings import embedded as laid_out
from spikeinterface import create_sorting_analyzer, load_sorting_analyzer
from spikeinterface.core import NumpySorting, generate_ground_truth_recording, generate_sorting

from pynapple_nuclr import Encoder, EncoderConfig, embed
from pynapple_nuclr.io.spikeinterface import from_spikeinterface, to_spikeinterface

NAMES = ["tt1_4", "tt1_10", "tt2_1"]


@pytest.fixture(scope="module")
def simulated():
    """A recording of 5 s, and what was sorted from it; units have names."""
    recording, sorting = generate_ground_truth_recording(
        durations=[5.0], num_channels=4, num_units=3, seed=0
    )
    sorting = sorting.rename_units(NAMES)
    sorting.set_property("quality", ["good", "mua", "good"])
    return recording, sorting


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    config = EncoderConfig(patch_duration=0.5, window_duration=2.0, dim=32, heads=2, head_dim=16)
    return Encoder(config, name="tiny").eval()


def sorting_of(trains, ids, rate=1000.0):
    """A sorting in one segment, of spike times in seconds."""
    frames = {unit: (np.array(t) * rate).astype(int) for unit, t in zip(ids, trains, strict=True)}
    return NumpySorting.from_unit_dict([frames], sampling_frequency=rate)


def analyzer_of(simulated, **options):
    recording, sorting = simulated
    return create_sorting_analyzer(sorting, recording, sparse=False, **options)


def test_ids_that_are_numbers_are_the_index():
    # In this order, in which a TsGroup does not keep them.
    sorting = sorting_of([[1, 2, 3], [0.5, 4]], ["12", "3"])
    sorting.set_property("quality", ["good", "mua"])
    units = from_spikeinterface(sorting)
    assert units.index.tolist() == [3, 12]
    assert units["quality"].tolist() == ["mua", "good"]
    np.testing.assert_allclose(units[12].t, [1, 2, 3])
    np.testing.assert_allclose(units.time_support.values, [[0.5, 4]])
    assert "unit_id" not in units.metadata_columns


def test_names_are_kept_beside_the_index(simulated):
    # spikeinterface's own function cannot join properties to units that have names (0.105).
    _, sorting = simulated
    units = from_spikeinterface(sorting)
    assert units.index.tolist() == [0, 1, 2]
    assert units["unit_id"].tolist() == NAMES
    assert units["quality"].tolist() == ["good", "mua", "good"]
    for i, name in enumerate(NAMES):
        expected = sorting.get_unit_spike_train(name, return_times=True)
        np.testing.assert_allclose(units[i].t, expected, atol=1e-9)
    padded = from_spikeinterface(sorting_of([[1, 2], [3, 4]], ["007", "1"]))
    assert padded["unit_id"].tolist() == ["1", "007"]
    with pytest.raises(ValueError, match="2 units with 1 different numbers as ids.*rename_units"):
        from_spikeinterface(sorting_of([[1, 2], [3, 4]], ["01", "1"]))
    with pytest.raises(ValueError, match="has no units"):
        from_spikeinterface(sorting_of([[1, 2]], ["1"]).select_units([]))


def test_the_recording_says_how_long_units_were_observed(simulated):
    recording, sorting = simulated
    spikes = from_spikeinterface(sorting).time_support
    assert spikes.start[0] > 0 and spikes.end[0] < 5
    registered = sorting.clone()
    registered.register_recording(recording)
    np.testing.assert_allclose(from_spikeinterface(registered).time_support.values, [[0, 5]])
    registered.shift_times(100.0)
    shifted = from_spikeinterface(registered)
    np.testing.assert_allclose(shifted.time_support.values, [[100, 105]])
    assert shifted.count().sum() == from_spikeinterface(sorting).count().sum() > 0
    part = from_spikeinterface(registered, epochs=nap.IntervalSet(101, 102))
    np.testing.assert_allclose(part.time_support.values, [[101, 102]])


def test_segments_follow_each_other():
    sorting = generate_sorting(num_units=2, durations=[5.0, 3.0], seed=0)
    units = from_spikeinterface(sorting)
    first, second = units.time_support.values
    assert second[0] == pytest.approx(first[1] + 1)
    for i, unit in enumerate(sorting.unit_ids):
        trains = [
            sorting.get_unit_spike_train(unit, segment_index=segment, return_times=True)
            for segment in range(2)
        ]
        assert len(units[i]) == sum(map(len, trains))
        np.testing.assert_allclose(np.diff(units[i].t[-5:]), np.diff(trains[1][-5:]), atol=1e-9)


def test_a_segment_without_spikes(simulated):
    trains = [
        {"a": np.array([100, 900]), "b": np.array([500])},
        {"a": np.array([], int), "b": np.array([10])},
    ]
    sorting = NumpySorting.from_unit_dict(trains, sampling_frequency=1000.0)
    with pytest.raises(ValueError, match=r"segment 1 of the sorting has 1 spikes and no recording"):
        from_spikeinterface(sorting)
    recording, _ = generate_ground_truth_recording(
        durations=[1.0, 2.0], sampling_frequency=1000.0, num_channels=2, num_units=1, seed=0
    )
    sorting.register_recording(recording)
    units = from_spikeinterface(sorting)
    np.testing.assert_allclose(units.time_support.values, [[0, 1], [2, 4]])
    np.testing.assert_allclose(units[1].t, [0.5, 2.01])


def test_an_analyzer_brings_its_metrics(simulated, encoder):
    analyzer = analyzer_of(simulated)
    metrics = {"quality_metrics": {"metric_names": ["num_spikes", "firing_rate"]}}
    names = ["random_spikes", "templates", "unit_locations", "quality_metrics"]
    analyzer.compute(names, extension_params=metrics, verbose=False, progress_bar=False)
    units = from_spikeinterface(analyzer)
    np.testing.assert_allclose(units.time_support.values, [[0, 5]])
    assert {"unit_id", "quality", "x", "y", "num_spikes"} <= set(units.metadata_columns)
    assert units["num_spikes"].tolist() == [len(units[i]) for i in range(3)]

    units = embed(units, encoder, progress=False)
    units["predicted_cell_type"] = ["PV", "", "SST"]
    to_spikeinterface(units[[2, 0]], analyzer)
    assert analyzer.get_sorting_property("predicted_cell_type").tolist() == ["PV", "", "SST"]
    vectors = analyzer.get_sorting_property("nuclr_embedding")
    assert vectors.shape == (3, 32) and vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors[0], [units[f"nuclr_{i}"][0] for i in range(32)])
    assert np.isnan(vectors[1]).all()
    assert analyzer.get_sorting_property("nuclr_n_windows").tolist() == [2, 0, 2]
    assert analyzer.get_sorting_property("nuclr_encoder")[1] == ""


def test_an_analyzer_in_a_folder_keeps_the_labels(simulated, tmp_path):
    analyzer = analyzer_of(simulated, folder=tmp_path / "analyzer", format="binary_folder")
    units = from_spikeinterface(analyzer)
    units["predicted_cell_type"] = ["PV", "SST", "unknown"]
    to_spikeinterface(units, analyzer)
    again = load_sorting_analyzer(tmp_path / "analyzer", load_extensions=False)
    assert from_spikeinterface(again)["predicted_cell_type"].tolist() == ["PV", "SST", "unknown"]


def test_labels_are_matched_by_id():
    sorting = sorting_of([[1, 2, 3], [0.5, 4]], ["12", "3"])
    units = laid_out(from_spikeinterface(sorting))
    to_spikeinterface(units, sorting)
    assert sorting.get_property("predicted_cell_type").tolist() == ["unknown", "PV"]
    np.testing.assert_array_equal(
        sorting.get_property("nuclr_stability"), units["nuclr_stability"][[12, 3]]
    )
    with pytest.raises(ValueError, match=r"units '3', '12' are not in the sorting"):
        to_spikeinterface(units, sorting_of([[1, 2]], ["5"]))


def test_what_cannot_be_used():
    units = nap.TsGroup({0: nap.Ts([0.1, 0.7])})
    with pytest.raises(TypeError, match="is a TsGroup; expected a SpikeInterface sorting"):
        from_spikeinterface(units)
    sorting = sorting_of([[1, 2]], ["0"])
    with pytest.raises(ValueError, match=r"no columns predicted_\* or nuclr_\*.*embed them first"):
        to_spikeinterface(units, sorting)
    with pytest.raises(TypeError, match="units is a TsdFrame; expected a TsGroup"):
        to_spikeinterface(nap.TsdFrame(np.arange(3.0), np.ones((3, 2))), sorting)
    with pytest.raises(ValueError, match=r"has 0 spikes and no recording.*register_recording"):
        from_spikeinterface(sorting_of([[]], ["0"]))


def test_without_spikeinterface(monkeypatch):
    monkeypatch.setitem(sys.modules, "spikeinterface.core", None)
    with pytest.raises(ImportError, match=r"pip install 'pynapple-nuclr\[spikeinterface\]'"):
        from_spikeinterface(object())
