"""A folder of results has one writer: the second is refused, until the first one is gone."""

import subprocess
import sys

import pytest
import training_job
from tally import counts

import pynapple_nuclr as nap_nuclr
from pynapple_nuclr.atomic_files import folder_lock

_WRITER = """
import sys, time
from pathlib import Path
from pynapple_nuclr.atomic_files import folder_lock
with folder_lock(Path(sys.argv[1])):
    print("writing", flush=True)
    time.sleep(600)
"""


def test_a_second_training_is_refused_until_the_first_one_is_gone(tmp_path):
    run = {"batch_size": 4, "checks": 1, "steps": 3}
    first = subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert first.stdout.readline() == "writing\n"
        with pytest.raises(BlockingIOError, match="another process is writing to .*another out"):
            training_job.train(tmp_path, on_step=lambda step: None, **run)
        assert first.poll() is None
    finally:
        first.kill()  # its lock ends with it
        first.communicate()

    def refused(step):
        with pytest.raises(BlockingIOError), folder_lock(tmp_path):
            pass

    training_job.train(tmp_path, on_step=refused, **run)  # it holds the lock in every step
    assert nap_nuclr.load_encoder(tmp_path).card["training"]["steps"] == 3
    counts["second writers refused"] += 1


def test_a_second_call_of_embed_many_is_refused(tmp_path):
    units = nap_nuclr.simulate("single", n_units=6, duration=30)
    source = nap_nuclr.write_units(units, tmp_path / "day1.nwb")
    out = tmp_path / "out"
    with folder_lock(out), pytest.raises(BlockingIOError, match="another process is writing"):
        nap_nuclr.embed_many([source], out, progress=False)
    done = nap_nuclr.embed_many([source], out, progress=False)
    assert done["error"].tolist() == [""]
    counts["second writers refused"] += 1
