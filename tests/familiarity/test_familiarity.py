"""What is unlike an encoder's training is noticed, and what is like it is left in peace."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pynapple as nap
import pytest

import recordings as readers  # benchmarks/recordings.py
from pynapple_nuclr import (
    Encoder,
    EncoderConfig,
    embed,
    encode,
    load_encoder,
    pretrain,
    save_encoder,
    simulate,
)
from pynapple_nuclr.familiarity import MIN_FAMILIARITY, familiarity_report, record_training_data

SIZE = {"dim": 8, "heads": 1, "head_dim": 8, "temporal_layers": 1, "spatiotemporal_layers": 1}
CONFIG = EncoderConfig(patch_duration=0.5, window_duration=4.0, **SIZE)
TRIALS = EncoderConfig(patch_duration=0.2, window_duration=3.2, gaps="join", **SIZE)


def familiarity(units, encoder) -> float:
    with warnings.catch_warnings():  # milliseconds are noticed before any encoder compares
        warnings.filterwarnings("ignore", message=".*look like milliseconds")
        return familiarity_report(units, encoder).attrs["familiarity"]


def in_random_order(units, seed=0):
    """Every spike at a random time of the recording: rates stay, and nothing else."""
    rng = np.random.default_rng(seed)
    start, end = units.time_support.values.T
    before = np.append(0, np.cumsum(end - start))
    trains = {}
    for unit in units.index:
        when = rng.uniform(0, before[-1], len(units[unit]))
        epoch = np.searchsorted(before, when, side="right") - 1
        times = np.sort(start[epoch] + when - before[epoch])
        trains[unit] = nap.Ts(times, time_support=units.time_support)
    return nap.TsGroup(trains, time_support=units.time_support)


def in_milliseconds(units):
    support = nap.IntervalSet(*(1000 * units.time_support.values.T))
    trains = {u: nap.Ts(1000 * units[u].t, time_support=support) for u in units.index}
    return nap.TsGroup(trains, time_support=support)


def events_as_spikes(frame, several):
    """Every calcium event is a spike at its frame, or several by its size."""
    values, times = np.asarray(frame.values), frame.t
    usual = np.median(values[values > 0])
    trains = {}
    for unit in range(values.shape[1]):
        frames = np.flatnonzero(values[:, unit])
        n = np.ones(len(frames), int)
        if several:
            n = np.maximum(1, np.rint(values[frames, unit] / usual)).astype(int)
        trains[unit] = nap.Ts(np.repeat(times[frames], n), time_support=frame.time_support)
    return nap.TsGroup(trains, time_support=frame.time_support)


@pytest.fixture(scope="module")
def animals():
    """Five animals of a world in which units follow the population."""
    return simulate("context", n_units=40, duration=80, animals=5, seed=1)


@pytest.fixture(scope="module")
def encoder(animals):
    known = {name: animals[name] for name in list(animals)[:4]}
    return pretrain(known, CONFIG, steps=1, batch_size=1, progress=False)


@pytest.fixture(scope="module")
def another(animals):
    return animals["animal4"]


# what is noticed


def test_another_animal_is_familiar_and_nothing_is_warned_of(encoder, another):
    assert encoder.card["familiarity"]["recordings"] == 4
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset = encode(another, encoder, progress=False)
    assert dataset.attrs["familiarity"] > 0.1
    assert dataset.attrs["familiarity"] == familiarity(another, encoder)


def test_a_shuffled_recording_and_milliseconds_are_not_familiar(encoder, another):
    assert familiarity(in_random_order(another), encoder) < MIN_FAMILIARITY
    assert familiarity(in_milliseconds(another), encoder) < MIN_FAMILIARITY


def test_an_encoder_of_one_recording_is_tolerant_but_not_blind(animals, another, encoder):
    of_one = record_training_data(Encoder(CONFIG), animals["animal0"])
    assert familiarity(another, of_one) > 0.1
    shuffled = in_random_order(another)
    assert familiarity(shuffled, encoder) < familiarity(shuffled, of_one) < 0.1
    assert familiarity(in_milliseconds(another), of_one) < MIN_FAMILIARITY


def test_one_warning_says_what_is_unlike(encoder, another):
    strange = in_random_order(another)
    for call in (embed, encode):
        with pytest.warns(UserWarning) as caught:
            call(strange, encoder, name="day 1", progress=False)
        assert len(caught) == 1
        assert caught[0].filename == __file__
        message = str(caught[0].message)
        assert "'day 1' is unlike" in message and "that its events are spikes" in message
        assert encoder.identity in message
        assert "synchrony" in message


def test_the_report_names_the_deviations(encoder, another):
    like = familiarity_report(another, encoder)
    unlike = familiarity_report(in_random_order(another), encoder)
    inside = (like["low"] <= like["value"]) & (like["value"] <= like["high"])
    assert inside.mean() > 0.8
    largest = str(unlike["property"].values[np.abs(unlike["deviation"].values).argmax()])
    assert largest in ("patch variability", "persistence", "bin synchrony", "patch synchrony")
    assert float(unlike["value"].sel(property="patch variability")) == pytest.approx(1, abs=0.2)
    # Rates are what was kept.
    rates = [float(report["value"].sel(property="rate")) for report in (like, unlike)]
    assert rates[1] == pytest.approx(rates[0], rel=0.1)


def test_units_have_a_familiarity_of_their_own(encoder, another):
    report = familiarity_report(another, encoder)
    usual = report["unit_familiarity"]
    assert list(usual["unit"]) == list(another.index)
    assert 0.25 < float(usual.mean()) < 0.75
    trains = {int(unit): another[unit] for unit in another.index}
    burst = nap.Ts((np.arange(2, 78)[:, None] + np.arange(200) * 2e-4).ravel())
    strange = nap.TsGroup(
        trains | {0: burst, 1: nap.Ts(np.array([]))}, time_support=another.time_support
    )
    changed = familiarity_report(strange, encoder)["unit_familiarity"].values
    assert changed[0] < 0.02
    assert np.isnan(changed[1])
    np.testing.assert_array_equal(changed[2:], usual.values[2:])


# what is promised


def test_the_order_of_the_units_does_not_matter(animals, another):
    order = np.random.default_rng(0).permutation(40)

    def shuffled(units):
        trains = {i: nap.Ts(units[int(unit)].t) for i, unit in enumerate(order)}
        return nap.TsGroup(trains, time_support=units.time_support)

    known = [animals[name] for name in ("animal0", "animal1")]
    first = record_training_data(Encoder(CONFIG), known)
    second = record_training_data(Encoder(CONFIG), [shuffled(units) for units in known])
    a, b = familiarity_report(another, first), familiarity_report(shuffled(another), second)
    assert b.attrs["familiarity"] == pytest.approx(a.attrs["familiarity"], rel=0.01)
    np.testing.assert_allclose(
        b["unit_familiarity"].values, a["unit_familiarity"].values[order], atol=0.01
    )


def test_the_entry_is_kept_with_the_encoder_and_changes_no_hash(encoder, another, tmp_path):
    json.dumps(encoder.card["familiarity"], allow_nan=False)
    back = load_encoder(save_encoder(encoder, tmp_path))
    assert back.identity == encoder.identity
    assert familiarity(another, back) == familiarity(another, encoder)
    bare = Encoder(CONFIG)
    before = bare.hash
    assert record_training_data(bare, [another]) is bare
    assert bare.hash == before


@pytest.mark.parametrize("entry", [None, "yes", {"format": 99}, {"format": 1, "recordings": 3}])
def test_an_encoder_that_does_not_know_is_silent(another, entry):
    encoder = Encoder(CONFIG, card={} if entry is None else {"familiarity": entry})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset = encode(in_random_order(another), encoder, progress=False)
    assert np.isnan(dataset.attrs["familiarity"])
    report = familiarity_report(another, encoder)
    assert report.attrs["recordings"] == 0
    assert np.isnan(report["unit_familiarity"]).all()
    assert np.isnan(report["deviation"]).all()


def test_short_recordings_and_few_units_of_the_same_are_familiar(encoder, another):
    for part in (another.restrict(nap.IntervalSet(10, 14.5)), another[another.index < 4]):
        assert familiarity(part, encoder) > MIN_FAMILIARITY
    one = nap.TsGroup({7: another[7]}, time_support=another.time_support)
    assert familiarity(one, encoder) > MIN_FAMILIARITY


def test_the_smallest_windows_have_properties_too(another):
    config = EncoderConfig(bin_size=0.5, patch_duration=0.5, window_duration=0.5, **SIZE)
    encoder = record_training_data(Encoder(config), another)
    assert familiarity(another, encoder) > 0.1


def test_a_recording_that_is_silent_where_it_is_read():
    rng = np.random.default_rng(0)
    support = nap.IntervalSet(0, 40)
    trains = {i: nap.Ts(np.sort(rng.uniform(0, 40, 400))) for i in range(12)}
    encoder = record_training_data(Encoder(CONFIG), nap.TsGroup(trains, time_support=support))
    support = nap.IntervalSet(0, 39.995)
    late = {i: nap.Ts(np.array([39.99]), time_support=support) for i in range(12)}
    quiet = nap.TsGroup(late, time_support=support)
    assert familiarity(quiet, encoder) < MIN_FAMILIARITY


def test_calcium_like_the_training_and_events_in_its_place():
    config = EncoderConfig(modality="calcium", frame_rate=10.0, window_frames=64, **SIZE)
    known = simulate(
        "context", n_units=30, duration=60, animals=3, modality="calcium", frame_rate=10, seed=0
    )
    encoder = record_training_data(
        Encoder(config), {name: known[name] for name in ("animal0", "animal1")}
    )
    assert familiarity(known["animal2"], encoder) > 0.1
    other = known["animal2"]
    events = np.clip(np.diff(other.values, axis=0, prepend=0) - 1, 0, None)
    with pytest.warns(UserWarning, match="look like events"):
        assert familiarity(nap.TsdFrame(t=other.t, d=events), encoder) < MIN_FAMILIARITY


# real recordings


def trials(units, first=20, n=60):
    return units.restrict(units.time_support[first : first + n])


@pytest.fixture(scope="module")
def steinmetz(data_dir):
    names = ["cori_20161214", "hench_20170615", "hench_20170617", "lederberg_20171205"]
    sessions = readers.steinmetz(data_dir, [*names, "lederberg_20171207"])
    return {name: trials(units) for name, units in sessions.items()}


@pytest.fixture(scope="module")
def encoder_of_trials(steinmetz):
    known = {name: steinmetz[name] for name in list(steinmetz)[:4]}
    return pretrain(known, TRIALS, steps=1, batch_size=1, max_units=20, progress=False)


def test_a_fifth_session_is_familiar_and_what_it_can_be_made_into_is_not(
    steinmetz, encoder_of_trials
):
    fifth = steinmetz["lederberg_20171207"]
    assert familiarity(fifth, encoder_of_trials) > 0.1
    assert familiarity(in_random_order(fifth), encoder_of_trials) < MIN_FAMILIARITY
    assert familiarity(in_milliseconds(fifth), encoder_of_trials) < MIN_FAMILIARITY


def test_each_session_left_out_is_familiar(steinmetz):
    for name in steinmetz:
        others = [units for other, units in steinmetz.items() if other != name]
        assert (
            familiarity(steinmetz[name], record_training_data(Encoder(TRIALS), others))
            > MIN_FAMILIARITY
        )


@pytest.mark.parametrize("several", [False, True])
def test_calcium_events_passed_off_as_spikes(data_dir, encoder_of_trials, several):
    mouse = {k: v for k, v in readers.hippocampus(data_dir).items() if k.startswith("C6M3_env0")}
    session = events_as_spikes(next(iter(mouse.values())), several)
    assert familiarity(session, encoder_of_trials) < MIN_FAMILIARITY
    (units,) = readers.head_direction(data_dir).values()
    of_one_session = record_training_data(Encoder(EncoderConfig(**SIZE)), units)
    assert familiarity(session, of_one_session) < MIN_FAMILIARITY


def test_half_a_session_knows_the_other_half(data_dir):
    (units,) = readers.head_direction(data_dir).values()
    start, end = units.time_support.values[0]
    middle = (start + end) / 2
    first, second = (
        units.restrict(nap.IntervalSet(*part)) for part in ((start, middle), (middle, end))
    )
    encoder = record_training_data(Encoder(EncoderConfig(**SIZE)), first)
    assert familiarity(second, encoder) > 0.1
    assert familiarity(in_random_order(second), encoder) < MIN_FAMILIARITY
    assert familiarity(in_milliseconds(second), encoder) < MIN_FAMILIARITY


def test_worms_know_worms_and_not_their_frames_in_random_order(data_dir):
    worms = readers.worms(data_dir)
    config = EncoderConfig(modality="calcium", frame_rate=1 / 0.6, window_frames=64, **SIZE)
    encoder = record_training_data(Encoder(config), dict(list(worms.items())[:4]))
    for units in list(worms.values())[4:]:
        assert familiarity(units, encoder) > MIN_FAMILIARITY
        values = np.random.default_rng(0).permuted(units.values, axis=0)
        assert familiarity(nap.TsdFrame(t=units.t, d=values), encoder) < MIN_FAMILIARITY


def test_mice_know_other_mice(data_dir):
    sessions = readers.hippocampus(data_dir)
    config = EncoderConfig(
        modality="calcium", signal="events", frame_rate=20.0, window_frames=128, **SIZE
    )
    first = [name for name in sessions if name.endswith("env0_day0")]
    encoder = record_training_data(Encoder(config), [sessions[name] for name in first[:4]])
    for name in first[4:]:
        units = sessions[name]
        assert familiarity(units, encoder) > MIN_FAMILIARITY
        # Fluorescence, not events: no zeros, and neighbouring frames alike.
        traces = np.apply_along_axis(np.convolve, 0, units.values, 0.95 ** np.arange(60), "same")
        assert familiarity(nap.TsdFrame(t=units.t, d=traces), encoder) < MIN_FAMILIARITY
