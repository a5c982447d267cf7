"""Recordings that stay in their files: the same as objects, whatever happens to the cache."""

import os
import pickle
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pynapple as nap
import pytest
from nwb_recordings import make_units

import pynapple_nuclr as nap_nuclr
from pynapple_nuclr.familiarity import describe_training
from pynapple_nuclr.io.recording_cache import open_recordings
from pynapple_nuclr.recording import as_recording, as_recordings
from pynapple_nuclr.recording.memory_map import Mapped
from pynapple_nuclr.windows import ViewSampler, ViewSettings, open_patch_reader

ROOT = Path(__file__).parents[2]
SMALL = nap_nuclr.EncoderConfig(patch_duration=0.2, window_duration=0.8, dim=32, heads=2)


def spikes(seed=0, n_units=24, support=None):
    rng = np.random.default_rng(seed)
    trains = {3 * i: nap.Ts(np.sort(rng.uniform(0, 60, 50 + 30 * i))) for i in range(n_units)}
    support = nap.IntervalSet([0, 35], [30, 60]) if support is None else support
    probes = np.where(np.arange(n_units) % 3 == 0, "left", "right")
    depth = rng.uniform(0, 1, n_units)
    return nap.TsGroup(trains, time_support=support, metadata={"probe": probes, "depth": depth})


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    return nap_nuclr.write_units(spikes(), folder / "day1.nwb")


@pytest.fixture(scope="module")
def imaged(tmp_path_factory):
    """A file of calcium traces, as another program writes it."""
    import pynwb
    from pynwb.testing.mock import file, ophys

    path = tmp_path_factory.mktemp("files") / "plane.nwb"
    nwbfile = file.mock_NWBFile()
    rois = ophys.mock_PlaneSegmentation(n_rois=15, nwbfile=nwbfile)
    traces = np.random.default_rng(0).normal(1, 1, (900, 15)).astype(np.float32)
    series = ophys.mock_RoiResponseSeries(
        name="dff", data=traces, rate=20.0, n_rois=15, plane_segmentation=rois
    )
    ophys.mock_DfOverF(roi_response_series=[series], nwbfile=nwbfile)
    with pynwb.NWBHDF5IO(path, "w") as io:
        io.write(nwbfile)
    return path


def views(recordings, config=SMALL):
    sources = [open_patch_reader(recording, config) for recording in recordings.values()]
    sampler = ViewSampler(sources, ViewSettings(min_units=2), "split", seed=1)
    pairs = [
        sampler.pair(place, np.random.default_rng(i)) for i, place in enumerate(sampler.plan(0))
    ]
    return [
        array
        for pair in pairs
        if pair is not None
        for array in (pair.patches1, pair.patches2, pair.ids1, pair.ids2)
    ]


def assert_same(one, other):
    assert len(one) == len(other) > 0
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("by", [None, "probe"])
def test_a_file_gives_what_its_object_gives(session, tmp_path, by):
    stored = open_recordings(session, by=by, cache=tmp_path)
    objects = as_recordings({"day1": nap_nuclr.read_units(session)})
    if by is not None:
        objects = {part.name: part for _, part in objects["day1"].split(by)}
    assert list(stored) == list(objects)
    for name, one in stored.items():
        assert isinstance(one.times, Mapped)
        other = objects[name]
        for field in ("times", "offsets", "begins", "epochs", "unit_ids"):
            np.testing.assert_array_equal(getattr(one, field), getattr(other, field))
        np.testing.assert_array_equal(one.order(), other.order())
        np.testing.assert_array_equal(one.activity(), other.activity())
        assert one.metadata["probe"].tolist() == other.metadata["probe"].tolist()
        assert one.metadata["depth"].tolist() == other.metadata["depth"].tolist()
    assert_same(views(stored), views(objects))
    described = describe_training(list(stored.values()), SMALL)
    assert described == describe_training(list(objects.values()), SMALL)


