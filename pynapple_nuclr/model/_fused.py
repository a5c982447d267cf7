"""Training on the CPU: layers with their own backward pass, computed a few tokens at a time.

Tokens are independent in a feed-forward network, and units in attention over time. A part of them
goes through the whole layer before the next, so that intermediate values stay in the processor's
cache; the backward pass computes the cheap ones a second time instead of reading them from memory.
The same functions as the layers in `layers`, where they are written with PyTorch's own operations.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pynapple_nuclr.model import _onednn

# Tokens computed together: few enough for the cache, enough for fast products.
_TOKENS = 2_000
# glibc's numbers of these two options.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_Grads = tuple[Tensor | None, ...]


def suits(x: Tensor) -> bool:
    """Return whether the functions below are for this tensor: on the CPU, with gradients."""
    return x.device.type == "cpu" and torch.is_grad_enabled()


def feed_forward(x: Tensor, weights: tuple[Tensor, ...], dropout: float) -> Tensor:
    """Return x plus the gated feed-forward network of x (batch, tokens, dim).

    `weights`: scale and shift of the norm, then weight and bias of both linear layers.
    """
    out: Tensor = _FeedForward.apply(x, _product_type(x), dropout, *weights)
    return out


def time_attention(
    x: Tensor, rotation: Tensor, heads: int, weights: tuple[Tensor, ...], dropout: float
) -> Tensor:
    """Return x plus the attention of each unit's tokens (units, tokens, dim) among themselves.

    `weights`: scale and shift of the norm, then weight and bias of both linear layers.
    """
    out: Tensor = _TimeAttention.apply(x, _product_type(x), rotation, heads, dropout, *weights)
    return out


def _product_type(x: Tensor) -> torch.dtype:
    """Return the type of matrix products: autocast's, or that of x."""
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype


