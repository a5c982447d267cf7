"""NWB files made by others: each embeds, or says clearly why not."""

from __future__ import annotations

import sys
import warnings

import h5py
import numpy as np
import pynapple as nap
import pynwb
import pytest
import torch
from foreign_files import (
    add_electrodes,
    add_traces,
    calcium,
    neuroconv_file,
    neurosuite_file,
    roi_table,
    session,
    trains,
    write,
)
from hdmf.common import DynamicTableRegion
from hdmf_zarr import NWBZarrIO
from pynwb.behavior import Position
from tally import counts

from pynapple_nuclr import Encoder, EncoderConfig, embed
from pynapple_nuclr.nwb.traces import read_nwb_traces as read_traces
from pynapple_nuclr.nwb.units import read_recording, read_units


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    config = EncoderConfig(patch_duration=0.5, window_duration=2.0, dim=32, heads=2, head_dim=16)
    return Encoder(config, name="tiny").eval()


@pytest.fixture(scope="module")
def calcium_encoder():
    torch.manual_seed(0)
    config = EncoderConfig(modality="calcium", window_frames=16, dim=32, heads=2, head_dim=16)
    return Encoder(config, name="tiny").eval()


def plain_file(path, **tables):
    """Units and nothing else, whose spike times are arrays of any length."""
    nwbfile = session()
    for i, times in enumerate(tables.get("trains", trains())):
        nwbfile.add_unit(id=i, spike_times=times)
    return write(nwbfile, path)


# Sorted units.


def test_the_structure_of_pynapples_released_units(tmp_path, encoder):
    path = neurosuite_file(tmp_path / "A2929.nwb")
    units = read_recording(path)
    theirs = nap.load_file(path)["units"]
    assert units.metadata[theirs.metadata_columns].equals(theirs.metadata)
    assert units["electrode_group"].tolist() == ["adn", "adn", "adn", "ca1"]
    assert set(units["probe"]) == {"probe"}
    np.testing.assert_array_equal(units.time_support.values, theirs.time_support.values)
    for unit in theirs.index:
        np.testing.assert_array_equal(units[unit].t, theirs[unit].t)
    embedded = embed(units, encoder, progress=False)
    assert (embedded["nuclr_n_windows"] > 0).all()
    assert embedded["location"].tolist() == ["adn", "adn", "adn", "ca1"]


def test_ragged_and_missing_columns_electrodes_and_a_silent_unit(tmp_path, encoder):
    path = neuroconv_file(tmp_path / "neuroconv.nwb")
    with pytest.warns(UserWarning, match="Failed to build TsGroup"):  # of its column `rate`
        assert not isinstance(nap.load_file(path)["units"], nap.TsGroup)
    with pytest.warns(UserWarning, match="1 of 5 units have electrodes of several groups"):
        units = read_recording(path)
    # The file has 12, 4, 30, 7, 9, and a TsGroup sorts them.
    assert units.index.tolist() == [4, 7, 9, 12, 30]
    assert units["unit_name"].tolist() == ["#1", "#3", "#4", "#0", "#2"]
    assert units["is_good"].tolist() == [False, True, True, True, True]
    assert units["quality"].tolist() == ["", "good", "good", "good", "good"]
    np.testing.assert_array_equal(units["rate_"], [1, 3, 4, 0, np.nan])
    np.testing.assert_array_equal(units.get_info("depth (um)"), [10, 30, 40, 0, 20])
    # Where all electrodes of a unit lie at one place, so does the unit.
    assert units["location"].tolist() == ["CA1", "CA3", "CA3", "CA1", ""]
    assert not {"waveform_mean", "spike_amplitudes", "electrodes"} & set(units.metadata_columns)
    assert [len(units[unit]) for unit in (12, 9)] == [100, 0]
    with pytest.warns(UserWarning, match="1 of 5 units"):
        embedded = embed(units, encoder, progress=False)
    assert (embedded["nuclr_n_windows"] > 0).tolist() == [True, True, False, True, True]


def test_a_trial_without_end_is_no_trial(tmp_path):
    path = neuroconv_file(tmp_path / "neuroconv.nwb")
    with pytest.warns(UserWarning) as said:
        trials = read_recording(path, epochs="trials").time_support
    assert any("1 of 2 intervals 'trials'" in str(one.message) for one in said)
    np.testing.assert_array_equal(trials.values, [[0, 10]])


def test_one_electrode_a_unit_brings_its_columns(tmp_path):
    nwbfile = session()
    add_electrodes(nwbfile)
    for times, electrode in zip(trains(), [3, 0, 1, 1], strict=True):
        nwbfile.add_unit(spike_times=times, electrodes=[electrode])
    units = read_units(write(nwbfile, tmp_path / "x.nwb"))
    assert units["location"].tolist() == ["CA3", "CA1", "CA1", "CA1"]


