"""Two writers, two users, a writer that is stopped: nothing is lost in silence."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import stat
import tempfile
from pathlib import Path

import pytest
import torch
from nwb_recordings import embedded, make_units, session_file
from tally import counts

from pynapple_nuclr import Encoder, EncoderConfig, atomic_files, load_encoder, save_encoder
from pynapple_nuclr.atomic_files import atomic_write, folder_lock
from pynapple_nuclr.nwb import writing
from pynapple_nuclr.nwb.stored_embeddings import describe_nwb
from pynapple_nuclr.nwb.writing import write_nwb, write_units

ANOTHER_USER = 60_001


@pytest.fixture
def source(tmp_path):
    return session_file(tmp_path / "day1.nwb", make_units())


@pytest.fixture
def meanwhile(monkeypatch):
    """Let another do something while a file is written, once."""

    def do(work, at="copy_whole"):
        real = getattr(writing, at)

        def slow(*args, **kwargs):
            monkeypatch.setattr(writing, at, real)
            work()
            return real(*args, **kwargs)

        monkeypatch.setattr(writing, at, slow)

    return do


def labelled():
    units = make_units()
    units["predicted_layer"] = ["L4"] * len(units)
    return units


def test_what_another_added_meanwhile_is_not_lost(source, meanwhile):
    meanwhile(lambda: write_nwb(labelled(), source, source, overwrite=True))
    with pytest.raises(BlockingIOError, match=r"day1\.nwb was changed by another .*same again"):
        write_nwb(embedded(make_units(), labels=False), source, source, overwrite=True)
    assert describe_nwb(source)["labels"] == ["predicted_layer"]
    write_nwb(embedded(make_units(), labels=False), source, source, overwrite=True)
    assert list(describe_nwb(source)["embeddings"]) == ["nuclr"]
    assert [path.name for path in source.parent.iterdir()] == ["day1.nwb"]
    counts["second writers refused"] += 1


@pytest.mark.parametrize("raw", ["copy", "drop"])
def test_a_file_that_came_meanwhile_is_not_overwritten(source, meanwhile, raw):
    output = source.with_name("new.nwb")
    at = "copy_whole" if raw == "copy" else "copy_parts"
    meanwhile(lambda: output.write_text("of somebody else"), at)
    with pytest.raises(FileExistsError, match=r"new\.nwb was written by another meanwhile"):
        write_nwb(embedded(make_units()), source, output, raw=raw)
    assert output.read_text() == "of somebody else"


def test_new_units_do_not_overwrite_a_file_that_came_meanwhile(tmp_path, meanwhile):
    output = tmp_path / "new.nwb"
    meanwhile(lambda: output.write_text("of somebody else"), "check_space")
    with pytest.raises(FileExistsError, match=r"new\.nwb was written by another meanwhile"):
        write_units(make_units(), output)
    assert output.read_text() == "of somebody else"


def test_a_folder_that_another_replaced_meanwhile_stays(tmp_path):
    output = tmp_path / "day1.zarr"
    output.mkdir()

    def write(name):
        with atomic_write(output, overwrite=True) as draft:
            (draft / name).mkdir(parents=True)
            if name == "slow":
                write("quick")

    with pytest.raises(BlockingIOError, match=r"day1\.zarr was changed by another"):
        write("slow")
    assert [path.name for path in output.iterdir()] == ["quick"]
    assert [path.name for path in tmp_path.iterdir()] == ["day1.zarr"]


def test_of_two_writers_of_a_cache_the_last_one_wins(tmp_path):
    with atomic_write(tmp_path / "entry") as draft:
        (tmp_path / "entry").write_text("quick")
        draft.write_text("slow")
    assert (tmp_path / "entry").read_text() == "slow"


# --- a writer that is stopped -------------------------------------------------------------------


@pytest.mark.parametrize("when", ["model.safetensors", "config.json", "README.md"])
def test_an_encoder_is_the_one_before_where_its_writer_is_stopped(tmp_path, monkeypatch, when):
    config = EncoderConfig(dim=32, heads=2, head_dim=16)
    torch.manual_seed(0)
    before = Encoder(config, name="before")
    folder = save_encoder(before, tmp_path / "encoder")
    contents = {path.name: path.read_bytes() for path in folder.iterdir()}
    to_disk = atomic_files._to_disk

    def interrupted(path):
        to_disk(path)
        if path.name == when:
            raise KeyboardInterrupt

    monkeypatch.setattr(atomic_files, "_to_disk", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_encoder(Encoder(config, name="after"), folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == contents
    assert load_encoder(folder).identity == before.identity
    counts["writers of an encoder stopped, whose encoder was whole"] += 1


# --- two users ----------------------------------------------------------------------------------


@pytest.fixture
def shared():
    """Return a folder that all may write to; that of pytest is its user's alone."""
    folder = Path(tempfile.mkdtemp(prefix="shared-"))
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


def as_another_user(work):
    """Run a function as a user without rights of its own; return what it returns, or its error."""

    def run(pipe):
        if os.geteuid() == 0:
            os.setuid(ANOTHER_USER)
        try:
            pipe.send(work())
        except OSError as error:
            pipe.send(error)

    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=run, args=(there,))
    process.start()
    process.join(60)
    assert process.exitcode == 0
    return here.recv()


def test_the_draft_of_another_user_is_no_obstacle(shared):
    draft = shared / ".nuclr-theirs"
    draft.mkdir(mode=0o000)
    (shared / ".nuclr-notes").write_text("a file of that name, and no draft")

    def write():
        with atomic_write(shared / "mine.csv") as mine:
            mine.write_text("unit")
        return (shared / "mine.csv").read_text()

    assert as_another_user(write) == "unit"
    assert draft.is_dir() and (shared / ".nuclr-notes").is_file()


def test_a_folder_that_one_user_held_can_be_held_by_another(shared):
    umask = os.umask(0o077)
    try:
        with folder_lock(shared):
            pass
    finally:
        os.umask(umask)
    assert stat.S_IMODE((shared / ".nuclr.lock").stat().st_mode) == 0o666

    def hold():
        with folder_lock(shared):
            return "held"

    assert as_another_user(hold) == "held"
    (shared / ".nuclr.lock").chmod(0o444)
    refusal = as_another_user(hold)
    assert isinstance(refusal, PermissionError)
    assert "you may not write to" in str(refusal) and "chmod a+rw" in str(refusal)
