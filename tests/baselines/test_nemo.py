"""NEMO: images of autocorrelograms, waveforms, and what is learned from them."""

import numpy as np
import pandas as pd
import pynapple as nap
import pytest
import torch
from across_animals import across_animals

import pynapple_nuclr as nap_nuclr
from pynapple_nuclr.baselines.nemo import Nemo, contrastive_training
from pynapple_nuclr.baselines.nemo.autocorrelograms import Layout, images, lag_counts
from pynapple_nuclr.columns.waveforms import read_waveforms
from pynapple_nuclr.evaluation.systems import resolve_systems
from pynapple_nuclr.evaluation.task import read_task

CHANCE = 0.33  # of three classes
SMALL = {"dim": 32, "projection": 32, "steps": 30, "batch_size": 64}
SHORT = {**SMALL, "steps": 6}
LAYOUT = Layout(0.2, rates=4, lags=15)


def poisson(rate, epochs, n_units=20, seed=0):
    rng = np.random.default_rng(seed)
    return trains([scatter(rng, rate, epochs) for _ in range(n_units)], epochs)


def scatter(rng, rate, epochs):
    spans = [rng.uniform(start, end, rng.poisson(rate * (end - start))) for start, end in epochs]
    return np.sort(np.concatenate(spans))


def trains(times, epochs, **metadata):
    support = nap.IntervalSet(*np.transpose(epochs))
    return nap.TsGroup(
        {i: nap.Ts(t, time_support=support) for i, t in enumerate(times)},
        time_support=support,
        metadata=metadata or None,
    )


def trials(n, length=0.4, gap=1.0):
    starts = np.arange(n) * (length + gap)
    return np.stack([starts, starts + length], axis=1)


# Images


@pytest.mark.parametrize("epochs", [trials(400), [(0.0, 160.0)]], ids=["trials", "continuous"])
def test_a_poisson_process_has_its_rate_at_every_lag_however_short_its_epochs(epochs):
    counts = lag_counts(poisson(10.0, epochs), LAYOUT)
    rate = counts.pairs.sum(axis=(0, 1, 2)) / counts.observed.sum(axis=(0, 1, 2))
    broad = np.diff(LAYOUT.edges) > 0.002  # enough pairs for a close look
    np.testing.assert_allclose(rate[broad], 10.0, rtol=0.08)


def test_pairs_and_observed_time_are_those_of_a_count_by_hand():
    epochs = trials(40)
    group = poisson(15.0, epochs, n_units=3)
    counts = lag_counts(group, LAYOUT)
    edges = LAYOUT.edges
    for unit in range(3):
        pairs, observed = np.zeros(LAYOUT.lags), np.zeros(LAYOUT.lags)
        for start, end in epochs:
            times = group[unit].t[(group[unit].t >= start) & (group[unit].t <= end)]
            lags = np.abs(times[:, None] - times)[~np.eye(len(times), dtype=bool)]
            pairs += np.histogram(lags, edges)[0]
            for time in times:
                for side in (time - start, end - time):
                    observed += np.diff(np.minimum(edges, side))
        np.testing.assert_array_equal(counts.pairs[unit].sum(axis=(0, 1)), pairs)
        np.testing.assert_allclose(counts.observed[unit].sum(axis=(0, 1)), observed, atol=1e-4)
    np.testing.assert_array_equal(counts.spikes.sum(axis=1), [len(group[u]) for u in range(3)])
    np.testing.assert_allclose(counts.seconds.sum(axis=1), 40 * 0.4)


def test_no_pair_spans_a_gap():
    epochs = [(0.0, 1.0), (1.004, 2.0)]
    apart = trains([[0.999, 1.005], [0.995, 0.999]], epochs)
    assert lag_counts(apart, LAYOUT).pairs.sum(axis=(1, 2, 3)).tolist() == [0, 2]


def test_rows_are_sorted_by_the_rate_at_the_time():
    rng = np.random.default_rng(0)
    starts = np.arange(40) * 6.0  # 5 s slow, then half a second fast, then silence
    slow, fast = ([(a + at, a + at + length) for a in starts] for at, length in ((0, 5), (5, 0.5)))
    times = np.sort(np.concatenate([scatter(rng, 4.0, slow), scatter(rng, 40.0, fast)]))
    image = images(lag_counts(trains([times], [(0.0, 240.0)]), LAYOUT))[0]
    assert image[0, -1] < 8 < 25 < image[-1, -1]  # Hz, not its logarithm


