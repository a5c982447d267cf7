"""NeuPRINT: segments that cross no gap, a prediction that looks back only, and its embeddings."""

import json
from dataclasses import replace

import numpy as np
import pynapple as nap
import pytest
import torch
from across_animals import across_animals
from scipy import stats

import pynapple_nuclr as nap_nuclr
from pynapple_nuclr import EncoderConfig
from pynapple_nuclr.baselines.neuprint import Neuprint
from pynapple_nuclr.baselines.neuprint.dynamics import Dynamics
from pynapple_nuclr.baselines.neuprint.segments import Pool, SegmentBatch, cut_segments, read_runs
from pynapple_nuclr.recording import as_recording

CHANCE = 0.33  # of three classes
TINY = {"dim": 8, "hidden": 16, "steps": 4, "visits": 2}
SMALL = EncoderConfig(bin_size=0.02, patch_duration=0.2, window_duration=0.4)
FRAMES = EncoderConfig(modality="calcium", frame_rate=4.0, patch_frames=4, window_frames=8)


def tiny(world="single", **changes):
    return nap_nuclr.simulate(world, **{"n_units": 8, "duration": 20, "seed": 3} | changes)


def reordered(units, order):
    """The same units, the first of which is now the one at `order[0]`."""
    return nap.TsGroup(
        {new: nap.Ts(units[old].t) for new, old in enumerate(order)},
        time_support=units.time_support,
    )


def batch(network_steps=6, pairs=5, seed=0):
    rng = np.random.default_rng(seed)
    activity = torch.from_numpy(rng.poisson(0.7, (pairs, network_steps)).astype(np.float32))
    return SegmentBatch(
        torch.arange(pairs),
        activity,
        activity - 0.7,
        torch.from_numpy(rng.normal(size=(pairs, network_steps, 2)).astype(np.float32)),
        torch.ones(pairs, network_steps, dtype=torch.bool),
    )


# Segments


def test_steps_are_counts_and_no_run_crosses_a_gap():
    epochs = nap.IntervalSet([0.0, 1.0], [0.4, 2.0])
    group = nap.TsGroup(
        {0: nap.Ts([0.01, 0.03, 0.05, 1.01]), 1: nap.Ts([0.39, 1.0, 1.79])}, time_support=epochs
    )
    recording = as_recording(group)
    runs = read_runs(recording, SMALL, bins=2)
    assert [run.shape for run in runs.activity] == [(2, 10), (2, 20)]
    first = recording.order()[0]  # the place of unit 0
    assert runs.activity[0][first, :3].tolist() == [2, 1, 0]
    assert runs.activity[1][first].sum() == 1 and runs.activity[1][first, 0] == 1
    assert runs.activity[0][1 - first, 9] == 1
    assert runs.activity[1][1 - first, [0, 19]].tolist() == [1, 1]


def test_frames_of_two_epochs_are_two_runs_though_their_numbers_are_consecutive():
    times = np.concatenate([np.arange(8) / 4, 100 + np.arange(16) / 4])
    traces = np.stack([np.arange(24.0), np.full(24, 7.0)], axis=1)
    support = nap.IntervalSet([0, 100], [1.75, 103.75])
    frame = nap.TsdFrame(t=times, d=traces, time_support=support)
    runs = read_runs(as_recording(frame), FRAMES, bins=2)
    assert runs.places.tolist() == [1]  # a constant trace is left out; its sum is the smaller
    assert [run.shape for run in runs.activity] == [(1, 8), (1, 16)]
    assert np.concatenate(runs.activity, axis=1).std() == pytest.approx(1, abs=1e-3)


def test_segments_hold_every_step_once_and_say_which_there_are():
    runs = read_runs(as_recording(tiny(trials=(12, 1.4, 2.0))), SMALL, bins=2)
    segments = cut_segments(runs, 10)
    assert segments.valid.sum(dim=1).tolist() == [10, 10, 10] * 12
    longer = cut_segments(runs, 25)
    assert longer.valid.sum(dim=1).tolist() == [25, 5] * 12
    for cut in (segments, longer):
        assert cut.activity[:, cut.valid].sum() == sum(run.sum() for run in runs.activity)
        assert not cut.activity[:, ~cut.valid].any() and not cut.context[~cut.valid].any()
    assert segments.held_out.sum() == 3 and cut_segments(runs, 30).held_out.sum() == 1


