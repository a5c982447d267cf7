"""Files behind an address: only what is needed is read, and failures say what to do."""

from __future__ import annotations

import gc
from contextlib import contextmanager

import fsspec
import h5py
import numpy as np
import pynapple as nap
import pynwb
import pytest
import remfile
import torch
from foreign_files import add_traces, calcium, neuroconv_file, roi_table, session, trains, write
from range_server import serving

from pynapple_nuclr import Encoder, EncoderConfig, embed
from pynapple_nuclr.nwb.opening import is_remote, open_nwb
from pynapple_nuclr.nwb.traces import read_nwb_traces as read_traces
from pynapple_nuclr.nwb.units import read_recording, read_units

# What a file costs before anything of it is read: pynwb's table of contents, in whole blocks.
OVERHEAD = 1_000_000


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    config = EncoderConfig(patch_duration=0.5, window_duration=2.0, dim=32, heads=2, head_dim=16)
    return Encoder(config, name="tiny").eval()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Spikes (1.4 MB) and ΔF/F (2 MB) beside 20 MB of raw signal."""
    folder = tmp_path_factory.mktemp("remote")
    nwbfile = session()
    noise = np.random.default_rng(0).integers(-999, 999, (1_250_000, 8), dtype=np.int16)
    nwbfile.add_acquisition(pynwb.TimeSeries(name="raw", data=noise, unit="V", rate=30000.0))
    nwbfile.add_unit_column("quality", "x")
    for i, times in enumerate(trains(20, duration=700)):
        nwbfile.add_unit(id=i, spike_times=times, quality="good", obs_intervals=[[0.0, 700.0]])
    add_traces(nwbfile, roi_table(nwbfile, 50), calcium(10_000, 50))
    write(nwbfile, folder / "session.nwb")
    neuroconv_file(folder / "small.nwb")
    (folder / "page.nwb").write_text("<html>" + "x" * 300_000)
    return folder


def test_only_the_units_are_read(folder):
    local = read_units(folder / "session.nwb")
    size = sum(local[unit].t.nbytes for unit in local.index)
    assert size > 1_300_000
    with serving(folder) as server:
        units = read_units(f"{server.address}/session.nwb")
        assert size < server.sent < size + OVERHEAD
    assert units.metadata.equals(local.metadata)
    np.testing.assert_array_equal(units.time_support.values, [[0, 700]])
    for unit in local.index:
        np.testing.assert_array_equal(units[unit].t, local[unit].t)


def test_only_the_frames_asked_for_are_read(folder):
    with serving(folder) as server:
        url = f"{server.address}/session.nwb"
        part = read_traces(url, epochs=nap.IntervalSet(100, 150))
        assert server.sent < part.values.nbytes + OVERHEAD
        assert part.values.nbytes == 501 * 50 * 4
        everything = read_traces(url)
    np.testing.assert_array_equal(everything.values, calcium(10_000, 50))
    np.testing.assert_array_equal(part.values, calcium(10_000, 50)[1000:1501])


@contextmanager
def without_collection():
    """Prevent for other openers what ours prevents: collecting garbage while h5py waits hangs."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@pytest.mark.parametrize("opener", ["ours", "fsspec", "remfile"])
def test_every_way_to_a_remote_file_gives_the_same_embedding(folder, encoder, opener):
    epochs = nap.IntervalSet(0, 20)
    expected = embed(read_units(folder / "session.nwb", epochs=epochs), encoder, progress=False)
    with serving(folder) as server:
        url = f"{server.address}/session.nwb"
        if opener == "ours":
            units = read_recording(url, epochs=epochs)
        else:  # as pynapple's tutorial on the DANDI archive
            stream = remfile.File(url) if opener == "remfile" else fsspec.open(url).open()
            with (
                without_collection(),
                h5py.File(stream, "r") as file,
                pynwb.NWBHDF5IO(file=file) as io,
            ):
                units = nap.NWBFile(io.read())["units"].restrict(epochs)
        embedded = embed(units, encoder, progress=False)
    columns = [f"nuclr_{i}" for i in range(32)]
    np.testing.assert_array_equal(embedded[columns], expected[columns])
    assert np.isfinite(embedded["nuclr_0"]).all()


def test_epochs_by_name(folder):
    with serving(folder) as server:
        units = read_units(f"{server.address}/small.nwb", epochs="trials")
    np.testing.assert_array_equal(units.time_support.values, [[0, 10]])


def test_a_file_that_is_not_there(folder):
    with serving(folder) as server:
        with pytest.raises(FileNotFoundError, match=r"there is no file http.*/absent\.nwb"):
            read_units(f"{server.address}/absent.nwb")
        with pytest.raises(ConnectionError, match=r"secret\.nwb cannot be read: 403"):
            read_units(f"{server.address}/secret.nwb")
        with pytest.raises(ValueError, match=r"page\.nwb is no NWB file \(HDF5\)"):
            read_units(f"{server.address}/page.nwb")
    with pytest.raises(ConnectionError, match=r"session\.nwb cannot be read: .*check the address"):
        read_units("http://127.0.0.1:9/session.nwb")  # nobody listens there


def test_a_server_that_sends_only_whole_files(folder):
    whole = pytest.raises(ValueError, match=r"cannot send parts of a file.*download it")
    with serving(folder, ranges=False) as server, whole:
        read_units(f"{server.address}/session.nwb")
    assert server.sent < 10_000_000  # buffers on the way, not the 24 MB of the file


def test_an_address_is_only_read(folder):
    assert is_remote("https://x.org/a.nwb") and not is_remote(folder / "a.nwb")
    with pytest.raises(ValueError, match="can only be read"), open_nwb("http://x/a.nwb", "r+"):
        pass
    with pytest.raises(ValueError, match="in Zarr.*download"), open_nwb("http://x/a.zarr"):
        pass
