"""Training steps of narrow encoders: layers with their own backward pass against plain ones."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from speed import SEED, Bench, activity, operations, table

import pynapple_nuclr as nap_nuclr
from pynapple_nuclr.model import _fused, keep_freed_memory

_UNITS = 128
_TYPES = (torch.float32, torch.bfloat16)
_TARGETS = {64: 0.5, 128: 0.6}
_FLAGS = ("avx2", "fma", "avx512f", "avx512_bf16", "amx_bf16")


def widths(bench: Bench) -> str:
    """Time a step of encoders of three widths, on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    keep_freed_memory()
    squares = {kind: torch.randn(2048, 2048).to(kind) for kind in _TYPES}
    seconds = _processor_seconds({k: partial(torch.matmul, x, x) for k, x in squares.items()})
    peak = {kind: 2 * 2048**3 / spent / 1e9 for kind, spent in seconds.items()}
    rows = [_row(bench, dim, kind, peak[kind]) for dim in (64, 128, 256) for kind in _TYPES]
    torch.set_num_threads(threads)
    found = ", ".join(f"{str(kind)[6:]} {rate:.0f}" for kind, rate in peak.items())
    return (
        f"Instruction sets: {_instruction_sets()}. "
        f"Peak of PyTorch's square products (2048), GFLOP/s: {found}.\n\n{table(rows)}"
    )


def _row(bench: Bench, dim: int, kind: torch.dtype, peak: float) -> dict[str, Any]:
    """Time the plain and the fused layers at one width."""
    config = nap_nuclr.EncoderConfig(dim=dim, heads=4, head_dim=dim // 4)
    step = _make_step(config, kind)
    spent = _processor_seconds({"plain": partial(_by_plain_layers, step), "fused": step})
    work = 3 * 2 * operations(_UNITS, config)
    row: dict[str, Any] = {"dim": dim, "products": str(kind)[6:]}
    for name, seconds in spent.items():
        row[f"{name}: pairs/s"] = 1 / seconds
        row[f"{name}: GFLOP/s"] = work / seconds
        row[f"{name}: share of the peak"] = work / seconds / peak
    if kind == torch.float32 and dim in _TARGETS:
        share = row["fused: share of the peak"]
        bench.add_target(f"step, dim {dim}, share of the float32 peak", share, _TARGETS[dim])
    ratio = spent["plain"] / spent["fused"]
    return row | {"ratio": ratio, "fused: pairs/h": round(3600 / spent["fused"])}


def _make_step(config: nap_nuclr.EncoderConfig, kind: torch.dtype) -> Callable[[], None]:
    """Return a function that takes a step on one pair of views."""
    torch.manual_seed(SEED)
    encoder = nap_nuclr.Encoder(config).train()
    objective = nap_nuclr.ContrastiveLoss(config.dim)
    optimizer = torch.optim.AdamW([*encoder.parameters(), *objective.parameters()], lr=5e-4)
    patches, ids = activity(2 * _UNITS), [torch.arange(_UNITS)]

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=kind == torch.bfloat16):
            x = encoder(patches, [_UNITS, _UNITS])
        objective(x[:_UNITS].float(), x[_UNITS:].float(), ids, ids).backward()
        optimizer.step()

    return step


def _by_plain_layers(step: Callable[[], None]) -> None:
    """Take a step with the layers written with PyTorch's own operations."""
    suits = _fused.suits
    _fused.suits = lambda x: False
    try:
        step()
    finally:
        _fused.suits = suits


def _processor_seconds(calls: dict[Any, Callable[[], Any]], times: int = 6) -> dict[Any, float]:
    """Return the least processor time of each call; calls alternate, the first is not counted."""
    seconds: dict[Any, list[float]] = {name: [] for name in calls}
    for turn in range(times + 1):
        for name, call in calls.items():
            begun = time.process_time()
            call()
            if turn:
                seconds[name].append(time.process_time() - begun)
    return {name: min(found) for name, found in seconds.items()}


def _instruction_sets() -> str:
    """Return which of the instruction sets that matter here the processor has."""
    info = Path("/proc/cpuinfo")
    flags = info.read_text(encoding="utf-8").split() if info.exists() else []
    return ", ".join(flag for flag in _FLAGS if flag in flags) or "unknown"
