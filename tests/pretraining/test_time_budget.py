"""The time limit of `pretrain` is kept, and what fits into it is chosen and said."""

import logging
import subprocess
import sys
import time
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from training_populations import TINY, population

from pynapple_nuclr import pretrain
from pynapple_nuclr.pretraining.schedule import Schedule
from pynapple_nuclr.pretraining.step_threads import StepThreads, threads_restored
from pynapple_nuclr.pretraining.time_budget import Sizes, StepCost, choose_sizes

BUSY = [sys.executable, "-c", "while True: pass"]


@contextmanager
def busy_loops(number):
    loops = [subprocess.Popen(BUSY) for _ in range(number)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


@pytest.fixture(scope="module", autouse=True)
def compiled():
    """Import and compile once: the tests measure what is left."""
    pretrain(population(), TINY, steps=1, progress=False)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:only about")
@pytest.mark.parametrize("loops", [0, 2])
@pytest.mark.parametrize("minutes", [0.1, 0.2])
def test_the_wall_time_is_kept(tmp_path, minutes, loops):
    with busy_loops(loops):
        begun = time.monotonic()
        encoder = pretrain(
            population(), TINY, max_minutes=minutes, out=tmp_path, patience=99, progress=False
        )
        took = (time.monotonic() - begun) / 60
    assert 0.7 * minutes < took < 1.15 * minutes
    training = encoder.card["training"]
    assert training["best_held_out_reidentification"] is not None
    assert training["steps"] >= 1


@pytest.mark.filterwarnings("ignore:only about")
def test_sizes_that_fit_are_chosen_recorded_and_used_again(tmp_path, caplog):
    units = population(n_units=150, seconds=60)
    options = {"out": tmp_path, "progress": False}
    with caplog.at_level(logging.INFO, "pynapple_nuclr"):
        first = pretrain(units, TINY, max_minutes=0.05, **options)
    chosen = first.card["training"]["pairs_a_step"], first.card["settings"]["max_units"]
    assert chosen[0] < 4 and chosen[1] < 150
    assert "chosen so that more steps fit into the time" in caplog.text
    assert "s a step" in caplog.text and "chance" in caplog.text
    longer = pretrain(units, TINY, steps=first.card["training"]["steps"] + 1, **options)
    assert longer.card["training"]["pairs_a_step"] == chosen[0]
    assert longer.card["settings"]["max_units"] == chosen[1]
    with pytest.raises(ValueError, match="batch_size differ"):
        pretrain(units, TINY, steps=2, batch_size=7, **options)


def test_what_is_given_is_kept_and_few_steps_are_warned_of():
    with pytest.warns(UserWarning, match="trains next to nothing") as caught:
        encoder = pretrain(
            population(), TINY, max_minutes=0.02, batch_size=40, max_units=24, progress=False
        )
    assert any(warning.filename == __file__ for warning in caught)
    assert encoder.card["training"]["pairs_a_step"] == 40
    assert encoder.card["settings"]["max_units"] == 24


def test_views_become_smaller_before_batches_and_only_as_far_as_needed():
    cost, free = StepCost(1e-3, np.full(10, 300.0)), {"batch_size", "max_units"}
    usual = Sizes(4, None)
    assert choose_sizes(cost, usual, free, 1e4, 10, 200) == usual
    few, fewer, fewest = (choose_sizes(cost, usual, free, s, 10, 200) for s in (400, 150, 1))
    assert few == Sizes(4, 192)
    assert fewer == Sizes(2, 96)
    assert fewest == Sizes(1, 32)
    assert choose_sizes(cost, usual, {"batch_size"}, 1, 10, 200) == Sizes(1, None)
    assert choose_sizes(cost, usual, (), 1, 10, 200) == usual
    assert choose_sizes(cost, usual, free, 1, 40, 200) == Sizes(1, 96)


def test_setup_and_reserve_leave_the_learning_rate_its_course(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    schedule = Schedule(None, 1.0)
    now[0] = 20.0
    schedule.start()
    schedule.reserve = 10.0
    assert schedule.progress(0) == 0 and schedule.share(0) == pytest.approx(1 / 3)
    now[0] = 35.0
    schedule.lap()
    assert schedule.progress(9) == pytest.approx(0.5)
    now[0] = 50.0
    schedule.lap()
    assert schedule.progress(9) == 1
    assert schedule.share(9) == pytest.approx(5 / 6)


@pytest.fixture
def two_threads():
    with threads_restored():
        torch.set_num_threads(2)
        yield


@pytest.mark.parametrize(("several", "chosen"), [(0.5, 2), (0.9, 1), (30.0, 1)])
def test_several_threads_are_used_where_they_are_much_faster(
    two_threads, monkeypatch, several, chosen
):
    monkeypatch.setattr(
        StepThreads, "_time", lambda self, number, stop=0.0: 1.0 if number == 1 else several
    )
    StepThreads(True, 16).measure()
    assert torch.get_num_threads() == chosen


def test_a_slow_step_lets_threads_be_measured_again(two_threads, monkeypatch):
    measured = []
    monkeypatch.setattr(
        StepThreads, "_time", lambda self, number, stop=0.0: measured.append(1) or 1
    )
    threads, inactive = StepThreads(True, 16), StepThreads(False, 16)
    for cost in [1.0] * 20 + [2.0]:
        threads.add(cost)
    assert not measured
    for cost in [30.0] + [1.0] * 6 + [30.0]:  # the second one soon after
        threads.add(cost)
    assert len(measured) == 2 and torch.get_num_threads() == 1
    torch.set_num_threads(2)
    for cost in [1.0] * 20 + [30.0]:
        inactive.add(cost)
    assert len(measured) == 2 and torch.get_num_threads() == 2


def test_operations_are_timed_at_either_number(two_threads):
    StepThreads(True, 16).measure()
    assert torch.get_num_threads() in (1, 2)


@pytest.mark.filterwarnings("ignore:only about")
def test_the_callers_threads_are_given_back(two_threads):
    pretrain(population(), TINY, max_minutes=0.03, progress=False)
    assert torch.get_num_threads() == 2
