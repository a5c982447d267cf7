"""The calls to oneDNN that PyTorch has, but does not document: all of them are in this file."""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor


@cache
def is_available(dtype: torch.dtype) -> bool:
    """Return whether this PyTorch and processor have the calls below, with correct results."""
    if not torch.backends.mkldnn.is_available():
        return False
    x, weight, bias = (torch.ones(shape, dtype=dtype) for shape in ((2, 3), (4, 3), (4,)))
    try:
        packed = pack(weight)
        plain = linear(x, packed, bias)
        gelu = linear_gelu(x, packed, bias)
        times = linear_times(x, packed, bias, plain)
    except (AttributeError, RuntimeError):
        return False
    close = torch.allclose(gelu.float(), F.gelu(plain.float()), rtol=1e-2)
    return bool((plain == 4).all() and (times == 16).all() and close)


def pack(weight: Tensor) -> Tensor:
    """Return a weight (out, in) in the layout that the functions below read fastest."""
    packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight)
    return packed


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return x @ weight.T + bias; the weight packed or plain."""
    out: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return out


def linear_gelu(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return gelu(x @ weight.T + bias)."""
    out: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "gelu", [], "none")
    return out


def linear_times(x: Tensor, weight: Tensor, bias: Tensor, factor: Tensor) -> Tensor:
    """Return (x @ weight.T + bias) * factor."""
    out: Tensor = torch.ops.mkldnn._linear_pointwise.binary(x, factor, weight, bias, "mul")
    return out
