"""How many minutes, how many units, single or multi-unit, which window: measured without labels.

    python benchmarks/how_much.py --data ../shared/data

Two rats that trained no bundled encoder. A unit, described by some minutes of a recording, is
looked for among ten units, as the other half of the recording describes them; nearest by cosine. It
writes docs/how_much.md and its figure.
"""

from __future__ import annotations

import argparse
import datetime
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import matplotlib.pyplot as plt
import numpy as np
import pynapple as nap
import torch
from numpy.typing import NDArray
from page import machine, markdown
from pretrain_default import HELD_OUT_RATS

from pynapple_nuclr import Encoder, encode, load_encoder
from pynapple_nuclr.stability import unit_length
from recordings import rats

HERE = Path(__file__).parent
DOCS = HERE.parent / "docs"
RIVALS = 10
DRAWS = 200
POPULATIONS = 4  # draws of ten units and of those recorded with them
MINUTES = (0.5, 1.0, 2.0, 4.0)
SIZES = (1, 10, 25, 50, 100)
WINDOWS = (10.0, 20.0, 30.0, 60.0)
Vectors = NDArray[np.float64]


class Halves:
    """The units of a recording, described by its second half, and by parts of its first."""

    def __init__(self, units: nap.TsGroup, encoder: Encoder) -> None:
        start, end = float(units.time_support.start[0]), float(units.time_support.end[-1])
        self.units, self.encoder = units, encoder
        self.start, self.middle, self.end = start, (start + end) / 2, end
        self.second = self._vectors(units, self.middle, end)

    def first(self, minutes: float) -> Vectors:
        """Return the vectors from the first minutes."""
        return self._vectors(self.units, self.start, min(self.start + 60 * minutes, self.middle))

    def of_population(self, chosen: NDArray[np.intp]) -> tuple[Vectors, Vectors]:
        """Return the vectors of some units, as if only these had been recorded."""
        some = self.units[list(np.asarray(self.units.index)[chosen])]
        return (
            self._vectors(some, self.start, self.middle),
            self._vectors(some, self.middle, self.end),
        )

    def _vectors(self, units: nap.TsGroup, start: float, end: float) -> Vectors:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # silent units, activity that training had not
            epochs = nap.IntervalSet(start, end)
            if not any(len(units[i].restrict(epochs)) for i in units.index):
                return np.full((len(units), self.encoder.config.dim), np.nan)
            data = encode(units, self.encoder, epochs=epochs, progress=False)
        return np.asarray(data["embedding"].values, dtype=float)


def found(first: Vectors, second: Vectors, of: NDArray[np.bool_], seed: int = 0) -> float:
    """Return how often a unit of `of` is nearest to itself among ten units of `of`."""
    known = np.isfinite(first).all(axis=1) & np.isfinite(second).all(axis=1)
    centre = (first[known].mean(axis=0) + second[known].mean(axis=0)) / 2
    similarity = unit_length(first - centre) @ unit_length(second - centre).T
    candidates = np.flatnonzero(known & of)
    if len(candidates) < RIVALS:
        return float("nan")
    rng = np.random.default_rng(seed)
    hits = []
    for _ in range(DRAWS):
        some = rng.choice(candidates, RIVALS, replace=False)
        hits.append((similarity[np.ix_(some, some)].argmax(axis=1) == np.arange(RIVALS)).mean())
    return float(np.mean(hits))


def by_minutes(halves: Halves) -> dict[Any, float]:
    """Return minutes → how often units are found."""
    everyone = np.ones(len(halves.units), dtype=bool)
    return {m: found(halves.first(m), halves.second, everyone) for m in MINUTES}


def by_population(halves: Halves) -> dict[Any, float]:
    """Return units recorded together → how often the same ten units find each other."""
    found_in_draws: dict[Any, list[float]] = {}
    for seed in range(POPULATIONS):
        order = np.random.default_rng(seed).permutation(len(halves.units))
        for size in (size for size in SIZES if size <= len(order)):
            if size == 1:
                alone = [halves.of_population(order[i : i + 1]) for i in range(RIVALS)]
                first, second = (np.concatenate(parts) for parts in zip(*alone, strict=True))
            else:
                together = np.sort(order[:size])
                rows = np.searchsorted(together, order[:RIVALS])
                first, second = (one[rows] for one in halves.of_population(together))
            share = found(first, second, np.ones(RIVALS, dtype=bool))
            found_in_draws.setdefault(size, []).append(share)
    return {size: float(np.nanmean(shares)) for size, shares in found_in_draws.items()}


