"""The three worlds: what single-unit statistics and the population tell of the labels."""

import numpy as np
import pynapple as nap
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pynapple_nuclr.features import unit_statistics
from pynapple_nuclr.simulation import simulate

WORLDS = ("single", "context", "null")
COUPLED = {"n_units": 100, "duration": 300}


def _classifier():
    return make_pipeline(
        StandardScaler(), LogisticRegression(max_iter=1000, class_weight="balanced")
    )


def _score(features, labels):
    """Macro F1, cross-validated over units."""
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    predicted = cross_val_predict(_classifier(), np.asarray(features), labels, cv=folds)
    return f1_score(labels, predicted, average="macro")


def _labels(units, column="cell_type"):
    return np.asarray(units[column])


def _counts(units, width, seconds):
    """Spike counts (units, bins) of the first seconds."""
    return np.asarray(units.count(width, ep=nap.IntervalSet(0, seconds)).values.T, dtype=float)


def _lagged(activity, lags=(0,)):
    """Correlate every unit's activity (units, bins) with the mean of the others (units, lags)."""
    others = (activity.sum(axis=0) - activity) / (len(activity) - 1)
    table = np.zeros((len(activity), len(lags)))
    for i, (own, rest) in enumerate(zip(activity, others, strict=True)):
        for j, lag in enumerate(lags):
            a, b = own[max(0, lag) :], rest[max(0, -lag) :]
            n = min(len(a), len(b))
            table[i, j] = np.corrcoef(a[:n], b[:n])[0, 1]
    return np.nan_to_num(table)


@pytest.fixture(scope="module")
def context():
    return {seed: simulate("context", **COUPLED, seed=seed) for seed in range(5)}


@pytest.fixture(scope="module")
def context_statistics(context):
    return {seed: unit_statistics(units) for seed, units in context.items()}


@pytest.mark.parametrize("column", ["cell_type", "region"])
def test_context_statistics_are_at_chance_within_a_recording(context, context_statistics, column):
    rng = np.random.default_rng(0)
    true = [_score(context_statistics[s], _labels(u, column)) for s, u in context.items()]
    shuffled = [
        _score(context_statistics[s], rng.permutation(_labels(u, column)))
        for s, u in context.items()
    ]
    assert np.mean(true) < np.mean(shuffled) + 0.1
    assert np.mean(true) < (0.42 if column == "cell_type" else 0.58)


@pytest.mark.parametrize("column", ["cell_type", "region"])
def test_context_statistics_are_at_chance_across_recordings(context, context_statistics, column):
    train, test = (0, 1, 2), (3, 4)
    fitted = _classifier().fit(
        np.concatenate([context_statistics[s] for s in train]),
        np.concatenate([_labels(context[s], column) for s in train]),
    )
    truth = np.concatenate([_labels(context[s], column) for s in test])
    predicted = fitted.predict(np.concatenate([context_statistics[s] for s in test]))
    assert f1_score(truth, predicted, average="macro") < (0.43 if column == "cell_type" else 0.6)


def test_context_classes_fire_by_the_same_law(context, context_statistics):
    # No statistic differs between classes by more than chance: at most 5 s.e. in 5 recordings.
    table = np.concatenate(list(context_statistics.values()))
    labels = np.concatenate([_labels(units) for units in context.values()])
    first = table[labels == "follower"]
    for name in ("opponent", "soloist"):
        other = table[labels == name]
        difference = first.mean(axis=0) - other.mean(axis=0)
        error = np.sqrt(first.var(axis=0) / len(first) + other.var(axis=0) / len(other))
        assert np.all(np.abs(difference) < 5 * error + 1e-12)


def test_context_is_predicted_by_the_population(context):
    minute = [_score(_lagged(_counts(u, 0.2, 60)), _labels(u)) for u in context.values()]
    ten_seconds = [_score(_lagged(_counts(u, 0.2, 10)), _labels(u)) for u in context.values()]
    assert min(minute) > 0.9
    assert np.mean(ten_seconds) > 0.8


def test_context_classes_carry_over_to_other_recordings(context):
    tables = {s: _lagged(_counts(u, 0.2, 60)) for s, u in context.items()}
    fitted = _classifier().fit(tables[0], _labels(context[0]))
    for seed in (1, 2, 3, 4):
        truth = _labels(context[seed])
        assert f1_score(truth, fitted.predict(tables[seed]), average="macro") > 0.9


