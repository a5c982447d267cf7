"""The three simulated worlds: what an encoder learns, and what it cannot know.

Encoders see two of three animals. The probe is trained on one animal and predicts the others, so
that nothing that belongs to one recording can pass for identity.
"""

import pytest
import torch
from across_animals import across_animals

import pynapple_nuclr as nap_nuclr
from pynapple_nuclr import Encoder, EncoderConfig

CONFIG = EncoderConfig(
    dim=32, heads=2, head_dim=16, temporal_layers=1, spatiotemporal_layers=1, dropout=0.0,
    patch_duration=0.2, window_duration=2.0,
)  # fmt: skip
TRAINING = {"batch_size": 2, "learning_rate": 4e-3, "max_view_distance": None, "checks": 1}
CHANCE = 0.33  # of three classes; a probe that says one class only scores less


def animals(world):
    return nap_nuclr.simulate(world, n_units=48, duration=240, animals=3, seed=1)


def train(recordings, config, steps):
    """Train on the first two of three animals."""
    seen = {name: recordings[name] for name in ("animal0", "animal1")}
    return nap_nuclr.pretrain(seen, config, steps=steps, progress=False, **TRAINING)


def of_all(describe, recordings):
    return {name: describe(units) for name, units in recordings.items()}


def statistics(units):
    return nap_nuclr.unit_statistics(units).to_numpy()


def by(encoder):
    return lambda units: nap_nuclr.encode(units, encoder, progress=False)["embedding"].values


@pytest.fixture(scope="module")
def context():
    return animals("context")


def test_context_is_predicted_by_the_population_and_by_nothing_else(context):
    encoder = train(context, CONFIG, steps=300)
    assert across_animals(of_all(by(encoder), context), context) > CHANCE + 0.3
    assert across_animals(of_all(statistics, context), context) < CHANCE + 0.12


@pytest.mark.slow  # the control of the test before
def test_without_population_layers_context_is_at_chance(context):
    blind = EncoderConfig(**{**CONFIG.to_dict(), "temporal_layers": 2, "spatiotemporal_layers": 0})
    encoder = train(context, blind, steps=300)
    assert across_animals(of_all(by(encoder), context), context) < CHANCE + 0.12


def test_single_is_predicted_by_statistics_and_by_the_encoder():
    recordings = animals("single")
    encoder = train(recordings, CONFIG, steps=40)
    assert across_animals(of_all(statistics, recordings), recordings) > 0.9
    assert across_animals(of_all(by(encoder), recordings), recordings) > CHANCE + 0.3


@pytest.mark.slow
def test_null_is_predicted_by_nothing():
    recordings = animals("null")
    torch.manual_seed(0)
    assert across_animals(of_all(statistics, recordings), recordings) < CHANCE + 0.12
    assert across_animals(of_all(by(Encoder(CONFIG)), recordings), recordings) < CHANCE + 0.12
    encoder = train(recordings, CONFIG, steps=40)
    assert across_animals(of_all(by(encoder), recordings), recordings) < CHANCE + 0.12
