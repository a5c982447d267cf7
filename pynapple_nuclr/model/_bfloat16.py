"""Whether the processor multiplies bfloat16 itself, and a warning where it does not."""

from __future__ import annotations

import time

import torch

from pynapple_nuclr.user_warnings import warn_user

_CHECKS = ("avx512_bf16", "amx_tile")
_SIZE = 256


def has_native_bfloat16() -> bool:
    """Return whether the processor multiplies bfloat16 itself; torch has no public call for it."""
    checks = (getattr(torch.cpu, f"_is_{name}_supported", None) for name in _CHECKS)
    return any(check is not None and check() for check in checks)


def warn_if_emulated(device: torch.device) -> None:
    """Warn if bfloat16 products are emulated on this device, with the factor measured now."""
    if device.type != "cpu" or has_native_bfloat16():
        return
    factor = _product_seconds(torch.bfloat16) / _product_seconds(torch.float32)
    if factor > 1:
        warn_user(
            f'precision="bfloat16" on this processor is emulated: a matrix product takes '
            f'{factor:.1f} times as long as in float32; use precision="float32"'
        )


def _product_seconds(kind: torch.dtype) -> float:
    """Return the least time of a few square products."""
    x = torch.ones(_SIZE, _SIZE).to(kind)
    seconds = []
    for _ in range(4):
        begun = time.perf_counter()
        x @ x
        seconds.append(time.perf_counter() - begun)
    return min(seconds)
