"""How the benchmarks' page is written: machine, tables, figures."""

from __future__ import annotations

import json
import platform
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import sklearn
import torch
import xarray as xr

import pynapple_nuclr as nap_nuclr

SCORES = ("macro_f1", "macro_f1_fold", "macro_f1_within_recording", "recording_decodability")


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Return rows as a Markdown table."""
    head = list(rows[0])
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(str(row[key]) for key in head) + " |" for row in rows]
    return "\n".join(lines)


def joined(datasets: Sequence[xr.Dataset], scores: Sequence[str] = SCORES) -> str:
    """Return several results on the same units as one Markdown table, each row once."""
    tables = [one.nuclr.table(list(scores)) for one in datasets]
    whole = pd.concat([one.reset_index() for one in tables])
    keys = [name for name in ("protocol", "standardize", "system") if name in whole]
    whole = whole.fillna({"standardize": "none"}).drop_duplicates(keys)
    whole = whole.fillna("–")
    for key in reversed(keys[:-1]):  # protocols and normalisations together, systems as they came
        whole = whole.sort_values(key, key=_as_they_came, kind="stable")
    told = (whole.drop(columns=keys) != "–").any(axis=1)  # priors do not exist everywhere
    # What no probe reads is the same, normalised or not.
    told &= ~whole.drop(columns="standardize", errors="ignore").duplicated()
    return markdown(whole[told].to_dict("records"))


def _as_they_came(column: pd.Series) -> pd.Series:
    """Return the place of each value among those of a column."""
    return pd.Series(pd.factorize(column)[0], index=column.index)


def who(*datasets: xr.Dataset) -> str:
    """Return who made the vectors and what each system has seen, as a list."""
    lines = {}
    for dataset in datasets:
        coordinates = (dataset[name].values for name in ("system", "identity", "pretrained_on"))
        for name, identity, seen in zip(*coordinates, strict=True):
            signed = f" (`{identity}`)" if identity else ""
            lines.setdefault(name, f"- {name}{signed}: {seen}")
    return "\n".join(lines.values())


def best(datasets: Sequence[xr.Dataset], score: str, systems: Sequence[str], **where: Any) -> float:
    """Return the best mean score of some systems, over normalisations and results."""
    found = []
    for dataset in datasets:
        if any(value not in dataset[dim] for dim, value in where.items()):
            continue
        there = [name for name in systems if name in dataset["system"]]
        scores = dataset[score].sel(where).sel(system=there)
        means = scores.mean([dim for dim in scores.dims if dim not in ("system", "standardize")])
        found += means.values[np.isfinite(means.values)].tolist()
    return max(found)


def choices(dataset: xr.Dataset) -> str:
    """Return how often each configuration was chosen, and the minutes of a fit, as a table."""
    rows = []
    for name in dataset["system"].values:
        mine = dataset.sel(system=name)
        chosen = Counter(one for one in mine["chosen"].values.ravel() if one)
        minutes = mine["seconds"].values / 60
        if chosen:
            folds = ", ".join(f"`{what}` {times} ×" for what, times in chosen.most_common())
            spent = f"{np.nanmedian(minutes):.1f}"
            rows.append({"system": name, "chosen": folds, "minutes a protocol and seed": spent})
    return markdown(rows)


def bootstrap(
    dataset: xr.Dataset, system: str, standardize: str = "none", draws: int = 2000
) -> tuple[float, float]:
    """Return the 95 % interval of the macro F1 over units drawn anew, mean over the seeds."""
    from sklearn.metrics import f1_score

    labels = dataset["label"].values
    told = dataset["predicted"].sel(system=system, standardize=standardize).isel(protocol=0).values
    rng = np.random.default_rng(0)
    scores = []
    for _ in range(draws // len(told)):
        drawn = rng.integers(len(labels), size=len(labels))
        scores += [f1_score(labels[drawn], one[drawn], average="macro") for one in told]
    low, high = np.quantile(scores, [0.025, 0.975])
    return float(low), float(high)


def figure(path: Path, draw: Callable[[Any], Any], size: tuple[float, float] = (6.5, 4.0)) -> str:
    """Draw a figure into a file; return the Markdown that shows it."""
    import matplotlib.pyplot as plt

    drawing, axes = plt.subplots(figsize=size, layout="constrained")
    draw(axes)
    drawing.savefig(path, dpi=150)
    plt.close(drawing)
    return f"![{path.stem.replace('_', ' ')}]({path.name})"


def convergence(path: Path, datasets: Sequence[xr.Dataset]) -> str:
    """Draw the loss of every trained system against the time of its training; return Markdown."""
    import matplotlib.pyplot as plt

    courses: dict[str, Any] = {}
    for dataset in datasets:
        courses |= {name: c for name, c in json.loads(dataset.attrs["history"]).items() if c}
    drawing, axes = plt.subplots(
        1, len(courses), figsize=(2.2 * len(courses), 2.2), layout="constrained"
    )
    for ax, (name, course) in zip(np.atleast_1d(axes), courses.items(), strict=True):
        for key, style in (("loss", "-"), ("held_out_loss", "--")):
            if key in course[0]:
                ax.plot([c["seconds"] for c in course], [c[key] for c in course], style, lw=1)
        ax.set_title(name, fontsize="medium")
        ax.set_xlabel("s")
        ax.spines[["top", "right"]].set_visible(False)
    np.atleast_1d(axes)[0].set_ylabel("loss (dashed: held out)")
    drawing.savefig(path, dpi=150)
    plt.close(drawing)
    return f"![convergence]({path.name})"


def machine() -> str:
    """Return the machine and the versions, for the head of the page."""
    processor = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        processor = names[0].split(":")[1].strip() if names else processor
    return (
        f"{processor}, {torch.get_num_threads()} threads; Python {platform.python_version()}, "
        f"pynapple-nuclr {nap_nuclr.__version__}, torch {torch.__version__}, "
        f"scikit-learn {sklearn.__version__}, numpy {np.__version__}"
    )
