"""NWB files out: the raw data, and what small files hold."""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import numpy as np
import pynapple as nap
import pynwb
import pytest
from foreign_files import add_traces, calcium, roi_table, session, write
from nwb_recordings import embedded, embedded_traces, imaging_file, make_units, session_file
from range_server import serving

from pynapple_nuclr import atomic_files, read_traces
from pynapple_nuclr.columns import embeddings
from pynapple_nuclr.nwb.stored_embeddings import describe_nwb, read_embedding
from pynapple_nuclr.nwb.writing import write_nwb


@pytest.fixture
def units():
    return embedded(make_units())


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("written")
    imaging_file(folder / "movie.nwb")
    return session_file(folder / "day1.nwb", make_units()).parent


@pytest.fixture
def source(written, tmp_path):
    return Path(shutil.copy(written / "day1.nwb", tmp_path))


@pytest.fixture
def movie(written, tmp_path):
    return Path(shutil.copy(written / "movie.nwb", tmp_path))


def assert_embedding_is_back(path, units):
    assert pynwb.validate(path=path, use_cached_namespaces=False) == []
    back = read_embedding(path)
    vectors = embeddings(back)
    assert vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors.values, embeddings(units).values)
    np.testing.assert_array_equal(vectors.unit, embeddings(units).unit)
    return back


# --- small files ------------------------------------------------------------------------------


@pytest.mark.parametrize("raw", ["drop", "link"])
def test_a_small_file_keeps_all_that_describes_the_units(units, source, tmp_path, raw):
    path = write_nwb(units, source, raw=raw)
    back = assert_embedding_is_back(path, units)
    np.testing.assert_array_equal(back.time_support.values, units.time_support.values)
    assert path.stat().st_size < source.stat().st_size
    with pynwb.NWBHDF5IO(path, "r") as io, pynwb.NWBHDF5IO(source, "r") as old_io:
        new, old = io.read(), old_io.read()
        assert new.identifier == old.identifier
        assert new.object_id != old.object_id
        assert new.subject.subject_id == "m1"
        electrodes = new.units["electrodes"][0]
        np.testing.assert_array_equal(electrodes["rel_y"], [0.0, 40.0])
        assert electrodes["group"].iloc[0].device is new.devices["probe"]
        for unit, row in enumerate(old.units.id[:]):
            np.testing.assert_array_equal(new.units["spike_times"][unit], units[row].t)
            np.testing.assert_array_equal(new.units["waveform_mean"][unit], np.full((30, 4), row))
        assert new.trials.colnames == ("start_time", "stop_time", "correct")
        np.testing.assert_array_equal(new.trials["start_time"].data[:], [0.0, 10.0])
        assert new.was_generated_by[0][0] == "pynapple-nuclr"
        assert ("raw" in new.acquisition) == (raw == "link")


def test_links_open_the_raw_data_and_move_with_the_source(units, source, tmp_path):
    path = write_nwb(units, source, raw="link")
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for one in (path, source):
        one.rename(moved / one.name)
    with pynwb.NWBHDF5IO(moved / path.name, "r") as io:
        nwbfile = io.read()
        raw = nwbfile.acquisition["raw"]
        assert raw.data.shape == (20_000, 4)
        assert raw.data[5].any()
        assert raw.electrodes.table["location"][0] == "CA1"
        assert nwbfile.processing["ecephys"]["LFP"]["lfp"].data.shape == (100, 4)
    assert nap.load_file(moved / path.name)["raw"].shape == (20_000, 4)


def test_units_stay_readable_where_the_source_is_gone(units, source):
    path = write_nwb(units, source, raw="link")
    source.unlink()
    with pytest.warns(UserWarning, match="broken"):
        back = read_embedding(path)
    np.testing.assert_array_equal(embeddings(back).values, embeddings(units).values)


def test_a_link_from_another_folder(units, source, tmp_path):
    (tmp_path / "results").mkdir()
    path = write_nwb(units, source, tmp_path / "results" / "day1.nwb", raw="link")
    assert_embedding_is_back(path, units)
    with pynwb.NWBHDF5IO(path, "r") as io:
        assert io.read().acquisition["raw"].data.shape == (20_000, 4)


@pytest.mark.parametrize("raw", ["drop", pytest.param("link", marks=pytest.mark.slow)])
def test_a_small_file_can_be_written_again(units, source, raw):
    path = write_nwb(units, source, raw=raw)
    newer = embedded(make_units(), seed=1)
    assert_embedding_is_back(write_nwb(newer, path, path, overwrite=True), newer)
    other = write_nwb(newer, path, path.with_name("third.nwb"), raw=raw)
    assert_embedding_is_back(other, newer)


def test_another_prefix_survives_in_a_small_file(units, source):
    path = write_nwb(units, source)
    late = embedded(make_units(), prefix="late", seed=2)
    small = write_nwb(late, path, raw="drop", prefix="late")
    assert set(describe_nwb(small)["embeddings"]) == {"nuclr", "late"}
    assert describe_nwb(small)["embeddings"]["nuclr"]["source"] == "day1.nwb"
    assert describe_nwb(small)["embeddings"]["late"]["source"] == "day1_nuclr.nwb"
    assert_embedding_is_back(small, units)