def test_the_summary_knows_neither_order_nor_number_of_the_units():
    units = tiny()
    twice = {unit: units[unit] for unit in units.index}
    twice |= {unit + 100: train for unit, train in twice.items()}
    summary = [
        cut_segments(read_runs(as_recording(group), SMALL, bins=2), 10).context
        for group in (
            units,
            reordered(units, [3, 1, 0, 2, 7, 6, 5, 4]),
            nap.TsGroup(twice, time_support=units.time_support),
        )
    ]
    torch.testing.assert_close(summary[1], summary[0], rtol=0, atol=0)
    torch.testing.assert_close(summary[2], summary[0])


def test_what_is_held_out_is_never_drawn_to_train_on():
    segments = cut_segments(read_runs(as_recording(tiny()), SMALL, bins=2), 20)
    segments.activity[:] = torch.from_numpy(segments.held_out).half()[None, :, None]
    pool = Pool([segments, segments], held_out=True)
    rows, rng = np.arange(pool.n_units), np.random.default_rng(0)
    assert not pool.draw(rows, 50, rng).activity.any()
    assert pool.draw(rows, 50, rng, check=True).activity.all()
    assert Pool([segments], held_out=False).draw(rows[:8], 50, rng).activity.any()


def test_a_unit_is_drawn_from_its_own_recording():
    one, two = (cut_segments(read_runs(as_recording(tiny(seed=s)), SMALL, 2), 20) for s in (1, 2))
    pool = Pool([one, two], held_out=False)
    drawn = pool.draw(np.array([9, 2]), 3, np.random.default_rng(0))
    assert drawn.rows.tolist() == [2, 2, 2, 9, 9, 9]
    for row, activity in zip(drawn.rows.tolist(), drawn.activity, strict=True):
        own = (one.activity[row] if row < 8 else two.activity[row - 8]).float()
        assert (own == activity).all(dim=1).any()


# Prediction


@pytest.mark.parametrize("name", ["transformer", "gru"])
@pytest.mark.parametrize("modality", ["spikes", "calcium"])
@pytest.mark.parametrize("same_step", [True, False])
def test_a_step_is_predicted_from_the_units_past_and_what_is_around_it(name, modality, same_step):
    torch.manual_seed(0)
    network = Dynamics(name, 4, 16, 6, modality, same_step=same_step)
    torch.nn.init.normal_(network.read_out.weight)
    seen, embeddings = batch(), torch.randn(5, 4)
    predicted = network(seen, embeddings)
    for changed, first in (("own", 4), ("context", 3 if same_step else 4)):
        later = getattr(seen, changed).clone()
        later[:, 3] += 1
        again = network(seen._replace(**{changed: later}), embeddings)
        torch.testing.assert_close(again[:, :first], predicted[:, :first])
        assert (again[:, first:] - predicted[:, first:]).abs().amax(dim=(0, 2)).min() > 1e-4
    assert (network(seen, embeddings + 1) - predicted).abs().min() > 1e-6


def test_what_is_around_a_unit_is_made_of_the_others_near_ones_and_behaviour():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(400, 5)) * [1, 2, 3, 4, 5]
    traces = nap.TsdFrame(np.arange(400) / 4, values, metadata={"x": [0, 50, 100, 300, 400]})
    running = nap.Tsd(np.arange(-1, 120), np.arange(-1.0, 120))
    recording = as_recording(traces)
    runs = read_runs(recording, FRAMES, 1, running, ("x",))
    place, segments = recording.order(), cut_segments(runs, 100)
    own, around = segments.pairs(np.full(4, place[1]), np.arange(4))[1:3]
    z = (values - values.mean(axis=0)) / values.std(axis=0)
    np.testing.assert_allclose(own.numpy().ravel(), z[:, 1], atol=0.01)
    others = z[:, [0, 2, 3, 4]].mean(axis=1), z[:, [0, 2, 3, 4]].std(axis=1)
    expected = [*others, np.arange(400), z[:, [0, 2]].mean(axis=1)]
    for found, one in zip(around.reshape(400, 4).numpy().T, expected, strict=True):
        assert np.corrcoef(found, one)[0, 1] > 0.9999
    assert np.corrcoef(around[..., 0].ravel(), z[:, 1])[0, 1] < 0.15  # not of itself
    with pytest.raises(ValueError, match="no metadata column 'z'"):
        read_runs(recording, FRAMES, 1, None, ("x", "z"))
    with pytest.raises(TypeError, match="is a list; expected a pynapple Tsd"):
        read_runs(recording, FRAMES, 1, [0])


