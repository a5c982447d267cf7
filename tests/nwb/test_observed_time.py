"""When units were observed: intervals, invalid times, clocks, trials."""

from __future__ import annotations

import re

import numpy as np
import pynapple as nap
import pytest
from foreign_files import (
    add_traces,
    quietly,
    roi_table,
    session,
    trains,
    units_file,
    write,
)
from pynwb.epoch import TimeIntervals

import pynapple_nuclr as nap_nuclr
from pynapple_nuclr.nwb.units import read_recording, read_units

# --- observed time -------------------------------------------------------------------------------

ALL = [[0.0, 20.0]]
OBSERVED = {
    # shift of the spikes, factor, intervals of each unit → which spikes are kept, what is said
    "shifted by much": (50, 1, [ALL] * 4, lambda t, _: t > -1, "another clock"),
    "in milliseconds": (0, 1000, [ALL] * 4, lambda t, _: t > -1, "another clock"),
    "some seconds more": (0, 1, [[[0.0, 19.0]]] * 4, lambda t, _: t <= 19, "left out"),
    "two without": (
        0,
        1,
        [[[0.0, 10.0]], [[0.0, 10.0]], [], []],
        lambda t, i: (t <= 10) | (i > 1),
        "keep all",
    ),
    "one without, others between": (
        0,
        1,
        [[[0.0, 5.0], [9.0, 20.0]]] * 3 + [[]],
        lambda t, i: (t <= 5) | (t >= 9) | (i == 3),
        "1 of 4 units have no obs_intervals",
    ),
}


@pytest.mark.parametrize("name", OBSERVED)
def test_spikes_outside_of_the_observed_time(tmp_path, name):
    shift, factor, intervals, kept, words = OBSERVED[name]
    times = [one * factor + shift for one in trains()]
    path = units_file(
        tmp_path / "x.nwb", times, obs_intervals=[np.reshape(one, (-1, 2)) for one in intervals]
    )
    units, said = quietly(read_units, path)
    for i, one in enumerate(times):
        np.testing.assert_allclose(units[i].t, one[kept(one, i)], atol=1e-9)
    share = re.search(r"(\d+) of (\d+) spikes \(([\d.]+)%\)", " ".join(said))
    assert share and float(share[3]) > 0
    assert any(words in one for one in said)


TOUCHING = {
    # microseconds between the intervals → are they one
    "touch": (0, True),
    "overlap": (-500, True),
    "nearly touch": (900, True),
    "are apart": (1100, False),
}


@pytest.mark.parametrize("name", TOUCHING)
def test_observed_intervals_that_touch_are_one(tmp_path, name):
    """A recording that is stored by trial, without gaps, was observed as a whole."""
    apart, is_one = TOUCHING[name]
    starts = np.arange(0, 20, 2.0)
    intervals = np.column_stack((starts, starts + 2 - apart / 1e6))
    path = units_file(tmp_path / "x.nwb", obs_intervals=[intervals] * 4)
    units, _ = quietly(read_units, path)
    expected = [[0.0, intervals[-1, 1]]] if is_one else intervals
    np.testing.assert_allclose(units.time_support.values, expected, atol=1e-9)
    if apart <= 0:  # no spike between them is lost
        ends = intervals[-1, 1]
        assert [len(one) for one in units.values()] == [(one <= ends).sum() for one in trains()]


@pytest.mark.parametrize("observed", [True, False])
def test_trials_that_touch_stay_apart(tmp_path, observed):
    """No window of a recording may cross from one trial into the next; also not once written."""
    edges = np.arange(0, 21, 2.0)

    def change(nwbfile):
        for start, stop in zip(edges[:-1], edges[1:], strict=True):
            nwbfile.add_trial(start_time=start, stop_time=stop)

    known = {"obs_intervals": [ALL] * 4} if observed else {}
    path = units_file(tmp_path / "x.nwb", change=change, **known)
    units, said = quietly(read_units, path, epochs="trials")
    assert len(units.time_support) == 10 and not said
    again = read_units(nap_nuclr.write_units(units, tmp_path / "y.nwb"))
    np.testing.assert_allclose(again.time_support.values, units.time_support.values, atol=1e-9)