# What other software writes wrongly, or means in a way of its own.


def electrodes_file(path, electrodes, **columns):
    """Units with one electrode each, and columns that refer to one, too."""
    nwbfile = session()
    add_electrodes(nwbfile)
    for times, electrode in zip(trains(), [3, 0, 1, 1], strict=True):
        nwbfile.add_unit(spike_times=times, electrodes=[electrode])
    options = {"col_cls": DynamicTableRegion, "table": nwbfile.electrodes}
    nwbfile.units.add_column("peak", "the largest spike", data=[3, 2, 1, 0], **options)
    write(nwbfile, path)
    with h5py.File(path, "r+") as file:
        file["units/electrodes"][:] = electrodes
        for name, rows in columns.items():
            file[f"units/{name}"][:] = rows
    return path


@pytest.mark.filterwarnings("ignore:DynamicTableRegion values")  # hdmf's own
@pytest.mark.parametrize("absent", [-1, 4, 99])
def test_an_electrode_that_the_table_has_not_is_none(tmp_path, absent):
    counts["foreign files read"] += 1
    path = electrodes_file(tmp_path / "x.nwb", [3, absent, 1, 1])
    with pytest.warns(
        UserWarning, match=rf"x\.nwb: 1 of 4 rows .*'electrodes'.*\({absent}\)"
    ) as said:
        units = read_units(path)
    assert [one.filename for one in said if "1 of 4" in str(one.message)] == [__file__]
    assert units["location"].tolist() == ["CA3", "CA3", "CA1", "CA1"]  # by the column peak
    path = electrodes_file(tmp_path / "y.nwb", [3, 0, 1, 1], peak=[3, 2, absent, 0])
    with pytest.warns(UserWarning, match=r"y\.nwb: 1 of 4 rows .*'peak'") as said:
        units = read_units(path)
    assert [one.filename for one in said if "1 of 4" in str(one.message)] == [__file__]
    assert units["group_name"].tolist() == ["CA3", "CA3", "", "CA1"]
    np.testing.assert_array_equal(units["y"], [60, 40, np.nan, 0])


def test_locations_of_a_fixed_length_are_texts(tmp_path):
    counts["foreign files read"] += 1
    nwbfile = session()
    add_electrodes(nwbfile)
    for times, electrodes in zip(trains(), [[3], [0, 1], [1, -1], [1, 2]], strict=True):
        nwbfile.add_unit(spike_times=times, electrodes=np.abs(electrodes))
    path = write(nwbfile, tmp_path / "x.nwb")
    with h5py.File(path, "r+") as file:
        table = file["general/extracellular_ephys/electrodes"]
        attributes = dict(table["location"].attrs)
        del table["location"]
        table["location"] = np.array(["CA1", "CA1", "CA3", "CA3"], "S3")
        table["location"].attrs.update(attributes)
        file["units/electrodes"][4] = -1  # of the third unit the second
    with pytest.warns(UserWarning, match="1 of 7 rows"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="DynamicTableRegion values")
        units = read_units(path)
    assert units["location"].tolist() == ["CA3", "CA1", "CA1", ""]


@pytest.mark.parametrize(
    "interval", [[0.0, np.nan], [np.nan, 20.0], [0.0, np.inf], [10.0, 0.0], [5.0, 5.0]]
)
def test_observed_intervals_that_say_nothing(tmp_path, interval):
    """Units keep their spikes, in the time from the first to the last."""
    counts["foreign files read"] += 1
    nwbfile = session()
    for times in trains():
        nwbfile.add_unit(spike_times=times, obs_intervals=[interval])
    path = write(nwbfile, tmp_path / "x.nwb")
    with pytest.warns(UserWarning, match=r"x\.nwb: 4 of 4 obs_intervals .*epochs=") as said:
        units = read_units(path)
    assert [one.filename for one in said] == [__file__]
    spikes = np.concatenate(trains())
    assert sum(len(train) for train in units.values()) == len(spikes)
    np.testing.assert_allclose(units.time_support.values, [[spikes.min(), spikes.max()]])


def test_one_observed_interval_without_end_is_left_out(tmp_path):
    counts["foreign files read"] += 1
    nwbfile = session()
    for times in trains():
        nwbfile.add_unit(spike_times=times, obs_intervals=[[0.0, 8.0], [10.0, np.nan]])
    path = write(nwbfile, tmp_path / "x.nwb")
    with pytest.warns(UserWarning, match="4 of 8 obs_intervals .* are left out$"):
        units = read_units(path)
    np.testing.assert_array_equal(units.time_support.values, [[0, 8]])


