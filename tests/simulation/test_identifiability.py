"""The three simulated worlds: what an encoder learns, and what it cannot know.

Encoders see two of three animals. The probe is trained on one animal and predicts the others, so
that nothing that belongs to one recording can pass for identity.
"""

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score

import pynapple_nuclr as nap_nuclr
from pynapple_nuclr import Encoder, EncoderConfig
from pynapple_nuclr.probes.default_estimator import default_estimator

CONFIG = EncoderConfig(
    dim=32, heads=2, head_dim=16, temporal_layers=1, spatiotemporal_layers=1, dropout=0.0,
    patch_duration=0.2, window_duration=2.0,
)  # fmt: skip
TRAINING = {"batch_size": 2, "learning_rate": 4e-3, "max_view_distance": None, "checks": 1}
CHANCE = 0.33  # of three classes; a probe that says one class only scores less


def animals(world):
    return nap_nuclr.simulate(world, n_units=48, duration=240, animals=3, seed=1)


def across_animals(describe, recordings):
    """Macro F1 of a probe trained on one animal and tested on the others, mean over animals."""
    x = {name: np.nan_to_num(describe(units)) for name, units in recordings.items()}
    y = {name: np.asarray(units["cell_type"]) for name, units in recordings.items()}
    scores = []
    for trained in recordings:
        probe = default_estimator().fit(x[trained], y[trained])
        others = [name for name in recordings if name != trained]
        labels, predicted = (
            np.concatenate(one)
            for one in zip(*((y[name], probe.predict(x[name])) for name in others), strict=True)
        )
        scores.append(f1_score(labels, predicted, average="macro"))
    return float(np.mean(scores))


def train(recordings, config, steps):
    """Train on the first two of three animals."""
    seen = {name: recordings[name] for name in ("animal0", "animal1")}
    return nap_nuclr.pretrain(seen, config, steps=steps, progress=False, **TRAINING)


def statistics(units):
    return nap_nuclr.unit_statistics(units).to_numpy()


def by(encoder):
    return lambda units: nap_nuclr.encode(units, encoder, progress=False)["embedding"].values


@pytest.fixture(scope="module")
def context():
    return animals("context")


def test_context_is_predicted_by_the_population_and_by_nothing_else(context):
    encoder = train(context, CONFIG, steps=300)
    assert across_animals(by(encoder), context) > CHANCE + 0.3
    assert across_animals(statistics, context) < CHANCE + 0.12


@pytest.mark.slow  # the control of the test before
def test_without_population_layers_context_is_at_chance(context):
    blind = EncoderConfig(**{**CONFIG.to_dict(), "temporal_layers": 2, "spatiotemporal_layers": 0})
    encoder = train(context, blind, steps=300)
    assert across_animals(by(encoder), context) < CHANCE + 0.12


def test_single_is_predicted_by_statistics_and_by_the_encoder():
    recordings = animals("single")
    encoder = train(recordings, CONFIG, steps=40)
    assert across_animals(statistics, recordings) > 0.9
    assert across_animals(by(encoder), recordings) > CHANCE + 0.3


@pytest.mark.slow
def test_null_is_predicted_by_nothing():
    recordings = animals("null")
    torch.manual_seed(0)
    assert across_animals(statistics, recordings) < CHANCE + 0.12
    assert across_animals(by(Encoder(CONFIG)), recordings) < CHANCE + 0.12
    encoder = train(recordings, CONFIG, steps=40)
    assert across_animals(by(encoder), recordings) < CHANCE + 0.12
