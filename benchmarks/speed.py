"""Shared parts of the speed benchmark; the encoder's forward pass; the first call."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pynapple as nap
import torch
from page import markdown as markdown
from reference_encoder import ReferenceEncoder

import pynapple_nuclr as nap_nuclr
from pynapple_nuclr.model.inference import InferenceEngine

SEED = 0


@dataclass
class Bench:
    """Folders of the data and figures, and the targets so far."""

    data: Path
    docs: Path
    targets: list[dict[str, Any]] = field(default_factory=list)

    def add_target(self, what: str, found: float, limit: float, *, least: bool = True) -> None:
        """Record a target and whether it was reached."""
        met = found >= limit if least else found <= limit
        sign = "≥" if least else "≤"
        row = {"quantity": what, "target": f"{sign} {limit:g}", "measured": f"{found:.3g}"}
        self.targets.append({**row, "": "reached" if met else "**missed**"})


def seconds_of(
    calls: dict[Any, Callable[[], Any]], times: int, clock: Callable[[], float] = time.perf_counter
) -> dict[Any, list[float]]:
    """Return the seconds of each call; calls alternate, after one warm-up round."""
    seconds: dict[Any, list[float]] = {name: [] for name in calls}
    for repeat in range(times + 1):
        for name, call in calls.items():
            begun = clock()
            call()
            if repeat:
                seconds[name].append(clock() - begun)
    return seconds


def median_seconds(calls: dict[str, Callable[[], Any]], times: int = 5) -> dict[str, float]:
    """Return the median seconds of each call."""
    return {name: statistics.median(found) for name, found in seconds_of(calls, times).items()}


def activity(units: int, patches: int = 10, bins: int = 50) -> torch.Tensor:
    """Return Poisson counts at 5 Hz (units, patches, bins)."""
    generator = torch.Generator().manual_seed(SEED)
    return torch.poisson(torch.full((units, patches, bins), 0.1), generator=generator)


def agreement(full: np.ndarray, found: np.ndarray) -> dict[str, float]:
    """Compare two embeddings (units, dim) of the same units, each minus its mean over units."""
    known = np.isfinite(full).all(axis=1) & np.isfinite(found).all(axis=1)
    a, b = (x[known] - x[known].mean(axis=0) for x in (full, found))
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    return {
        "cosine, 1 % quantile": float(np.quantile((a * b).sum(axis=1), 0.01)),
        "median": float(np.median((a * b).sum(axis=1))),
        "cosine ≥ 0.99": float(((a * b).sum(axis=1) >= 0.99).mean()),
        "re-identified": float((np.argmax(b @ a.T, axis=1) == np.arange(len(a))).mean()),
    }


def rounded(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row with numbers rounded to three digits."""
    return {k: f"{v:.3g}" if isinstance(v, float) else v for k, v in row.items()}


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return rows as a Markdown table with rounded numbers."""
    return markdown([rounded(row) for row in rows])


def peaks() -> dict[str, float]:
    """Return the peak rate of square matrix products in GFLOP/s, of PyTorch and of oneDNN."""
    rates: dict[str, float] = {}
    for kind in (torch.float32, torch.bfloat16):
        for size in (2048, 4096, 8192):
            a, b = torch.randn(size, size).to(kind), torch.randn(size, size).to(kind)
            calls = {f"PyTorch {str(kind)[6:]}": partial(torch.matmul, a, b)}
            if kind == torch.float32:
                product = torch.ops.mkldnn._linear_pointwise
                calls["oneDNN float32"] = partial(product, a, b, None, "none", [], "")
            for name, seconds in median_seconds(calls, 3).items():
                rates[name] = max(rates.get(name, 0.0), 2 * size**3 / seconds / 1e9)
    return rates


def operations(units: int, config: nap_nuclr.EncoderConfig) -> float:
    """Return the floating-point operations of a window in 10⁹ (a multiply-add counts as two)."""
    tokens, dim, wide = units * config.patches, config.dim, config.heads * config.head_dim
    attention = 2 * dim * 3 * wide + 2 * wide * dim
    feed_forward = 2 * dim * 8 * dim + 2 * 4 * dim * dim
    over_time = 4 * config.patches * wide
    among_units = 4 * units * wide
    alone = attention + over_time + feed_forward
    layers = config.temporal_layers * alone
    layers += config.spatiotemporal_layers * (alone + attention + among_units + feed_forward)
    return tokens * (layers + 2 * config.features * dim) / 1e9


def forward(bench: Bench) -> str:
    """Time one window in the encoder of published size."""
    torch.manual_seed(SEED)
    config = nap_nuclr.EncoderConfig()
    encoder = nap_nuclr.Encoder(config).eval()
    reference = ReferenceEncoder(encoder).eval()
    ways = {
        "reference": reference,
        "float32": InferenceEngine(encoder),
        "bfloat16": InferenceEngine(encoder, "bfloat16"),
    }
    found = peaks()
    rows = []
    for units in (100, 500, 1000, 2000):
        patches = activity(units)
        with torch.inference_mode():
            answers = {name: way(patches, [units]) for name, way in ways.items()}
            seconds = median_seconds({n: partial(way, patches, [units]) for n, way in ways.items()})
        work = operations(units, config)
        gain = {name: seconds["reference"] / seconds[name] for name in ("float32", "bfloat16")}
        rate = {name: work / spent for name, spent in seconds.items()}
        errors = {
            name: float((answers[name] - answers["reference"]).norm() / answers["reference"].norm())
            for name in gain
        }
        rows.append(
            {
                "units": units,
                "reference, s": seconds["reference"],
                "share of PyTorch's peak": rate["reference"] / found["PyTorch float32"],
                "ours, s": seconds["float32"],
                "ratio": gain["float32"],
                "share of oneDNN's peak": rate["float32"] / found["oneDNN float32"],
                "difference": f"{errors['float32']:.0e}",
                "bfloat16, s": seconds["bfloat16"],
                "ratio in bfloat16": gain["bfloat16"],
                "share of its peak": rate["bfloat16"] / found["PyTorch bfloat16"],
            }
        )
        if units >= 500:
            bench.add_target(f"forward, {units} units, float32", gain["float32"], 1.25)
            bench.add_target(f"forward, {units} units, bfloat16", gain["bfloat16"], 1.8)
    rates = ", ".join(f"{name} {rate:.0f}" for name, rate in found.items())
    return f"Peak of square products (2048 to 8192), GFLOP/s: {rates}.\n\n{table(rows)}"


def cold_start(bench: Bench) -> str:
    """Time the import and the first embedding, each in fresh processes."""
    runs = {name: name for name in ("import numpy, torch", "import pynapple")}
    embed = (
        "import numpy as np, pynapple as nap, torch, time; begun = time.perf_counter()\n"
        "import pynapple_nuclr as n\n"
        "rng = np.random.default_rng(0)\n"
        "units = nap.TsGroup({i: nap.Ts(np.sort(rng.uniform(0, 600, 3000))) for i in range(50)},"
        " time_support=nap.IntervalSet(0, 600))\n"
        "import warnings; warnings.simplefilter('ignore')\n"
        "n.embed(units, progress=False); print(time.perf_counter() - begun)"
    )
    spent = median_seconds({name: partial(_python, code) for name, code in runs.items()}, 9)
    first = statistics.median(float(_python(embed)) for _ in range(5))
    beside = (
        "import pynapple, time; begun = time.perf_counter()\n"
        "import pynapple_nuclr; print(time.perf_counter() - begun)"
    )
    own = 1000 * statistics.median(float(_python(beside)) for _ in range(9))
    bench.add_target("our part of the import, ms", own, 50, least=False)
    bench.add_target(
        "first embed, 10 min × 50 units, s after importing torch", first, 5, least=False
    )
    rows = [{"fresh process": name, "s": seconds} for name, seconds in spent.items()]
    rows.append({"fresh process": "import pynapple_nuclr, after pynapple", "s": own / 1000})
    rows.append({"fresh process": "first `embed`, torch and pynapple imported", "s": first})
    return table(rows)


def statistics_of_units(bench: Bench) -> str:
    """Time `unit_statistics` on one thread."""
    rng = np.random.default_rng(SEED)
    hour = 3600.0
    times = [np.sort(rng.uniform(0, hour, rng.poisson(5 * hour))) for _ in range(1000)]
    support = nap.IntervalSet(0, hour)
    units = nap.TsGroup({i: nap.Ts(one) for i, one in enumerate(times)}, time_support=support)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    wall, processor = [], []
    for _ in range(4):
        begun = time.perf_counter(), time.process_time()
        nap_nuclr.unit_statistics(units)
        wall.append(time.perf_counter() - begun[0])
        processor.append(time.process_time() - begun[1])
    torch.set_num_threads(threads)
    bench.add_target("`unit_statistics`, 1 h × 1,000 units, wall s", min(wall), 4, least=False)
    return (
        f"1 h × 1,000 units at 5 Hz, one thread: {min(wall):.2f} s of wall time, "
        f"{min(processor):.2f} s of processor time (least of {len(wall)} calls)."
    )


def _python(code: str) -> str:
    """Run code in a fresh interpreter; return what it prints last."""
    call = [sys.executable, "-c", code]
    out = subprocess.run(call, check=True, capture_output=True, text=True).stdout
    return out.strip().splitlines()[-1] if out.strip() else ""
