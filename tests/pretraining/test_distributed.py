"""Several processes train as one does, resume one another's runs, and none waits for ever."""

import csv
import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import training_job
from ready_processes import READY

JOB = Path(training_job.__file__)
# Weights without dropout: that of several processes is drawn in each. All steps are checks, so
# that metrics.csv has the loss of each; without a block held out the newest weights are the best.
SAME = {"steps": 6, "checks": 6, "batch_size": 6, "holdout": 0, "patience": 100}
PATIENCE = 120  # seconds until a job counts as hung


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def torchrun(out, processes=2, **options):
    """Start the job under torchrun."""
    launcher = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={processes}"]
    launcher += ["--master-addr=127.0.0.1", f"--master-port={free_port()}"]
    return start([*launcher, str(JOB), str(out), json.dumps(options)])


def start(command, **environment):
    return subprocess.Popen(
        command,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(job):
    """Wait for a job; return its exit code and what it said."""
    try:
        said, error = job.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        os.killpg(job.pid, signal.SIGKILL)  # a launcher's processes, too
        raise
    return job.returncode, f"{said}\n{error}"


def losses(out):
    with (out / "metrics.csv").open() as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def weights(out, rank=0):
    return np.load(out / f"weights_{rank}.npy")


def assert_same_training(out, other, steps=SAME["steps"]):
    assert len(losses(out)) == len(losses(other)) == steps
    np.testing.assert_allclose(losses(out), losses(other), rtol=0, atol=1e-4)
    np.testing.assert_allclose(weights(out), weights(other), rtol=0, atol=1e-4)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """What one process makes of the job."""
    out = tmp_path_factory.mktemp("alone")
    training_job.train(out, **SAME)
    return out


def assert_two_trained_as_one(out, alone):
    assert losses(alone)[-1] < losses(alone)[0]
    assert_same_training(out, alone)
    np.testing.assert_array_equal(weights(out, 0), weights(out, 1))


def test_two_processes_have_the_losses_and_weights_of_one(alone, tmp_path):
    port, steps = free_port(), READY.Value("i", 0)
    jobs = [READY.Process(target=one_of_two, args=(rank, port, tmp_path, steps)) for rank in "01"]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join(PATIENCE)
    codes = [job.exitcode for job in jobs]
    for job in jobs:
        job.kill()
    assert codes == [0, 0]
    assert_two_trained_as_one(tmp_path, alone)
    assert steps.value == 2 * SAME["steps"]


def one_of_two(rank, port, out, steps):
    """Train as one of two processes that torchrun has started: with the variables that it sets."""
    os.environ |= {
        "RANK": rank,
        "LOCAL_RANK": rank,
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_RUN_ID": "none",
    }

    def count(step):
        with steps.get_lock():
            steps.value += 1

    training_job.train(out, on_step=count, **SAME)


@pytest.mark.slow  # three more processes import all; the test before has what torchrun sets
def test_torchrun(alone, tmp_path):
    code, said = finish(torchrun(tmp_path, **SAME))
    assert code == 0, said
    assert_two_trained_as_one(tmp_path, alone)
    assert said.count("step 5") == 2


@pytest.mark.slow
def test_a_process_without_usable_pairs_joins_in(tmp_path):
    """Half of the time is silent: with two pairs a step, one process or both have nothing."""
    options = {**SAME, "batch_size": 2, "quiet_until": 40.0, "steps": 12, "checks": 12}
    training_job.train(tmp_path / "one", **options)
    code, said = finish(torchrun(tmp_path / "two", **options))
    assert code == 0, said
    assert said.count("step 3\n") > 2  # a batch that nobody could use is no step
    assert_same_training(tmp_path / "one", tmp_path / "two", steps=12)


@pytest.mark.slow
@pytest.mark.parametrize(("first", "then"), [(1, 2), (2, 1), (2, 3)])
def test_a_checkpoint_of_some_processes_is_resumed_by_others(alone, tmp_path, first, then):
    job = torchrun(tmp_path, first, **SAME, fail=[0, 3])
    code, said = finish(job)
    assert code != 0 and "had enough" in said
    assert len(losses(tmp_path)) == 3
    code, said = finish(torchrun(tmp_path, then, **SAME))
    assert code == 0, said
    assert "step 2\n" not in said and "step 3\n" in said
    assert_same_training(tmp_path, alone)


@pytest.mark.slow
@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_all_processes_with_a_checkpoint(tmp_path, stop):
    rarely = {**SAME, "steps": 3000, "checks": 2}  # the signal comes long before the second check
    job = torchrun(tmp_path, **rarely)
    while (line := job.stdout.readline()) and line != "step 20\n":
        pass
    job.send_signal(stop)
    code, said = finish(job)
    assert code != 0 and "call pretrain again" in said
    last = max(steps_of(said), default=20)
    code, said = finish(torchrun(tmp_path, **{**rarely, "steps": last + 5}))
    assert code == 0, said
    assert min(steps_of(said)) == last + 1, "the work of the steps before the signal was lost"


def steps_of(said):
    return [int(step) for step in re.findall(r"^step (\d+)$", said, flags=re.MULTILINE)]


@pytest.mark.slow
@pytest.mark.parametrize("failing", [0, 1])
def test_an_error_in_one_process_ends_all(tmp_path, failing):
    code, said = finish(torchrun(tmp_path, **SAME, fail=[failing, 2]))
    assert code != 0 and "this process has had enough" in said


@pytest.mark.slow
def test_processes_that_do_not_agree_are_refused(tmp_path):
    code, said = finish(torchrun(tmp_path, **SAME, own_seed=True))
    assert code != 0 and "the 2 processes differ in seed" in said


@pytest.mark.slow
def test_time_limits_all_processes_alike(tmp_path):
    options = {"max_minutes": 0.05, "batch_size": 6, "dropout": 0.1}
    code, said = finish(torchrun(tmp_path, **options))
    assert code == 0, said
    np.testing.assert_array_equal(weights(tmp_path, 0), weights(tmp_path, 1))


@pytest.mark.slow
def test_devices_start_the_script_again(alone, tmp_path):
    command = [sys.executable, str(JOB), str(tmp_path), json.dumps({**SAME, "devices": 2})]
    code, said = finish(start(command))
    assert code == 0, said
    assert_same_training(tmp_path, alone)
    assert said.count("step 5") == 2


@pytest.mark.slow
def test_slurm(alone, tmp_path):
    """Two processes with the variables of `srun --ntasks-per-node=2`."""
    slurm = {
        "SLURM_JOB_ID": "1",
        "SLURM_NTASKS": "2",
        "SLURM_NTASKS_PER_NODE": "2",
        "SLURM_NNODES": "1",
        "SLURM_NODEID": "0",
        "SLURM_NODELIST": "127.0.0.1",
        "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_STEP_NUM_NODES": "1",
        "MASTER_PORT": str(free_port()),
    }
    command = [sys.executable, str(JOB), str(tmp_path), json.dumps(SAME)]
    jobs = [start(command, **slurm, SLURM_PROCID=rank, SLURM_LOCALID=rank) for rank in "01"]
    for code, said in map(finish, jobs):
        assert code == 0, said
    assert_same_training(tmp_path, alone)


def test_what_contradicts_the_launcher_is_refused(monkeypatch):
    from pynapple_nuclr.pretraining.distributed import find_launched, start_trainer

    assert find_launched() is None
    # A batch script, or a notebook, within a job of several tasks is one process.
    monkeypatch.setenv("SLURM_NTASKS", "4")
    monkeypatch.setenv("SLURM_JOB_NAME", "notebook")
    assert start_trainer(1, "32-true", None).world_size == 1
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "4")
    with pytest.raises(ValueError, match="--ntasks-per-node"):
        start_trainer("auto", "32-true", None)
    monkeypatch.setenv("SLURM_NTASKS_PER_NODE", "4")
    with pytest.raises(ValueError, match="srun has started 4 .* leave devices out"):
        start_trainer(2, "32-true", None)
