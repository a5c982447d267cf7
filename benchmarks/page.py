"""Write the parts of the benchmark pages: machine, tables, figures."""

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
    if not rows:
        return ""
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
    for key in reversed(
        keys[:-1]
    ):  # sort by protocol and standardisation; systems keep their order
        whole = whole.sort_values(key, key=_first_seen_rank, kind="stable")
    kept = (whole.drop(columns=keys) != "–").any(axis=1)  # priors do not exist everywhere
    # Rows without a probe do not depend on standardisation.
    kept &= ~whole.drop(columns="standardize", errors="ignore").duplicated()
    return markdown(whole[kept].to_dict("records"))


def _first_seen_rank(column: pd.Series) -> pd.Series:
    """Return the rank of each value in the order of first appearance."""
    return pd.Series(pd.factorize(column)[0], index=column.index)


def training_data(*datasets: xr.Dataset) -> str:
    """Return a list: each system, its encoder, and what it was pretrained on."""
    lines = {}
    for dataset in datasets:
        coordinates = (dataset[name].values for name in ("system", "identity", "pretrained_on"))
        for name, identity, data in zip(*coordinates, strict=True):
            encoder = f" (`{identity}`)" if identity else ""
            lines.setdefault(name, f"- {name}{encoder}: {data}")
    return "\n".join(lines.values())


def best(datasets: Sequence[xr.Dataset], score: str, systems: Sequence[str], **where: Any) -> float:
    """Return the best mean score of some systems, over standardisations and results."""
    found = []
    for dataset in datasets:
        if any(value not in dataset[dim] for dim, value in where.items()):
            continue
        present = [name for name in systems if name in dataset["system"]]
        scores = dataset[score].sel(where).sel(system=present)
        means = scores.mean([dim for dim in scores.dims if dim not in ("system", "standardize")])
        found += means.values[np.isfinite(means.values)].tolist()
    return max(found)


def selections(dataset: xr.Dataset) -> str:
    """Return a table: how often each candidate was selected, and the minutes of a fit."""
    rows = []
    for name in dataset["system"].values:
        own = dataset.sel(system=name)
        chosen = Counter(one for one in own["chosen"].values.ravel() if one)
        minutes = own["seconds"].values / 60
        if chosen:
            folds = ", ".join(f"`{what}` {times} ×" for what, times in chosen.most_common())
            spent = f"{np.nanmedian(minutes):.1f}"
            rows.append({"system": name, "selected": folds, "minutes per protocol and seed": spent})
    return markdown(rows)


def bootstrap(
    dataset: xr.Dataset, system: str, standardize: str = "none", draws: int = 2000
) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the macro F1 over units, all seeds pooled."""
    from sklearn.metrics import f1_score

    labels = dataset["label"].values
    predicted = dataset["predicted"].sel(system=system, standardize=standardize)
    predictions = predicted.isel(protocol=0).values
    rng = np.random.default_rng(0)
    scores = []
    for _ in range(draws // len(predictions)):
        drawn = rng.integers(len(labels), size=len(labels))
        scores += [f1_score(labels[drawn], one[drawn], average="macro") for one in predictions]
    low, high = np.quantile(scores, [0.025, 0.975])
    return float(low), float(high)


def figure(path: Path, draw: Callable[[Any], Any], size: tuple[float, float] = (6.5, 4.0)) -> str:
    """Save a figure to a file; return the Markdown that shows it."""
    import matplotlib.pyplot as plt

    drawing, axes = plt.subplots(figsize=size, layout="constrained")
    draw(axes)
    drawing.savefig(path, dpi=150)
    plt.close(drawing)
    return f"![{path.stem.replace('_', ' ')}]({path.name})"


def convergence(path: Path, datasets: Sequence[xr.Dataset]) -> str:
    """Draw the loss of every trained system against training time; return Markdown."""
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
    """Return the machine and the versions, for the top of the page."""
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
