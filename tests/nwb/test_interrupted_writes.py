"""NWB files out: writers that are killed, what they leave behind, and what inspectors say."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import time

import numpy as np
import pynwb
import pytest
from nwb_recordings import embedded, embedded_traces, imaging_file, make_units, session_file
from tally import counts

from pynapple_nuclr import atomic_files
from pynapple_nuclr.columns import embeddings
from pynapple_nuclr.io.tables import write_table
from pynapple_nuclr.nwb.stored_embeddings import read_embedding
from pynapple_nuclr.nwb.writing import write_nwb, write_units

SEEDS = range(4)  # of the embeddings that writers write in turn


def write_for_ever(source, target, ready):
    while True:
        for seed in SEEDS:
            ready.set()
            write_nwb(embedded(make_units(), seed=seed), source, target, overwrite=True)


def killed_after(delay, source, target):
    """Start a writer and kill it at some moment of its work."""
    context = multiprocessing.get_context("fork")  # a new interpreter would take seconds to start
    ready = context.Event()
    writer = context.Process(target=write_for_ever, args=(source, target, ready))
    writer.start()
    assert ready.wait(60)
    time.sleep(delay)
    os.kill(writer.pid, signal.SIGKILL)
    writer.join()
    assert writer.exitcode == -signal.SIGKILL


def assert_is_whole(path):
    assert pynwb.validate(path=path, use_cached_namespaces=False) == []
    vectors = embeddings(read_embedding(path)).values
    possible = [embeddings(embedded(make_units(), seed=seed)).values for seed in SEEDS]
    assert any(np.array_equal(vectors, one, equal_nan=True) for one in possible)


def kill_writers(tmp_path, times):
    source = write_nwb(
        embedded(make_units()),
        session_file(tmp_path / "day1.nwb", make_units()),
        tmp_path / "source.nwb",
    )
    output = write_nwb(embedded(make_units()), source, tmp_path / "out.nwb")
    rng = np.random.default_rng(0)
    for kill in range(times):
        target = (output, source)[kill % 2]
        before = source.read_bytes()
        killed_after(rng.uniform(0, 0.6), source, target)
        assert_is_whole(source)
        assert_is_whole(output)
        assert target == source or source.read_bytes() == before
        counts["writers of NWB killed, whose files were whole"] += 1
    assert_is_whole(write_nwb(embedded(make_units(), seed=3), source, output, overwrite=True))


def test_a_killed_writer_leaves_whole_files(tmp_path):
    kill_writers(tmp_path, times=2)


@pytest.mark.slow
def test_writers_killed_at_twenty_moments_leave_whole_files(tmp_path):
    kill_writers(tmp_path, times=20)


# --- what killed writers leave ------------------------------------------------------------------


def made_old(folder):
    yesterday = time.time() - 25 * 3600
    for path in [*folder.rglob("*"), folder]:
        os.utime(path, (yesterday, yesterday))


def test_drafts_of_yesterday_are_removed_and_newer_ones_are_not(tmp_path, caplog):
    for name in ("old", "new"):
        (tmp_path / f".nuclr-{name}").mkdir()
        (tmp_path / f".nuclr-{name}" / "day1.nwb").write_text("half")
    made_old(tmp_path / ".nuclr-old")
    with caplog.at_level(logging.INFO, logger="pynapple_nuclr"):
        write_table(make_units(), tmp_path / "units.csv")
    assert sorted(p.name for p in tmp_path.iterdir()) == [".nuclr-new", "units.csv"]
    assert "removing .nuclr-old" in caplog.text


def test_folders_are_replaced_by_whole_ones(tmp_path):
    old = tmp_path / "day1.zarr"
    (old / "units").mkdir(parents=True)
    with atomic_files.atomic_write(old) as draft:
        (draft / "new").mkdir(parents=True)
    assert [p.name for p in old.iterdir()] == ["new"]
    with pytest.raises(KeyboardInterrupt), atomic_files.atomic_write(old) as draft:
        draft.mkdir()
        raise KeyboardInterrupt
    assert [p.name for p in old.iterdir()] == ["new"]
    assert [p.name for p in tmp_path.iterdir()] == ["day1.zarr"]


def test_a_folder_is_put_back_where_a_kill_came_between_two_steps(tmp_path, monkeypatch):
    aside = tmp_path / ".nuclr-x" / "previous" / "day1.zarr"
    (aside / "units").mkdir(parents=True)
    made_old(tmp_path / ".nuclr-x")
    write_table(make_units(), tmp_path / "units.csv")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["day1.zarr", "units.csv"]
    assert (tmp_path / "day1.zarr" / "units").is_dir()


# --- NWB's best practices -----------------------------------------------------------------------


def complaints(path):
    """Return what nwbinspector says of a file that is more than a suggestion."""
    from nwbinspector import Importance, inspect_nwbfile

    messages = inspect_nwbfile(nwbfile_path=str(path), skip_validate=False)
    return {
        (message.check_function_name, message.object_name)
        for message in messages
        if message.importance != Importance.BEST_PRACTICE_SUGGESTION
    }


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """A session and a movie, and what nwbinspector says of them."""
    folder = tmp_path_factory.mktemp("sources")
    source = session_file(folder / "day1.nwb", make_units())
    movie = imaging_file(folder / "movie.nwb")
    return source, complaints(source), movie, complaints(movie)


@pytest.mark.parametrize(
    "raw", ["copy", *(pytest.param(one, marks=pytest.mark.slow) for one in ("link", "drop"))]
)
def test_the_inspector_finds_nothing_that_the_source_had_not(sources, tmp_path, raw):
    source, of_source, movie, of_movie = sources
    units, traces = tmp_path / "units.nwb", tmp_path / "traces.nwb"
    assert complaints(write_nwb(embedded(make_units()), source, units, raw=raw)) <= of_source
    assert complaints(write_nwb(embedded_traces(), movie, traces, raw=raw)) <= of_movie


def test_what_the_inspector_says_of_a_new_file(tmp_path):
    path = write_units(embedded(make_units()), tmp_path / "day1.nwb")
    # write_units knows neither the animal nor the sampling rate.
    expected = {("check_subject_exists", "root"), ("check_units_resolution_is_set", "units")}
    assert ("check_subject_exists", "root") in complaints(path) <= expected