@pytest.mark.parametrize("frame_rate", [20.0, 13.0])
def test_traces_stay_in_their_file_too(imaged, tmp_path, frame_rate):
    config = nap_nuclr.EncoderConfig(modality="calcium", frame_rate=frame_rate, window_frames=16)
    stored = open_recordings([imaged], cache=tmp_path)
    objects = as_recordings({"plane": nap_nuclr.read_traces(imaged)})
    assert isinstance(stored["plane"].traces, Mapped)
    np.testing.assert_array_equal(stored["plane"].order(), objects["plane"].order())
    assert_same(views(stored, config), views(objects, config))


def test_objects_and_files_are_named(session, tmp_path):
    (tmp_path / "other").mkdir()
    copy = shutil.copy(session, tmp_path / "other" / "day1.nwb")
    units = spikes(seed=3)
    named = open_recordings([session, str(copy), units, copy], cache=tmp_path)
    assert list(named) == [f"{session.parent.name}/day1", "other/day1", "2", "other/day1 (2)"]
    assert not isinstance(named["2"].times, Mapped)
    assert list(open_recordings({"mouse": session, "rat": units}, cache=tmp_path)) == [
        "mouse",
        "rat",
    ]
    assert list(open_recordings(units, cache=tmp_path)) == ["recording"]


def test_a_file_is_read_once_and_again_when_it_changed(session, tmp_path, monkeypatch):
    from pynapple_nuclr.io import recording_cache

    path = shutil.copy(session, tmp_path / "day1.nwb")
    before = open_recordings(path, cache=tmp_path / "cache")["day1"]
    times = before.times[:]
    with monkeypatch.context() as patch:
        patch.setattr(recording_cache, "read_recording", None)  # whoever reads the file fails
        open_recordings(path, cache=tmp_path / "cache")
    nap_nuclr.write_units(spikes(seed=9), path, overwrite=True)
    os.utime(path, ns=(time.time_ns(), time.time_ns() + 10**9))
    after = open_recordings(path, cache=tmp_path / "cache")["day1"]
    assert not np.array_equal(times, after.times)
    assert len(list((tmp_path / "cache").iterdir())) == 1
    with pytest.raises(OSError, match="open the recordings again"):  # and not the new spikes
        before.order()


