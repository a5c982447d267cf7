"""LOLCAT: intervals within snippets and epochs, and what its network learns from them."""

import warnings

import numpy as np
import pynapple as nap
import pytest
from sklearn.metrics import f1_score

import pynapple_nuclr as nap_nuclr
from pynapple_nuclr.baselines.lolcat import Lolcat
from pynapple_nuclr.baselines.lolcat.class_sampler import AdaptiveSampler
from pynapple_nuclr.baselines.lolcat.interval_histograms import interval_histograms
from pynapple_nuclr.config import EncoderConfig
from pynapple_nuclr.recording import as_recording

CHANCE = 0.33  # of three classes
JOINED = EncoderConfig(patch_duration=0.2, window_duration=0.8, gaps="join")


def group(*trains, epochs):
    support = nap.IntervalSet(*epochs)
    return nap.TsGroup(
        {i: nap.Ts(np.array(train), time_support=support) for i, train in enumerate(trains)},
        time_support=support,
    )


def counted(units, config, bins=4):
    return interval_histograms(as_recording(units), config, bins)


def test_intervals_cross_no_window_and_no_gap():
    config = EncoderConfig(window_duration=1.0)
    units = group([0.1, 0.2, 0.95, 1.05, 1.06], [2.9, 6.1, 6.4], epochs=([0, 6], [3, 9]))
    snippets = counted(units, config)
    assert snippets.counts.shape == (2, 6, 4)
    assert snippets.counts.sum(axis=2).tolist() == [[2, 1, 0, 0, 0, 0], [0, 0, 0, 1, 0, 0]]


def test_windows_that_join_trials_hold_the_intervals_within_trials():
    # Two patches a trial, four a window: each window holds two trials.
    epochs = ([0, 5, 10, 15], [0.4, 5.4, 10.4, 15.4])
    inside = [0.05, 0.35, 5.1, 10.1, 10.15, 10.25, 15.3]
    snippets = counted(group(inside, epochs=epochs), JOINED)
    assert snippets.counts.sum(axis=2).tolist() == [[1, 2]]


def test_bins_are_logarithmic_and_the_last_edge_is_a_window():
    config = EncoderConfig(window_duration=10.0)
    edges = np.geomspace(0.001, 10, 5)  # the first four bins end at the first four
    intervals = np.array([0.0005, 0.002, 0.05, 0.5, 3.0])
    units = group(np.cumsum(intervals), epochs=(0, 10))
    expected = np.bincount(np.searchsorted(edges[:-1], intervals[1:], "right"), minlength=5)
    assert counted(units, config, bins=5).counts.ravel().tolist() == expected.tolist()