CLOCKS = {
    # factor and shift of times from 0 to 600 s; first start and period of 60 trials → is it said
    "one clock": (1, 0, 0, 10, False),
    "the task in the middle": (1, 0, 290, 0.3, False),
    "the recording in the middle": (1, 0, -3000, 100, False),
    "a clock of Unix": (1, 1.6e9, 0, 10, True),
    "another start": (1, 0, 5000, 10, True),
    "in milliseconds": (1000, 0, 0, 10, True),
    "from the start of each trial": (0.01, -3, 0, 10, True),
}


@pytest.mark.parametrize("of_traces", [False, True])
@pytest.mark.parametrize("name", CLOCKS)
def test_times_that_do_not_fit_the_trials(tmp_path, name, of_traces):
    factor, shift, first, period, is_said = CLOCKS[name]

    def change(nwbfile):
        for start in first + period * np.arange(60.0):
            nwbfile.add_trial(start_time=start, stop_time=start + 0.6 * period)

    path = tmp_path / "x.nwb"
    if of_traces:
        frames = np.arange(0, 600, 0.5) * factor + shift
        nwbfile = session()
        add_traces(nwbfile, roi_table(nwbfile, 3), np.ones((len(frames), 3)), timestamps=frames)
        change(nwbfile)
        write(nwbfile, path)
    else:
        units_file(path, [30 * one * factor + shift for one in trains()], change=change)
    recording, said = quietly(read_recording, path)
    assert sum("its 60 trials" in one for one in said) == len(said) == is_said
    assert recording.time_support.tot_length() > 0.9 * 600 * factor


INVALID = {
    "one": ([(5.0, 8.0)], [[0, 5], [8, 20]]),
    "two, overlapping": ([(5.0, 8.0), (7.0, 9.0)], [[0, 5], [9, 20]]),
    "two that touch": ([(5.0, 8.0), (8.0, 9.0)], [[0, 5], [9, 20]]),
    "at the start": ([(0.0, 4.0)], [[4, 20]]),
    "without an end": ([(15.0, np.nan)], [[0, 15]]),
}


@pytest.mark.parametrize("tags", [False, True])
@pytest.mark.parametrize("name", INVALID)
def test_invalid_times_are_not_observed(tmp_path, name, tags):
    rows, expected = INVALID[name]

    def change(nwbfile):
        for start, stop in rows:
            more = {"tags": ["artefact"]} if tags else {}
            nwbfile.add_invalid_time_interval(start_time=start, stop_time=stop, **more)

    path = units_file(tmp_path / "x.nwb", change=change, obs_intervals=[ALL] * 4)
    units, said = quietly(read_units, path)
    np.testing.assert_allclose(units.time_support.values, expected)
    assert sum("invalid_times" in one for one in said) == 1
    for one in units.values():
        assert all(((one.t >= start) & (one.t <= end)).any() for start, end in expected)


def test_only_invalid_time_is_refused(tmp_path):
    def change(nwbfile):
        nwbfile.add_invalid_time_interval(start_time=-1.0, stop_time=99.0)

    with pytest.raises(ValueError, match=r"x\.nwb: its invalid_times cover all"):
        read_units(units_file(tmp_path / "x.nwb", change=change))


# --- clocks --------------------------------------------------------------------------------------

PARTS = {
    "twice from 0": [(0, 20), (0, 20)],
    "three times": [(0, 20), (0, 20), (0, 20)],
    "shorter, then longer": [(0, 8), (0, 20)],
    "back into the middle": [(0, 20), (10, 30)],
}


def parts_of(ranges, n=4):
    rng = np.random.default_rng(1)
    return [[np.sort(rng.uniform(*one, 200)) for one in ranges] for _ in range(n)]


@pytest.mark.parametrize("name", PARTS)
def test_a_clock_that_starts_again(tmp_path, name):
    parts = parts_of(PARTS[name])
    path = units_file(tmp_path / "x.nwb", [np.concatenate(one) for one in parts])
    for read in (read_units, read_recording, nap_nuclr.read_units):
        with pytest.raises(
            ValueError, match=r'x\.nwb: the clock starts again.* s, then .*clock="r'
        ):
            read(path)
    units, said = quietly(read_units, path, clock="restart")
    assert sum("one after the other" in one for one in said) == 1
    assert len(units.time_support) == len(PARTS[name])
    for i, one in enumerate(parts):
        starts = np.searchsorted(units[i].t, units.time_support.start)
        found = np.split(units[i].t, starts[1:])
        for k, part in enumerate(one):
            np.testing.assert_allclose(np.diff(found[k]), np.diff(part), atol=1e-8)


