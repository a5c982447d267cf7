"""A training that is killed, at whatever moment, ends with the weights of one that was not."""

import csv
import os
import signal
import time

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
import training_job
from ready_processes import READY
from tally import counts

from pynapple_nuclr.pretraining import held_out_time
from pynapple_nuclr.pretraining.training_checkpoints import read_checkpoint

RUN = {"steps": 14, "checks": 5, "batch_size": 4, "dropout": 0.2, "keep_checks": True}
PATIENCE = 120  # seconds until a job counts as hung


def job(out, reached, dying, options):
    """Train; `reached` holds the steps begun. `dying`: (file, how often) to die in writing it."""
    if dying is not None:
        die_in_writing(*dying)

    def on_step(step):
        reached.value += 1

    training_job.train(out, on_step=on_step, **options)


def die_in_writing(name, times):
    """Let this process be killed when half of a file is written, the n-th time it is."""
    replace, left = os.replace, [times]

    def half(source, target):
        if os.path.basename(target) == name:
            left[0] -= 1
            if not left[0]:
                os.truncate(source, os.path.getsize(source) // 2)
                os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)

    os.replace = half


def run(out, *, kill=None, dying=None, **changes):
    """Run the job; `kill` is (steps, seconds, signal) after which a signal is sent.

    Returns
    -------
    int
        Exit code: 0, or minus the signal that killed it.
    """
    out.mkdir(exist_ok=True)
    reached = READY.Value("i", 0)
    process = READY.Process(target=job, args=(out, reached, dying, {**RUN, **changes}))
    process.start()
    if kill is not None:
        steps, seconds, number = kill
        while process.is_alive() and reached.value < steps:
            time.sleep(0.001)
        time.sleep(seconds)
        if process.is_alive():
            os.kill(process.pid, number)
    process.join(PATIENCE)
    assert process.exitcode is not None, "the job hangs"
    counts["trainings killed (SIGKILL)"] += process.exitcode == -signal.SIGKILL
    return process.exitcode


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a run that nobody disturbs."""
    out = tmp_path_factory.mktemp("whole")
    assert run(out) == 0
    return out


def assert_same_run(out, other):
    """Weights, checkpoint, metrics and the encoder of every check are the same; no rests."""
    counts["trainings disturbed and ended bit for bit as the undisturbed one"] += 1
    np.testing.assert_array_equal(np.load(out / "weights_0.npy"), np.load(other / "weights_0.npy"))
    one, two = (read_checkpoint(f / "last.safetensors") for f in (out, other))
    for key in ("state_dict", "optimizer_states"):
        torch.testing.assert_close(one[key], two[key], rtol=0, atol=0)
    assert one["nuclr"]["position"] == two["nuclr"]["position"]
    assert metrics(out) == metrics(other)
    assert files(out) == files(other)


def metrics(out):
    with (out / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def files(out):
    return sorted(str(path.relative_to(out)) for path in out.rglob("*"))


def kill_often(out, kills, seed):
    """Kill the job at random moments, so often that it ends, and return how often it was killed."""
    rng = np.random.default_rng(seed)
    killed = 0
    for _ in range(kills):
        moment = (int(rng.integers(0, 6)), float(rng.uniform(0, 0.1)), signal.SIGKILL)
        code = run(out, kill=moment)
        assert code in (0, -signal.SIGKILL)
        killed += code != 0
    assert run(out) == 0
    return killed


@pytest.mark.slow  # the tests below kill it at chosen moments
def test_a_run_that_is_killed_at_random_moments_ends_as_one_that_is_not(whole, tmp_path):
    assert len(metrics(whole)) >= 5
    assert kill_often(tmp_path, kills=3, seed=0) >= 2
    assert_same_run(tmp_path, whole)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 11))
def test_a_run_that_is_killed_many_times(whole, tmp_path, seed):
    assert kill_often(tmp_path, kills=8, seed=seed) >= 3
    assert_same_run(tmp_path, whole)


@pytest.mark.parametrize("name", ["last.safetensors", "metrics.csv"])
def test_a_run_that_is_killed_while_it_writes(whole, tmp_path, name):
    assert run(tmp_path, dying=(name, 3)) == -signal.SIGKILL
    assert list(tmp_path.glob(f".nuclr-*/{name}"))
    assert run(tmp_path) == 0
    assert_same_run(tmp_path, whole)


def test_sigterm_ends_the_training_after_the_step(whole, tmp_path):
    assert run(tmp_path, kill=(3, 0.0, signal.SIGTERM)) == 1  # an exception, not a death
    saved = read_checkpoint(tmp_path / "last.safetensors")
    assert saved["global_step"] in (3, 4, 5)
    assert run(tmp_path) == 0
    assert_same_run(tmp_path, whole)


@pytest.mark.parametrize("moment", ["in a check", "between the weights of a step", "in a save"])
def test_ctrl_c_at_an_awkward_moment(whole, tmp_path, monkeypatch, moment):
    where = {
        "in a check": (held_out_time, "held_out_score"),
        "between the weights of a step": (torch.optim.AdamW, "step"),
        "in a save": (pl.Trainer, "save_checkpoint"),
    }[moment]
    with monkeypatch.context() as patch:
        patch.setattr(*where, interrupted_at(4, getattr(*where)))
        with pytest.raises(KeyboardInterrupt, match="call pretrain again"):
            training_job.train(tmp_path, **RUN)
    training_job.train(tmp_path, **RUN)
    assert_same_run(tmp_path, whole)


def interrupted_at(call, function):
    """Return the function with Ctrl-C pressed at its end, the n-th time."""
    calls = [0]

    def pressed(*args, **kwargs):
        result = function(*args, **kwargs)
        calls[0] += 1
        if calls[0] == call:
            raise KeyboardInterrupt
        return result

    return pressed
