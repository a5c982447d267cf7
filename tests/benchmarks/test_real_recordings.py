"""The readers of the real recordings, against the figures of the data's own README."""

from collections import Counter

import numpy as np
import pynapple as nap
import pytest

import recordings as readers


@pytest.fixture(scope="module")
def sessions(data_dir):
    return readers.steinmetz(data_dir)


@pytest.mark.slow  # all sessions are read
def test_steinmetz_has_the_units_and_trials_that_its_readme_counts(sessions):
    regions = Counter(region for units in sessions.values() for region in units["region"])
    silent = sum(len(units[unit]) == 0 for units in sessions.values() for unit in units.index)

    assert len(sessions) == 14
    assert {name: regions[name] for name in readers.GROUPS} == {
        "HPF": 1632,
        "VIS": 1753,
        "TH": 1761,
        "MB": 435,
    }
    assert sum(map(len, sessions.values())) == 11706
    assert silent == 295
    assert sum(len(units.time_support) for units in sessions.values()) == 4036


def test_steinmetz_spikes_count_back_into_their_bins(data_dir, steinmetz_session):
    data = np.load(data_dir / "steinmetz2019" / "cori_20161214.npz")
    edges = data["trial_start"][:, None] + np.arange(41) * data["bin_size"]
    busiest = np.argsort(data["counts"].sum(axis=(0, 2)))[-5:]
    for unit in busiest:
        times = steinmetz_session[int(unit)].t
        counted = [np.histogram(times, bins=trial)[0] for trial in edges]
        np.testing.assert_array_equal(counted, data["counts"][:, unit])


def test_steinmetz_spikes_lie_within_their_trials(steinmetz_session):
    again = steinmetz_session.restrict(steinmetz_session.time_support)
    np.testing.assert_array_equal(again["rate"], steinmetz_session["rate"])


def test_head_direction_is_one_continuous_recording(data_dir):
    (units,) = readers.head_direction(data_dir).values()
    assert Counter(units["brain_area"]) == {"ADn": 17, "PoS": 15}
    assert len(units.time_support) == 1
    assert units.time_support.tot_length() == pytest.approx(38 * 60, abs=30)
    assert sum(len(units[unit]) for unit in units.index) == 385173


def test_optotagged_cells_share_the_time_support_of_their_session(data_dir):
    sessions = readers.optotagged(data_dir)
    kinds = Counter(kind for units in sessions.values() for kind in units["cell_type"])
    assert len(sessions) == 33
    assert kinds["Axo_Axonic"] == 35
    assert sum(kinds.values()) == 73  # of 74, one of them twice
    for units in sessions.values():
        (start, end) = units.time_support.values[0]
        for unit in units.index:
            assert start <= units[unit].t[0] <= units[unit].t[-1] <= end


def test_worms_keep_the_clock_of_the_rig(data_dir):
    worms = readers.worms(data_dir)
    named = [int((worm["neuron_class"] != "").sum()) for worm in worms.values()]
    assert len(worms) == 7
    assert sorted(named)[:2] == [0, 0]  # two unlabelled worms
    assert all(87 <= count <= 109 for count in sorted(named)[2:])
    assert all(worm.t[0] > 6e5 for worm in worms.values())


def test_hippocampus_sessions_are_sparse_events_in_two_epochs(data_dir):
    sessions = readers.hippocampus(data_dir)
    assert len(sessions) == 56
    for frame in sessions.values():
        assert isinstance(frame, nap.TsdFrame)
        assert len(frame.time_support) == 2
        assert 0.002 < np.mean(frame.values != 0) < 0.01
        assert len(set(frame["region"])) == 1


def test_rats_have_the_units_that_their_readme_counts(data_dir):
    sessions = readers.rats(data_dir)
    assert len(sessions) == 38
    assert len({units["subject"].iloc[0] for units in sessions.values()}) == 8
    assert sum(map(len, sessions.values())) == 5804
    for units in sessions.values():
        (epoch,) = units.time_support.values
        assert all(epoch[0] <= units[unit].t[0] <= units[unit].t[-1] <= epoch[1] for unit in units)


@pytest.mark.slow  # all sessions are read
def test_rat_decisions_lie_in_trials_without_inactivation(data_dir):
    sessions = readers.rat_decisions(data_dir)
    assert len(sessions) == 89
    assert len({units["subject"].iloc[0] for units in sessions.values()}) == 9
    for units in list(sessions.values())[:3]:
        again = units.restrict(units.time_support)
        np.testing.assert_array_equal(again["rate"], units["rate"])
    data = np.load(data_dir / "rat_decisions" / "T176_2018_05_03.npz")
    shown = np.repeat(~data["photostimulus"], data["trial_bins"])
    spikes = sum(len(train) for train in sessions["T176_2018_05_03"].values())
    assert spikes == data["counts"][:, shown].sum()


def test_the_macaque_has_19_sessions_of_15_to_53_units(data_dir):
    sessions = readers.macaque(data_dir)
    assert len(sessions) == 19
    assert all(15 <= len(units) <= 53 for units in sessions.values())
    assert set.union(*(set(units["region"]) for units in sessions.values())) == {
        "ACC",
        "DLPFC",
        "Caudate",
        "Putamen",
        "FP",
    }


def test_zebrafish_share_their_regions(data_dir):
    fish = readers.zebrafish(data_dir)
    assert len(fish) == 18
    assert all(frame.shape[0] == 892 and 64 <= frame.shape[1] <= 69 for frame in fish.values())


def test_worms_of_other_laboratories(data_dir):
    kato, atanas = readers.worms_kato(data_dir), readers.worms_atanas(data_dir)
    assert [len(kato), len(atanas)] == [5, 1]
    named = [int((worm["neuron_class"] != "").sum()) for worm in kato.values()]
    assert all(31 <= count <= 47 for count in named)
    (worm,) = atanas.values()
    assert worm.shape[1] == 98
