"""A folder of results has one writer: the second is refused, until the first one is gone."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import training_job
from tally import counts

import pynapple_nuclr as nap_nuclr
from pynapple_nuclr.atomic_files import folder_lock

JOB = Path(training_job.__file__)


def test_a_second_training_is_refused_until_the_first_one_is_gone(tmp_path):
    run = {"batch_size": 4, "checks": 1}
    command = [sys.executable, str(JOB), str(tmp_path), json.dumps({**run, "steps": 5000})]
    first = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert first.stdout.readline() == "step 0\n"
        with pytest.raises(BlockingIOError, match="another process is writing to .*another out"):
            training_job.train(tmp_path, steps=3, on_step=lambda step: None, **run)
        assert first.poll() is None
        os.kill(first.pid, signal.SIGKILL)
    finally:
        first.kill()
        first.communicate()
    training_job.train(tmp_path, steps=3, resume=False, on_step=lambda step: None, **run)
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
