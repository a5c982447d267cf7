"""A disk that is full in the middle of a write: what stood there before is whole, and no rests."""

from __future__ import annotations

import multiprocessing
import resource
import shutil
from contextlib import contextmanager

import numpy as np
import pynapple as nap
import pynwb
import pytest
import torch
import training_job
from embedded_groups import fitted
from nwb_recordings import embedded, make_units, session_file
from tally import counts

from pynapple_nuclr import Encoder, EncoderConfig, load_encoder, load_probe, save_encoder
from pynapple_nuclr.io.recording_cache import open_recordings
from pynapple_nuclr.io.tables import write_table
from pynapple_nuclr.nwb import writing
from pynapple_nuclr.nwb.writing import write_nwb, write_units


@contextmanager
def full_disk(after):
    """Let the system refuse every byte of a file beyond the first `after`, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (after, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        counts["writes to a full disk"] += 1


def files(folder):
    """Return what lies in a folder: name → content, without locks."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def assert_refused(folder, write, fraction=0.5):
    """See a write fail when the disk takes only a part of the largest file; nothing changes."""
    before = files(folder)
    largest = max(len(content) for content in before.values())
    with full_disk(int(largest * fraction)), pytest.raises(OSError) as failure:
        write()
    assert files(folder) == before
    return str(failure.value)


TRAINING = {"batch_size": 4, "checks": 2, "on_step": lambda step: None}


@pytest.fixture(scope="module")
def half(tmp_path_factory):
    """A training of three steps."""
    out = tmp_path_factory.mktemp("half")
    training_job.train(out, steps=3, **TRAINING)
    return out


@pytest.mark.parametrize("fraction", [0.0, 0.5, 0.95])
def test_the_checkpoint_before_is_whole_and_training_goes_on_from_it(half, tmp_path, fraction):
    out = shutil.copytree(half, tmp_path / "out")
    last = (out / "last.safetensors").read_bytes()
    with (
        full_disk(int(len(last) * fraction)),
        pytest.raises(OSError, match="the disk is full: .* to .*out, where all is as it was"),
    ):
        training_job.train(out, steps=6, **TRAINING)
    assert (out / "last.safetensors").read_bytes() == last
    assert not list(out.glob(".nuclr-*"))
    training_job.train(out, steps=6, **TRAINING)
    weights = np.load(out / "weights_0.npy")
    assert len(weights) and np.isfinite(weights).all()
    assert not np.array_equal(weights, np.load(half / "weights_0.npy"))


def test_an_encoder_that_was_there_is_whole(tmp_path):
    torch.manual_seed(0)
    config = EncoderConfig(dim=32, heads=2, head_dim=16)
    before = Encoder(config, name="before")
    folder = save_encoder(before, tmp_path / "encoder")
    after = Encoder(config, name="after")
    assert_refused(tmp_path, lambda: save_encoder(after, folder))
    assert load_encoder(folder).identity == before.identity


@pytest.mark.parametrize("fraction", [0.0, 0.5, 0.98, 1.02])
def test_an_nwb_file_that_was_there_is_whole(tmp_path, fraction):
    source = session_file(tmp_path / "day1.nwb", make_units())
    output = write_nwb(embedded(make_units()), source, tmp_path / "out.nwb")

    def again():
        write_nwb(embedded(make_units(), seed=1), source, output, overwrite=True)

    assert_refused(tmp_path, again, fraction)
    assert pynwb.validate(path=output, use_cached_namespaces=False) == []


@pytest.mark.parametrize("fraction", [1.001, 1.01, 1.02])
def test_a_disk_that_fills_while_hdf5_writes(tmp_path, fraction):
    """HDF5 may even crash then: what was there is whole all the same."""
    source = session_file(tmp_path / "day1.nwb", make_units())
    output = write_nwb(embedded(make_units()), source, tmp_path / "out.nwb")
    before = output.read_bytes()

    def fill():
        writing.check_space = lambda output, size: None  # when it looked, there was space
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(source.stat().st_size * fraction),) * 2)
        write_nwb(embedded(make_units(), seed=1), source, output, overwrite=True)

    process = multiprocessing.get_context("fork").Process(target=fill)
    process.start()
    process.join(60)
    assert process.exitcode not in (0, None)
    assert output.read_bytes() == before
    assert pynwb.validate(path=output, use_cached_namespaces=False) == []
    counts["writes to a full disk"] += 1


@pytest.mark.parametrize("raw", ["drop", "link"])
@pytest.mark.parametrize("looked", [True, False])
def test_a_disk_too_small_for_a_small_file_is_not_the_fault_of_the_source(tmp_path, raw, looked):
    rng = np.random.default_rng(0)
    trains = {unit: nap.Ts(np.sort(rng.uniform(0, 50, 200_000))) for unit in range(2)}
    units = nap.TsGroup(trains, time_support=nap.IntervalSet(0, 50))
    source = write_units(units, tmp_path / "day1.nwb")
    output = tmp_path / "out.nwb"
    here, there = multiprocessing.Pipe()

    def fill():
        if not looked:
            writing.check_space = lambda output, size: None  # when it looked, there was space
        else:
            writing.copy_parts = None  # for what does not fit is not begun
        with full_disk(2_500_000):
            try:
                write_nwb(embedded(units, labels=False), source, output, raw=raw)
            except OSError as error:
                there.send(str(error))

    process = multiprocessing.get_context("fork").Process(target=fill)
    process.start()
    process.join(60)
    assert here.poll(), "no OSError was raised"
    assert "the disk is full: out.nwb could not be written" in here.recv()
    assert [path.name for path in tmp_path.iterdir()] == ["day1.nwb"]
    counts["writes to a full disk"] += 1


def test_units_and_tables_that_were_there_are_whole(tmp_path):
    units, others = embedded(make_units()), embedded(make_units(), seed=1)
    for name, write in (
        ("units.nwb", lambda which, path: write_units(which, path, overwrite=True)),
        ("table.csv", lambda which, path: write_table(which, path, overwrite=True)),
        ("table.parquet", lambda which, path: write_table(which, path, overwrite=True)),
    ):
        folder = tmp_path / name.replace(".", "_")
        folder.mkdir()
        write(units, folder / name)
        assert_refused(folder, lambda w=write, f=folder, n=name: w(others, f / n))


def test_a_probe_that_was_there_is_whole(tmp_path):
    probe, path = fitted(), tmp_path / "types.skops"
    probe.save(path)
    assert_refused(tmp_path, lambda: probe.save(path))
    assert load_probe(path).classes_.tolist() == probe.classes_.tolist()


def test_a_cache_of_recordings_that_does_not_fit_is_no_recording(tmp_path):
    path = session_file(tmp_path / "day1.nwb", make_units())
    cache = tmp_path / "cache"
    with full_disk(2_000), pytest.raises(OSError):
        open_recordings([path], cache=cache)
    (recording,) = open_recordings([path], cache=cache).values()
    assert recording.n_units == len(make_units())