def test_units_that_do_not_show_the_parts_are_said(tmp_path):
    times = [np.concatenate(one) for one in parts_of([(0, 20), (0, 20)])]
    path = units_file(tmp_path / "x.nwb", [*times, np.arange(30) / 2.0, np.empty(0)])
    units, said = quietly(read_units, path, clock="restart")
    assert len(units[4]) == 0 and any("unit 4" in one and "30 spikes" in one for one in said)


def test_slow_units_do_not_show_a_short_part(tmp_path):
    fast = [np.concatenate(one) for one in parts_of([(0, 8), (0, 200)])]
    slow = [np.sort(np.random.default_rng(i).uniform(9, 200, 60)) for i in range(12)]
    with pytest.raises(ValueError, match="in the spike times of 4 of 16 units"):
        read_units(units_file(tmp_path / "x.nwb", [*fast, *slow]))


@pytest.mark.parametrize("far", [1, 2, 150])
def test_spikes_that_changed_places_are_sorted(tmp_path, far):
    times = trains()
    mixed = [one.copy() for one in times]
    mixed[3][[10, 10 + far]] = mixed[3][[10 + far, 10]]
    units, said = quietly(read_units, units_file(tmp_path / "x.nwb", mixed))
    assert len(said) == 1 and "1 of 4 units are not in order" in said[0] and "trial" not in said[0]
    np.testing.assert_allclose(units[3].t, times[3], atol=1e-9)


@pytest.mark.parametrize("n_merged", [1, 2])
def test_units_that_were_merged_are_no_clock_that_starts_again(tmp_path, n_merged):
    """Spyglass appends the spikes of one cluster to those of another; other units are in order."""
    times = trains(6)
    merged = [np.concatenate(pair) for pair in zip(times, trains(6, seed=1), strict=True)]
    path = units_file(tmp_path / "x.nwb", times[n_merged:] + merged[:n_merged])
    units, said = quietly(read_units, path)
    assert len(said) == 1 and f"{n_merged} of 6 units are not in order" in said[0]
    for one, right in zip(units.values(), [*times[n_merged:], *merged[:n_merged]], strict=True):
        np.testing.assert_allclose(one.t, np.sort(right), atol=1e-9)


def test_times_within_trials_are_warned_of(tmp_path):
    trials = [[one[one < 1] for one in trains(seed=seed)] for seed in range(20)]
    times = [np.concatenate(of_unit) for of_unit in zip(*trials, strict=True)]
    path = units_file(tmp_path / "x.nwb", times)
    _, said = quietly(read_units, path)
    assert len(said) == 1 and "4 of 4 units are not in order" in said[0]
    assert "from the start of each trial, all trials now lie on each other" in said[0]


def test_an_unknown_clock_is_refused(tmp_path):
    with pytest.raises(ValueError, match="clock is 'again'; expected 'continuous' or 'restart'"):
        read_units(units_file(tmp_path / "x.nwb"), clock="again")


# --- trials --------------------------------------------------------------------------------------

NO_TRIALS = {
    "relative to each": [(0.0, 4.0)] * 40,
    "relative, of any length": [(-1.0, 3.0 + i % 3) for i in range(40)],
    "relative to a cue": [(0.1 * (7 * i % 5), 4.0) for i in range(40)],
    "relative to each, a few": [(0.0, 4.0 + i) for i in range(4)],
    "relative to each, two": [(0.0, 4.0)] * 2,
    "of no length": [(float(i), float(i)) for i in range(40)],
    "all at 0": [(0.0, 0.0)] * 40,
    "without an end": [(float(i), np.nan) for i in range(40)],
    "reversed": [(i + 1.0, float(i)) for i in range(40)],
    "of another clock": [(5000.0 + i, 5000.5 + i) for i in range(40)],
}


@pytest.mark.parametrize("name", NO_TRIALS)
def test_trials_that_are_not_in_the_time_of_the_session(tmp_path, name):
    def change(nwbfile):
        for start, stop in NO_TRIALS[name]:
            nwbfile.add_trial(start_time=start, stop_time=stop)

    path = units_file(tmp_path / "x.nwb", change=change)
    first = "{:g} to {:g}".format(*NO_TRIALS[name][0])
    for read in (read_units, read_recording):
        with pytest.raises(
            ValueError, match=rf"x\.nwb.*'trials' begin with {first}.*expected start"
        ):
            read(path, epochs="trials")


