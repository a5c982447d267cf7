"""Training steps of narrow encoders: layers with their own backward pass against plain ones.

python benchmarks/throughput.py --only widths overlay
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from speed import SEED, Bench, activity, operations, seconds_of, table

import pynapple_nuclr as nap_nuclr
from pynapple_nuclr.model import _fused, keep_freed_memory
from pynapple_nuclr.pretraining.training_settings import TrainingSettings
from pynapple_nuclr.pretraining.view_batches import PairBatches
from pynapple_nuclr.recording import as_recordings
from pynapple_nuclr.windows import ViewSampler, open_patch_reader

_UNITS, _PAIRS = 128, 4
"""Units of a view, and pairs of views a step: what `pretrain` takes on a CPU by default."""

_DIMS = (64, 128, 256)
_TYPES = (torch.float32, torch.bfloat16)
_TARGETS = {64: 0.5, 128: 0.6}
_FLAGS = ("avx2", "fma", "avx512f", "avx512_bf16", "amx_bf16")
_AVX2 = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "NUMBA_CPU_NAME": "haswell",
}
_SECONDS = 6.0
_STEPS = 150


def widths(bench: Bench) -> str:
    """Time a step of encoders of three widths on one thread; then two processes at once."""
    threads = torch.get_num_threads()
    alone = _one_thread(bench, _TYPES)
    torch.set_num_threads(threads)
    return (
        f"Instruction sets: {_instruction_sets()}. {alone}\n\n"
        "Pairs of views an hour on two cores: two processes of one thread at the same time, each "
        f"for {_SECONDS:.0f} s of processor time, which does not count work of others on the "
        f"machine:\n\n{_two_cores()}"
    )


def emulated_avx2(bench: Bench) -> str:
    """Repeat the float32 rows with all libraries limited to AVX2."""
    call = [sys.executable, __file__, "float32"]
    answer = subprocess.run(
        call, check=True, capture_output=True, text=True, env={**os.environ, **_AVX2}
    )
    return answer.stdout.strip()


def _one_thread(bench: Bench, types: Sequence[torch.dtype]) -> str:
    """Return the peak and the table of steps on one thread."""
    torch.set_num_threads(1)
    keep_freed_memory()
    squares = {kind: torch.randn(2048, 2048).to(kind) for kind in types}
    seconds = _processor_seconds({k: partial(torch.matmul, x, x) for k, x in squares.items()})
    peak = {kind: 2 * 2048**3 / spent / 1e9 for kind, spent in seconds.items()}
    rows = [_row(bench, dim, kind, peak) for dim in _DIMS for kind in types]
    found = ", ".join(f"{str(kind)[6:]} {rate:.0f}" for kind, rate in peak.items())
    return f"Peak of PyTorch's square products (2048), GFLOP/s: {found}.\n\n{table(rows)}"


def _row(
    bench: Bench, dim: int, kind: torch.dtype, peak: dict[torch.dtype, float]
) -> dict[str, Any]:
    """Time the plain and the fused layers at one width."""
    config = nap_nuclr.EncoderConfig(dim=dim, heads=4, head_dim=dim // 4)
    step = _make_step(config, kind)
    spent = _processor_seconds({"plain": partial(_by_plain_layers, step), "fused": step})
    work = 3 * 2 * operations(_UNITS, config) * _PAIRS
    row: dict[str, Any] = {"dim": dim, "products": str(kind)[6:]}
    for name, seconds in spent.items():
        row[f"{name}: pairs/s"] = _PAIRS / seconds
        row[f"{name}: GFLOP/s"] = work / seconds
        row[f"{name}: share of the float32 peak"] = work / seconds / peak[torch.float32]
    share = row["fused: share of the float32 peak"]
    if dim in _TARGETS:
        name = f"step, dim {dim}, {row['products']}, share of the float32 peak"
        bench.add_target(name, share, _TARGETS[dim])
    return row | {"ratio": spent["plain"] / spent["fused"]}


def _two_cores() -> str:
    """Measure pairs an hour of two processes of one thread that run at the same time."""
    rows = []
    for dim in _DIMS:
        for kind in ("float32", "bfloat16"):
            call = [sys.executable, __file__, str(dim), kind]
            running = [subprocess.Popen(call, stdout=subprocess.PIPE, text=True) for _ in range(2)]
            found = [json.loads(one.communicate()[0]) for one in running]
            sums = {layers: sum(one[layers] for one in found) for layers in ("plain", "fused")}
            row = {f"{layers}: pairs/h": f"{rate:.0f}" for layers, rate in sums.items()}
            rows.append({"dim": dim, "products": kind} | row)
    return table(rows)


def _rate(dim: int, kind: str) -> dict[str, float]:
    """Return the pairs an hour of this process, from the median of steps that alternate."""
    torch.set_num_threads(1)
    keep_freed_memory()
    config = nap_nuclr.EncoderConfig(dim=dim, heads=4, head_dim=dim // 4)
    step = _make_step(config, getattr(torch, kind))
    calls = {"plain": partial(_by_plain_layers, step), "fused": step}
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    step()
    while sum(map(sum, seconds.values())) < _SECONDS:
        for name, call in calls.items():
            begun = time.process_time()
            call()
            seconds[name].append(time.process_time() - begun)
    return {name: 3600 * _PAIRS / statistics.median(found) for name, found in seconds.items()}


def _make_step(config: nap_nuclr.EncoderConfig, kind: torch.dtype) -> Callable[[], Any]:
    """Return a function that takes a step on some pairs of views."""
    take = _Step(config, kind)
    ids = [torch.arange(_UNITS)] * _PAIRS
    batch = activity(2 * _PAIRS * _UNITS), [_UNITS] * 2 * _PAIRS, ids, ids
    return partial(take, *batch)


class _Step:
    """Encoder, objective and optimizer; a call takes a step and returns the loss."""

    def __init__(self, config: nap_nuclr.EncoderConfig, kind: torch.dtype) -> None:
        torch.manual_seed(SEED)
        self.encoder = nap_nuclr.Encoder(config).train()
        self.objective = nap_nuclr.ContrastiveLoss(config.dim)
        weights = [*self.encoder.parameters(), *self.objective.parameters()]
        self.optimizer = torch.optim.AdamW(weights, lr=5e-4)
        self.low = kind == torch.bfloat16

    def __call__(self, patches: torch.Tensor, sizes: list[int], ids1: Any, ids2: Any) -> float:
        self.optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=self.low):
            x = self.encoder(patches, sizes)
        x1, x2 = x.float().split([sum(map(len, ids1)), sum(map(len, ids2))])
        loss = self.objective(x1, x2, ids1, ids2)
        loss.backward()
        self.optimizer.step()
        return float(loss.detach())


def overlay(bench: Bench) -> str:
    """Train with fused and with plain layers on the same pairs; draw both curves."""
    drawing, panels = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained", sharey=True)
    curves = {}
    for axes, dropout in zip(panels, (0.0, 0.2), strict=True):
        config = nap_nuclr.EncoderConfig(dim=64, heads=4, head_dim=16, dropout=dropout)
        for layers, style in (("plain", "-"), ("fused", "--")):
            curve = _curve(config, layers == "plain")
            curves[layers, dropout] = curve
            axes.plot(np.arange(1, _STEPS + 1), curve, style, label=layers, lw=1)
        axes.set(xlabel="step", title=f"dropout {dropout:g}")
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("loss")
    panels[0].legend(frameon=False)
    drawing.savefig(bench.docs / "_static" / "loss_overlay.png", dpi=150)
    plt.close(drawing)
    apart = np.abs(curves["plain", 0.0] - curves["fused", 0.0])
    last = {name: float(curve[-50:].mean()) for name, curve in curves.items()}
    means = abs(last["plain", 0.0] - last["fused", 0.0])
    bench.add_target("mean loss, fused minus plain layers, no dropout", means, 0.02, least=False)
    return (
        f"![loss of fused and plain layers](_static/loss_overlay.png)\n\n"
        f"Dim 64, float32, {_STEPS} steps of 2 pairs on four simulated recordings. Without "
        "dropout the largest difference between the two losses of a step is "
        f"{apart[:20].max():.1e} in the first 20 steps and {apart.max():.1e} in all: rounding "
        "differs, and training enlarges small differences. With dropout the layers draw different "
        "random numbers. Mean loss of the last 50 steps, plain and fused: "
        f"{last['plain', 0.0]:.3f} and {last['fused', 0.0]:.3f} without dropout, "
        f"{last['plain', 0.2]:.3f} and {last['fused', 0.2]:.3f} with it."
    )


def _curve(config: nap_nuclr.EncoderConfig, plain: bool) -> np.ndarray:
    """Return the losses of all steps."""
    recordings = nap_nuclr.simulate("context", n_units=100, duration=600, animals=4, seed=SEED)
    readers = [open_patch_reader(one, config) for one in as_recordings(recordings).values()]
    settings = TrainingSettings.for_config(config, {})
    every = PairBatches(ViewSampler(readers, settings, "split", SEED), 2)
    batches = (batch.tensors(torch.device("cpu")) for batch in every if batch.pairs)
    step = _Step(config, torch.float32)
    with _plain_layers(plain):
        return np.array([step(*batch) for batch in islice(batches, _STEPS)])


@contextmanager
def _plain_layers(active: bool = True) -> Iterator[None]:
    """Use the layers written with PyTorch's own operations."""
    suits = _fused.suits
    if active:
        _fused.suits = lambda x: False
    try:
        yield
    finally:
        _fused.suits = suits


def _by_plain_layers(step: Callable[[], Any]) -> None:
    with _plain_layers():
        step()


def _processor_seconds(calls: dict[Any, Callable[[], Any]]) -> dict[Any, float]:
    """Return the least processor time of each call."""
    seconds = seconds_of(calls, 6, time.process_time)
    return {name: min(found) for name, found in seconds.items()}


def _instruction_sets() -> str:
    """Return which of the instruction sets that matter here the processor has."""
    info = Path("/proc/cpuinfo")
    flags = info.read_text(encoding="utf-8").split() if info.exists() else []
    return ", ".join(flag for flag in _FLAGS if flag in flags) or "unknown"


if __name__ == "__main__":
    if len(sys.argv) == 2:
        folder = Path(__file__).parent
        print(_one_thread(Bench(data=folder, docs=folder), [getattr(torch, sys.argv[1])]))
    else:
        print(json.dumps(_rate(int(sys.argv[1]), sys.argv[2])))