@pytest.mark.parametrize("damage", ["cut off", "overwritten", "empty", "gone"])
@pytest.mark.parametrize("file", ["about.json", "0/times.npy", "0/epochs.npy"])
def test_a_damaged_entry_is_made_again(session, tmp_path, caplog, file, damage):
    whole = views(open_recordings(session, cache=tmp_path))
    (entry,) = tmp_path.iterdir()
    content = (entry / file).read_bytes()
    half = content[: len(content) // 2]
    written = {"cut off": half, "overwritten": b"no" * len(half), "empty": b""}
    if damage == "gone":
        (entry / file).unlink()
    else:
        (entry / file).write_bytes(written[damage])
    assert_same(views(open_recordings(session, cache=tmp_path)), whole)
    assert "damaged" in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == [entry.name]


def test_a_mapped_recording_is_pickled_as_its_path(session, tmp_path):
    stored = open_recordings(session, cache=tmp_path)["day1"]
    content = pickle.dumps(stored)
    assert len(content) < 20_000 < stored.times.nbytes
    again = pickle.loads(content)
    assert isinstance(again.times, Mapped)
    assert_same(views({"a": again}), views({"a": stored}))
    part = stored._only(stored.unit_ids > 30, "deep")
    assert_same(views({"a": pickle.loads(pickle.dumps(part))}), views({"a": part}))
    held = as_recording(spikes())
    assert_same(views({"a": pickle.loads(pickle.dumps(held))}), views({"a": held}))


@pytest.mark.slow
def test_processes_may_index_the_same_file_at_once(session, tmp_path):
    code = (
        "import sys; from pynapple_nuclr.io.recording_cache import open_recordings; "
        "print(open_recordings(sys.argv[1], cache=sys.argv[2])['day1'].times[:].sum())"
    )
    call = [sys.executable, "-c", code, str(session), str(tmp_path)]
    running = [subprocess.Popen(call, stdout=subprocess.PIPE, cwd=ROOT) for _ in range(3)]
    printed = {process.communicate()[0] for process in running}
    assert len(printed) == 1
    assert [process.returncode for process in running] == [0, 0, 0]
    assert len(list(tmp_path.iterdir())) == 1


def test_what_was_read_of_a_file_does_not_stay_in_memory(session, tmp_path):
    smaps = Path("/proc/self/smaps")
    if not smaps.exists():
        pytest.skip("only Linux says what of a file is in memory")
    stored = open_recordings(session, cache=tmp_path)
    assert views(stored)
    stored["day1"].order()
    (entry,) = tmp_path.iterdir()
    assert entry.name not in smaps.read_text()
    descriptors = [os.readlink(one) for one in Path("/proc/self/fd").iterdir() if one.is_symlink()]
    assert not any(entry.name in one for one in descriptors)


def test_a_file_of_the_cache_that_goes_is_named(session, tmp_path):
    stored = open_recordings(session, cache=tmp_path)["day1"]
    (entry,) = tmp_path.iterdir()
    shutil.rmtree(entry)
    with pytest.raises(OSError, match=f"{entry.name}.*open the recordings again"):
        stored.order()


def test_a_population_without_spikes_is_a_recording_too(tmp_path):
    units = spikes()
    trains = {i: nap.Ts([]) if units["probe"][i] == "left" else units[i] for i in units.index}
    probes = {"probe": list(units["probe"])}
    units = nap.TsGroup(trains, time_support=units.time_support, metadata=probes)
    path = nap_nuclr.write_units(units, tmp_path / "day1.nwb")
    stored = open_recordings(path, by="probe", cache=tmp_path / "cache")
    for one in (stored["day1 (probe left)"], as_recording(units).split("probe")[0][1]):
        assert one.activity().tolist() == [0] * 8
        assert one.order().tolist() == list(range(8))
        assert not open_patch_reader(one, SMALL).read(np.array([0.0, 0.2])).any()


def test_errors_name_the_file(session, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.nwb"):
        open_recordings([session, tmp_path / "nowhere.nwb"], cache=tmp_path)
    text = tmp_path / "notes.nwb"
    text.write_text("no HDF5")
    with pytest.raises(ValueError, match="notes.nwb"):
        open_recordings(text, cache=tmp_path)
    with pytest.raises(ValueError, match="day1.nwb.*no metadata column 'shank'"):
        open_recordings(session, by="shank", cache=tmp_path)
    silent = make_units(ids=(1, 2))[[2]]
    path = nap_nuclr.write_units(silent, tmp_path / "silent.nwb")
    with pytest.raises(ValueError, match="silent"):
        open_recordings(path, cache=tmp_path)
    with pytest.raises(TypeError, match="list of pynapple objects"):
        open_recordings(3, cache=tmp_path)
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(OSError, match="cache="):
        open_recordings(session, cache=blocked / "folder")


def test_which_rois_are_read_is_part_of_the_entry(tmp_path):
    folder = tmp_path / "plane0"
    folder.mkdir()
    np.save(folder / "F.npy", np.random.default_rng(0).random((3, 50), np.float32))
    np.save(folder / "iscell.npy", np.array([[1, 0.9], [0, 0.1], [1, 0.9]]))
    np.save(folder / "ops.npy", {"fs": 10.0})
    sizes = [
        open_recordings([folder], cache=tmp_path / "cache", **options)["plane0"].n_units
        for options in ({}, {"cells": "all"}, {"cells": "accepted"})
    ]
    assert sizes == [2, 3, 2]