def test_likelihoods_are_those_of_scipy_over_the_steps_there_are():
    seen = batch()
    seen.valid[:, 4:] = False
    values, valid = seen.activity.numpy(), seen.valid.numpy()
    log_rate, log_variance = torch.randn(5, 6), torch.randn(5, 6)
    spikes = Dynamics("gru", 4, 16, 6, "spikes").log_likelihood(log_rate[..., None], seen)
    expected = stats.poisson.logpmf(values, log_rate.exp().numpy())[valid].mean()
    assert spikes.item() == pytest.approx(expected, rel=1e-5)
    predicted = torch.stack([log_rate, log_variance], dim=-1)
    calcium = Dynamics("gru", 4, 16, 6, "calcium").log_likelihood(predicted, seen)
    deviation = np.sqrt(log_variance.exp().numpy() + 1e-3)
    expected = stats.norm.logpdf(values, log_rate.numpy(), deviation)[valid].mean()
    assert calcium.item() == pytest.approx(expected, rel=1e-5)


# The system


@pytest.mark.parametrize("modality", ["spikes", "calcium"])
def test_known_units_keep_what_they_learned_and_new_ones_leave_the_network_alone(modality):
    animals = tiny(animals=2, modality=modality, duration=60)
    system = Neuprint(**TINY).fit({"animal0": animals["animal0"]})
    before = {name: value.clone() for name, value in system.network_.state_dict().items()}
    both = system.embed(animals)
    alone = system.embed({"elsewhere": animals["animal1"]})["elsewhere"]
    np.testing.assert_array_equal(both["animal1"], alone)
    assert both["animal0"].shape == (8, 8) and both["animal0"].dtype == np.float64
    np.testing.assert_array_equal(
        both["animal0"], system.vectors_["animal0"][as_recording(animals["animal0"]).order()]
    )
    assert np.ptp(both["animal1"], axis=0).min() > 0
    for name, value in system.network_.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_the_same_seed_gives_the_same_numbers_and_leaves_the_callers_generator_alone():
    units = tiny()
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first, second, other = (
        Neuprint(**TINY).fit({"a": units}, seed=seed).embed({"a": units, "b": units})
        for seed in (1, 1, 2)
    )
    assert torch.rand(1) == expected
    for name in ("a", "b"):
        np.testing.assert_array_equal(first[name], second[name])
        assert np.abs(first[name] - other[name]).max() > 0


def test_the_order_of_the_units_does_not_matter():
    units, order = tiny(silent=0.25), np.array([6, 2, 7, 0, 4, 1, 5, 3])
    shuffled = reordered(units, order)
    one = Neuprint(**TINY).fit({"a": units}).embed({"a": units, "b": units})
    two = Neuprint(**TINY).fit({"a": shuffled}).embed({"a": shuffled, "b": shuffled})
    for name in ("a", "b"):
        np.testing.assert_array_equal(two[name], one[name][order])


def test_silent_units_are_nan_and_say_nothing_about_the_others():
    units = tiny(silent=0.25)
    silent = ~(units["rate"].values > 0)
    assert silent.sum() == 2
    with_them = Neuprint(**TINY).fit({"a": units}).embed({"a": units, "b": units})
    without = Neuprint(**TINY).fit({"a": units[~silent]}).embed({"b": units[~silent]})["b"]
    for vectors in with_them.values():
        np.testing.assert_array_equal(np.isnan(vectors).all(axis=1), silent)
    np.testing.assert_array_equal(with_them["b"][~silent], without)


def test_trials_are_read_to_their_ends_only():
    units = tiny(trials=(60, 0.4, 2.0))
    system = Neuprint(**TINY).fit({"a": units})
    assert system.config_.gaps == "join"
    assert system.length_ * 2 * system.config_.bin_size <= 0.4
    assert np.isfinite(system.embed({"new": units})["new"]).all()


def test_history_follows_the_held_out_likelihood():
    history = Neuprint(**TINY | {"steps": 40}).fit({"a": tiny(duration=60)}).history_
    assert [entry["step"] for entry in history] == list(range(2, 41, 2))
    for entry in history:
        assert set(entry) == {"step", "seconds", "loss", "held_out_loss", "held_out_gain"}
    assert history[-1]["held_out_loss"] < history[0]["held_out_loss"]
    constant = [entry["held_out_loss"] + entry["held_out_gain"] for entry in history]
    assert np.ptp(constant) < 1e-6


