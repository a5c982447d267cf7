"""What always holds for the encoder: order, populations, hashes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pynapple_nuclr import Encoder, EncoderConfig
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
    torch.testing.assert_close(attention(x, [6]), attention.to_out(mixed.flatten(2)))


def test_an_addition_at_its_default_leaves_old_signatures_as_they_were():
    assert "attention_scope" not in CONFIG.signature()
    assert "attention_scope" in replace(CONFIG, attention_scope="window").signature()


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