@pytest.mark.parametrize("read", [read_units, read_recording, read_traces])
def test_epochs_of_another_type_are_refused_before_the_file_is_opened(read):
    with pytest.raises(TypeError, match=r"epochs is a tuple; expected .*IntervalSet\(0, 20\)"):
        read("absent.nwb", epochs=(0, 20))


def test_spikes_out_of_order(tmp_path, encoder):
    shuffled = [np.random.default_rng(0).permutation(times) for times in trains()]
    path = plain_file(tmp_path / "x.nwb", trains=shuffled)
    with pytest.warns(UserWarning, match="4 of 4 units are not in order.*sorted"):
        units = read_units(path)
    for i, times in enumerate(trains()):
        np.testing.assert_allclose(units[i].t, times, atol=1e-9)
    assert (embed(units, encoder, progress=False)["nuclr_n_windows"] > 0).all()


def test_ids_that_are_texts_or_occur_twice(tmp_path):
    path = plain_file(tmp_path / "x.nwb")
    with h5py.File(path, "r+") as file:
        file["units/id"][:] = [0, 1, 1, 2]
    with pytest.raises(ValueError, match=r"x\.nwb: of the ids of its 4 units .* twice: 1"):
        read_units(path)
    with h5py.File(path, "r+") as file:
        attributes = dict(file["units/id"].attrs)
        del file["units/id"]
        file["units/id"] = np.array(["a", "b", "c", "d"], dtype=h5py.string_dtype())
        file["units/id"].attrs.update(attributes)
    with pytest.raises(ValueError, match=r"pynwb cannot read .*x\.nwb.*must contain integers"):
        read_units(path)


# Calcium.


def test_the_structure_of_pynapples_released_suite2p_file(tmp_path, calcium_encoder):
    nwbfile = session()
    rng = np.random.default_rng(0)
    iscell = np.column_stack((np.arange(9) % 3 == 0, rng.random(9)))
    table = roi_table(nwbfile, 9, columns={"iscell": iscell})
    rows = [0, 3, 6, 1, 2]  # suite2p writes series of some ROIs, among them no cells
    for kind in ("Fluorescence", "Neuropil", "Deconvolved"):
        add_traces(nwbfile, table, calcium(200, 5), rows=rows, container=kind, name=kind)
    path = write(nwbfile, tmp_path / "suite2p.nwb")
    traces = read_recording(path)
    assert traces.columns.tolist() == [0, 3, 6]
    assert traces["signal"].tolist() == ["fluorescence"] * 3
    with pytest.warns(UserWarning, match=r"read as raw fluorescence.*signal='dff'"):
        embedded = embed(traces, calcium_encoder, progress=False)
    assert np.isfinite(embedded["nuclr_0"]).all()
    np.testing.assert_allclose(embedded["iscell_probability"], iscell[[0, 3, 6], 1])


def test_the_structure_of_pynapples_released_cnmfe_files(tmp_path, calcium_encoder):
    nwbfile = session()
    table = roi_table(nwbfile, 4)
    times = np.arange(400) * 0.033333
    add_traces(nwbfile, table, calcium(400, 4), container="Fluorescence", timestamps=times)
    nwbfile.processing["ophys"].add(Position(name="tracking"))
    traces = read_recording(write(nwbfile, tmp_path / "cnmfe.nwb"))
    assert traces.metadata_columns == ["signal", "roi_table", "location"]
    with pytest.warns(UserWarning, match="read as raw fluorescence"):
        embedded = embed(traces, calcium_encoder, progress=False)
    assert np.isfinite(embedded["nuclr_0"]).all()


def test_units_win_over_traces_unless_they_have_no_spikes(tmp_path, capsys):
    nwbfile = session()
    add_traces(nwbfile, roi_table(nwbfile, 3), calcium(100, 3))
    for times in trains(2):
        nwbfile.add_unit(spike_times=times)
    path = write(nwbfile, tmp_path / "both.nwb")
    assert isinstance(read_recording(path, verbose=True), nap.TsGroup)
    assert "left out: 1 series of calcium traces: read_traces reads" in capsys.readouterr().out
    assert isinstance(read_recording(path, signal="dff"), nap.TsdFrame)
    with h5py.File(path, "r+") as file:
        del file["units/spike_times"], file["units/spike_times_index"]
        file["units"].attrs["colnames"] = np.array([], dtype=h5py.string_dtype())
    assert isinstance(read_recording(path), nap.TsdFrame)
    assert read_recording(path, epochs=nap.IntervalSet(1, 2)).shape == (11, 3)


# Neither.


