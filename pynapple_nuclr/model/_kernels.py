"""Loops of `_fused` that numba compiles: gated features, rotations, softmax over few columns.

PyTorch does these as several operations, each of which reads and writes all values; here a value
is read once. All arrays are contiguous and float32, as precise as the constants below.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

_Function = TypeVar("_Function", bound=Callable[..., Any])
_Array = NDArray[Any]
_F = np.float32

_LEAST = _F(-87)  # the exponential of less is no float32
_LOG2_E, _LN2_HIGH, _LN2_LOW = _F(1.44269504088896341), _F(0.693359375), _F(-2.12194440e-4)
_HALF, _ONE, _ROOT_HALF, _ROOT_2PI = _F(0.5), _F(1), _F(0.5**0.5), _F((2 * np.pi) ** -0.5)
_EXPONENT_BITS, _EXPONENT_BIAS = np.int32(23), np.int32(127)


def _compiled(function: _Function) -> _Function:
    """Compile at the first call, and keep the result on disk; sums may be reordered."""
    order_free = {"contract", "reassoc", "nsz"}
    compiled = numba.njit(cache=True, fastmath=order_free, error_model="numpy")(function)
    return cast("_Function", compiled)


def _inlined(function: _Function) -> _Function:
    """Compile as a part of the functions that call it, which can then use vector instructions."""
    return cast("_Function", numba.njit(inline="always")(function))


@_inlined
def _exp(x: Any) -> Any:
    """Return the exponential of x ≤ 0 (polynomial of the Cephes library, error below 1e-7)."""
    x = max(x, _LEAST)
    n = np.floor(x * _LOG2_E + _HALF)
    r = x - n * _LN2_HIGH - n * _LN2_LOW
    y = _F(1.9875691500e-4)
    y = y * r + _F(1.3981999507e-3)
    y = y * r + _F(8.3334519073e-3)
    y = y * r + _F(4.1665795894e-2)
    y = y * r + _F(1.6666665459e-1)
    y = y * r + _F(5.0000001201e-1)
    power = np.int32((np.int32(n) + _EXPONENT_BIAS) << _EXPONENT_BITS).view(_F)
    return (y * r * r + r + _ONE) * power


@_inlined
def _cumulative(x: Any) -> Any:
    """Return the normal distribution function (rational function of Eigen's erf)."""
    z = min(max(x * _ROOT_HALF, _F(-4)), _F(4))
    s = z * z
    p = _F(-2.72614225801306e-10)
    p = p * s + _F(2.77068142495902e-08)
    p = p * s + _F(-2.10102402082508e-06)
    p = p * s + _F(-5.69250639462346e-05)
    p = p * s + _F(-7.34990630326855e-04)
    p = p * s + _F(-2.95459980854025e-03)
    p = p * s + _F(-1.60960333262415e-02)
    q = _F(-1.45660718464996e-05)
    q = q * s + _F(-2.13374055278905e-04)
    q = q * s + _F(-1.68282697438203e-03)
    q = q * s + _F(-7.37332916720468e-03)
    q = q * s + _F(-1.42647390514189e-02)
    return _HALF + _HALF * (z * p / q)


@_inlined
def _kept(index: int, seed: np.uint32, limit: np.uint32) -> Any:
    """Return 1, or 0 if the random number of this index is below the limit (a hash of 32 bits)."""
    x = np.uint32(np.uint32(index) * np.uint32(0x9E3779B9) + seed)
    x = np.uint32((x ^ (x >> np.uint32(16))) * np.uint32(0x7FEB352D))
    x = np.uint32((x ^ (x >> np.uint32(15))) * np.uint32(0x846CA68B))
    x = np.uint32(x ^ (x >> np.uint32(16)))
    return _ONE if x >= limit else _F(0)


@_compiled
def drop(x: _Array, first: int, seed: np.uint32, limit: np.uint32) -> None:
    """Set values of x (tokens, features) to zero, in place.

    The random numbers depend on the seed and on the index of a value; `first` is that of the first
    token. A value is dropped with a probability of limit / 2³².
    """
    tokens, width = x.shape
    for i in range(tokens):
        for j in range(width):
            x[i, j] *= _kept((first + i) * width + j, seed, limit)


@_compiled
def gate(projected: _Array, first: int, seed: np.uint32, limit: np.uint32, out: _Array) -> None:
    """Write gelu(gate) · value to `out` (tokens, width), with dropout as in `drop`.

    `projected` (tokens, 2 × width) are the values, then the gates.
    """
    tokens, width = out.shape
    for i in range(tokens):
        for j in range(width):
            x = projected[i, width + j]
            kept = _kept((first + i) * width + j, seed, limit)
            out[i, j] = kept * (x * _cumulative(x)) * projected[i, j]


@_compiled
def gate_backward(
    projected: _Array,
    first: int,
    seed: np.uint32,
    limit: np.uint32,
    grad: _Array,
    gated: _Array,
    out: _Array,
) -> None:
    """Write the gradient of `projected` from that of the gated features, and these once more."""
    tokens, width = grad.shape
    for i in range(tokens):
        for j in range(width):
            value, x = projected[i, j], projected[i, width + j]
            kept = _kept((first + i) * width + j, seed, limit)
            below = _cumulative(x)
            slope = below + x * (_ROOT_2PI * _exp(-_HALF * x * x))
            g = kept * grad[i, j]
            gated[i, j] = kept * (x * below) * value
            out[i, j] = g * (x * below)
            out[i, width + j] = g * value * slope


@_compiled
def rotate_to_rows(x: _Array, cos: _Array, sin: _Array, rows: _Array) -> None:
    """Write the rotated pairs of x in `rows` of one unit and head.

    `x` (units, tokens, n, heads, head_dim) are queries, keys and values, or some of them; `cos` and
    `sin` (tokens, head_dim / 2) rotate every pair of features at every token; `rows` are
    (n, units, heads, tokens, head_dim).
    """
    units, tokens, n, heads, _ = x.shape
    for unit in range(units):
        for token in range(tokens):
            for part in range(n):
                for head in range(heads):
                    a, b = x[unit, token, part, head], rows[part, unit, head, token]
                    for pair in range(cos.shape[1]):
                        c, s = cos[token, pair], sin[token, pair]
                        even, odd = a[2 * pair], a[2 * pair + 1]
                        b[2 * pair], b[2 * pair + 1] = even * c - odd * s, even * s + odd * c


@_compiled
def rotate_from_rows(rows: _Array, cos: _Array, sin: _Array, x: _Array) -> None:
    """Write to x what `rotate_to_rows` reads, from rows, rotated back."""
    units, tokens, n, heads, _ = x.shape
    for unit in range(units):
        for token in range(tokens):
            for part in range(n):
                for head in range(heads):
                    a, b = rows[part, unit, head, token], x[unit, token, part, head]
                    for pair in range(cos.shape[1]):
                        c, s = cos[token, pair], sin[token, pair]
                        even, odd = a[2 * pair], a[2 * pair + 1]
                        b[2 * pair], b[2 * pair + 1] = even * c + odd * s, odd * c - even * s


@_compiled
def softmax(scores: _Array, scale: np.float32) -> None:
    """Replace scores (rows, columns, columns) by their softmax, multiplied by `scale` before."""
    rows, tokens, columns = scores.shape
    flat = scores.reshape(rows, tokens * columns)
    for i in range(rows):
        for row in scores[i]:
            largest = row[0]
            for j in range(1, columns):
                largest = max(largest, row[j])
            for j in range(columns):
                row[j] = scale * (row[j] - largest)
        for j in range(tokens * columns):  # long enough for vector instructions
            flat[i, j] = _exp(flat[i, j])
        for row in scores[i]:
            total = _F(0)
            for j in range(columns):
                total += row[j]
            part = _ONE / total
            for j in range(columns):
                row[j] *= part


@_compiled
def softmax_backward(grad: _Array, shares: _Array, scale: np.float32) -> None:
    """Replace the gradient of the shares (rows, columns, columns) by that of the scores."""
    rows, tokens, columns = grad.shape
    for row in range(rows):
        for i in range(tokens):
            total = _F(0)
            for j in range(columns):
                total += grad[row, i, j] * shares[row, i, j]
            for j in range(columns):
                grad[row, i, j] = scale * shares[row, i, j] * (grad[row, i, j] - total)