def test_a_column_shows_a_millisecond_or_more_so_that_short_lags_show_the_dead_time():
    layout = Layout(1.0, rates=10, lags=101)
    shown = layout.windows @ np.diff(layout.edges)
    np.testing.assert_allclose(shown, np.maximum(np.diff(layout.edges), 0.001), rtol=1e-3)
    times = np.cumsum(0.008 + np.random.default_rng(0).exponential(0.032, 3000))  # 25 Hz, 8 ms dead
    rate = images(lag_counts(trains([times], [(0.0, 120.0)]), layout))[0].mean(axis=0)
    short = layout.edges[1:] < 0.006
    assert (rate[short] < 5.0).all() and (rate[-20:] > 20.0).all()


def test_an_image_is_smoothed_along_the_lags_by_a_gaussian_of_one_column():
    layout = Layout(1.0, rates=1, lags=101)
    starts = np.arange(40) * 4.0
    times = np.sort(np.concatenate([starts + 1.0, starts + 1.2]))  # no other lag below 1 s
    row = images(lag_counts(trains([times], [(0.0, 160.0)]), layout))[0, 0]
    middle = int(np.argmax(row))
    assert layout.edges[middle] <= 0.2 < layout.edges[middle + 1]
    expected = np.exp(-(np.arange(-3, 4) ** 2) / 2)
    np.testing.assert_allclose(row[middle - 3 : middle + 4] / row[middle], expected, rtol=1e-3)
    assert row[middle + 5 :].max() == 0


def test_the_halves_of_a_recording_are_disjoint_and_make_up_the_whole():
    counts = lag_counts(poisson(10.0, [(0.0, 160.0)]), LAYOUT)
    half = np.arange(8) % 2 == 0
    assert np.abs(images(counts, np.tile(half, (20, 1))) - images(counts)).max() > 0.1
    both = counts.pairs[:, half].sum() + counts.pairs[:, ~half].sum()
    assert both == counts.pairs.sum()


# What is learned


@pytest.fixture(scope="module")
def single():
    return nap_nuclr.simulate("single", n_units=80, duration=240, animals=2, seed=1)


@pytest.mark.slow  # waveforms and another seed are learned in every run
def test_single_is_predicted_and_training_converges(single):
    system = Nemo(steps=100, dim=100, projection=100)
    assert across_animals(system.fit(single).embed(single), single) > 0.9
    first, last = system.history_[0], system.history_[-1]
    assert last["held_out_loss"] < first["held_out_loss"]
    assert last["held_out_accuracy"] > 2 / 16  # chance: 1 / 16
    assert [entry["step"] for entry in system.history_] == list(range(5, 101, 5))


@pytest.mark.slow  # test_shuffled_labels.py has the same in small
def test_null_is_predicted_by_nothing():
    recordings = nap_nuclr.simulate("null", n_units=80, duration=240, animals=2, seed=1)
    embedded = Nemo(steps=100, dim=100, projection=100).fit(recordings).embed(recordings)
    assert across_animals(embedded, recordings) < CHANCE + 0.12


def test_single_is_predicted_from_short_trials_of_animals_never_trained_on(single):
    tested = nap_nuclr.simulate("single", n_units=60, trials=(300, 0.4, 2.0), animals=3, seed=2)
    system = Nemo(**SMALL).fit({"other": tested.pop("animal2")})
    assert system.layout_.longest == 0.2
    assert across_animals(system.embed(tested), tested) > 0.8


# Waveforms


def with_waveforms(seed, missing=0):
    """Units that all fire alike; two classes of waveform, of any amplitude, with noise."""
    rng = np.random.default_rng(seed)
    group = poisson(6.0, [(0.0, 60.0)], n_units=60, seed=seed)
    narrow = rng.random(60) < 0.5
    time = np.arange(40) - 12
    width = np.where(narrow, 4.0, 9.0)[:, None]
    shape = -np.exp(-((time / 3) ** 2)) + 0.5 * np.exp(-(((time - 2 * width) / width) ** 2))
    shape += 0.05 * rng.standard_normal(shape.shape)
    waveforms = list(shape * rng.uniform(20, 200, (60, 1)))
    for unit in range(missing):
        waveforms[unit] = None
    cell_type = np.where(narrow, "narrow", "broad")
    metadata = pd.DataFrame({"cell_type": cell_type, "waveform_mean": waveforms})
    group.set_info(metadata)
    return group


