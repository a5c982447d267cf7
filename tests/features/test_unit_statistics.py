"""Single-unit statistics: right on processes whose values are known, never across a gap, no NaN."""

import time

import numpy as np
import pandas as pd
import pynapple as nap
import pytest

from pynapple_nuclr.features import unit_statistics


def _group(trains, epochs):
    return nap.TsGroup(
        {unit: nap.Ts(np.sort(train), time_support=epochs) for unit, train in trains.items()},
        time_support=epochs,
    )


@pytest.fixture(scope="module")
def known():
    """Statistics of a Poisson, a clock-like, a gamma and a bursting unit, 10 Hz for 1000 s."""
    rng = np.random.default_rng(0)
    bursts = np.arange(0.5, 999, 0.3)[:, None] + np.array([0.0, 0.004, 0.008])
    trains = {
        "poisson": rng.uniform(0, 1000, 10_000),
        "clock": np.arange(0.05, 1000, 0.1),
        "gamma": np.cumsum(rng.gamma(4, 0.025, 9_900)),
        "bursting": bursts.ravel(),
    }
    statistics = unit_statistics(_group(dict(enumerate(trains.values())), nap.IntervalSet(0, 1000)))
    return statistics.set_axis(list(trains))


def test_poisson_is_the_zero_of_every_measure(known):
    poisson = known.loc["poisson"]
    assert poisson["rate"] == pytest.approx(10, rel=0.01)
    ones = ["cv", "cv2", "lv", "fano_0.1s", "fano_1s"]
    np.testing.assert_allclose(poisson[ones], 1, atol=0.1)
    np.testing.assert_allclose(poisson.filter(like="acg_"), 0, atol=0.3)
    assert poisson["isi_correlation"] == pytest.approx(0, abs=0.05)
    # The values that fill in for too few spikes are those of a Poisson process.
    assert poisson["isi_log_mean"] == pytest.approx(-0.577 - np.log(10), abs=0.05)
    assert poisson["isi_log_sd"] == pytest.approx(1.283, abs=0.05)


def test_regular_units(known):
    np.testing.assert_allclose(known.loc["clock", ["cv", "cv2", "lv", "isi_log_sd"]], 0, atol=1e-6)
    # A gamma process of shape k has CV = 1/√k and Lv = 3 / (2k + 1).
    assert known.loc["gamma", "cv"] == pytest.approx(0.5, rel=0.05)
    assert known.loc["gamma", "lv"] == pytest.approx(3 / 9, rel=0.05)
    assert known.loc["gamma", "lvr"] > known.loc["gamma", "lv"]
    assert known.loc["gamma", "fano_1s"] == pytest.approx(0.25, abs=0.1)
    # Autocorrelogram of a clock of 0.1 s: nothing at 40–76 ms, a peak at 76–144 ms.
    assert known.loc["clock", "acg_0.0756s"] < -2
    assert known.loc["clock", "acg_0.144s"] > 0.2


def test_bursts(known):
    assert known.loc["bursting", "burst_index"] == pytest.approx(2 / 3, rel=0.01)
    assert known.loc["bursting", "acg_0.00572s"] > 3
    assert known.loc["bursting", "isi_<0.00431s"] == pytest.approx(2 / 3, rel=0.01)
    assert known.loc["poisson", "burst_index"] < 0.1
    assert known.loc["bursting", "lv"] > 1.5


def test_interval_histogram_sums_to_one(known):
    histogram = known.filter(like="isi_<").sum(axis=1) + known["isi_longer"]
    np.testing.assert_allclose(histogram, 1)


def test_revised_local_variation_follows_its_definition():
    intervals = np.array([0.02, 0.05, 0.01, 0.2, 0.03, 0.04, 0.1])
    units = _group({3: 0.1 + np.append(0, np.cumsum(intervals))}, nap.IntervalSet(0, 10))
    one, two = intervals[:-1], intervals[1:]
    local = 3 * (1 - 4 * one * two / (one + two) ** 2)
    statistics = unit_statistics(units).loc[3]
    assert statistics["lv"] == pytest.approx(local.mean())
    assert statistics["lvr"] == pytest.approx((local * (1 + 0.02 / (one + two))).mean())
    assert statistics["cv"] == pytest.approx(intervals.std() / intervals.mean())
    assert statistics["cv2"] == pytest.approx((2 * np.abs(one - two) / (one + two)).mean())