def by_isolation(halves: Halves) -> dict[Any, float]:
    """Return single or multi-unit → how often units are found among their own kind."""
    first = halves.first(np.inf)
    single = np.asarray(halves.units["is_single"]).astype(bool)
    kinds = {"single": single, "multi": ~single}
    return {words: found(first, halves.second, of) for words, of in kinds.items()}


def by_window(halves: Halves) -> dict[Any, float]:
    """Return seconds of a window → how often units are found, by the same weights."""
    everyone = np.ones(len(halves.units), dtype=bool)
    shares = {}
    for seconds in WINDOWS:
        read = Halves(halves.units, halves.encoder.with_window(seconds))
        shares[seconds] = found(read.first(np.inf), read.second, everyone)
    return shares


QUESTIONS: dict[str, tuple[str, Callable[[Halves], dict[Any, float]]]] = {
    "How many minutes": ("minutes", by_minutes),
    "How many units recorded together": ("units", by_population),
    "Single units or multi-unit activity": ("kind", by_isolation),
    "How long a window": ("seconds", by_window),
}


NOTES = {
    "How long a window": [
        "The weights are the same, trained with windows of 10 s: "
        '`load_encoder("rats").with_window(60)`. Those of 30 s are the default.'
    ]
}
"""Question → what has to be known to read its table."""


def measure(data: Path, encoder: Encoder) -> dict[str, dict[Any, list[float]]]:
    """Return question → answer → share found, one a recording."""
    names = [path.stem for path in (data / "rat_neuropixels").glob("*.npz")]
    held_out = [name for name in names if name.split("_")[0] in HELD_OUT_RATS]
    answers: dict[str, dict[Any, list[float]]] = {question: {} for question in QUESTIONS}
    for units in rats(data, sorted(held_out)).values():
        halves = Halves(units, encoder)
        for question, (_, of) in QUESTIONS.items():
            for value, share in of(halves).items():
                answers[question].setdefault(value, []).append(share)
    return answers


def draw(answers: dict[str, dict[Any, list[float]]], path: Path) -> None:
    """Draw one panel a question: every recording, and the mean."""
    figure, axes = plt.subplots(
        1, len(answers), figsize=(12.5, 3.2), sharey=True, layout="constrained"
    )
    for ax, (question, values) in zip(axes, answers.items(), strict=True):
        shares = np.array(list(values.values()))
        ax.plot(range(len(values)), shares, color="#a9b3c0", lw=0.8)
        ax.plot(range(len(values)), np.nanmean(shares, axis=1), color="#2c6fbb", lw=2, marker="o")
        ax.axhline(1 / RIVALS, color="#667080", lw=0.8, ls=":")
        ax.set(xticks=range(len(values)), xlabel=QUESTIONS[question][0], ylim=(0, 1))
        ax.margins(x=0.15)
        ax.set_xticklabels([_text(value) for value in values])
        ax.set_title(question, loc="left", fontsize=10)
    axes[0].set_ylabel(f"finds itself among {RIVALS}")
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, (int, float)) else str(value)


def page(answers: dict[str, dict[Any, list[float]]], encoder: Encoder) -> str:
    """Return the page: figure and tables."""
    n = len(next(iter(next(iter(answers.values())).values())))
    parts = [
        "# How many minutes, how many units, which window",
        f"Written by `python benchmarks/how_much.py` on {datetime.date.today().isoformat()}, "
        f"{machine()}. Encoder `{encoder.identity}`; {n} recordings of ten to twelve minutes of "
        f"{' and '.join(HELD_OUT_RATS)}, on which it was not trained. A unit is looked for among "
        f"{RIVALS} units of the other half of its recording (chance {1 / RIVALS:g}). This "
        "says how repeatable embeddings are, not that a label is right.",
        "![Share of units that find themselves, by minutes, by units recorded together, for single "
        "and multi-units, and by the length of a window; grey lines are "
        "recordings.](how_much.png)",
    ]
    for question, values in answers.items():
        rows = [
            {
                QUESTIONS[question][0]: _text(value),
                "finds itself, mean over recordings": f"{np.nanmean(shares):.2f}",
                "range": f"{np.nanmin(shares):.2f} to {np.nanmax(shares):.2f}",
            }
            for value, shares in values.items()
        ]
        parts += [f"## {question}", markdown(rows), *NOTES.get(question, [])]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Read the command line, measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=HERE.parent.parent / "shared" / "data")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    encoder = load_encoder("rats")
    answers = measure(arguments.data, encoder)
    draw(answers, DOCS / "how_much.png")
    text = page(answers, encoder)
    (DOCS / "how_much.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