@pytest.fixture(scope="module")
def animals():
    return {"animal0": with_waveforms(0), "animal1": with_waveforms(1)}


def test_waveforms_predict_what_spikes_do_not(animals):
    system = Nemo(**SMALL).fit(animals)
    both = system.embed(animals)
    alone = Nemo(**SMALL, waveform=None).fit(animals).embed(animals)
    assert both["animal0"].shape == (60, 64) and alone["animal0"].shape == (60, 32)
    assert across_animals(both, animals) > 0.95
    assert across_animals(alone, animals) < 0.5 + 0.12
    # Of units that it was trained on, an image may be remembered together with its waveform.
    new = {"animal0": with_waveforms(2), "animal1": with_waveforms(3)}
    embedded = system.embed(new)
    assert across_animals({n: x[:, :32] for n, x in embedded.items()}, new) < 0.5 + 0.12


def test_a_row_without_waveforms_is_called_autocorrelogram_only(animals, single):
    rows = {
        "nemo-style": resolve_systems(["Nemo"], read_task(animals, "cell_type")),
        "autocorrelogram only": resolve_systems(["Nemo"], read_task(single, "cell_type")),
    }
    assert {name: next(iter(row)) for name, row in rows.items()} == {name: name for name in rows}
    assert Nemo(waveform=None).row_name(animals) == "autocorrelogram only"


def test_training_is_as_published_and_ends_when_the_held_out_loss_falls_no_more(animals):
    units = animals["animal0"]
    one = {"animal0": units[units.index[:32]]}
    system = Nemo(dim=16, projection=16, learning_rate=0.1).fit(one)
    losses = [entry["held_out_loss"] for entry in system.history_]
    assert len(losses) - 1 - int(np.argmin(losses)) == 4  # 200 steps without a lower one
    assert system.history_[-1]["step"] < system.steps
    kinds = [type(layer).__name__ for layer in system.networks_.image]
    assert kinds.count("BatchNorm2d") == 2 and kinds.count("Dropout") == 3
    assert isinstance(system.networks_.project_image, torch.nn.Linear)
    assert (system.rate_bins, system.lag_bins, system.max_lag) == (10, 101, 1.0)
    assert (system.temperature, system.batch_size) == (0.5, 1024)


@pytest.mark.parametrize(("batch_size", "restart"), [(1024, 20), (16, 60)])
def test_the_learning_rate_is_back_after_twenty_passes_over_the_units(
    animals, monkeypatch, batch_size, restart
):
    plans = []
    fit = contrastive_training.fit_network

    def spy(*given, **options):
        plans.append(given[4])
        return fit(*given, **options)

    monkeypatch.setattr(contrastive_training, "fit_network", spy)
    Nemo(steps=1, batch_size=batch_size).fit({"animal0": animals["animal0"]})
    assert [plan.restart_every for plan in plans] == [restart]


def test_waveforms_come_as_arrays_or_in_numbered_columns(animals):
    units = animals["animal0"]
    expected = read_waveforms(units, "waveform")
    assert expected.shape == (60, 40) and np.abs(expected).max(axis=1).tolist() == [1.0] * 60
    samples = np.stack(units["waveform_mean"])
    columns = {f"wave_{i}": samples[:, i] for i in reversed(range(40))}
    columns["wave"] = [np.stack([np.zeros(40), s], axis=1) for s in samples]  # channels
    for names in (["wave"], [c for c in columns if c != "wave"]):
        plain = nap.TsGroup(dict(units.items()), metadata={c: columns[c] for c in names})
        np.testing.assert_allclose(read_waveforms(plain, "wave"), expected, atol=1e-6)
        assert read_waveforms(plain, "waveform") is None


def test_a_unit_without_waveform_gets_the_mean_of_the_others_and_a_warning(animals):
    system = Nemo(**SMALL).fit({"a": with_waveforms(0, missing=3), "b": with_waveforms(1)})
    with pytest.warns(UserWarning, match="'new'.*2 of 60 active units have no waveform") as caught:
        embedded = system.embed({"new": with_waveforms(2, missing=2)})["new"]
    assert caught[0].filename == __file__
    np.testing.assert_array_equal(embedded[0, 32:], embedded[1, 32:])
    assert np.isfinite(embedded).all() and (embedded[0, 32:] != embedded[2, 32:]).any()
    with pytest.warns(UserWarning, match="12 of 12 active"):
        assert system.embed({"c": poisson(5.0, [(0.0, 60.0)], 12)})["c"].shape == (12, 64)


