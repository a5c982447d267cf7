"""Folders of sorters and of Suite2p, as these write them."""

from __future__ import annotations

import logging
import pathlib
from collections import OrderedDict

import numpy as np
import pandas as pd
import pytest

from pynapple_nuclr import read_recording, read_traces, read_units


def kilosort(folder, tables=None, params="sample_rate = 1000.\n", clusters="spike_clusters.npy"):
    """Three clusters, 4, 7 and 9, that fire at 1, 2 and 3 Hz for 10 s."""
    folder.mkdir()
    times = [np.arange(0, 10_000, 1000 // rate) for rate in (1, 2, 3)]
    labels = np.repeat([4, 7, 9], [len(one) for one in times])
    order = np.argsort(np.concatenate(times), kind="stable")
    np.save(folder / "spike_times.npy", np.concatenate(times)[order].astype(np.uint64)[:, None])
    np.save(folder / clusters, labels[order].astype(np.int32))
    if params is not None:
        (folder / "params.py").write_text(params)
    for name, table in (tables or {}).items():
        pd.DataFrame(table).to_csv(folder / name, sep="\t", index=False)
    return folder


TABLES = {
    "phy": {
        "cluster_info.tsv": {
            "cluster_id": [4, 7, 9],
            "group": ["good", "mua", "noise"],
            "depth": [10.0, 20.0, 30.0],
        },
        "cluster_group.tsv": {"cluster_id": [4], "group": ["good"]},
    },
    "phy, partly curated": {
        "cluster_group.tsv": {"cluster_id": [4, 9], "group": ["good", "noise"]},
        "cluster_KSLabel.tsv": {"cluster_id": [4, 7, 9], "KSLabel": ["good", "mua", "good"]},
    },
    "kilosort": {
        "cluster_KSLabel.tsv": {"cluster_id": [4, 7, 9], "KSLabel": ["good", "mua", "mua"]}
    },
    "old phy": {"cluster_info.tsv": {"id": [9, 4, 7], "group": ["noise", "good", "mua"]}},
    "nothing": {},
}


@pytest.mark.parametrize("case", TABLES)
def test_groups_and_labels_are_kept(case, tmp_path):
    folder = kilosort(tmp_path / "ks", TABLES[case])
    units = read_units(folder, cells="all")
    assert units.index.tolist() == [4, 7, 9]
    assert [len(units[i]) for i in (4, 7, 9)] == [10, 20, 31]
    found = {name: units[name].tolist() for name in units.metadata_columns if name != "rate"}
    expected = {}
    for table in TABLES[case].values():
        one = pd.DataFrame(table)
        one = one.set_index(one.columns[0]).reindex([4, 7, 9])
        expected |= {name: one[name].fillna("").tolist() for name in one if name not in expected}
    if "group" in expected:
        expected["quality"] = expected["group"]
    assert found == expected
    noise = {
        id
        for id, group in zip([4, 7, 9], expected.get("group", []), strict=False)
        if group == "noise"
    }
    assert set(read_units(folder).index) == {4, 7, 9} - noise
    assert set(read_recording(folder, cells="all").index) == {4, 7, 9}


def test_noise_by_another_label_is_warned_of(tmp_path):
    labels = {"cluster_id": [4, 7, 9], "bc_unitType": ["GOOD", "NOISE", "NON-SOMA"]}
    folder = kilosort(tmp_path / "ks", {"cluster_bc_unitType.tsv": labels})
    with pytest.warns(UserWarning, match=r"1 of 3 units have bc_unitType 'NOISE' and are"):
        assert len(read_units(folder)) == 3
    assert len(read_units(folder, cells="all")) == 3


def test_tables_are_read_by_what_is_in_them(tmp_path, caplog):
    groups = {"cluster_id": [4, 7, 9], "group": ["good", "mua", "Noise"]}
    folder = kilosort(tmp_path / "phy 1", {"cluster_groups.csv": groups})  # with tabs, as phy 1
    (folder / "trials.csv").write_text("id,reward\n4,1\n7,0\n9,1\n")
    (folder / "cluster_notes.tsv").write_text("cluster\tnote\n4\tnice\n")
    units = read_units(folder)
    assert units["group"].tolist() == ["good", "mua"]
    assert {"reward", "note"}.isdisjoint(units.metadata_columns)
    assert "cluster_notes.tsv has no column cluster_id, and is not read" in caplog.text
    assert "trials" not in caplog.text
    (folder / "cluster_groups.csv").write_text("\ufeffcluster_id,group\n4,noise\n7,mua\n9,good\n")
    assert read_units(folder).index.tolist() == [7, 9]


def test_tables_beside_that_of_phy_are_read(tmp_path, caplog):
    """Such as of regions, that were written after curation; phy takes them in when it saves."""
    tables = {
        "cluster_info.tsv": {"cluster_id": [4, 7], "group": ["good", ""], "depth": [10, 20]},
        "cluster_group.tsv": {"cluster_id": [4, 7, 9], "group": ["good", "mua", "noise"]},
        "cluster_region.tsv": {"cluster_id": [7, 4], "region": ["VISp", "CA1"]},
    }
    folder = kilosort(tmp_path / "ks", tables)
    units = read_units(folder)
    assert units["group"].tolist() == ["good", "mua"]  # 9 is noise
    assert units["region"].tolist() == ["CA1", "VISp"]
    assert units["depth"].tolist() == [10, 20]
    assert "differs" not in caplog.text
    (folder / "cluster_group.tsv").write_text("cluster_id\tgroup\n4\tnoise\n")
    assert read_units(folder)["group"].tolist() == ["good", "", ""]
    assert "cluster_group.tsv: 'group' of 1 clusters differs" in caplog.text


@pytest.mark.parametrize(("rates", "is_said"), [([1.0, 2.0], True), ([1.0, 1.0], False)])
def test_a_table_of_several_rows_a_cluster_is_named(tmp_path, caplog, rates, is_said):
    """As of metrics that were taken for each part of a recording."""
    table = {"cluster_id": [4, 7, 4], "firing_rate": [rates[0], 5.0, rates[1]]}
    folder = kilosort(tmp_path / "ks", {"metrics.tsv": table})
    np.testing.assert_array_equal(read_units(folder)["firing_rate"], [1, 5, np.nan])
    assert ("metrics.tsv has several rows of 1 clusters, such as 4" in caplog.text) is is_said


@pytest.mark.parametrize("line", ["30000.;", "3e4  # Hz", "30_000"])
def test_a_sampling_rate_is_a_number(line, tmp_path):
    folder = kilosort(tmp_path / "ks", params=f"sample_rate = {line}\n")
    assert read_units(folder).time_support.end[0] < 1


def test_the_last_of_several_sampling_rates_counts(tmp_path):
    """As it does in Python."""
    folder = kilosort(tmp_path / "ks", params="sample_rate = 30000.\nsample_rate = 1000.\n")
    assert read_units(folder).time_support.end[0] == pytest.approx(10, abs=0.1)


@pytest.mark.parametrize("line", ["fs", "None", "float(30000)", "30000.0/1", "("])
def test_a_sampling_rate_that_is_no_number_is_asked_for(line, tmp_path):
    folder = kilosort(tmp_path / "ks", params=f"fs = 1000.\nsample_rate = {line}\n")
    with pytest.raises(ValueError, match=r"params\.py: sample_rate is .* no number; give it"):
        read_units(folder)
    with pytest.raises(ValueError, match=r"sampling frequency 0 Hz; expected more than 0"):
        read_units(folder, sampling_frequency=0)
    assert len(read_units(folder, sampling_frequency=1000)) == 3


def test_a_folder_before_curation_and_epochs(tmp_path):
    folder = kilosort(tmp_path / "ks", clusters="spike_templates.npy")
    whole = read_recording(folder)
    part = read_recording(folder, epochs=whole.time_support.__class__(0, 5))
    assert part.time_support.tot_length() == 5
    assert len(part[4]) == 6


def test_neurons_are_chosen_by_their_metadata(tmp_path):
    folder = kilosort(tmp_path / "ks", TABLES["phy"])
    assert read_recording(folder, only="group=good").index.tolist() == [4]
    with pytest.raises(ValueError, match="expected COLUMN=VALUE, with a column of .*depth"):
        read_recording(folder, only="quality:good")
    with pytest.raises(ValueError, match="no neuron has group=best; group is one of 'good', 'mua'"):
        read_recording(folder, only="group=best")
    plane = suite2p(tmp_path / "plane0")
    assert read_recording(plane, only="iscell_probability=0.8").columns.tolist() == [2]
    same = [read_recording(plane, only=f"iscell={one}").columns.tolist() for one in ("1", "1.0")]
    assert same[0] == same[1]


def test_params_are_never_run(tmp_path):
    code = f"import pathlib\npathlib.Path({str(tmp_path / 'ran')!r}).touch()\nsample_rate = 500.\n"
    units = read_units(kilosort(tmp_path / "ks", params=code))
    assert not (tmp_path / "ran").exists()
    assert units.time_support.end[0] == pytest.approx(20, abs=2)  # at 500 Hz


def test_what_a_folder_lacks_is_said(tmp_path):
    folder = kilosort(tmp_path / "ks", params=None)
    with pytest.raises(ValueError, match=r"no sample_rate in params\.py; give it: read_units"):
        read_units(folder)
    assert len(read_units(folder, sampling_frequency=1000)) == 3
    with pytest.raises(TypeError, match=r"'phy' has no option 'table'; it has cells, sampl"):
        read_units(folder, table="units")
    with pytest.raises(ValueError, match=r"format 'phy', of which units can be read, not traces"):
        read_traces(folder)
    with pytest.raises(ValueError, match="has no tables of intervals, such as 'trials'"):
        read_units(kilosort(tmp_path / "other"), epochs="trials")
    only_noise = {"cluster_group.tsv": {"cluster_id": [4, 7, 9], "group": ["noise"] * 3}}
    with pytest.raises(ValueError, match="only clusters of noise; cells='all' reads all"):
        read_units(kilosort(tmp_path / "noise", only_noise))
    np.save(folder / "spike_clusters.npy", np.zeros(3, int))
    with pytest.raises(ValueError, match="61 spike times, and 3 clusters"):
        read_units(folder, sampling_frequency=1000)


def suite2p(folder, fs=10.0, iscell=((1, 0.9), (0, 0.2), (1, 0.8)), **ops):
    """Three ROIs in 300 frames: 100, with steps of 50, and 0.7 of a neuropil of 40."""
    folder.mkdir(parents=True)
    steps = (np.arange(300) % 100 < 10) * 50.0 * np.ones((3, 1))
    np.save(folder / "F.npy", (100 + steps + 0.7 * 40).astype(np.float32))
    np.save(folder / "Fneu.npy", np.full((3, 300), 40, np.float32))
    np.save(folder / "spks.npy", (steps / 50).astype(np.float32))
    np.save(folder / "iscell.npy", np.array(iscell, dtype=float))
    if fs is not None:
        np.save(folder / "ops.npy", {"fs": fs, "meanImg": np.ones((4, 4)), **ops})
    return folder


def test_a_plane_of_suite2p(tmp_path):
    folder = suite2p(tmp_path / "suite2p" / "plane0")
    for path in (folder, folder.parent):
        traces = read_traces(path)
        assert traces.shape == (300, 2) and traces.columns.tolist() == [0, 2]
        assert traces.t[10] == pytest.approx(1.0)
        np.testing.assert_allclose(traces.values[[0, 50]], [[0.5] * 2, [0] * 2])
        assert traces["iscell_probability"].tolist() == [0.9, 0.8]
        assert set(traces["signal"]) == {"dff"}
    assert read_recording(folder, cells="all").shape == (300, 3)
    raw = read_traces(folder, signal="fluorescence")
    np.testing.assert_allclose(raw.values[[0, 50]], [[178, 178], [128, 128]])
    np.testing.assert_allclose(read_traces(folder, signal="events").values[[0, 50], 0], [1, 0])


def test_which_cells_are_red_is_metadata(tmp_path):
    folder = suite2p(tmp_path / "plane0")
    np.save(folder / "redcell.npy", np.array([[0, 0.2], [1, 0.8], [1, 0.9]]))
    traces = read_traces(folder)
    assert traces["redcell"].tolist() == [0, 1]
    assert traces["redcell_probability"].tolist() == [0.2, 0.9]
    assert read_traces(folder, cells="redcell").columns.tolist() == [1, 2]
    np.save(folder / "redcell.npy", np.ones((2, 2)))
    with pytest.raises(ValueError, match=r"redcell\.npy is of 2 ROIs, F\.npy of 3"):
        read_traces(folder)


@pytest.mark.parametrize(("fs", "pause"), [(10.0, 1.0), (2.0, 2.0)])
def test_recordings_that_suite2p_joined_are_epochs(tmp_path, caplog, fs, pause):
    folder = suite2p(tmp_path / "plane0", fs=fs, frames_per_folder=np.array([100, 0, 200]))
    raw = np.load(folder / "F.npy")
    raw[:, 100:] *= 2  # another day, another gain
    np.save(folder / "F.npy", raw)
    np.save(folder / "Fneu.npy", raw * 0)
    with caplog.at_level(logging.WARNING, "pynapple_nuclr"):
        traces = read_traces(folder)
    first = 99 / fs
    expected = [[0, first], [first + pause, first + pause + 199 / fs]]
    np.testing.assert_allclose(traces.time_support.values, expected)
    assert "recordings of 2 folders were joined (100, 200 frames); each is an epoch" in caplog.text
    one = read_traces(folder, signal="fluorescence").values[10:90, 0]
    np.testing.assert_allclose(traces.values[10:90, 0], one / one.min() - 1)
    np.testing.assert_allclose(traces.values[100:, 0], raw[0, 100:] / raw[0, 150] - 1, atol=1e-5)
    assert read_traces(folder, epochs=traces.time_support[1]).shape == (200, 2)


@pytest.mark.parametrize("frames", [[300], [100, 100], None, [], "all"])
def test_frames_of_one_recording_have_no_pause(tmp_path, caplog, frames):
    folder = suite2p(tmp_path / "plane0", frames_per_folder=frames)
    with caplog.at_level(logging.WARNING, "pynapple_nuclr"):
        traces = read_traces(folder)
    np.testing.assert_allclose(traces.time_support.values, [[0, 29.9]])
    assert ("but there are 300 frames; they are read as one" in caplog.text) is (
        frames == [100, 100]
    )


def test_bad_frames_are_read_and_counted(tmp_path, caplog):
    folder = suite2p(tmp_path / "plane0", badframes=np.arange(300) == 7)
    with caplog.at_level(logging.WARNING, "pynapple_nuclr"):
        assert read_traces(folder).shape == (300, 2)
    assert "plane0: 1 of 300 frames are badframes of Suite2p" in caplog.text


def test_settings_are_read_without_running_anything(tmp_path):
    class Bomb:
        def __reduce__(self):
            return pathlib.Path.touch, (tmp_path / "ran",)

    more = {"path": pathlib.Path("x"), "order": OrderedDict(a=1), "bomb": Bomb()}
    traces = read_traces(suite2p(tmp_path / "plane0", fs=np.float64(30), **more))
    assert traces.t[30] == pytest.approx(1.0)
    assert not (tmp_path / "ran").exists()


def test_a_frame_rate_is_one_positive_number(tmp_path):
    matlab = suite2p(tmp_path / "matlab", fs=np.array([[30.0]]))
    assert read_traces(matlab).t[30] == pytest.approx(1.0)
    for i, fs in enumerate((0, -30.0, np.nan, [30.0, 15.0])):
        folder = suite2p(tmp_path / f"plane{i}", fs=fs)
        with pytest.raises(ValueError, match=rf"plane{i}: the frame rate .*such as frame_rate=30"):
            read_traces(folder)
        assert read_traces(folder, frame_rate=30).t[30] == pytest.approx(1.0)
        with pytest.raises(ValueError, match=rf"plane{i}: the frame rate .* is 0\.0; expected one"):
            read_traces(folder, frame_rate=0)


def test_damaged_settings_are_not_needed_with_a_frame_rate(tmp_path, caplog):
    folder = suite2p(tmp_path / "plane0")
    whole = (folder / "ops.npy").read_bytes()
    (folder / "ops.npy").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"ops\.npy cannot be read .*frame_rate=30\.0"):
        read_traces(folder)
    with caplog.at_level(logging.WARNING, "pynapple_nuclr"):
        assert read_traces(folder, frame_rate=10).shape == (300, 2)
    assert "whether it joins several recordings is not known" in caplog.text


def test_rois_of_suite2p_without_any_value_are_refused(tmp_path):
    folder = suite2p(tmp_path / "plane0")
    np.save(folder / "F.npy", np.full((3, 300), np.nan, np.float32))
    with pytest.raises(ValueError, match="plane0: all of the 2 ROIs to read are NaN throughout"):
        read_traces(folder)


def test_what_a_plane_lacks_is_said(tmp_path):
    folder = suite2p(tmp_path / "suite2p" / "plane0", fs=None)
    with pytest.raises(ValueError, match=r"no frame rate \(fs\) in ops\.npy; give it"):
        read_traces(folder)
    assert read_traces(folder, frame_rate=20).t[20] == pytest.approx(1.0)
    suite2p(folder.parent / "plane1", iscell=[(0, 0.1)] * 3)
    with pytest.raises(ValueError, match=r"has 2 planes \(plane0, plane1\); read each"):
        read_traces(folder.parent)
    with pytest.raises(ValueError, match="of 3 ROIs none is a cell by 'iscell'"):
        read_traces(folder.parent / "plane1")
    with pytest.raises(ValueError, match="signal is 'spikes'"):
        read_traces(folder, signal="spikes")
    (folder / "spks.npy").unlink()
    with pytest.raises(ValueError, match=r"has no spks\.npy; expected a whole folder"):
        read_traces(folder, signal="events", frame_rate=20)


def test_a_folder_of_no_known_format_is_named(tmp_path):
    with pytest.raises(
        ValueError, match=r"a folder of none of the formats that are read \(nwb, zarr"
    ):
        read_units(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_units(tmp_path / "ks")


def test_what_was_read_of_a_folder_is_printed(tmp_path, capsys):
    tables = {"cluster_group.tsv": {"cluster_id": [4, 7, 99], "group": ["good", "noise", "mua"]}}
    read_units(kilosort(tmp_path / "ks", tables), verbose=True)
    said = capsys.readouterr().out
    assert "read 2 of table 'clusters'" in said and "groups: 1 good, 1 noise, 1 without" in said
    assert "left out: 1 clusters: group 'noise'; 1 clusters: no spikes" in said
    assert "region: none" in said
    tables = {"cluster_info.tsv": {"cluster_id": [4, 7], "Brain_Region": ["CA1", "CA3"]}}
    read_units(kilosort(tmp_path / "regions", tables), verbose=True)
    assert "region: Brain_Region" in capsys.readouterr().out
    read_recording(suite2p(tmp_path / "plane0"), verbose=True)
    said = capsys.readouterr().out
    assert "acceptance: iscell" in said and "1 ROIs rejected by 'iscell'" in said
    assert "signal: dff" in said and "frame rate: 10 Hz" in said