def _parts(rows: int, tokens: int = 1) -> Iterator[slice]:
    """Cut rows of so many tokens into parts that fit into the cache."""
    size = max(_TOKENS // tokens, 1)
    return (slice(first, first + size) for first in range(0, rows, size))


def _linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return x @ weight.T + bias, by the faster library."""
    if _onednn.is_available(x.dtype):
        return _onednn.linear(x, weight, bias)
    return F.linear(x, weight, bias)


class _Dropout:
    """Random bytes, one for each value: those below `limit` drop it.

    The probability is a multiple of 1/256. Values that are kept have to be multiplied by `scale`,
    which is cheapest in the weights of a product before or after.
    """

    def __init__(self, p: float) -> None:
        self.limit = min(round(256 * p), 255)
        self.scale = 256 / (256 - self.limit)
        # torch's seed decides, so that a resumed training draws the same.
        seed = int(torch.randint(2**62, ())) if self.limit else 0
        self._stream = np.random.SFC64(seed)

    def draw(self, shape: torch.Size) -> Tensor:
        """Return random bytes; none if nothing is dropped."""
        if not self.limit:
            return torch.empty(0, dtype=torch.uint8)
        words = self._stream.random_raw(-(-shape.numel() // 8))
        return torch.from_numpy(words).view(torch.uint8)[: shape.numel()].view(shape)

    def drop_(self, x: Tensor, draws: Tensor) -> Tensor:
        """Set the dropped values of x to zero, in place."""
        # Comparing floats is several times faster here than comparing bytes.
        return x.mul_(draws.to(x.dtype).ge_(self.limit)) if self.limit else x


class _Gradients:
    """Sums over parts of the gradients of a layer's norm and linear layers."""

    def __init__(self, weights: tuple[Tensor, ...]) -> None:
        self.sums = [torch.zeros_like(weight) for weight in weights]

    def add(self, index: int, values: Tensor, rows: slice = slice(None)) -> None:
        """Add to the gradient of a weight."""
        self.sums[index][rows] += values

    def add_linear(
        self, index: int, grad: Tensor, x: Tensor, rows: slice = slice(None), scale: float = 1.0
    ) -> None:
        """Add the gradients of a linear layer's weight and of its bias, which follows it."""
        weight = self.sums[index][rows]
        if grad.dtype == weight.dtype:
            weight.addmm_(grad.T, x, alpha=scale)
        else:
            weight.add_(grad.T @ x, alpha=scale)
        self.sums[index + 1][rows] += grad.sum(0)


def _norm(x: Tensor, scale: Tensor, shift: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the normalised tokens, and the mean and inverse deviation of each."""
    return torch.native_layer_norm(x, x.shape[-1:], scale, shift, 1e-5)


def _norm_backward(
    grad: Tensor,
    x: Tensor,
    mean: Tensor,
    deviation: Tensor,
    weights: tuple[Tensor, ...],
    gradients: _Gradients,
) -> Tensor:
    """Return the gradient of a norm's input; add up those of its scale and shift."""
    scale, shift = weights[:2]
    found = torch.ops.aten.native_layer_norm_backward(
        grad.to(x.dtype), x, x.shape[-1:], mean, deviation, scale, shift, [True, True, True]
    )
    gradients.add(0, found[1])
    gradients.add(1, found[2])
    out: Tensor = found[0]
    return out


def _own_types(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a pass choose its types itself, without autocast.

    A backward pass too: Lightning calls it inside autocast, where `_complex` would return a copy
    in float32, and what is written into that copy is lost.
    """

    @wraps(function)
    def run(*inputs: Any) -> Any:
        with torch.autocast("cpu", enabled=False):
            return function(*inputs)

    return run


class _FeedForward(torch.autograd.Function):
    """x + dropout(out(dropout(gelu(gate) · value))), value and gate from the normalised x."""

    @staticmethod
    @_own_types
    def forward(ctx: Any, x: Tensor, kind: torch.dtype, dropout: float, *weights: Tensor) -> Tensor:
        inner, outer = _Dropout(dropout), _Dropout(dropout)
        ctx.inner, ctx.outer, ctx.kind, ctx.weights = inner, outer, kind, weights
        in_weight, in_bias, out_weight, out_bias = (w.to(kind) for w in weights[2:])
        width = out_weight.shape[1]
        out_weight = out_weight * inner.scale
        tokens = x.flatten(0, -2)
        out = torch.empty_like(tokens)
        ctx.saved = []
        for part in _parts(len(tokens)):
            normed = _norm(tokens[part], *weights[:2])[0].to(kind)
            value = _linear(normed, in_weight[:width], in_bias[:width])
            gate = _linear(normed, in_weight[width:], in_bias[width:])
            draws = inner.draw(value.shape)
            gated = inner.drop_(F.gelu(gate).mul_(value), draws)
            branch = _linear(gated, out_weight, out_bias)
            outer_draws = outer.draw(branch.shape)
            outer.drop_(branch, outer_draws)
            torch.add(tokens[part], branch, alpha=outer.scale, out=out[part])
            ctx.saved.append((value, gate, draws, outer_draws))
        ctx.save_for_backward(x, *weights)
        return out.view(x.shape)

    @staticmethod
    @torch.autograd.function.once_differentiable
    @_own_types
    def backward(ctx: Any, grad: Tensor) -> _Grads:
        x, *weights = ctx.saved_tensors
        inner, outer, kind = ctx.inner, ctx.outer, ctx.kind
        in_weight, out_weight = weights[2].to(kind), weights[4].to(kind) * inner.scale
        width = out_weight.shape[1]
        value_rows, gate_rows = slice(None, width), slice(width, None)
        gradients = _Gradients(weights)
        tokens, grads = x.flatten(0, -2), grad.flatten(0, -2)
        out = torch.empty_like(tokens)
        for part, kept in zip(_parts(len(tokens)), ctx.saved, strict=True):
            value, gate, draws, outer_draws = kept
            branch = outer.drop_((grads[part] * outer.scale).to(kind), outer_draws)
            # What is dropped of the gated features passes no gradient to value and gate either.
            gelu = inner.drop_(F.gelu(gate), draws)
            gradients.add_linear(4, branch, gelu * value, scale=inner.scale)
            gated = branch @ out_weight
            gate = torch.ops.aten.gelu_backward(inner.drop_(gated * value, draws), gate)
            value = gated.mul_(gelu)
            normed, mean, deviation = _norm(tokens[part], *weights[:2])
            normed = normed.to(kind)
            gradients.add_linear(2, value, normed, value_rows)
            gradients.add_linear(2, gate, normed, gate_rows)
            back = torch.addmm(value @ in_weight[value_rows], gate, in_weight[gate_rows])
            back = _norm_backward(back, tokens[part], mean, deviation, weights, gradients)
            torch.add(grads[part], back, out=out[part])
        return out.view(x.shape), None, None, *gradients.sums


class _TimeAttention(torch.autograd.Function):
    """x + dropout(out(rotated back(attention of the rotated query, key and value)))."""

    @staticmethod
    @_own_types
    def forward(
        ctx: Any,
        x: Tensor,
        kind: torch.dtype,
        rotation: Tensor,
        heads: int,
        dropout: float,
        *weights: Tensor,
    ) -> Tensor:
        outer = _Dropout(dropout)
        ctx.outer, ctx.kind, ctx.heads = outer, kind, heads
        qkv_weight, qkv_bias, out_weight, out_bias = (w.to(kind) for w in weights[2:])
        rows_rotation = rotation[:, 0]  # (tokens, head_dim / 2)
        out = torch.empty(x.shape, dtype=x.dtype)
        ctx.saved = []
        for part in _parts(*x.shape[:2]):
            normed = _norm(x[part], *weights[:2])[0].to(kind)
            projected = _linear(normed, qkv_weight, qkv_bias).unflatten(-1, (3, heads, -1))
            rows = _rotate_to_rows(projected, rows_rotation)
            query, key, value = rows
            scores = torch.bmm(query, key.transpose(1, 2)).mul_(query.shape[-1] ** -0.5)
            shares = _softmax(scores)
            attended = torch.bmm(shares, value)[None]
            attended = _rotate_from_rows(attended, rows_rotation.conj(), heads)
            attended = attended.flatten(2).to(kind)
            branch = _linear(attended, out_weight, out_bias)
            draws = outer.draw(branch.shape)
            outer.drop_(branch, draws)
            torch.add(x[part], branch, alpha=outer.scale, out=out[part])
            ctx.saved.append((rows, shares, attended, draws))
        ctx.save_for_backward(x, rotation, *weights)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    @_own_types
    def backward(ctx: Any, grad: Tensor) -> _Grads:
        x, rotation, *weights = ctx.saved_tensors
        outer, kind, heads = ctx.outer, ctx.kind, ctx.heads
        qkv_weight, out_weight = weights[2].to(kind), weights[4].to(kind)
        rows_rotation = rotation[:, 0]
        gradients = _Gradients(weights)
        out = torch.empty(x.shape, dtype=x.dtype)
        for part, (rows, shares, attended, draws) in zip(
            _parts(*x.shape[:2]), ctx.saved, strict=True
        ):
            query, key, value = rows
            branch = outer.drop_((grad[part] * outer.scale).to(kind), draws)
            gradients.add_linear(4, branch.flatten(0, 1), attended.flatten(0, 1))
            back = (branch @ out_weight).unflatten(-1, (1, heads, -1))
            back = _rotate_to_rows(back, rows_rotation)[0]
            scores = _softmax_backward(torch.bmm(back, value.transpose(1, 2)), shares)
            scores.mul_(query.shape[-1] ** -0.5)
            back = torch.stack(
                (
                    torch.bmm(scores, key),
                    torch.bmm(scores.transpose(1, 2), query),
                    torch.bmm(shares.transpose(1, 2), back),
                )
            )
            back = _rotate_from_rows(back, rows_rotation.conj(), heads)
            back = back.flatten(2).flatten(0, 1).to(kind)
            tokens = x[part].flatten(0, 1)
            normed, mean, deviation = _norm(tokens, *weights[:2])
            gradients.add_linear(2, back, normed.to(kind))
            back = _norm_backward(back @ qkv_weight, tokens, mean, deviation, weights, gradients)
            torch.add(grad[part], back.view_as(grad[part]), out=out[part])
        return out, None, None, None, None, *gradients.sums


def _rotate_to_rows(x: Tensor, rotation: Tensor) -> Tensor:
    """Rotate (units, tokens, n, heads, head_dim) → (n, units × heads, tokens, head_dim).

    Float32 at least: few tokens attend to each other faster in it than in bfloat16.
    """
    units, tokens, n, heads, width = x.shape
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    rows = torch.empty((n, units, heads, tokens, width), dtype=x.dtype)
    torch.mul(_complex(x).permute(2, 0, 3, 1, 4), rotation, out=_complex(rows))
    return rows.flatten(1, 2)


def _rotate_from_rows(rows: Tensor, rotation: Tensor, heads: int) -> Tensor:
    """Rotate (n, units × heads, tokens, head_dim) → (units, tokens, n, heads, head_dim)."""
    n, _, tokens, width = rows.shape
    pairs = _complex(rows.unflatten(1, (-1, heads)))
    x = torch.empty((pairs.shape[1], tokens, n, heads, width), dtype=rows.dtype)
    torch.mul(pairs.permute(1, 3, 0, 2, 4), rotation[:, None, None], out=_complex(x))
    return x


def _complex(x: Tensor) -> Tensor:
    """View interleaved pairs of the last axis as complex numbers."""
    return torch.view_as_complex(x.unflatten(-1, (-1, 2)))


def _softmax(scores: Tensor) -> Tensor:
    """Softmax over the last axis: for few columns several times faster than PyTorch's."""
    exponentials = (scores - scores.amax(-1, keepdim=True)).exp_()
    return exponentials.div_(exponentials.sum(-1, keepdim=True))


def _softmax_backward(grad: Tensor, shares: Tensor) -> Tensor:
    """Return the gradient of the scores."""
    product = grad * shares
    return product.sub_(shares * product.sum(-1, keepdim=True))


def keep_freed_memory() -> None:
    """Let the C library keep memory that is freed: each step allocates the same amounts again.

    Otherwise glibc gives blocks of megabytes back, and the system has to clear new pages for the
    next ones, which takes as long as a matrix product on them. Elsewhere nothing happens.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, 32 << 20)  # the largest that glibc accepts
        mallopt(_TRIM_THRESHOLD, 512 << 20)