def test_what_small_files_cannot_be_made_of(units, source):
    before = source.read_bytes()
    for raw in ("drop", "link"):
        with pytest.raises(ValueError, match="without its raw data; choose another output"):
            write_nwb(units, source, source, raw=raw, overwrite=True)
    with pytest.raises(ValueError, match="raw is 'none'; expected 'copy', 'link' or 'drop'"):
        write_nwb(units, source, raw="none")
    with pytest.raises(ValueError, match=r"raw='copy' needs a local file, and day1\.nwb is remote"):
        write_nwb(units, "https://example.org/day1.nwb?signature=secret", raw="copy")
    assert source.read_bytes() == before
    assert len(list(source.parent.iterdir())) == 1


def test_a_full_disk_is_noticed_before(units, source, monkeypatch):
    usage = atomic_files.shutil.disk_usage(source.parent)
    monkeypatch.setattr(atomic_files.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(OSError, match=r"needs 0\.\d MB, and .* has 0\.0 MB free; raw='link' or"):
        write_nwb(units, source)
    assert [one.name for one in source.parent.iterdir()] == ["day1.nwb"]
    assert write_nwb(units, source, raw="drop").exists()


def test_a_large_copy_is_announced(units, source, monkeypatch, caplog):
    monkeypatch.setattr(atomic_files, "_LARGE", 1000)
    with caplog.at_level("INFO", logger="pynapple_nuclr"):
        write_nwb(units, source)
    assert "copying day1.nwb" in caplog.text and "MB" in caplog.text


def test_an_older_file_gets_no_field_that_its_version_lacks(units, source):
    with h5py.File(source, "r+") as file:
        file.attrs["nwb_version"] = "2.7.0"
    with pynwb.NWBHDF5IO(write_nwb(units, source, raw="drop"), "r") as io:
        assert io.read().was_generated_by is None


# --- a source behind an address -----------------------------------------------------------------


@pytest.fixture
def server(tmp_path, monkeypatch):
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with serving(tmp_path) as server:
        yield server


def test_a_remote_source_gives_a_small_file_in_the_current_folder(units, tmp_path, server):
    source = session_file(tmp_path / "day1.nwb", make_units(), raw_samples=1_000_000)
    url = f"{server.address}/day1.nwb"
    path = write_nwb(units, url)
    assert path.resolve() == tmp_path / "here" / "day1_nuclr.nwb"
    assert server.sent < source.stat().st_size / 2
    assert_embedding_is_back(path, units)
    assert describe_nwb(path)["embeddings"]["nuclr"]["source"] == "day1.nwb"
    with pytest.raises(FileExistsError, match="overwrite=True"):
        write_nwb(units, url)
    with pytest.raises(FileNotFoundError, match=r"no file .*day2\.nwb"):
        write_nwb(units, f"{server.address}/day2.nwb")
    assert [one.name for one in path.resolve().parent.iterdir()] == [path.name]


def test_an_embedding_is_read_from_an_address(units, source, server):
    write_nwb(units, source)
    back = read_embedding(f"{server.address}/day1_nuclr.nwb")
    np.testing.assert_array_equal(embeddings(back).values, embeddings(units).values)


def test_traces_behind_an_address(movie, server):
    traces = embedded_traces()
    assert_embedding_is_back(write_nwb(traces, f"{server.address}/movie.nwb"), traces)


# --- calcium ----------------------------------------------------------------------------------


@pytest.mark.parametrize("raw", ["copy", "link", "drop"])
def test_an_embedding_of_traces_goes_to_the_table_of_rois(movie, raw):
    traces = embedded_traces()
    path = write_nwb(traces, movie, raw=raw)
    back = assert_embedding_is_back(path, traces)
    assert isinstance(back, nap.TsdFrame)
    assert list(back.columns) == [4, 1, 9]
    np.testing.assert_array_equal(back["predicted_cell_type"], traces["predicted_cell_type"])
    with pynwb.NWBHDF5IO(path, "r") as io:
        nwbfile = io.read()
        table = nwbfile.processing["ophys"]["ImageSegmentation"]["rois_left"]
        np.testing.assert_array_equal(table["nuclr_embedding"].data[:], embeddings(traces).values)
        assert table.imaging_plane.device is nwbfile.devices["microscope"]
        assert table["image_mask"].data.shape == (3, 32, 32)
        dff = nwbfile.processing["ophys"]["DfOverF"]["dff_left"]
        np.testing.assert_allclose(dff.timestamps[:2], [0, 1 / 30])
        assert ("movie_left" in nwbfile.acquisition) == (raw != "drop")
    assert describe_nwb(path)["table"] == "rois_left"
    assert describe_nwb(path)["embeddings"]["nuclr"]["units"] == "3 ROIs given"


def test_rois_are_matched_by_id_and_table(tmp_path):
    movie = imaging_file(tmp_path / "movie.nwb", planes=("left", "right"))
    traces = embedded_traces((9, 4), table="rois_right")
    path = write_nwb(traces, movie)
    with pynwb.NWBHDF5IO(path, "r") as io:
        tables = io.read().processing["ophys"]["ImageSegmentation"].plane_segmentations
        assert "nuclr_embedding" not in tables["rois_left"].colnames
        stored = tables["rois_right"]["nuclr_embedding"].data[:]  # ids 4, 1, 9
        assert list(tables["rois_right"]["nuclr_encoder"].data[:]) == [
            "tiny@0a1b2c3d",
            "",
            "tiny@0a1b2c3d",
        ]
    vectors = embeddings(traces)
    np.testing.assert_array_equal(stored[[2, 0]], vectors.values)
    assert np.isnan(stored[1]).all()
    back = embeddings(read_embedding(path))
    np.testing.assert_array_equal(back.sel(unit=[9, 4]).values, vectors.values)
    assert list(back.unit) == [4, 9]  # the one that was not embedded is left out


def test_two_planes_are_written_and_read_one_by_one(tmp_path, caplog):
    path = imaging_file(tmp_path / "movie.nwb", planes=("left", "right"))
    planes = {name: embedded_traces((4, 1, 9), table=name) for name in ("rois_left", "rois_right")}
    for name, traces in planes.items():
        write_nwb(traces, path, path, overwrite=True, settings={"plane": name})
    for name, traces in planes.items():
        back = read_embedding(path, name=name)
        assert set(back["roi_table"]) == {name}
        np.testing.assert_array_equal(
            embeddings(back).sel(unit=[4, 1, 9]).values, embeddings(traces).values
        )
    with pynwb.NWBHDF5IO(path, "r") as io:
        notes = io.read().processing["nuclr"]
        for name in planes:
            assert name in notes[f"nuclr_provenance_{name}"]["value"].data[:]
    assert pynwb.validate(path=path, use_cached_namespaces=False) == []
    read_embedding(path)
    assert "read rois_left; also embedded: rois_right" in caplog.text
    with pytest.raises(ValueError, match="no embedding of 'units'; embedded are rois_left, rois"):
        read_embedding(path, name="units")


def test_planes_whose_tables_have_one_name_are_written_and_read(tmp_path):
    """As of AIND: a module for each plane, and in each the same names."""
    nwbfile = session()
    for seed, plane in enumerate(("VISl_1", "VISp_0")):
        table = roi_table(nwbfile, 3, name="roi_table", module=plane)
        add_traces(nwbfile, table, calcium(300, 3, seed), module=plane)
    path = write(nwbfile, tmp_path / "x.nwb")
    places = [f"processing/{one}/ImageSegmentation/roi_table" for one in ("VISl_1", "VISp_0")]
    for plane, place in zip(("VISl_1", "VISp_0"), places, strict=True):
        traces = read_traces(path, name=f"{plane}/DfOverF")
        assert set(traces["roi_table"]) == {place}
        made = embedded_traces((0, 1, 2), table=place, seed=len(plane))
        write_nwb(made, path, path, overwrite=True, settings={"plane": plane})
    for plane, place in zip(("VISl_1", "VISp_0"), places, strict=True):
        back = read_embedding(path, name=place)
        assert set(back["roi_table"]) == {place}
        np.testing.assert_array_equal(
            back.values, read_traces(path, name=f"{plane}/DfOverF").values
        )
    with pynwb.NWBHDF5IO(path, "r") as io:
        notes = io.read().processing["nuclr"].data_interfaces.values()
        assert [one["value"].data[-1] for one in notes] == ["VISl_1", "VISp_0"]


def test_rois_of_unknown_tables_are_refused(tmp_path):
    movie = imaging_file(tmp_path / "movie.nwb", planes=("left", "right"))
    with pytest.raises(ValueError, match=r"2 tables of ROIs \(rois_left, rois_right\).*roi_t"):
        write_nwb(embedded_traces(table="rois_middle"), movie)
    traces = embedded_traces()
    traces.drop_info("roi_table")
    with pytest.raises(ValueError, match=r"2 tables of ROIs.*names none"):
        write_nwb(traces, movie)
    with pytest.raises(ValueError, match=r"ROIs 7 are not in the rois_left table"):
        write_nwb(embedded_traces((4, 7)), movie)
    with pytest.raises(ValueError, match="no units table with spike times"):
        write_nwb(embedded(make_units()), movie)


def test_large_masks_are_compressed_in_a_small_file(movie, monkeypatch):
    monkeypatch.setattr("pynapple_nuclr.nwb.small_files.MASKS_UP_TO", 1000)
    traces = embedded_traces()
    path = write_nwb(traces, movie, raw="drop")
    assert_embedding_is_back(path, traces)
    place = "processing/ophys/ImageSegmentation/rois_left/image_mask"
    with h5py.File(path) as new, h5py.File(movie) as old:
        assert (new[place].compression, old[place].compression) == ("gzip", None)
        np.testing.assert_array_equal(new[place][:], old[place][:])
        assert new[place].attrs["object_id"] == old[place].attrs["object_id"]
