"""Embedding fewer windows and larger populations: time and effect on the result."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
import warnings
from typing import Any

import numpy as np
import pynapple as nap
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from speed import SEED, Bench, agreement, table

import pynapple_nuclr as nap_nuclr
import recordings

_TRIAL = 0.4  # seconds


def anytime(bench: Bench) -> str:
    """Embed an hour of 1,000 units from all windows and from fewer."""
    units = nap_nuclr.simulate("context", n_units=1000, duration=3600, seed=SEED)
    labels = units["cell_type"].to_numpy()
    encoder = nap_nuclr.load_encoder("spikes")
    ways: dict[str, dict[str, Any]] = {
        "all windows": {},
        "all, bfloat16": {"precision": "bfloat16"},
        "`tolerance=0.2`": {"tolerance": 0.2},
        "`tolerance=0.1`": {"tolerance": 0.1},
        "`max_windows=100`": {"max_windows": 100},
        "`max_seconds=55`": {"max_seconds": 55},
        "`max_seconds=55`, bfloat16": {"max_seconds": 55, "precision": "bfloat16"},
    }
    rows, full = [], None
    within: dict[str, list[float]] = {
        "cosine ≥ 0.99": [],
        "re-identified": [],
        "labels agree": [],
    }
    for name, options in ways.items():
        vectors, spent, attributes = _embedded(units, encoder, **options)
        full = vectors if full is None else full
        row = {
            "1 h × 1,000 units": name,
            "s": spent,
            "windows read": attributes["windows"],
            "skipped": attributes["windows_skipped"],
            **agreement(full, vectors),
            "labels agree": _same_labels(full, vectors, labels),
        }
        rows.append(row)
        for key, shares in within.items():
            shares += [row[key]] if spent <= 60 else []
    for key, shares in within.items():
        bench.add_target(f"1 h × 1,000 units in ≤ 60 s: {key}", max(shares, default=0.0), 0.99)
    torch.manual_seed(SEED)
    large = nap_nuclr.Encoder()
    sizes = []
    for precision in ("float32", "bfloat16"):
        _, spent, attributes = _embedded(units, large, precision=precision, max_windows=40)
        whole = spent / attributes["windows"] * (attributes["windows_skipped"] + 40)
        row = {"published size (dim 256), untrained": precision, "s for 40 windows": spent}
        sizes.append({**row, "s for all 360, extrapolated": whole})
    return (
        f"Encoder `{encoder.identity}`, dim {encoder.config.dim}, windows of "
        f"{encoder.config.window_duration:g} s; a probe of cell types fitted on half of the units."
        "\n\n"
        f"{table(rows)}\n\n{table(sizes)}"
    )


def contexts(bench: Bench) -> str:
    """Compare split with whole populations, on joined real sessions."""
    encoder = nap_nuclr.load_encoder("spikes")
    joined = _joined(bench)
    rows = []
    for count, context in ((2000, 1000), (2000, 500), (5000, 2000), (5000, 1000)):
        some = joined[np.sort(np.random.default_rng(SEED).permutation(len(joined))[:count])]
        full, whole_time, _ = _embedded(some, encoder, max_population=None)
        found, time_split, _ = _embedded(some, encoder, max_population=context)
        row = {
            "units": count,
            "max_population": context,
            "s, whole": whole_time,
            "s, split": time_split,
        }
        rows.append({**row, **agreement(full, found)})
        if context in (1000, 2000) and count == 2.5 * context:
            bench.add_target(
                f"{count} units, max_population {context}: cosine ≥ 0.99",
                rows[-1]["cosine ≥ 0.99"],
                0.99,
            )
    return table(rows)


def joined_sessions(bench: Bench) -> str:
    """Score a probe of regions on joined sessions, whole and split."""
    encoder = nap_nuclr.load_encoder("spikes")
    joined = _joined(bench)
    regions = joined["region"].to_numpy()
    rows = []
    for context in (None, 2000, 1000, 500):
        vectors, spent, _ = _embedded(joined, encoder, max_population=context)
        largest = "all" if context is None else f"{context}"
        score = _macro_f1(vectors, regions)
        rows.append({"largest population": largest, "s": spent, "macro F1, 5 folds": score})
    apart = [_embedded(units, encoder) for units in _sessions(bench).values()]
    score = _macro_f1(np.concatenate([vectors for vectors, _, _ in apart]), regions)
    spent = sum(spent for _, spent, _ in apart)
    rows.append(
        {
            "largest population": "its own session, all trials",
            "s": spent,
            "macro F1, 5 folds": score,
        }
    )
    return f"{len(joined)} units of {len(apart)} sessions.\n\n{table(rows)}"


def many_units(bench: Bench) -> str:
    """Time 30 s of up to 50,000 units in the encoder of published size."""
    rows = []
    for units in (1_000, 2_000, 5_000, 10_000, 20_000, 50_000):
        call = [sys.executable, __file__, str(units)]
        out = subprocess.run(call, check=True, capture_output=True, text=True).stdout
        embedding, memory, before = map(float, out.split()[-3:])
        row = {
            "units": units,
            "s per window": embedding / 3,
            "ms per window and unit": embedding / 3 / units * 1000,
        }
        rows.append({**row, "peak memory, GB": memory, "of which before": before})
    bench.add_target("50,000 units: peak memory, GB", rows[-1]["peak memory, GB"], 4, least=False)
    slope = rows[-1]["ms per window and unit"] / rows[1]["ms per window and unit"]
    bench.add_target("cost of a unit at 50,000 relative to 2,000", slope, 1.2, least=False)
    return table(rows)


def _embedded(
    units: nap.TsGroup, encoder: nap_nuclr.Encoder, **options: Any
) -> tuple[np.ndarray, float, dict[str, Any]]:
    """Return embeddings, seconds and the attributes of the dataset."""
    begun = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = nap_nuclr.encode(units, encoder, progress=False, device="cpu", **options)
    return dataset["embedding"].values, time.perf_counter() - begun, dataset.attrs


def _same_labels(full: np.ndarray, found: np.ndarray, labels: np.ndarray) -> float:
    """Return how often a probe fitted on half of `full` predicts the same label from both."""
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    probe.fit(full[::2], labels[::2])
    return float((probe.predict(full[1::2]) == probe.predict(found[1::2])).mean())


def _sessions(bench: Bench) -> dict[str, nap.TsGroup]:
    """Return the sessions with at least 200 trials."""
    every = recordings.steinmetz(bench.data)
    return {name: units for name, units in every.items() if len(units.time_support) >= 200}


def _joined(bench: Bench) -> nap.TsGroup:
    """Return the sessions as one population, aligned trial by trial."""
    sessions = _sessions(bench)
    trials = min(len(units.time_support) for units in sessions.values())
    trains, regions = [], []
    for units in sessions.values():
        starts = units.time_support.start[:trials]
        regions += list(units["region"])
        for unit in units.index:
            times = units[unit].t
            trial = np.searchsorted(starts, times, side="right") - 1
            inside = times - starts[trial] < _TRIAL
            kept = inside & (times <= starts[-1] + _TRIAL)
            trains.append(nap.Ts(times[kept] - starts[trial[kept]] + trial[kept]))
    begin = np.arange(trials, dtype=float)
    return nap.TsGroup(
        dict(enumerate(trains)),
        time_support=nap.IntervalSet(begin, begin + _TRIAL),
        metadata={"region": np.array(regions)},
    )


def _macro_f1(vectors: np.ndarray, labels: np.ndarray) -> float:
    """Return a probe's out-of-fold macro F1 over units with a vector and a label."""
    known = np.isfinite(vectors).all(axis=1) & (labels != "")
    probe = make_pipeline(
        StandardScaler(), LogisticRegression(max_iter=1000, class_weight="balanced")
    )
    folds = StratifiedKFold(5, shuffle=True, random_state=SEED)  # units of all sessions in each
    predicted = cross_val_predict(probe, vectors[known], labels[known], cv=folds)
    return float(f1_score(labels[known], predicted, average="macro"))


def _one_size(units: int) -> None:
    """Embed 30 s of this number of units; print seconds and memory."""
    rng = np.random.default_rng(SEED)
    trains = {i: nap.Ts(np.sort(rng.uniform(0, 30, 150))) for i in range(units)}
    group = nap.TsGroup(trains, time_support=nap.IntervalSet(0, 30))
    torch.manual_seed(SEED)
    encoder = nap_nuclr.Encoder()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    _, spent, _ = _embedded(group, encoder)
    print(spent, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, before)


if __name__ == "__main__":
    _one_size(int(sys.argv[1]))