def test_context_regions_are_predicted_by_who_comes_first(context):
    # Except for soloists, who follow no one: theirs cannot be recovered.
    for units in list(context.values())[:2]:
        lagged = _lagged(_counts(units, 0.1, 60), lags=(-2, -1, 0, 1, 2))
        coupled = _labels(units) != "soloist"
        lagged *= np.sign(lagged[:, 2:3])
        assert _score(lagged[coupled], _labels(units, "region")[coupled]) > 0.9
        assert _score(lagged[~coupled], _labels(units, "region")[~coupled]) < 0.85


@pytest.mark.parametrize(("n_classes", "best"), [(2, 0.95), (4, 0.85)])
def test_context_with_other_numbers_of_classes(n_classes, best):
    units = simulate("context", **COUPLED, n_classes=n_classes, seed=11)
    assert len(set(_labels(units))) == n_classes
    lags = np.arange(-3, 4)
    assert _score(_lagged(_counts(units, 0.2, 120), lags), _labels(units)) > best


def test_single_is_predicted_by_statistics_and_not_by_the_population():
    a, b = simulate("single", n_units=100, duration=120, animals=2, seed=0).values()
    fitted = _classifier().fit(unit_statistics(a), _labels(a))
    predicted = fitted.predict(unit_statistics(b))
    assert f1_score(_labels(b), predicted, average="macro") > 0.9
    assert _score(_lagged(_counts(a, 0.2, 120)), _labels(a)) < 0.5
    assert _score(unit_statistics(a), _labels(a, "region")) < 0.65


def test_null_labels_mean_nothing_though_units_differ():
    recordings = simulate("null", n_units=100, duration=120, animals=3, seed=0)
    statistics = {name: unit_statistics(units) for name, units in recordings.items()}
    by_statistics = [_score(statistics[n], _labels(u)) for n, u in recordings.items()]
    by_population = [_score(_lagged(_counts(u, 0.2, 60)), _labels(u)) for u in recordings.values()]
    assert np.mean(by_statistics) < 0.43
    assert np.mean(by_population) < 0.43
    for table in statistics.values():  # rate and regularity differ as in "single"
        assert table["rate"].max() > 3 * table["rate"].min()
        assert table["lv"].max() > 2 * table["lv"].min()
    coupling = _lagged(_counts(recordings["animal0"], 0.2, 60))  # and coupling as in "context"
    assert coupling.max() > 0.3
    assert coupling.min() < -0.2


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("modality", ["spikes", "calcium"])
@pytest.mark.parametrize("n_units", [1, 2, 7])
def test_any_number_of_units(world, modality, n_units):
    units = simulate(world, n_units=n_units, duration=20, modality=modality, seed=3)
    assert isinstance(units, nap.TsGroup if modality == "spikes" else nap.TsdFrame)
    assert len(units.metadata) == n_units
    assert {"cell_type", "region", "animal"} <= set(units.metadata_columns)
    assert set(_labels(units, "animal")) == {"animal0"}


def test_shares_of_classes_and_regions():
    units = simulate("context", n_units=60, duration=20)
    count = units.metadata["cell_type"].value_counts()
    assert count.to_dict() == {"follower": 36, "opponent": 12, "soloist": 12}
    assert units.metadata["region"].value_counts().to_dict() == {"core": 40, "shell": 20}


def test_same_seed_same_data():
    for modality in ("spikes", "calcium"):
        same = [simulate(n_units=5, duration=20, modality=modality, seed=4) for _ in range(2)]
        other = simulate(n_units=5, duration=20, modality=modality, seed=5)
        if modality == "spikes":
            trains = [u.to_tsd().t for u in (*same, other)]
        else:
            trains = [u.values for u in (*same, other)]
        np.testing.assert_array_equal(trains[0], trains[1])
        assert trains[0].shape != trains[2].shape or not np.allclose(trains[0], trains[2])
        np.testing.assert_array_equal(_labels(same[0]), _labels(same[1]))


def test_animals_differ_and_the_first_do_not_depend_on_how_many():
    three = simulate(n_units=6, duration=20, animals=3, seed=1)
    assert list(three) == ["animal0", "animal1", "animal2"]
    assert [set(_labels(u, "animal")) for u in three.values()] == [{name} for name in three]
    one = simulate(n_units=6, duration=20, seed=1)
    np.testing.assert_array_equal(one[0].t, three["animal0"][0].t)
    assert not np.array_equal(three["animal0"][0].t[:10], three["animal1"][0].t[:10])


