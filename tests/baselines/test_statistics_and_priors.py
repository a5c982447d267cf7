"""Statistics and priors: what a unit alone shows, and what the labels of its recording predict."""

import gc
import weakref

import numpy as np
import pynapple as nap
import pytest
import scoring  # benchmarks/scoring.py
from sklearn.metrics import f1_score

import pynapple_nuclr as nap_nuclr
import recordings as readers  # benchmarks/recordings.py
from pynapple_nuclr.baselines import _memoize_per_object as memory
from pynapple_nuclr.baselines._priors import CorrelatedNeighbours, MostCommonLabel
from pynapple_nuclr.baselines._statistics import Statistics

CHANCE = 0.33  # of three classes


def in_trials(counts, width=0.4, gap=2.0):
    """Spikes in the trials of a recording, from counts (units, trials, bins of a trial)."""
    _, trials, bins = counts.shape
    starts = np.arange(trials) * (width + gap)
    epochs = nap.IntervalSet(starts, starts + width)
    middles = (starts[:, None] + (np.arange(bins) + 0.5) * width / bins).ravel()
    trains = {
        unit: nap.Ts(np.repeat(middles, of.ravel()), time_support=epochs)
        for unit, of in enumerate(counts)
    }
    return nap.TsGroup(trains, time_support=epochs)


# Statistics


def across_animals(world):
    animals = nap_nuclr.simulate(world, n_units=80, duration=240, animals=2, seed=1)
    x = Statistics().fit(animals).embed(animals)
    y = {name: np.asarray(units["cell_type"]) for name, units in animals.items()}
    scores = [
        f1_score(y[b], scoring.probe().fit(x[a], y[a]).predict(x[b]), average="macro")
        for a, b in (("animal0", "animal1"), ("animal1", "animal0"))
    ]
    return float(np.mean(scores))


def test_statistics_solve_single_and_nothing_else():
    assert across_animals("single") > 0.9
    assert across_animals("context") < CHANCE + 0.12
    assert across_animals("null") < CHANCE + 0.12


def test_statistics_are_those_of_the_units_and_nan_for_silent_ones():
    units = nap_nuclr.simulate("single", n_units=10, duration=60, silent=0.2)
    x = Statistics().embed({"a": units})["a"]
    known = nap_nuclr.unit_statistics(units).to_numpy()
    silent = ~(np.asarray(units["rate"]) > 0)
    assert np.isnan(x[silent]).all()
    np.testing.assert_array_equal(x[~silent, : known.shape[1]], known[~silent])
    assert (x[~silent, known.shape[1] :] == 0).all()  # no trials, no response


def test_the_mean_response_follows_the_event():
    rng = np.random.default_rng(0)
    rate = np.full((2, 200, 8), 0.3)
    rate[0, :, 2] = 2.0  # the first unit answers in the third eighth of the trial
    response = Statistics().embed({"a": in_trials(rng.poisson(rate))})["a"][:, -8:]
    assert response[0].argmax() == 2
    assert response[0, 2] > 1
    assert np.abs(response[1]).max() < 0.4