def test_nothing_is_counted_across_a_gap():
    # Ten epochs of 0.4 s, 10 s apart, in each of which a clock of 50 ms ticks.
    starts = np.arange(10) * 10.0
    epochs = nap.IntervalSet(starts, starts + 0.4)
    train = (starts[:, None] + 0.025 + np.arange(8) * 0.05).ravel()
    statistics = unit_statistics(_group({0: train}, epochs)).loc[0]
    assert statistics["rate"] == pytest.approx(20)
    np.testing.assert_allclose(statistics[["cv", "lv", "isi_log_sd"]], 0, atol=1e-6)
    assert statistics["isi_log_mean"] == pytest.approx(np.log(0.05))
    assert statistics["fano_0.4s"] == pytest.approx(0, abs=1e-9)
    # No epoch holds a whole second, and few pairs exist at lags near 0.4 s.
    assert statistics["fano_1s"] == 1
    assert statistics["acg_1s"] == 0


def test_a_gap_shorter_than_the_longest_lag_is_a_gap_too():
    # Spikes end each epoch and begin the next, 0.1 s later: no interval, no pair.
    epochs = nap.IntervalSet([0, 1.1], [1, 2.1])
    statistics = unit_statistics(_group({0: [0.99, 1.11], 1: [0.5, 0.6]}, epochs))
    assert (statistics.filter(like="acg_").loc[0] < 1e-12).all()
    assert statistics.loc[1, "acg_0.144s"] > 0.5


def test_autocorrelogram_of_poisson_trials_is_flat():
    # Close to the length of the trials few pairs fit; this is corrected.
    rng = np.random.default_rng(1)
    starts = np.arange(3000) * 2.0
    epochs = nap.IntervalSet(starts, starts + 0.4)
    train = rng.choice(starts, 12_000) + rng.uniform(0, 0.4, 12_000)
    statistics = unit_statistics(_group({0: train}, epochs)).loc[0]
    np.testing.assert_allclose(statistics.filter(like="acg_"), 0, atol=0.3)
    assert statistics["fano_0.4s"] == pytest.approx(1, abs=0.1)


def test_matches_a_direct_count():
    rng = np.random.default_rng(2)
    epochs = nap.IntervalSet([0, 7, 12.5], [5, 11, 20])
    train = np.concatenate([rng.uniform(a, b, 60) for a, b in epochs.values])
    train.sort()
    lags, possible = [], 0.0
    for a, b in epochs.values:
        inside = train[(train >= a) & (train <= b)]
        lags += [y - x for i, x in enumerate(inside) for y in inside[i + 1 :]]
        edges = np.array([1.0, np.geomspace(0.003, 1.0, 10)[-2]])
        possible += -np.diff(edges * (b - a) - edges**2 / 2)[0]
    count = np.sum((np.array(lags) >= edges[1]) & (np.array(lags) < 1.0))
    expected = (180 / 16.5) ** 2 * possible
    units = _group({5: train, 6: train[:50]}, epochs)
    assert unit_statistics(units).loc[5, "acg_1s"] == pytest.approx(
        np.log((count + 1) / (expected + 1))
    )


def test_few_spikes_are_filled_never_nan():
    units = _group({0: [], 1: [1.0], 2: [1.0, 1.0], 3: [0.0, 1.0, 60.0]}, nap.IntervalSet(0, 60))
    statistics = unit_statistics(units)
    assert np.isfinite(statistics.to_numpy()).all()
    ones = ["cv", "cv2", "lv", "lvr", "fano_0.1s", "fano_1s"]
    np.testing.assert_array_equal(statistics[ones], 1)
    assert (statistics["isi_correlation"] == 0).all()
    assert statistics.loc[0, "rate"] == 0
    assert statistics.loc[0, "log_rate"] == pytest.approx(np.log(0.5 / 60))


def test_one_trial_and_repeated_times_are_no_error():
    units = _group({0: [0.1] * 40, 1: [0.1, 0.2]}, nap.IntervalSet(0, 0.4))
    assert np.isfinite(unit_statistics(units).to_numpy()).all()


def test_epochs_are_the_same_as_restricting():
    rng = np.random.default_rng(3)
    units = _group({u: rng.uniform(0, 100, 900) for u in (4, 2, 9)}, nap.IntervalSet(0, 100))
    epochs = nap.IntervalSet([10, 50], [30, 80])
    pd.testing.assert_frame_equal(
        unit_statistics(units, epochs=epochs), unit_statistics(units.restrict(epochs))
    )


def test_index_is_the_unit_ids_and_units_do_not_matter_to_each_other(tiny_units):
    statistics = unit_statistics(tiny_units)
    assert list(statistics.index) == list(tiny_units.index)
    np.testing.assert_allclose(statistics["rate"], tiny_units["rate"])
    some = tiny_units[[3, 40]]
    pd.testing.assert_frame_equal(unit_statistics(some), statistics.loc[list(some.index)])