def test_rates_and_time_support():
    units = simulate("context", n_units=30, duration=300, seed=2)
    np.testing.assert_allclose(units.time_support.values, [[0, 300]])
    assert np.median(units["rate"]) == pytest.approx(8, rel=0.15)
    assert all(np.diff(units[u].t).min() > 0 for u in units.index)


def test_trials():
    units = simulate("context", n_units=40, trials=(200, 0.4, 2.0), seed=6)
    starts = np.arange(200) * 2.4
    np.testing.assert_allclose(
        units.time_support.values, np.stack([starts, starts + 0.4], axis=1), atol=1e-8
    )
    times = units.to_tsd().t
    assert np.all(times % 2.4 <= 0.4 + 1e-6)
    assert np.median(units["rate"]) == pytest.approx(8, rel=0.15)
    # The rate is the same early and late in a trial, and coupling shows in the trials, too.
    early = np.mean(times % 2.4 < 0.2)
    assert early == pytest.approx(0.5, abs=0.05)
    counts = np.asarray(units.count(0.2).values.T, dtype=float)
    assert _score(_lagged(counts), _labels(units)) > 0.8


def test_drift_changes_rates_slowly():
    def change(drift):
        units = simulate("context", n_units=40, duration=400, drift=drift, seed=7)
        first, last = (units.restrict(nap.IntervalSet(a, a + 100)) for a in (0, 300))
        ratio = [np.log(len(last[u]) / len(first[u])) for u in units.index]
        assert np.median(units["rate"]) == pytest.approx(8, rel=0.2)
        return np.std(ratio)

    assert change(0.0) < 0.2
    assert change(1.0) > 0.5


def test_silent_units_never_fire_and_change_no_other():
    all_fire = simulate("context", n_units=20, duration=20, seed=8)
    some = simulate("context", n_units=20, duration=20, silent=0.25, seed=8)
    mute = [u for u in some.index if len(some[u]) == 0]
    assert len(mute) == 5
    np.testing.assert_array_equal(_labels(some), _labels(all_fire))
    for unit in set(some.index) - set(mute):
        np.testing.assert_array_equal(some[unit].t, all_fire[unit].t)
    assert len(simulate(n_units=4, duration=20, silent=1.0).to_tsd()) == 0


def test_calcium():
    traces = simulate("context", n_units=60, duration=300, modality="calcium", silent=0.1, seed=9)
    assert traces.values.shape == (3000, 60)
    assert np.isfinite(traces.values).all()
    np.testing.assert_allclose(np.diff(traces.t), 0.1, atol=1e-8)
    quiet = traces.values.std(axis=0) < 0.4  # noise alone
    assert quiet.sum() == 6
    # A spike leaves exp(−t / 0.7 s): on average rate × 0.7.
    assert np.median(traces.values.mean(axis=0)) == pytest.approx(8 * 0.7, rel=0.2)
    coupling = _lagged(traces.values.T.astype(float)[~quiet])
    assert _score(coupling, _labels(traces)[~quiet]) > 0.9


def test_calcium_statistics_are_at_chance_in_context():
    scores = []
    for seed in range(3):
        traces = simulate("context", n_units=100, modality="calcium", seed=seed)
        scores.append(_score(unit_statistics(traces), _labels(traces)))
    assert np.mean(scores) < 0.45


def test_calcium_trials():
    traces = simulate(n_units=3, trials=(10, 5.0, 20.0), modality="calcium", frame_rate=4.0)
    assert len(traces.time_support) == 10
    assert traces.values.shape == (200, 3)
    np.testing.assert_allclose(traces.t[20] - traces.t[0], 25)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"world": "other"}, "world is 'other'; expected"),
        ({"modality": "lfp"}, "modality is 'lfp'; expected"),
        ({"n_units": 0}, "n_units is 0.*at least 1"),
        ({"animals": 0}, "animals 0.*at least 1"),
        ({"n_classes": 5}, "n_classes is 5; expected 2, 3 or 4"),
        ({"silent": 1.5}, "silent is 1.5; expected a fraction"),
        ({"duration": 0}, "duration is 0; expected a positive"),
        ({"trials": (0, 0.4, 1)}, r"trials is \(0, 0.4, 1\)"),
        ({"modality": "calcium", "trials": (9, 0.1, 1)}, "less than two frames"),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        simulate(**arguments)