def test_the_mean_response_of_calcium_is_in_deviations():
    starts = np.arange(20) * 10.0
    times = (starts[:, None] + np.arange(16) * 0.25).ravel()
    trace = np.where(np.arange(16) // 2 == 5, 3.0, 1.0)
    traces = nap.TsdFrame(
        t=times,
        d=np.stack([np.tile(trace, 20), np.ones(320)], axis=1),
        time_support=nap.IntervalSet(starts, starts + 4.0),
    )
    response = Statistics().embed({"a": traces})["a"][:, -8:]
    expected = (np.arange(8) == 5) * 2.0 - 0.25
    np.testing.assert_allclose(response[0], expected / trace.std(), atol=1e-6)
    assert (response[1] == 0).all()


def test_every_recording_has_the_same_columns():
    trials = nap_nuclr.simulate("single", n_units=4, trials=(20, 0.4, 2.0))
    whole = nap_nuclr.simulate("single", n_units=4, duration=60)
    x = Statistics().embed({"a": trials, "b": whole})
    assert x["a"].shape == x["b"].shape
    less = Statistics(response_bins=0).embed({"a": trials})["a"]
    assert x["a"].shape[1] == less.shape[1] + 8
    with pytest.raises(ValueError, match="response_bins is -1"):
        Statistics(response_bins=-1)


# Priors


@pytest.fixture(scope="module")
def two():
    return nap_nuclr.simulate("context", n_units=60, duration=60, animals=2, silent=0.05, seed=2)


def labels_of(recordings):
    return {name: np.asarray(units["cell_type"]) for name, units in recordings.items()}


def test_the_most_common_label_is_that_of_the_own_recording(two):
    labels = {"animal0": ["PV", "PV", "SST"] + [""] * 57, "animal1": ["SST"] + [None] * 59}
    answers = MostCommonLabel().fit(two, labels).predict_proba(two)
    np.testing.assert_allclose(answers["animal0"], np.tile([2 / 3, 1 / 3], (60, 1)))
    np.testing.assert_allclose(answers["animal1"], np.tile([0, 1], (60, 1)))


@pytest.mark.parametrize("prior", [MostCommonLabel(), CorrelatedNeighbours()])
def test_without_labels_in_the_recording_a_prior_gives_no_answer(two, prior):
    assert prior.uses_test_recording_labels
    labels = labels_of(two)
    labels["animal1"] = np.full(60, "")
    answers = prior.fit(two, labels).predict_proba({**two, "new": two["animal0"]})
    assert np.isfinite(answers["animal0"]).all()
    assert np.isnan(answers["animal1"]).all()
    assert np.isnan(answers["new"]).all()


def test_neighbours_are_those_that_vary_together():
    rng = np.random.default_rng(0)
    side = np.arange(40) % 2
    drive = rng.gamma(1.0, 1.0, (2, 300, 1))
    # Every second unit follows one drive; all share a strong response, which must not count.
    units = in_trials(rng.poisson(drive[side] * np.array([3, 1, 1, 1, 1, 1, 1, 3])))
    labels = np.where(np.arange(40) < 20, np.array(["even", "odd"])[side], "")
    prior = CorrelatedNeighbours(neighbours=5).fit({"a": units}, {"a": labels})
    answers = prior.predict_proba({"a": units})["a"]
    assert (answers.argmax(axis=1) == side).all()
    assert answers[:20].max(axis=1).tolist() == [1.0] * 20


def test_a_unit_does_not_vote_for_itself():
    rng = np.random.default_rng(1)
    follows = rng.poisson(rng.gamma(1.0, 1.0, (1, 300, 1)) * np.ones((6, 300, 8)))
    labels = ["odd one out"] + ["other"] * 5
    prior = CorrelatedNeighbours().fit({"a": in_trials(follows)}, {"a": labels})
    answers = prior.predict_proba({"a": in_trials(follows)})["a"]
    assert answers[0].tolist() == [0.0, 1.0]
    np.testing.assert_allclose(answers[1:], np.tile([0.2, 0.8], (5, 1)))


def test_silent_units_get_the_shares_of_the_recording_and_do_not_vote(two):
    labels = {name: np.full(60, "active", dtype=object) for name in two}
    silent = {name: ~(np.asarray(units["rate"]) > 0) for name, units in two.items()}
    for name in two:
        labels[name][silent[name]] = "silent"
    answers = CorrelatedNeighbours(neighbours=100).fit(two, labels).predict_proba(two)
    for name in two:
        assert silent[name].sum() == 3
        np.testing.assert_allclose(answers[name][silent[name]], np.tile([0.95, 0.05], (3, 1)))
        np.testing.assert_allclose(answers[name][~silent[name]], np.tile([1, 0], (57, 1)))


def test_the_order_of_the_units_does_not_matter(two):
    units, labels = two["animal0"], np.asarray(two["animal0"]["cell_type"])
    order = np.random.default_rng(0).permutation(60)
    permuted = nap.TsGroup({i: units[int(unit)] for i, unit in enumerate(order)})
    prior = CorrelatedNeighbours()
    expected = prior.fit({"a": units}, {"a": labels}).predict_proba({"a": units})["a"]
    answer = prior.fit({"a": permuted}, {"a": labels[order]}).predict_proba({"a": permuted})["a"]
    np.testing.assert_array_equal(answer, expected[order])


@pytest.mark.parametrize("modality", ["spikes", "calcium"])
def test_plain_correlations_where_there_are_no_trials(modality):
    units = nap_nuclr.simulate("context", n_units=60, duration=200, modality=modality, seed=5)
    labels = np.asarray(units["cell_type"])
    shown = np.where(np.arange(60) % 3 == 0, "", labels)
    prior = CorrelatedNeighbours(neighbours=5).fit({"a": units}, {"a": shown})
    answers = prior.predict_proba({"a": units})["a"]
    varied = (labels != "soloist") & (shown == "")  # soloists vary alone
    assert (prior.classes_[answers.argmax(axis=1)] == labels)[varied].mean() > 0.9


def test_bright_calcium_is_correlated_all_the_same():
    units = nap_nuclr.simulate("context", n_units=30, duration=60, modality="calcium", seed=5)
    bright = nap.TsdFrame(t=units.t, d=units.values.astype(float) * 100 + 1e5)
    labels = {"a": np.asarray(units["cell_type"])}
    prior = CorrelatedNeighbours(neighbours=5).fit({"a": units}, labels)
    dim = prior.predict_proba({"a": units})["a"]
    np.testing.assert_allclose(prior.predict_proba({"a": bright})["a"], dim, atol=0.21)


def test_correlations_are_computed_once_and_follow_changed_traces(monkeypatch):
    from pynapple_nuclr.baselines import _priors

    calls = []
    compute = _priors._correlations
    monkeypatch.setattr(_priors, "_correlations", lambda *a: calls.append(1) or compute(*a))
    units = nap_nuclr.simulate("context", n_units=12, duration=60, modality="calcium")
    labels = {"a": np.asarray(units["cell_type"])}
    for _ in range(3):  # other objects, the same recording
        before = CorrelatedNeighbours(5).fit({"a": units}, labels).predict_proba({"a": units})["a"]
    assert len(calls) == 1
    units.values[:, 0] = units.values[:, 3]
    after = CorrelatedNeighbours(5).fit({"a": units}, labels).predict_proba({"a": units})["a"]
    assert len(calls) == 2
    assert not np.array_equal(before, after)
    CorrelatedNeighbours(5, bin_size=0.1).fit({"a": units}, labels).predict_proba({"a": units})
    assert len(calls) == 3


def test_what_is_remembered_goes_with_the_object():
    units = nap_nuclr.simulate("context", n_units=5, duration=10)
    labels = {"a": np.asarray(units["cell_type"])}
    CorrelatedNeighbours().fit({"a": units}, labels).predict_proba({"a": units})
    key, gone = id(units), weakref.ref(units)
    assert key in memory._kept
    del units
    gc.collect()
    assert gone() is None
    assert key not in memory._kept


def test_priors_refuse_what_does_not_fit(two):
    labels = labels_of(two)
    for prior in (MostCommonLabel(), CorrelatedNeighbours()):
        with pytest.raises(ValueError, match="labels has no recording 'animal1'"):
            prior.fit(two, {"animal0": labels["animal0"]})
        with pytest.raises(ValueError, match="has a label"):
            prior.fit(two, {name: [""] * 60 for name in two})
        with pytest.raises(TypeError, match="labels is a list"):
            prior.fit(two, list(labels.values()))
        with pytest.raises(TypeError, match="recording 'x' is a int"):
            prior.fit({"x": 3}, {"x": ["PV"]})
        prior.fit(two, labels)
        with pytest.raises(ValueError, match="'animal0' has 2 units, but was fitted with 60"):
            prior.predict_proba({"animal0": two["animal0"][[0, 1]]})
    with pytest.raises(ValueError, match="neighbours is 0"):
        CorrelatedNeighbours(neighbours=0)


def test_priors_score_as_the_earlier_code_on_a_real_session(data_dir):
    sessions = readers.steinmetz(data_dir, ["cori_20161214", "cori_20161217"])
    truth = {name: np.asarray(units["region"], dtype=str) for name, units in sessions.items()}
    known = np.concatenate([np.flatnonzero(of != "") for of in truth.values()])
    labels = np.concatenate([of[of != ""] for of in truth.values()])
    session = np.repeat(list(truth), [(of != "").sum() for of in truth.values()])
    similarity = {name: scoring.trial_correlations(units) for name, units in sessions.items()}
    silent = np.concatenate(
        [~(np.asarray(units["rate"])[truth[name] != ""] > 0) for name, units in sessions.items()]
    )

    def by(system):
        def predict(train, test):
            here = {}
            for name, of in truth.items():
                shown = np.full(len(of), "", of.dtype)
                mine = train[session[train] == name]
                shown[known[mine]] = labels[mine]
                here[name] = shown
            answers = system.fit(sessions, here).predict_proba(sessions)
            predicted = [system.classes_[answers[session[i]][known[i]].argmax()] for i in test]
            return np.array(predicted)

        return predict

    earlier = [
        (MostCommonLabel(), scoring.by_most_common(session, labels)),
        (CorrelatedNeighbours(), scoring.by_correlation(session, similarity, known, labels)),
    ]
    for system, before in earlier:
        predicted, _ = scoring.out_of_fold(labels, by(system), seed=0)
        expected, _ = scoring.out_of_fold(labels, before, seed=0)
        assert (predicted == expected)[~silent].mean() > 0.995
