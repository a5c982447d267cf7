"""Recordings that differ in rate, length and size, and arguments of a wrong type."""

import numpy as np
import pynapple as nap
import pytest
from training_populations import TINY, population

from pynapple_nuclr import EncoderConfig, pretrain
from pynapple_nuclr.pretraining.training_settings import default_config
from pynapple_nuclr.recording import as_recordings


def frames(rate, seconds, n_units=12, seed=0):
    """Return noise of a frame rate (Hz)."""
    times = np.arange(round(seconds * rate)) / rate
    return nap.TsdFrame(t=times, d=np.random.default_rng(seed).normal(size=(len(times), n_units)))


@pytest.mark.parametrize("rates", [(30, 30, 30), (30, 5), (2, 30, 30), (10, 10, 30)])
def test_windows_of_calcium_last_as_long_whatever_the_frame_rates(rates):
    days = {str(i): frames(rate, 600) for i, rate in enumerate(rates)}
    config = default_config(list(as_recordings(days).values()))
    assert config.window_frames == EncoderConfig(modality="calcium").window_frames


def test_one_short_recording_of_calcium_does_not_shorten_the_windows_of_all():
    seconds = {"a": 300, "b": 310, "c": 8, "d": 9}
    days = {name: frames(10, length, seed=length) for name, length in seconds.items()}
    with pytest.raises(ValueError, match="'c'.*leave it out.*'d'"):
        pretrain(days, steps=1, progress=False)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", "3"),
        ("steps", 2.5),
        ("max_minutes", "1"),
        ("batch_size", 2.5),
        ("seed", None),
        ("seed", 1.5),
        ("config", {"dim": 32}),
        ("learning_rate", "1e-3"),
        ("checks", 2.5),
        ("max_units", 15.5),
        ("min_units", None),
    ],
)
def test_arguments_of_a_wrong_type_are_named(name, value):
    with pytest.raises(TypeError, match=f"^{name} is .*expected"):
        pretrain(population(), **{"config": TINY, "steps": 1, name: value}, progress=False)


def test_whole_numbers_may_be_floats_and_sizes_have_to_fit():
    assert pretrain(population(), TINY, steps=1e0, progress=False).card["training"]["steps"] == 1
    with pytest.raises(ValueError, match="seed is -1"):
        pretrain(population(), TINY, steps=1, seed=-1, progress=False)
    with pytest.raises(ValueError, match="max_units is 5; expected more than min_units"):
        pretrain(population(), TINY, steps=1, max_units=5, progress=False)


def test_recordings_with_too_few_units_are_named_and_do_not_count_in_chance():
    days = {"day1": population(n_units=20), "day2": population(n_units=30, seed=1)[[0]]}
    with pytest.warns(UserWarning, match="1 of 2 recordings have no more than min_units=10.*day2"):
        encoder = pretrain(days, TINY, steps=1, progress=False)
    assert encoder.card["training"]["chance_reidentification"] == 0.05