def test_settings_are_plain_and_there_are_two_configurations():
    system = Neuprint(config=SMALL)
    assert json.loads(json.dumps(system.settings()))["config"]["patch_duration"] == 0.2
    first, second = system.candidates()
    assert first == system and {first.network, second.network} == {"transformer", "gru"}
    assert system.name == "neuprint-style"


def test_errors_say_what_to_do():
    units = tiny()
    with pytest.raises(ValueError, match=r"call fit\(recordings\) first"):
        Neuprint().embed({"a": units})
    with pytest.raises(ValueError, match="network is 'lstm'"):
        Neuprint(network="lstm")
    with pytest.raises(ValueError, match="bins is 0"):
        Neuprint(bins=0)
    with pytest.raises(ValueError, match="hidden is 15"):
        Neuprint(hidden=15)
    system = Neuprint(**TINY).fit({"a": units})
    with pytest.raises(ValueError, match="'a' has 3 units.*had 8; give another"):
        system.embed({"a": units[[0, 1, 2]]})
    with pytest.raises(ValueError, match="'c' holds calcium"):
        system.embed({"c": tiny(modality="calcium")})
    with pytest.raises(ValueError, match="'b'.*10 bins.*bins=99"):
        joined = replace(SMALL, gaps="join")
        Neuprint(**TINY | {"bins": 99}, config=joined).fit({"b": tiny(trials=(20, 0.2, 1.0))})


def test_a_real_session_of_short_trials_is_read(steinmetz_session):
    vectors = Neuprint(**TINY).fit({"a": steinmetz_session}).embed({"a": steinmetz_session})["a"]
    silent = ~(steinmetz_session["rate"].values > 0)
    assert np.isnan(vectors[silent]).all()
    assert np.isfinite(vectors).all(axis=1).mean() > 0.9


# The worlds


def described(world):
    """Two animals, of which the network has seen the first alone, and their embeddings."""
    animals = nap_nuclr.simulate(world, n_units=80, duration=240, animals=2, seed=1)
    system = Neuprint(hidden=32, past=50, steps=150, visits=40).fit({"animal0": animals["animal0"]})
    return system, system.embed(animals), animals


@pytest.mark.slow  # coupling to the same step: the tests before
def test_context_is_predicted_in_an_animal_never_trained_on():
    system, embeddings, animals = described("context")
    assert across_animals(embeddings, animals) > 0.8
    assert system.history_[-1]["held_out_gain"] > 0.01


def coupled(seed, n_units=60, steps=3000):
    """Units that follow or oppose a common signal without memory: only the same step tells.

    All frequencies of the signal have one amplitude: even in one sample it is not correlated with
    its own past, else its correlation would show in all units.
    """
    rng = np.random.default_rng((seed, 20))
    sign = rng.permutation(np.repeat([1, -1], [n_units * 2 // 3, n_units - n_units * 2 // 3]))
    phases = np.exp(2j * np.pi * rng.random(steps // 2 + 1))
    phases[[0, -1]] = 0
    signal = np.fft.irfft(phases, steps) * np.sqrt(steps)
    traces = 0.7 * signal[:, None] * sign + rng.normal(size=(steps, n_units))
    kinds = np.where(sign > 0, "follower", "opponent")
    return nap.TsdFrame(np.arange(steps) / 4, traces, metadata={"cell_type": kinds})


@pytest.mark.parametrize("same_step", [True, False])
def test_only_the_same_step_predicts_who_follows_and_who_opposes(same_step):
    animals = {"animal0": coupled(0), "animal1": coupled(1)}
    size = {"hidden": 16, "dim": 8, "past": 50, "steps": 60, "visits": 30}
    system = Neuprint(config=FRAMES, same_step=same_step, **size)
    score = across_animals(system.fit({"animal0": animals["animal0"]}).embed(animals), animals)
    assert score >= 0.9 if same_step else score <= 0.6


@pytest.mark.slow  # test_shuffled_labels.py has the same in small
def test_null_is_predicted_by_nothing():
    _, embeddings, animals = described("null")
    assert across_animals(embeddings, animals) < CHANCE + 0.12
