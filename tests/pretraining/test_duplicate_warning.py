"""`pretrain` warns of units that are probably one neuron, and only of those."""

import time
import warnings

import numpy as np
import pynapple as nap
import pytest
from training_populations import TINY, population

from pynapple_nuclr import pretrain
from pynapple_nuclr.leakage import find_duplicate_units
from pynapple_nuclr.pretraining.duplicate_units import warn_of_duplicate_units
from pynapple_nuclr.recording import as_recording


def with_copy(units, original, new):
    """Return the population with a jittered copy of a unit added."""
    rng = np.random.default_rng(3)
    trains = {i: units[i] for i in units.index}
    times = units[original].t
    trains[new] = nap.Ts(np.sort(times + rng.uniform(-2e-4, 2e-4, len(times))))
    return nap.TsGroup(trains, time_support=units.time_support)


def test_duplicates_are_named_once_with_the_call_that_leaves_them_out():
    units = with_copy(population(), 20, 77)
    recordings = {"day1": units, "day2": population(seed=4)}
    with pytest.warns(UserWarning, match="day1.*20 and 77.*probably one neuron") as caught:
        pretrain(recordings, TINY, steps=1, progress=False)
    (warning,) = [one for one in caught if "one neuron" in str(one.message)]
    assert warning.filename == __file__
    call = str(warning.message).split("out: ")[1]
    kept = eval(call, {"units": units, "np": np})
    assert len(kept) == len(units) - 1
    assert find_duplicate_units(kept) == []


def test_a_recording_that_is_given_twice_is_named():
    days = {"day1": population(), "day2": population(seed=4), "day1_nuclr": population()}
    with pytest.warns(UserWarning, match="'day1' and 'day1_nuclr' have .* units in common") as all_:
        pretrain(days, TINY, steps=1, progress=False)
    assert len([one for one in all_ if "in common" in str(one.message)]) == 1
    frames = np.random.default_rng(0).random((200, 12))
    traces = nap.TsdFrame(t=np.arange(200) * 0.2, d=frames)
    with pytest.warns(UserWarning, match="'a' and 'b' have 12 units in common"):
        warn_of_duplicate_units([as_recording(traces, name=name) for name in "ab"])


def test_times_on_a_coarse_grid_are_no_duplicates(steinmetz_session):
    coarse = {i: nap.Ts(np.unique(population()[i].t.round(2))) for i in range(24)}
    support = nap.IntervalSet(0, 120)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for units in (nap.TsGroup(coarse, time_support=support), steinmetz_session):
            warn_of_duplicate_units([as_recording(units)])


def test_of_very_many_spikes_a_part_is_looked_at():
    rng = np.random.default_rng(0)
    trains = {i: nap.Ts(np.sort(rng.uniform(0, 3600, 50_000))) for i in range(100)}
    units = nap.TsGroup(trains, time_support=nap.IntervalSet(0, 3600))
    recording = as_recording(with_copy(units, 5, 500))
    begun = time.process_time()
    with pytest.warns(UserWarning, match="units 5 and 500 .100%"):
        warn_of_duplicate_units([recording])
    assert time.process_time() - begun < 8
