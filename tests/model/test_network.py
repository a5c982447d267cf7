"""What always holds for the encoder: order, populations, hashes."""

from dataclasses import replace

import numpy as np
import pynapple as nap
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import pynapple_nuclr as nap_nuclr
from pynapple_nuclr import Encoder, EncoderConfig
from pynapple_nuclr.model.inference import InferenceEngine
from pynapple_nuclr.model.layers import PopulationAttention

CONFIG = EncoderConfig(dim=32, heads=2, head_dim=16, patch_duration=0.5, window_duration=2)


def seeded(seed=0, config=CONFIG):
    torch.manual_seed(seed)
    return Encoder(config).eval()


@settings(max_examples=20, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 12), min_size=1, max_size=4),
    seed=st.integers(0, 99),
    scores=st.sampled_from(["patch", "window"]),
)
def test_permuting_units_permutes_embeddings_and_populations_do_not_meet(sizes, seed, scores):
    encoder = seeded(config=replace(CONFIG, attention_scope=scores))
    generator = torch.Generator().manual_seed(seed)
    patches = torch.poisson(torch.full((sum(sizes), 4, 25), 0.3), generator=generator)
    order = torch.cat(
        [
            part[torch.randperm(len(part), generator=generator)]
            for part in torch.arange(sum(sizes)).split(sizes)
        ]
    )
    with torch.no_grad():
        together = encoder(patches, sizes)
        permuted = encoder(patches[order], sizes)
        alone = torch.cat([encoder(part, [len(part)]) for part in patches.split(sizes)])
    torch.testing.assert_close(permuted, together[order], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(alone, together, atol=1e-5, rtol=1e-5)


def test_context_matters_only_with_population_layers():
    patches = torch.poisson(torch.full((6, 4, 25), 0.3))
    other = patches.clone()
    other[1:] = other[1:].flip(1)
    for layers, changes in ((2, True), (0, False)):
        config = EncoderConfig(**{**CONFIG.to_dict(), "spatiotemporal_layers": layers})
        encoder = seeded(config=config)
        with torch.no_grad():
            before, after = encoder(patches, [6])[0], encoder(other, [6])[0]
        assert (not torch.allclose(before, after, atol=1e-5)) is changes


def test_scores_of_a_window_of_one_patch_are_those_of_the_patch():
    patches = torch.poisson(torch.full((7, 4, 25), 0.3))
    for duration, agree in ((0.5, True), (2.0, False)):
        config = replace(CONFIG, window_duration=duration)
        patch, window = (
            seeded(config=replace(config, attention_scope=scores)) for scores in ("patch", "window")
        )
        part = patches[:, : config.patches]
        with torch.no_grad():
            assert torch.allclose(patch(part, [7]), window(part, [7]), atol=1e-6) is agree


def test_units_find_those_that_go_with_them_throughout_the_window():
    """Scores of a window: exactly what attention over the units' whole courses gives."""
    attention = PopulationAttention(8, 2, 4, "window").eval()
    x = torch.randn(5, 6, 8)  # patches, units, dim
    query, key, value = attention.to_qkv(attention.norm(x)).unflatten(-1, (3, 2, 4)).unbind(2)
    scores = torch.einsum("puhd,pvhd->huv", query, key) / (5 * 4) ** 0.5
    mixed = torch.einsum("huv,pvhd->puhd", scores.softmax(-1), value)
    attended = attention(x.transpose(0, 1), [6]).transpose(0, 1)
    torch.testing.assert_close(attended, attention.to_out(mixed.flatten(2)))


def test_an_addition_at_its_default_leaves_old_signatures_as_they_were():
    assert "population_scores" not in CONFIG.signature()  # its name in the first signatures
    assert "population_scores" in replace(CONFIG, attention_scope="window").signature()


def test_hash_follows_weights_and_configuration():
    first, again, other = seeded(0), seeded(0), seeded(1)
    assert first.identity == again.identity == f"nuclr@{first.hash}"
    assert first.hash != other.hash
    wider = Encoder(EncoderConfig(**{**CONFIG.to_dict(), "gaps": "join"}))
    wider.load_state_dict(first.state_dict())
    assert wider.hash != first.hash


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patch_duration": 0.03}, "whole multiple"),
        ({"window_duration": 0.7}, "whole multiple"),
        ({"gaps": "skip"}, "gaps"),
        ({"dim": 0}, "dim"),
        ({"dim": 10**12}, "dim"),
        ({"dim": "64"}, "dim"),
        ({"head_dim": 15}, "even"),
        ({"dropout": 1.0}, "dropout"),
        ({"bin_size": float("nan")}, "bin_size"),
        ({"modality": "calcium", "window_frames": 6}, "whole multiple"),
        ({"bin_size": 1e-6, "patch_duration": 1.0}, "at most"),
    ],
)
def test_impossible_configurations_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        EncoderConfig(**{**CONFIG.to_dict(), **change})


def test_configuration_round_trip():
    assert EncoderConfig.from_dict(CONFIG.to_dict()) == CONFIG
    with pytest.raises(ValueError, match="colour"):
        EncoderConfig.from_dict({"colour": 1})


def test_float32_agrees_with_float64():
    encoder = seeded()
    patches = torch.poisson(torch.full((9, 4, 25), 0.3))
    with torch.no_grad():
        single = encoder(patches, [9])
        double = encoder.double()(patches.double(), [9]).float()
    np.testing.assert_allclose(single, double, atol=2e-5)


# --- no units, and units that are silent ----------------------------------------------------------


@pytest.mark.parametrize("scope", ["patch", "window"])
@pytest.mark.parametrize("sizes", [[], [0], [0, 0]], ids=str)
@pytest.mark.parametrize("mode", ["training", "evaluation", "inference engine"])
def test_an_empty_population_has_no_embeddings(scope, sizes, mode):
    config = replace(CONFIG, attention_scope=scope, population_dropout=0.5)
    encoder = seeded(config=config).train(mode == "training")
    compute = InferenceEngine(encoder) if mode == "inference engine" else encoder
    assert compute(torch.zeros(0, 4, 25), sizes).shape == (0, 32)


@pytest.mark.parametrize("scope", ["patch", "window"])
def test_an_empty_population_among_others_changes_nothing(scope):
    encoder = seeded(config=replace(CONFIG, attention_scope=scope))
    patches = torch.poisson(torch.full((5, 4, 25), 0.3))
    with torch.no_grad():
        expected = encoder(patches, [3, 2])
        torch.testing.assert_close(encoder(patches, [3, 0, 2]), expected)
        torch.testing.assert_close(InferenceEngine(encoder)(patches, [3, 0, 2]), expected)


def test_silent_units_have_finite_embeddings():
    encoder = seeded()
    patches = torch.zeros(5, 4, 25)
    with torch.no_grad():
        assert encoder(patches, [3, 2]).isfinite().all()
    assert InferenceEngine(encoder)(patches, [3, 2]).isfinite().all()


def test_embed_of_silent_units_and_of_none():
    support = nap.IntervalSet(0, 20)
    trains = {0: nap.Ts(np.arange(0, 20, 0.1)), 1: nap.Ts([]), 2: nap.Ts([])}
    for ids, message in (([], "has no units"), ([1, 2], "no spikes at all in its 2 units")):
        some = nap.TsGroup({i: trains[i] for i in ids}, time_support=support)
        with pytest.raises(ValueError, match=message):
            nap_nuclr.embed(some, seeded(), progress=False)
    embedded = nap_nuclr.embed(nap.TsGroup(trains, time_support=support), seeded(), progress=False)
    assert len(embedded) == 3