def test_a_file_with_neither(tmp_path):
    nwbfile = session()
    nwbfile.add_acquisition(pynwb.TimeSeries(name="lfp", data=np.ones(9), unit="V", rate=10.0))
    path = write(nwbfile, tmp_path / "lfp.nwb")
    with pytest.raises(ValueError, match=r"lfp\.nwb has neither units with spikes nor traces"):
        read_recording(path)
    with pytest.raises(ValueError, match=r"lfp\.nwb has no traces of ROIs"):
        read_traces(path)


def test_a_file_that_was_cut_off_is_named(tmp_path):
    whole = neurosuite_file(tmp_path / "whole.nwb").read_bytes()
    cut = tmp_path / "cut.nwb"
    cut.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(OSError, match=r"cut\.nwb cannot be opened .*download it again"):
        read_units(cut)


def test_a_file_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    path = neurosuite_file(tmp_path / "locked.nwb")
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(PermissionError, match=r"locked\.nwb may not be read"):
        read_units(path)


def test_what_pynapple_saved_is_no_nwb(tmp_path):
    nap.Ts(trains(1)[0]).save(str(tmp_path / "x.npz"))
    with pytest.raises(ValueError, match=r"x\.npz is no NWB.*Python: embed\(nap\.load_file\(path"):
        read_units(tmp_path / "x.npz")


def test_hdf5_that_is_no_nwb(tmp_path):
    with h5py.File(tmp_path / "x.nwb", "w") as file:
        file["data"] = np.arange(3)
    with pytest.raises(ValueError, match=r"pynwb cannot read .*x\.nwb as NWB"):
        read_recording(tmp_path / "x.nwb")


@pytest.mark.parametrize("setting", ["short addresses", "a block of the user's"])
def test_hdf5_of_an_unusual_layout(setting, tmp_path):
    """What is looked at in the file's own bytes lies elsewhere there."""
    plan = h5py.h5p.create(h5py.h5p.FILE_CREATE)
    if setting == "short addresses":
        plan.set_sizes(4, 4)
    else:
        plan.set_userblock(512)
    path, nwbfile = tmp_path / "day1.nwb", session()
    nwbfile.add_unit_column("area", "where")
    for i, times in enumerate(trains()):
        nwbfile.add_unit(id=i, spike_times=times, area=f"CA{i}")
    with (
        h5py.File(h5py.h5f.create(bytes(path), fcpl=plan), "r+") as file,
        pynwb.NWBHDF5IO(file=file, mode="r+") as io,
    ):
        io.write(nwbfile)
    assert list(read_units(path)["area"]) == ["CA0", "CA1", "CA2", "CA3"]


def test_units_without_any_spike(tmp_path, encoder):
    nwbfile = session()
    for _ in range(2):
        nwbfile.add_unit(spike_times=np.array([]), obs_intervals=[[0.0, 10.0]])
    path = write(nwbfile, tmp_path / "x.nwb")
    with pytest.raises(ValueError, match="neither units with spikes"):
        read_recording(path)
    with pytest.raises(ValueError, match="no spikes at all in its 2 units"):
        embed(read_units(path), encoder, progress=False)
    silent = plain_file(tmp_path / "silent.nwb", trains=[np.array([])] * 2)
    with pytest.raises(ValueError, match=r"when its 2 units were observed, and has 0 spikes"):
        read_units(silent)


# Zarr.


def test_a_folder_in_zarr(tmp_path, encoder, monkeypatch):
    source = neuroconv_file(tmp_path / "x.nwb")
    with pynwb.NWBHDF5IO(source, "r") as read, NWBZarrIO(str(tmp_path / "z.nwb.zarr"), "w") as out:
        out.export(src_io=read, write_args={"link_data": False})
    with pytest.warns(UserWarning, match="several groups"):
        units, expected = read_units(tmp_path / "z.nwb.zarr"), read_units(source)
    assert units.metadata.equals(expected.metadata)
    for unit in expected.index:
        np.testing.assert_array_equal(units[unit].t, expected[unit].t)
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*absent\.zarr"):
        read_units(tmp_path / "absent.zarr")
    monkeypatch.setitem(sys.modules, "hdmf_zarr", None)
    with pytest.raises(ImportError, match=r"pip install pynapple-nuclr\[zarr\]"):
        read_units(tmp_path / "z.nwb.zarr")


def test_traces_in_zarr(tmp_path):
    nwbfile = session()
    columns = {"iscell": [True, False, True], "label": ["a", "b", "c"]}
    add_traces(nwbfile, roi_table(nwbfile, 3, columns=columns), calcium(100, 3))
    with NWBZarrIO(str(tmp_path / "x.zarr"), "w") as io:
        io.write(nwbfile)
    traces = read_recording(tmp_path / "x.zarr")
    np.testing.assert_array_equal(traces.values, calcium(100, 3)[:, [0, 2]])
    assert traces["label"].tolist() == ["a", "c"]