def test_intervals_between_calcium_events_are_counted_in_frames():
    events = np.zeros((60, 2))
    events[[2, 3, 7, 29, 31, 33], 0] = 1.0
    events[:, 1] = np.random.default_rng(0).normal(0, 0.01, 60)
    events[[10, 11, 12, 20, 21], 1] = 5.0  # a trace: an event is where it rises
    traces = nap.TsdFrame(np.arange(60) / 10, events)
    config = EncoderConfig(
        modality="calcium", frame_rate=10.0, patch_frames=5, window_frames=30, signal="events"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the two columns are not of one kind
        counts = counted(traces, config, bins=12).counts
    assert counts.shape == (2, 2, 12)
    assert np.argwhere(counts).tolist() == [[0, 0, 0], [0, 0, 3], [0, 0, 11], [0, 1, 1], [1, 0, 9]]


def test_snippets_last_three_seconds_and_lie_inside_epochs():
    calcium = nap_nuclr.simulate("single", n_units=9, duration=60, modality="calcium")
    for units, seconds in (
        (nap_nuclr.simulate("single", n_units=9, duration=60), 3.0),
        (nap_nuclr.simulate("single", n_units=9, trials=(90, 0.4, 1.0)), 3.0),
        (calcium, 3.0),
    ):
        kinds = {"a": np.asarray(units["cell_type"])}
        fitted = Lolcat(steps=2).fit({"a": units}, kinds)
        assert abs(fitted.config_.window_seconds - seconds) <= fitted.config_.patch_seconds / 2
        assert fitted.predict_proba({"a": units})["a"].shape == (9, 3)


def test_units_of_classes_that_are_mistaken_are_drawn_more_often():
    target = np.repeat([0, 1, 2], [80, 10, 10])
    sampler = AdaptiveSampler(target, 3, np.random.default_rng(0))
    even = np.bincount(target[sampler.draw(3000)]) / 3000
    np.testing.assert_allclose(even, 1 / 3, atol=0.05)
    for _ in range(40):
        sampler.update(target, np.where(target == 1, 0, target))
    shares = np.bincount(target[sampler.draw(3000)]) / 3000
    assert shares[1] > 0.7 and shares[[0, 2]].min() > 0.03


def test_counts_do_not_overflow():
    units = group(np.arange(0, 10, 0.01), np.arange(0, 10, 0.1), epochs=(0, 10))
    snippets = counted(units, EncoderConfig(), bins=1)
    assert snippets.counts.ravel().tolist() == [999, 99]


def learned(world, steps=120, **settings):
    """Macro F1 when trained on one animal and tested on the other."""
    animals = nap_nuclr.simulate(world, n_units=60, duration=150, animals=2, seed=1, **settings)
    trained, tested = animals["animal0"], animals["animal1"]
    lolcat = Lolcat(steps=steps).fit({"a": trained}, {"a": np.asarray(trained["cell_type"])})
    predicted = lolcat.classes_[lolcat.predict_proba({"b": tested})["b"].argmax(axis=1)]
    return float(f1_score(np.asarray(tested["cell_type"]), predicted, average="macro"))


def test_single_is_predicted_by_intervals():
    assert learned("single") > 0.9


def test_single_is_predicted_in_trials():
    assert learned("single", trials=(150, 0.8, 2.0)) > 0.8


@pytest.mark.parametrize("world", ["context", pytest.param("null", marks=pytest.mark.slow)])
def test_worlds_whose_types_fire_alike_are_at_chance(world):
    assert learned(world) < CHANCE + 0.12


@pytest.fixture(scope="module")
def units():
    return nap_nuclr.simulate("single", n_units=60, duration=100, silent=0.1, seed=3)


@pytest.fixture(scope="module")
def fitted(units):
    return Lolcat(steps=60).fit({"a": units}, {"a": np.asarray(units["cell_type"])}, seed=4)


def test_probabilities_and_silent_units(units, fitted):
    answers = fitted.predict_proba({"a": units})["a"]
    silent = ~(np.asarray(units["rate"]) > 0)
    assert silent.sum() == 6
    assert np.isnan(answers[silent]).all()
    np.testing.assert_allclose(answers[~silent].sum(axis=1), 1)
    assert fitted.classes_.tolist() == ["bursting", "fast", "regular"]


def test_a_unit_does_not_depend_on_the_others(units, fitted):
    whole = fitted.predict_proba({"a": units})["a"]
    part = fitted.predict_proba({"new": units[[5, 9, 11]]})["new"]
    np.testing.assert_allclose(part, whole[[5, 9, 11]], atol=1e-6)


def test_same_seed_same_numbers_whatever_the_order(units, fitted):
    import torch

    order = np.random.default_rng(0).permutation(len(units))
    permuted = nap.TsGroup({i: units[int(unit)] for i, unit in enumerate(order)})
    labels = np.asarray(units["cell_type"])[order]
    state = torch.random.get_rng_state()
    again = Lolcat(steps=60).fit({"a": permuted}, {"a": labels}, seed=4)
    assert torch.equal(state, torch.random.get_rng_state())
    expected = fitted.predict_proba({"a": units})["a"][order]
    np.testing.assert_allclose(again.predict_proba({"a": permuted})["a"], expected, atol=1e-6)
    other = Lolcat(steps=60).fit({"a": permuted}, {"a": labels}, seed=5)
    assert not np.allclose(
        other.predict_proba({"a": permuted})["a"], expected, atol=1e-3, equal_nan=True
    )


def test_hidden_labels_are_not_learned_from(units):
    labels = np.asarray(units["cell_type"]).astype(object)
    hidden = labels == "fast"
    fitted = Lolcat(steps=20).fit({"a": units}, {"a": np.where(hidden, "", labels)})
    assert fitted.classes_.tolist() == ["bursting", "regular"]


def test_the_best_weights_are_kept(units):
    units = units[units.index[:24]]
    labels = {"a": np.asarray(units["cell_type"])}
    lolcat = Lolcat(steps=1000, learning_rate=0.01, dropout=0.0).fit({"a": units}, labels)
    steps = [entry["step"] for entry in lolcat.history_]
    losses = [entry["held_out_loss"] for entry in lolcat.history_]
    best = int(np.argmin(losses))
    assert steps[:2] == [50, 100]
    assert steps[-1] < 1000  # it stopped, eight checks after the best
    assert len(losses) - 1 - best == 8
    shorter = Lolcat(steps=steps[best], learning_rate=0.01, dropout=0.0).fit({"a": units}, labels)
    np.testing.assert_array_equal(
        lolcat.predict_proba({"a": units})["a"], shorter.predict_proba({"a": units})["a"]
    )


def test_configurations_are_two_of_the_same_kind():
    first, second = Lolcat(steps=7).candidates()
    assert first.settings() != second.settings()
    assert second.settings()["steps"] == 7
    assert first.settings()["name"] == "lolcat-style"


def test_errors_say_what_is_wrong(units):
    with pytest.raises(ValueError, match="at least two classes"):
        Lolcat().fit({"a": units}, {"a": ["PV"] * len(units)})
    with pytest.raises(ValueError, match="recording 'a': labels have shape"):
        Lolcat().fit({"a": units}, {"a": ["PV"]})
    with pytest.raises(ValueError, match="snippet_dropout is 1"):
        Lolcat(snippet_dropout=1)
    calcium = nap_nuclr.simulate("single", n_units=6, duration=60, modality="calcium")
    with pytest.raises(ValueError, match="calcium"):
        Lolcat(config=EncoderConfig()).fit({"a": calcium}, {"a": ["PV", "SST"] * 3})


def test_real_trials_hold_no_interval_longer_than_a_trial(steinmetz_session):
    labels = np.asarray(steinmetz_session["region"], dtype=str)
    lolcat = Lolcat(steps=5).fit({"a": steinmetz_session}, {"a": labels})
    assert lolcat.config_.gaps == "join"
    counts = counted(steinmetz_session, lolcat.config_, lolcat.bins).counts
    edges = np.geomspace(0.001, lolcat.config_.window_seconds, lolcat.bins)
    assert counts.sum() > 10_000
    assert counts[..., 1:][..., edges[:-1] >= 0.4].sum() == 0  # bins that begin beyond a trial
    answers = lolcat.predict_proba({"a": steinmetz_session})["a"]
    silent = ~(np.asarray(steinmetz_session["rate"]) > 0)
    assert silent.any()
    assert np.isnan(answers[silent]).all()
    assert (np.isfinite(answers).all(axis=1) | np.isnan(answers).all(axis=1)).all()
    assert np.isfinite(answers).all(axis=1).mean() > 0.9
