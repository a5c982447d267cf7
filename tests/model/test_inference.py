"""The encoder made ready to embed computes the same function, by every route."""

import threading
from dataclasses import replace

import numpy as np
import pytest
import torch

from pynapple_nuclr import Encoder, EncoderConfig, load_encoder, simulate
from pynapple_nuclr.embedding import encode
from pynapple_nuclr.embedding.window_batches import run_windows
from pynapple_nuclr.model import _onednn, inference
from pynapple_nuclr.model.inference import InferenceEngine
from pynapple_nuclr.recording import as_recording
from pynapple_nuclr.windows import open_patch_reader, tile

SMALL = EncoderConfig(dim=32, heads=2, head_dim=16)
CONFIGS = {
    "patch": SMALL,
    "window": replace(SMALL, attention_scope="window"),
    "one temporal layer": replace(SMALL, temporal_layers=1),
    "no population layer": replace(SMALL, spatiotemporal_layers=0),
    "calcium": EncoderConfig(modality="calcium", dim=32, heads=2, head_dim=16),
}


def encoder_of(config, seed=0):
    torch.manual_seed(seed)
    encoder = Encoder(config).eval()
    for name, value in encoder.named_parameters():  # norms that do something, too
        if "norm" in name:
            torch.nn.init.normal_(value, mean=1.0)
    return encoder


def activity(config, units):
    torch.manual_seed(1)
    return torch.poisson(torch.full((units, config.patches, config.features), 0.5))


def relative_error(ours, theirs):
    return float((ours - theirs).norm() / theirs.norm())


@pytest.fixture(params=[True, False], ids=["onednn", "plain"])
def library(request, monkeypatch):
    """With oneDNN where torch has it, and without."""
    if not request.param:
        monkeypatch.setattr(_onednn, "is_available", lambda dtype: False)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("sizes", [[1], [3, 1, 40], [320, 7]], ids=str)
def test_the_function_is_the_encoders(config, sizes, library):
    encoder = encoder_of(config)
    patches = activity(config, sum(sizes))
    with torch.no_grad():
        expected = encoder(patches, sizes)
    assert relative_error(InferenceEngine(encoder)(patches, sizes), expected) < 1e-5


@pytest.mark.parametrize("scores", ["patch", "window"])
def test_many_queries_go_in_parts(scores, monkeypatch):
    config = replace(SMALL, attention_scope=scores)
    encoder = encoder_of(config)
    patches = activity(config, 330)
    whole = InferenceEngine(encoder)(patches, [330])
    monkeypatch.setattr(inference, "_QUERIES", 100)
    monkeypatch.setitem(inference._TOKENS_TOGETHER, "cpu", 70)
    assert relative_error(InferenceEngine(encoder)(patches, [330]), whole) < 1e-5


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_bfloat16_is_close_and_its_result_is_float32(config, library):
    encoder = encoder_of(config)
    patches = activity(config, 320)
    found = InferenceEngine(encoder, "bfloat16")(patches, [320])
    with torch.no_grad():
        expected = encoder(patches, [320])
    assert found.dtype == torch.float32
    assert 1e-5 < relative_error(found, expected) < 0.03


def test_bfloat16_agrees_on_a_trained_encoder():
    """Units find themselves again among the vectors of the full answer."""
    units = simulate("context", n_units=60, duration=60, seed=0)
    encoder = load_encoder("spikes")
    full, low = (
        encode(units, encoder, precision=precision, progress=False)["embedding"].values
        for precision in ("float32", "bfloat16")
    )
    full, low = full - full.mean(axis=0), low - low.mean(axis=0)
    full, low = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (full, low))
    assert ((full * low).sum(axis=1) > 0.99).all()
    assert (np.argmax(low @ full.T, axis=1) == np.arange(len(full))).all()


def test_later_changes_of_the_encoder_do_not_reach_the_engine():
    encoder = encoder_of(SMALL).train()
    patches = activity(SMALL, 5)
    before = InferenceEngine(encoder)
    first = before(patches, [5])
    with torch.no_grad():
        encoder.read_in.weight.mul_(2)
    assert encoder.training
    assert encoder.read_in.weight.requires_grad
    assert torch.equal(before(patches, [5]), first)
    assert not torch.allclose(InferenceEngine(encoder)(patches, [5]), first)


def test_dropout_is_of_training_only():
    config = replace(SMALL, population_dropout=0.9)
    encoder = encoder_of(config).train()
    patches = activity(SMALL, 20)
    with torch.no_grad():
        expected = encoder.eval()(patches, [20])
    assert relative_error(InferenceEngine(encoder.train())(patches, [20]), expected) < 1e-5


@pytest.mark.parametrize("threads", [2, 5])
def test_batches_side_by_side_give_the_same_answer(threads):
    units = simulate("single", n_units=12, duration=90, seed=0)
    encoder = encoder_of(SMALL)
    before = torch.get_num_threads()
    alone = encode(units, encoder, progress=False)
    try:
        torch.set_num_threads(threads)
        shared = encode(units, encoder, progress=False)
        some = encode(units, encoder, max_windows=3, progress=False)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    np.testing.assert_allclose(shared["embedding"], alone["embedding"], atol=1e-5)
    np.testing.assert_array_equal(shared["n_windows"], alone["n_windows"])
    assert some.attrs["windows"] == 3


def test_reading_that_stops_early_leaves_nothing_at_work():
    torch.manual_seed(0)
    source = open_patch_reader(
        as_recording(simulate("single", n_units=12, duration=900, seed=0)), SMALL
    )
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        parts = run_windows(encoder_of(SMALL), source, tile(source).starts)
        next(parts)
        parts.close()
        assert not [one for one in threading.enumerate() if one.name.startswith("nuclr")]
    finally:
        torch.set_num_threads(before)