def test_many_spikes_are_handled_in_blocks():
    rng = np.random.default_rng(4)
    trains = {unit: rng.uniform(0, 600, 30_000) for unit in range(6)}
    epochs = nap.IntervalSet(0, 600)
    together = unit_statistics(_group(trains, epochs))
    alone = pd.concat([unit_statistics(_group({u: t}, epochs)) for u, t in trains.items()])
    pd.testing.assert_frame_equal(together, alone)


def test_is_fast():
    rng = np.random.default_rng(5)
    trains = {unit: rng.uniform(0, 3600, 18_000) for unit in range(50)}
    units = _group(trains, nap.IntervalSet(0, 3600))
    begin = time.process_time()
    unit_statistics(units)
    assert time.process_time() - begin < 2  # 0.2 s on one core: 1000 such units take four


def test_long_silence_costs_no_time():
    """Times in milliseconds make days of a session, nearly all of it silent."""
    rng = np.random.default_rng(7)
    trains = {unit: 1000 * rng.uniform(0, 3600, 18_000) for unit in range(20)}
    units = _group(trains, nap.IntervalSet(0, 3.6e6))
    begin = time.process_time()
    with pytest.warns(UserWarning, match="divide them by 1000"):
        statistics = unit_statistics(units)
    assert time.process_time() - begin < 5  # 15 s where all bins are counted
    np.testing.assert_allclose(statistics["fano_5s"], 1, atol=0.1)  # as Poisson trains


def test_windows_without_a_spike_count():
    """Spikes in 1 of 1000 s: the variance of the counts is that over all windows."""
    units = _group({0: 500 + np.arange(0, 1, 0.01)}, nap.IntervalSet(0, 1000))
    windows = np.arange(0, 999.05, 0.1)  # starts of all windows of 1 s
    counts = [
        ((t + bins >= 500) & (t + bins < 501)).sum() * 10
        for t in windows
        for bins in [np.arange(10) / 10 + 0.05]
    ]
    by_hand = np.var(counts) / np.mean(counts) * 1000 / 999
    assert unit_statistics(units)["fano_1s"][0] == pytest.approx(by_hand)


@pytest.fixture
def traces():
    rng = np.random.default_rng(6)
    slow = np.convolve(rng.standard_normal(4100), np.exp(-np.arange(100) / 10), "valid")
    columns = {
        "white": rng.standard_normal(4001),
        "slow": slow,
        "constant": np.full(4001, 0.1),
        "events": np.where(np.arange(4001) % 40 == 20, 1.0, 0.0),
    }
    return nap.TsdFrame(
        t=np.arange(4001) / 10, d=np.stack(list(columns.values()), 1), columns=list(columns)
    )


def test_traces(traces):
    statistics = unit_statistics(traces)
    assert list(statistics.index) == ["white", "slow", "constant", "events"]
    assert np.isfinite(statistics.to_numpy()).all()
    np.testing.assert_allclose(statistics["mean"], traces.values.mean(axis=0), atol=1e-6)
    assert abs(statistics.loc["white", "autocorrelation_1s"]) < 0.1
    assert statistics.loc["slow", "autocorrelation_1s"] == pytest.approx(np.exp(-1), abs=0.15)
    assert statistics.loc["events", "event_rate"] == pytest.approx(0.25, rel=0.02)
    assert statistics.loc["events", "autocorrelation_4s"] > 0.9
    assert statistics.loc["events", "skewness"] > 3
    np.testing.assert_array_equal(statistics.loc["constant"].drop(["mean"]), 0)


def test_lags_of_traces_cross_no_gap():
    # Within an epoch the trace is constant, so all its correlation is within epochs; a lag
    # longer than every epoch has no pair at all.
    times = (np.arange(20)[:, None] * 100 + np.arange(10) / 10).ravel()
    data = np.repeat(np.tile([1.0, -1.0], 10), 10)[:, None]
    starts = np.arange(20) * 100.0
    frame = nap.TsdFrame(t=times, d=data, time_support=nap.IntervalSet(starts, starts + 0.9))
    statistics = unit_statistics(frame).iloc[0]
    assert statistics["autocorrelation_0.5s"] == pytest.approx(1)
    assert statistics["autocorrelation_1s"] == 0


def test_errors():
    units = _group({0: [1.0, 2.0]}, nap.IntervalSet(0, 10))
    with pytest.raises(ValueError, match="epochs do not overlap"):
        unit_statistics(units, epochs=nap.IntervalSet(20, 30))
    with pytest.raises(TypeError, match="expected a pynapple TsGroup"):
        unit_statistics(np.zeros(3))
