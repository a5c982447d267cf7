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
from typing import Any, TypeVar, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from pynapple_nuclr.model import _kernels, _onednn

# Tokens computed together: few enough for the cache, enough for fast products.
_TOKENS = 5_000
# glibc's numbers of these two options.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_Grads = tuple[Tensor | None, ...]
_Pass = TypeVar("_Pass", bound=Callable[..., Any])
_Angles = tuple[NDArray[Any], NDArray[Any]]


def suits(x: Tensor) -> bool:
    """Return whether the functions below are for this tensor: on the CPU, with gradients."""
    known = _product_type(x) in (torch.float32, torch.bfloat16)
    return x.device.type == "cpu" and torch.is_grad_enabled() and known


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


def dropout(x: Tensor, p: float) -> Tensor:
    """Return x (…, features) with values dropped with probability p, the others scaled."""
    out: Tensor = _DropValues.apply(x, p)
    return out


def _product_type(x: Tensor) -> torch.dtype:
    """Return the type of matrix products: autocast's, or that of x."""
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype


def _parts(tokens: int, together: int = 1) -> Iterator[slice]:
    """Cut tokens into equal parts that fit into the cache, each a multiple of `together`."""
    parts = max(-(-tokens // _TOKENS), 1)
    size = max(-(-tokens // (parts * together)), 1) * together
    return (slice(first, min(first + size, tokens)) for first in range(0, tokens, size))


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return x @ weight.T + bias, by the faster library."""
    if _onednn.is_available(x.dtype):
        return _onednn.linear(x, weight, bias)
    return F.linear(x, weight, bias)


class _Dropout:
    """Which values to drop: those whose random number, from seed and index, is below `limit`.

    Values that are kept have to be multiplied by `scale`, which is cheapest in the weights of a
    product before or after.
    """

    def __init__(self, p: float) -> None:
        self.limit = np.uint32(round(p * 2**32))
        self.scale = 1 / (1 - p)
        # torch's seed decides, so that a resumed training draws the same.
        self.seed = np.uint32(int(torch.randint(2**32, ())) if p else 0)

    def drop_(self, x: Tensor, first: int) -> Tensor:
        """Set the dropped values of x (tokens, features) to zero, in place if it is float32."""
        if not self.limit:
            return x
        values = x.float()
        _kernels.drop(values.numpy(), first, self.seed, self.limit)
        return values.to(x.dtype)


class _DropValues(torch.autograd.Function):
    """Dropout as a layer of its own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, p: float) -> Tensor:
        ctx.dropout = _Dropout(p)
        return _DropValues._drop(x, ctx.dropout)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> _Grads:
        return _DropValues._drop(grad, ctx.dropout), None

    @staticmethod
    def _drop(x: Tensor, dropout: _Dropout) -> Tensor:
        return dropout.drop_((x * dropout.scale).flatten(0, -2), 0).view(x.shape)


class _Gradients:
    """Sums over parts of the gradients of a layer's norm and linear layers."""

    def __init__(self, weights: tuple[Tensor, ...]) -> None:
        self.sums = [torch.zeros_like(weight) for weight in weights]

    def add_linear(self, index: int, grad: Tensor, x: Tensor, scale: float = 1.0) -> None:
        """Add the gradients of a linear layer's weight and of its bias, which follows it."""
        weight = self.sums[index]
        if grad.dtype == weight.dtype:
            weight.addmm_(grad.T, x, alpha=scale)
        else:
            weight.add_(grad.T @ x, alpha=scale)
        self.sums[index + 1] += grad.sum(0)


def _norm(x: Tensor, scale: Tensor, shift: Tensor) -> list[Tensor]:
    """Return the normalised tokens, and the mean and inverse deviation of each."""
    return list(torch.native_layer_norm(x, x.shape[-1:], scale, shift, 1e-5))


def _norm_backward(
    grad: Tensor, x: Tensor, norm: list[Tensor], weights: list[Tensor], gradients: _Gradients
) -> Tensor:
    """Return the gradient of a norm's input; add up those of its scale and shift."""
    found = torch.ops.aten.native_layer_norm_backward(
        grad.to(x.dtype), x, x.shape[-1:], *norm, *weights[:2], [True, True, True]
    )
    gradients.sums[0] += found[1]
    gradients.sums[1] += found[2]
    out: Tensor = found[0]
    return out


def _own_types(function: _Pass) -> _Pass:
    """Let a pass choose its types itself, without autocast.

    A backward pass too: Lightning calls it inside autocast, where `_complex` would return a copy
    in float32, and what is written into that copy is lost.
    """

    @wraps(function)
    def run(*inputs: Any) -> Any:
        with torch.autocast("cpu", enabled=False):
            return function(*inputs)

    return cast("_Pass", run)


class _FeedForward(torch.autograd.Function):
    """x + dropout(out(dropout(gelu(gate) · value))), value and gate from the normalised x."""

    @staticmethod
    @_own_types
    def forward(ctx: Any, x: Tensor, kind: torch.dtype, dropout: float, *weights: Tensor) -> Tensor:
        inner, outer = _Dropout(dropout), _Dropout(dropout)
        ctx.inner, ctx.outer, ctx.kind = inner, outer, kind
        in_weight, in_bias, out_weight, out_bias = (w.to(kind) for w in weights[2:])
        out_weight = out_weight * inner.scale
        tokens = x.flatten(0, -2)
        out = torch.empty_like(tokens)
        ctx.saved = []
        for part in _parts(len(tokens)):
            normed, *norm = _norm(tokens[part], *weights[:2])
            normed = normed.to(kind)
            projected = _linear(normed, in_weight, in_bias)
            gated = torch.empty((len(normed), out_weight.shape[1]))
            place = part.start, inner.seed, inner.limit
            _kernels.gate(projected.float().numpy(), *place, gated.numpy())
            branch = _linear(gated.to(kind), out_weight, out_bias)
            branch = outer.drop_(branch, part.start)
            torch.add(tokens[part], branch, alpha=outer.scale, out=out[part])
            ctx.saved.append((part, norm, normed, projected))
        ctx.save_for_backward(x, *weights)
        return out.view(x.shape)

    @staticmethod
    @torch.autograd.function.once_differentiable
    @_own_types
    def backward(ctx: Any, grad: Tensor) -> _Grads:
        x, *weights = ctx.saved_tensors
        inner, outer, kind = ctx.inner, ctx.outer, ctx.kind
        in_columns = weights[2].to(kind).T.contiguous()
        out_columns = (weights[4].to(kind) * inner.scale).T.contiguous()
        gradients = _Gradients(weights)
        tokens, grads = x.flatten(0, -2), grad.flatten(0, -2)
        out = torch.empty_like(tokens)
        for part, norm, normed, projected in ctx.saved:
            branch = outer.drop_((grads[part] * outer.scale).to(kind), part.start)
            back = _linear(branch, out_columns)
            gated, back_in = torch.empty(back.shape), torch.empty(projected.shape)
            place = part.start, inner.seed, inner.limit
            reads = projected.float().numpy(), *place, back.float().numpy()
            _kernels.gate_backward(*reads, gated.numpy(), back_in.numpy())
            gradients.add_linear(4, branch, gated.to(kind), inner.scale)
            back_in = back_in.to(kind)
            gradients.add_linear(2, back_in, normed)
            back = _linear(back_in, in_columns)
            back = _norm_backward(back, tokens[part], norm, weights, gradients)
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
        angles = _cosines(rotation)
        tokens = x.flatten(0, 1)
        out = torch.empty_like(tokens)
        ctx.saved = []
        for part in _parts(len(tokens), x.shape[1]):
            normed, *norm = _norm(tokens[part], *weights[:2])
            normed = normed.to(kind)
            projected = _linear(normed, qkv_weight, qkv_bias)
            rows = _rotate_to_rows(projected, angles, heads)
            query, key, value = rows
            shares = torch.bmm(query, key.transpose(1, 2))
            _kernels.softmax(shares.numpy(), np.float32(query.shape[-1] ** -0.5))
            attended = torch.bmm(shares, value)[None]
            attended = _rotate_from_rows(attended, angles, heads).to(kind)
            branch = outer.drop_(_linear(attended, out_weight, out_bias), part.start)
            torch.add(tokens[part], branch, alpha=outer.scale, out=out[part])
            ctx.saved.append((part, norm, normed, rows, shares, attended))
        ctx.save_for_backward(x, rotation, *weights)
        return out.view(x.shape)

    @staticmethod
    @torch.autograd.function.once_differentiable
    @_own_types
    def backward(ctx: Any, grad: Tensor) -> _Grads:
        x, rotation, *weights = ctx.saved_tensors
        outer, kind, heads = ctx.outer, ctx.kind, ctx.heads
        qkv_columns, out_columns = (weights[i].to(kind).T.contiguous() for i in (2, 4))
        angles = _cosines(rotation)
        gradients = _Gradients(weights)
        tokens, grads = x.flatten(0, 1), grad.flatten(0, 1)
        out = torch.empty_like(tokens)
        for part, norm, normed, rows, shares, attended in ctx.saved:
            query, key, value = rows
            branch = outer.drop_((grads[part] * outer.scale).to(kind), part.start)
            gradients.add_linear(4, branch, attended)
            (received,) = _rotate_to_rows(_linear(branch, out_columns), angles, heads)
            scores = torch.bmm(received, value.transpose(1, 2))
            scale = np.float32(query.shape[-1] ** -0.5)
            _kernels.softmax_backward(scores.numpy(), shares.numpy(), scale)
            back = torch.empty_like(rows)
            torch.bmm(scores, key, out=back[0])
            torch.bmm(scores.transpose(1, 2), query, out=back[1])
            torch.bmm(shares.transpose(1, 2), received, out=back[2])
            back = _rotate_from_rows(back, angles, heads).to(kind)
            gradients.add_linear(2, back, normed)
            back = _linear(back, qkv_columns)
            back = _norm_backward(back, tokens[part], norm, weights, gradients)
            torch.add(grads[part], back, out=out[part])
        return out.view(x.shape), None, None, None, None, *gradients.sums


def _cosines(rotation: Tensor) -> _Angles:
    """Return cosine and sine of the angles, each (tokens, head_dim / 2)."""
    cos, sin = torch.view_as_real(rotation[:, 0]).permute(2, 0, 1).float().contiguous().numpy()
    return cos, sin


def _rotate_to_rows(x: Tensor, angles: _Angles, heads: int) -> Tensor:
    """Rotate (units × tokens, n × heads × head_dim) → (n, units × heads, tokens, head_dim).

    In float32: few tokens attend to each other faster in it than in bfloat16.
    """
    tokens, width = angles[0].shape[0], 2 * angles[0].shape[1]
    x = x.view(-1, tokens, x.shape[1] // (heads * width), heads, width)
    rows = torch.empty((x.shape[2], len(x), heads, tokens, width))
    _kernels.rotate_to_rows(x.float().numpy(), *angles, rows.numpy())
    return rows.flatten(1, 2)


def _rotate_from_rows(rows: Tensor, angles: _Angles, heads: int) -> Tensor:
    """Rotate (n, units × heads, tokens, head_dim) back → (units × tokens, n × heads × head_dim)."""
    n, count, tokens, width = rows.shape
    x = torch.empty((count // heads, tokens, n, heads, width))
    _kernels.rotate_from_rows(rows.unflatten(1, (-1, heads)).numpy(), *angles, x.numpy())
    return x.flatten(2).flatten(0, 1)


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