OVERLAPPING = {
    "levels": [(0.0, 20.0), (0.0, 10.0), (10.0, 20.0), (0.0, 5.0), (5.0, 10.0)],
    "the session and its baseline": [(0.0, 20.0), (0.0, 8.0)],
    "two that follow": [(0.0, 12.0), (8.0, 20.0), (8.0, 14.0)],
    "the session among its parts": [(0.0, 4.0), (0.0, 20.0), (4.0, 20.0)],
}


@pytest.mark.parametrize("name", OVERLAPPING)
def test_epochs_that_overlap_are_read(tmp_path, name):
    def change(nwbfile):
        for start, stop in OVERLAPPING[name]:
            nwbfile.add_epoch(start_time=start, stop_time=stop)

    path = units_file(tmp_path / "x.nwb", change=change, obs_intervals=[ALL] * 4)
    np.testing.assert_allclose(read_units(path, epochs="epochs").time_support.values, ALL)


@pytest.mark.parametrize("asked", ["trials", "intervals"])
def test_trials_without_recording_are_left_out(tmp_path, asked):
    """Spikes are from 0 to 20 s: before and after them nothing was recorded, not silence."""
    rows = np.array([[i, i + 2.0] for i in range(-20, 60, 4)])

    def change(nwbfile):
        for start, stop in rows:
            nwbfile.add_trial(start_time=start, stop_time=stop)

    path = units_file(tmp_path / "x.nwb", change=change)
    epochs = "trials" if asked == "trials" else nap.IntervalSet(rows)
    name = "trials" if asked == "trials" else "epochs"
    units, said = quietly(read_units, path, epochs=epochs)
    np.testing.assert_allclose(units.time_support.values, rows[5:10])  # whole, not cut
    assert len(said) == 1 and f"x.nwb: 15 of 20 intervals '{name}' do not overlap" in said[0]
    assert quietly(read_units, path, epochs=nap.IntervalSet(rows[5:10]))[1] == []


def file_with_trials_at(path, *places):
    """A table of trials at each place: the k-th has one trial, from k to k + 5 s."""

    def change(nwbfile):
        for i, place in enumerate(places):
            table = TimeIntervals(name="trials", description="x")
            table.add_interval(start_time=float(i), stop_time=i + 5.0)
            if place == "intervals":
                nwbfile.trials = table
            else:
                nwbfile.create_processing_module(place, "x").add(table)

    return units_file(path, change=change, obs_intervals=[ALL] * 4)


def test_of_two_tables_of_trials_that_of_the_session_is_read(tmp_path):
    path = file_with_trials_at(tmp_path / "x.nwb", "behavior", "intervals", "passive")
    units, said = quietly(read_units, path, epochs="trials")
    np.testing.assert_allclose(units.time_support.values, [[1, 6]])
    assert len(said) == 1 and "'intervals/trials' are used" in said[0]
    assert all(f"processing/{place}/trials" in said[0] for place in ("behavior", "passive"))
    for i, place in enumerate(("processing/behavior", "intervals", "/processing/passive")):
        units, said = quietly(read_units, path, epochs=f"{place}/trials")
        np.testing.assert_allclose(units.time_support.values, [[i, i + 5]])
        assert not said
    with pytest.raises(ValueError, match=r"no intervals 'trial'; it has .*intervals/trials"):
        read_units(path, epochs="trial")


def test_of_two_tables_of_trials_elsewhere_the_place_is_asked_for(tmp_path):
    path = file_with_trials_at(tmp_path / "x.nwb", "behavior", "passive")
    with pytest.raises(ValueError, match=r"x\.nwb has several .*epochs='processing/behavior/t"):
        read_units(path, epochs="trials")
    units, said = quietly(read_units, path, epochs="passive/trials")
    np.testing.assert_allclose(units.time_support.values, [[1, 6]])
    assert not said


def test_times_of_unix_clocks_are_not_rounded_in_messages(tmp_path):
    """Six digits would make all times of a day one."""
    midnight = 1_764_547_200.0
    path = units_file(tmp_path / "x.nwb", [one + midnight for one in trains()])
    late = nap.IntervalSet(midnight + 500, midnight + 600)
    first, last = (f"17645472{second}" for second in ("00", "20"))
    with pytest.raises(ValueError, match=rf"{first} to {last} s.* 1764547700 to 1764547800 s"):
        read_units(path, epochs=late)
