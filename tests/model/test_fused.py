"""The layers with their own backward pass: gradients, dropout, the same function as PyTorch's."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pynapple_nuclr import Encoder, EncoderConfig
from pynapple_nuclr.model import _fused
from pynapple_nuclr.model.layers import Rotary

DIM, HEADS, WIDTH, TOKENS = 6, 2, 4, 3


def _weights(*shapes: tuple[int, int]) -> list[Tensor]:
    sizes: list[tuple[int, ...]] = [(DIM,), (DIM,)]
    for out, features in shapes:
        sizes += [(out, features), (out,)]
    return [torch.randn(size, dtype=torch.float64, requires_grad=True) for size in sizes]


@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize("part", [4, 1_000])
def test_gradients_are_those_of_the_function(
    dropout: float, part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_fused, "_TOKENS", part)
    torch.manual_seed(0)
    x = torch.randn(3, TOKENS, DIM, dtype=torch.float64, requires_grad=True)
    rotation = Rotary(TOKENS, WIDTH, 0.5).double().rotation(TOKENS)

    def feed_forward(x: Tensor, *weights: Tensor) -> Tensor:
        torch.manual_seed(1)
        return _fused.feed_forward(x, weights, dropout)

    def attention(x: Tensor, *weights: Tensor) -> Tensor:
        torch.manual_seed(1)
        return _fused.time_attention(x, rotation, HEADS, weights, dropout)

    assert torch.autograd.gradcheck(feed_forward, (x, *_weights((8 * DIM, DIM), (DIM, 4 * DIM))))
    wide = HEADS * WIDTH
    assert torch.autograd.gradcheck(attention, (x, *_weights((3 * wide, DIM), (DIM, wide))))


@pytest.mark.parametrize("scope", ["patch", "window"])
def test_a_training_step_is_that_of_the_plain_layers(
    scope: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    config = EncoderConfig(dim=32, heads=4, head_dim=8, dropout=0.0, attention_scope=scope)  # type: ignore[arg-type]
    encoder = Encoder(config).train()
    patches, direction = torch.randn(23, 10, 50), torch.randn(23, 32)
    found = encoder(patches, [11, 12])
    gradients = torch.autograd.grad(found, list(encoder.parameters()), direction)
    monkeypatch.setattr(_fused, "suits", lambda x: False)
    expected = encoder(patches, [11, 12])
    plain = torch.autograd.grad(expected, list(encoder.parameters()), direction)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    for ours, theirs in zip(gradients, plain, strict=True):
        assert (ours - theirs).norm() <= 1e-5 * theirs.norm()


@pytest.mark.parametrize("backward_in_autocast", [False, True])
@pytest.mark.parametrize("rate", [0.1, 300.0])
def test_bfloat16_gradients_are_near_those_of_float32(
    backward_in_autocast: bool, rate: float
) -> None:
    torch.manual_seed(0)
    encoder = Encoder(EncoderConfig(dim=32, heads=4, head_dim=8, dropout=0.0)).train()
    patches, direction = torch.poisson(torch.full((23, 10, 50), rate)), torch.randn(23, 32)
    weights = list(encoder.parameters())
    exact = torch.autograd.grad(encoder(patches, [11, 12]), weights, direction)
    with torch.autocast("cpu", torch.bfloat16):
        rough = encoder(patches, [11, 12])
    assert rough.dtype == torch.bfloat16
    with torch.autocast("cpu", torch.bfloat16, enabled=backward_in_autocast):
        found = torch.autograd.grad(rough, weights, direction.bfloat16())
    a, b = (torch.cat([one.flatten().float() for one in many]) for many in (exact, found))
    assert torch.cosine_similarity(a, b, dim=0) > 0.99


def test_dropout_keeps_the_mean_and_follows_the_seed() -> None:
    torch.manual_seed(0)
    first, second = _fused._Dropout(0.2), _fused._Dropout(0.2)
    torch.manual_seed(0)
    again = _fused._Dropout(0.2)
    shape = torch.Size([1_000, 100])
    values = [one.drop_(torch.ones(shape), one.draw(shape)) for one in (first, second, again)]
    assert torch.equal(values[0], values[2])
    assert not torch.equal(values[0], values[1])
    assert abs(float(values[0].mean()) * first.scale - 1) < 0.01


def test_no_units_pass_through() -> None:
    encoder = Encoder(EncoderConfig(dim=32, heads=4, head_dim=8)).train()
    empty = encoder(torch.zeros(0, 10, 50), [])
    assert empty.shape == (0, 32)
    empty.sum().backward()