# What every system promises


@pytest.fixture(scope="module")
def some():
    units = nap_nuclr.simulate("single", n_units=40, duration=60, silent=0.1, seed=3)
    return {"a": units, "b": nap_nuclr.simulate("single", n_units=20, duration=40, seed=4)}


def test_silent_units_are_nan_and_the_others_are_not(some):
    embedded = Nemo(**SHORT).fit(some).embed(some)
    silent = np.array([len(some["a"][unit]) == 0 for unit in some["a"].index])
    assert silent.sum() == 4
    assert np.isnan(embedded["a"][silent]).all() and np.isfinite(embedded["a"][~silent]).all()
    assert embedded["a"].dtype == np.float64


def test_the_same_seed_gives_the_same_and_another_does_not(some):
    before = torch.random.get_rng_state()
    one, same, other = (Nemo(**SHORT).fit(some, seed=s).embed(some)["b"] for s in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 1e-3
    assert torch.equal(before, torch.random.get_rng_state())


def test_the_order_of_units_and_of_recordings_does_not_matter(some):
    order = np.random.default_rng(0).permutation(20)
    times = [some["b"][int(unit)].t for unit in order]
    mixed = {"b": trains(times, some["b"].time_support.values), "a": some["a"]}
    one = Nemo(**SHORT).fit(some).embed(some)
    two = Nemo(**SHORT).fit(mixed).embed(mixed)
    np.testing.assert_allclose(two["b"], one["b"][order], atol=1e-4)
    np.testing.assert_allclose(two["a"], one["a"], atol=1e-4)


def test_settings_and_configurations():
    chosen, alternative = Nemo(steps=7).candidates()
    assert chosen.settings()["name"] == "nemo-style" and chosen.settings()["steps"] == 7
    changed = {k for k, v in chosen.settings().items() if alternative.settings()[k] != v}
    assert changed == {"temperature"}


def test_errors_name_what_is_wrong(some, animals):
    with pytest.raises(ValueError, match="call fit"):
        Nemo().embed(some)
    with pytest.raises(ValueError, match="temperature is 0"):
        Nemo(temperature=0)
    with pytest.raises(ValueError, match="lag_bins is 1"):
        Nemo(lag_bins=1)
    traces = nap.TsdFrame(t=np.arange(100) / 10, d=np.zeros((100, 3)))
    with pytest.raises(ValueError, match="'x' holds calcium.*'nemo-style' reads spikes"):
        Nemo().fit({"x": traces})
    with pytest.raises(ValueError, match="'x' have 5 units with spikes; expected at least 8"):
        Nemo().fit({"x": poisson(5.0, [(0.0, 60.0)], 5)})
    with pytest.raises(ValueError, match="'x' has no spikes"):
        Nemo().fit({"x": trains([[], []], [(0.0, 60.0)])})


def test_errors_about_waveforms(animals):
    def group(**metadata):
        return trains([[1.0], [2.0]], [(0.0, 60.0)], **metadata)

    with pytest.raises(ValueError, match="column 'waveform' holds 'narrow'"):
        read_waveforms(group(waveform=["narrow", "broad"]), "waveform", name="x")
    with pytest.raises(ValueError, match="3 to 4 samples"):
        frame = pd.DataFrame({"waveform": [np.ones(3), np.ones(4)]})
        ragged = group()
        ragged.set_info(frame)
        read_waveforms(ragged, "waveform", name="x")
    with pytest.raises(ValueError, match="do not hold numbers"):
        read_waveforms(group(waveform_0=["a", "b"], waveform_1=["a", "b"]), "waveform")
    system = Nemo(**{**SMALL, "steps": 1}).fit(animals)
    short = nap.TsGroup(
        dict(animals["animal0"].items()), metadata={"waveform_mean": np.ones((60, 30))}
    )
    with pytest.raises(ValueError, match="'x' has waveforms of 30 samples; .* trained on 40"):
        system.embed({"x": short})
    with pytest.raises(ValueError, match="differ in the number of samples"):
        Nemo(**SMALL).fit({**animals, "x": short})
