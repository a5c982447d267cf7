"""The layers with their own backward pass: gradients, dropout, the same function as PyTorch's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pynapple_nuclr import Encoder, EncoderConfig
from pynapple_nuclr.model import _fused, _kernels
from pynapple_nuclr.model.layers import Rotary

DIM, HEADS, WIDTH, TOKENS = 6, 2, 4, 3


def _weights(*shapes: tuple[int, int]) -> list[Tensor]:
    sizes: list[tuple[int, ...]] = [(DIM,), (DIM,)]
    for out, features in shapes:
        sizes += [(out, features), (out,)]
    return [torch.randn(size, requires_grad=True) for size in sizes]


def _kept(dropout: float, *shape: int) -> Tensor:
    """Return the factors of the next dropout that is drawn, of values (…, features)."""
    drawn = _fused._Dropout(dropout)
    return drawn.drop_(torch.full(shape, drawn.scale).flatten(0, -2), 0).view(shape)


def _plain_feed_forward(x: Tensor, weights: list[Tensor], dropout: float) -> Tensor:
    inner = _kept(dropout, *x.shape[:2], 4 * DIM)
    outer = _kept(dropout, *x.shape)
    normed = F.layer_norm(x, [DIM], *weights[:2])
    value, gate = F.linear(normed, *weights[2:4]).chunk(2, dim=-1)
    return x + outer * F.linear(inner * F.gelu(gate) * value, *weights[4:])


def _plain_attention(x: Tensor, rotation: Tensor, weights: list[Tensor], dropout: float) -> Tensor:
    outer = _kept(dropout, *x.shape)
    normed = F.layer_norm(x, [DIM], *weights[:2])
    qkv = F.linear(normed, *weights[2:4]).unflatten(-1, (3, HEADS, WIDTH))
    query, key, value = Rotary.rotate(qkv, rotation[:, None]).permute(2, 0, 3, 1, 4)
    attended = F.scaled_dot_product_attention(query, key, value).transpose(1, 2)
    attended = Rotary.rotate(attended, rotation.conj()).flatten(2)
    return x + outer * F.linear(attended, *weights[4:])


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("part", [4, 1_000])
@pytest.mark.parametrize("layer", ["feed-forward", "attention"])
def test_values_and_gradients_are_those_of_plain_operations(
    layer: str, part: int, dropout: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_fused, "_TOKENS", part)
    torch.manual_seed(0)
    x, direction = torch.randn(5, TOKENS, DIM, requires_grad=True), torch.randn(5, TOKENS, DIM)
    rotation = Rotary(TOKENS, WIDTH, 0.5).rotation(TOKENS)
    wide = HEADS * WIDTH
    if layer == "attention":
        weights = _weights((3 * wide, DIM), (DIM, wide))
        torch.manual_seed(1)
        found = _fused.time_attention(x, rotation, HEADS, tuple(weights), dropout)
        torch.manual_seed(1)
        expected = _plain_attention(x, rotation, weights, dropout)
    else:
        weights = _weights((8 * DIM, DIM), (DIM, 4 * DIM))
        torch.manual_seed(1)
        found = _fused.feed_forward(x, tuple(weights), dropout)
        torch.manual_seed(1)
        expected = _plain_feed_forward(x, weights, dropout)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    gradients = torch.autograd.grad(found, [x, *weights], direction)
    plain = torch.autograd.grad(expected, [x, *weights], direction)
    for ours, theirs in zip(gradients, plain, strict=True):
        assert (ours - theirs).norm() <= 1e-5 * theirs.norm() + 1e-6


def test_the_gate_is_precise_at_small_and_large_values() -> None:
    x = torch.linspace(-12, 12, 2_001)[:, None]
    projected = torch.cat((torch.ones_like(x), x), dim=1)
    no_dropout = 0, np.uint32(0), np.uint32(0)
    gated, back = torch.empty_like(x), torch.empty_like(projected)
    _kernels.gate(projected.numpy(), *no_dropout, gated.numpy())
    exact = x.double().requires_grad_()
    F.gelu(exact).sum().backward()
    torch.testing.assert_close(gated.double(), F.gelu(exact).detach(), rtol=1e-6, atol=1e-6)
    grad = torch.ones_like(x)
    _kernels.gate_backward(
        projected.numpy(), *no_dropout, grad.numpy(), gated.numpy(), back.numpy()
    )
    assert exact.grad is not None
    torch.testing.assert_close(back[:, 1:].double(), exact.grad, rtol=1e-6, atol=1e-6)


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
    x = torch.ones(1_000, 100, requires_grad=True)
    torch.manual_seed(0)
    first, second = _fused.dropout(x, 0.2), _fused.dropout(x, 0.2)
    torch.manual_seed(0)
    assert torch.equal(first, _fused.dropout(x, 0.2))
    both = (first.detach() > 0).float().mul(second.detach() > 0).mean()
    assert abs(float(both) - 0.8**2) < 0.01  # independent of each other
    assert abs(float(first.detach().mean()) - 1) < 0.01
    for axis in (0, 1):
        shares = (first.detach() > 0).float().mean(axis)
        binomial = (0.8 * 0.2 / (x.numel() / shares.numel())) ** 0.5
        assert abs(float(shares.std()) / binomial - 1) < 0.25
    (gradient,) = torch.autograd.grad(first.sum(), x)
    assert torch.equal(gradient, first.detach())


def test_no_units_pass_through() -> None:
    encoder = Encoder(EncoderConfig(dim=32, heads=4, head_dim=8)).train()
    empty = encoder(torch.zeros(0, 10, 50), [])
    assert empty.shape == (0, 32)
    empty.sum().backward()
