"""Training: time per step, loss curve, reading, data larger than memory, two processes."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import binning
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from reference_encoder import ReferenceEncoder
from speed import SEED, Bench, activity, median_seconds, operations, peaks, table

import pynapple_nuclr as nap_nuclr
from pynapple_nuclr.pretraining.training_settings import TrainingSettings
from pynapple_nuclr.pretraining.view_batches import PairBatches
from pynapple_nuclr.recording import as_recordings
from pynapple_nuclr.windows import ViewSampler, open_patch_reader

_STEPS = 150
_WAYS = {"reference": (True, False), "float32": (False, False), "bfloat16": (False, True)}
"""Name → whether it is the reference, and whether products are in bfloat16."""


class Training:
    """Published network and objective with AdamW, one step per call.

    Parameters
    ----------
    reference : bool
        Use the reference network.
    bfloat16 : bool
        Compute products in bfloat16.
    """

    def __init__(self, reference: bool, bfloat16: bool) -> None:
        torch.manual_seed(SEED)
        encoder = nap_nuclr.Encoder().train()
        self.network = ReferenceEncoder(encoder).train() if reference else encoder
        self.loss = nap_nuclr.ContrastiveLoss(encoder.config.dim)
        parameters = [*encoder.parameters(), *self.loss.parameters()]
        self.optimizer = torch.optim.AdamW(parameters, lr=5e-4)
        self.bfloat16 = bfloat16

    def step(self, patches: torch.Tensor, sizes: list[int], ids1: Any, ids2: Any) -> float:
        """Take a step; return the loss."""
        self.optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16) if self.bfloat16 else nullcontext():
            x = self.network(patches, sizes)
        first = sum(map(len, ids1))
        loss = self.loss(x[:first].float(), x[first:].float(), ids1, ids2)
        loss.backward()
        self.optimizer.step()
        return float(loss.detach())


def steps(bench: Bench) -> str:
    """Time a training step on two views of one population."""
    ways = {name: Training(*way) for name, way in _WAYS.items()}
    found = peaks()
    rows = []
    for units in (100, 500, 1000):
        ids = [torch.arange(units)]
        batch = activity(2 * units), [units, units], ids, ids
        seconds = median_seconds({name: partial(way.step, *batch) for name, way in ways.items()}, 3)
        work = 3 * 2 * operations(units, nap_nuclr.EncoderConfig())
        share = {name: work / spent for name, spent in seconds.items()}
        row: dict[str, Any] = {"units": units}
        for name, spent in seconds.items():
            row[f"{name}, s"] = spent
            if name != "reference":
                row[f"ratio in {name}"] = seconds["reference"] / spent
        row["reference, share of PyTorch's peak"] = share["reference"] / found["PyTorch float32"]
        row["bfloat16, share of its peak"] = share["bfloat16"] / found["PyTorch bfloat16"]
        rows.append(row)
        if units == 500:
            bench.add_target("training step, 500 units", row["ratio in bfloat16"], 2)
    return table(rows)


def loss_curves(bench: Bench) -> str:
    """Train the reference and ours on the same pairs; draw both curves."""
    recordings = nap_nuclr.simulate("context", n_units=100, duration=600, animals=4, seed=SEED)
    config = nap_nuclr.EncoderConfig()
    sources = [open_patch_reader(one, config) for one in as_recordings(recordings).values()]
    curves = {}
    for name, seed in (("reference", 0), ("reference, other dropout", 1), ("bfloat16", 0)):
        training = Training(*_WAYS[name.split(",")[0]])
        settings = TrainingSettings.for_config(config, {})
        every = PairBatches(ViewSampler(sources, settings, "split", SEED), 2)
        batches = (batch for batch in every if batch.pairs)
        torch.manual_seed(seed)
        curves[name] = [
            training.step(*next(batches).tensors(torch.device("cpu"))) for _ in range(_STEPS)
        ]
    figure, axes = plt.subplots(figsize=(6.5, 3.5), layout="constrained")
    width = 10
    for name, style in zip(curves, ("-", ":", "--"), strict=True):
        smooth = np.convolve(curves[name], np.ones(width) / width, "valid")
        axes.plot(np.arange(width, _STEPS + 1), smooth, style, label=name)
    axes.set(xlabel="step", ylabel=f"loss, mean of {width} steps")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(bench.docs / "loss_curves.png", dpi=150)
    last = {name: float(np.mean(curve[-50:])) for name, curve in curves.items()}
    spread = abs(last["reference"] - last["reference, other dropout"])
    apart = abs(last["bfloat16"] - last["reference"])
    rows = [{"mean loss of the last 50 steps": name, "": value} for name, value in last.items()]
    bench.add_target(
        "loss of ours minus that of the reference", apart, max(2 * spread, 0.02), least=False
    )
    return f"{table(rows)}\n\n![loss curves](loss_curves.png)"


def reading(bench: Bench) -> str:
    """Compare windows with `TsGroup.count`, and time the loader alone."""
    found, alone = binning.compare_windows(), binning.loader()
    bench.add_target(
        "windows of 1 h × 1,000 units: `count` and reshaping, relative to ours", found["ratio"], 5
    )
    memory = found["source_memory_of_spikes"]
    bench.add_target("its peak memory, relative to the spikes", memory, 1.5, least=False)
    bench.add_target(
        "loader, pairs/s of one core at 500 units", alone["pairs_per_s_of_processor"], 200
    )
    rows = [
        {
            "1 h × 1,000 units, 5 Hz": "`count`, then reshaped",
            "s": found["count_s"],
            "peak memory relative to the spikes, without one batch": found[
                "count_memory_of_spikes"
            ],
        },
        {
            "1 h × 1,000 units, 5 Hz": "ours",
            "s": found["source_s"],
            "peak memory relative to the spikes, without one batch": memory,
        },
    ]
    return (
        f"{table(rows)}\n\nMedian ratio {found['ratio']:.3g}, lowest {found['ratio_min']:.3g}, of "
        "runs in fresh processes that alternate; all steps are included: checks, the index, "
        "numba's compilation. "
        f"The loader alone reads {alone['pairs_per_s']:.0f} pairs of views a second "
        f"({alone['pairs_per_s_of_processor']:.0f} per second of processor time) at 500 "
        "units."
    )


def larger_than_memory(bench: Bench) -> str:
    """Train on the paths of 200 simulated NWB files."""
    found = binning.larger_than_memory()
    peak = found["peak_gb"]
    bench.add_target("200 recordings × 1 h × 500 units: resident, GB", peak, 4, least=False)
    row = {
        "recordings": found["recordings"],
        "GB of spikes": found["gb"],
        "first index, s": found["index_s"],
        "opened again, s": found["open_s"],
        "pairs/s": found["pairs_per_s"],
        "peak resident, GB": peak,
    }
    return table([row])


_JOB = """
import sys, numpy as np, pynapple_nuclr as n
recordings = n.simulate("context", n_units=60, duration=300, animals=4, seed=0)
config = n.EncoderConfig(dim=64, heads=4, head_dim=16, dropout=0.0)
n.pretrain(recordings, config, steps=12, checks=12, patience=99, batch_size=8, precision="32-true",
           out=sys.argv[1], progress=False)
"""


def two_processes(bench: Bench) -> str:
    """Train the same global batches in one process and in two, each on one thread."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "job.py").write_text(_JOB, encoding="utf-8")
        launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
        metrics = {}
        for processes, how in ((1, []), (2, launch)):
            out = folder / f"by_{processes}"
            call = [sys.executable, *how, str(folder / "job.py"), str(out)]
            threads = {**os.environ, "OMP_NUM_THREADS": "1"}
            subprocess.run(call, check=True, capture_output=True, env=threads)
            metrics[processes] = pd.read_csv(out / "metrics.csv")
    apart = float((metrics[1]["loss"] - metrics[2]["loss"]).abs().max())
    bench.add_target(
        "largest difference of a loss, two processes and one", apart, 1e-4, least=False
    )
    rows = [
        {
            "processes": processes,
            "s per step, checks included": float(one["seconds"].iloc[-1] / len(one)),
            "loss at the first step": f"{one['loss'].iloc[0]:.6f}",
            f"at step {len(one)}": f"{one['loss'].iloc[-1]:.6f}",
        }
        for processes, one in metrics.items()
    ]
    return f"{table(rows)}\n\nLargest difference of a loss: {apart:.1e}."
