"""Learning curve and re-identification of the bundled encoder; writes docs/bundled_encoder.md.

    python benchmarks/bundled_encoder.py --data ../shared/data

The learning curve needs the training run (benchmarks/pretrain_default.py) in benchmarks/runs;
without it, the page keeps its present curve. See docs/benchmarks.md, written by
benchmarks/identity.py, for the encoder's scores beside all other systems.
"""

from __future__ import annotations

import argparse
import csv
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pynapple as nap
from page import machine, markdown
from scoring import (
    by_probe,
    macro_f1,
    macro_f1_within_recording,
    out_of_fold,
    spread,
    untrained,
)
from sklearn.covariance import LedoitWolf

import pynapple_nuclr as nap_nuclr
from pynapple_nuclr.bundled import ENCODERS
from pynapple_nuclr.stability import reidentification, unit_length
from recordings import head_direction, steinmetz

HERE = Path(__file__).parent
DOCS = HERE.parent / "docs"
RUN = HERE / "runs" / "spikes"
CHECKS = RUN / "checks"
SPLITS = range(20)


def embedding(units: Any, encoder: Any, **options: Any) -> np.ndarray:
    """Return the embedding (units, dim), zeros for silent units."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*no spike in any window")  # they get zeros
        dataset = nap_nuclr.encode(units, encoder, progress=False, **options)
    return np.nan_to_num(dataset["embedding"].values)


def _labelled(sessions: dict[str, Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return region, session and row of every unit of the four groups."""
    labels, session, position = [], [], []
    for name, units in sessions.items():
        region = np.asarray(units["region"], dtype=str)
        kept = np.flatnonzero(region != "")
        labels.append(region[kept])
        session.append(np.full(len(kept), name))
        position.append(kept)
    return tuple(np.concatenate(part) for part in (labels, session, position))


def _stacked(sessions: dict[str, Any], describe: Any) -> np.ndarray:
    """Return the features of the labelled units of all sessions (units, features)."""
    kept = [describe(u)[np.asarray(u["region"], dtype=str) != ""] for u in sessions.values()]
    return np.concatenate(kept)


def learning_curve(sessions: dict[str, Any], pairs_a_step: int, figure: Path) -> str:
    """Score the encoders kept during training; return a table and write a figure."""
    import matplotlib.pyplot as plt

    with (RUN / "metrics.csv").open() as file:
        metrics = {int(row["step"]): row for row in csv.DictReader(file)}
    kept = sorted(CHECKS.iterdir())
    chosen = [kept[i] for i in np.unique(np.linspace(0, len(kept) - 1, 5).astype(int))]
    labels, session, _ = _labelled(sessions)
    rows, points = [], []
    for folder in chosen:
        encoder = nap_nuclr.load_encoder(folder)
        x = _stacked(sessions, lambda u, e=encoder: embedding(u, e))
        predicted, fold = out_of_fold(labels, by_probe(x, labels), seed=0)
        at = metrics[int(folder.name.split("_")[1])]
        pairs = int(at["step"]) * pairs_a_step
        score = macro_f1(labels, predicted, fold)["pooled"]
        within = macro_f1_within_recording(labels, predicted, session)
        points.append((pairs, score, within))
        rows.append(
            {
                "pairs": pairs,
                "held-out re-identification": f"{float(at['held_out_reidentification']):.3f}",
                "macro F1, pooled": f"{score:.3f}",
                "within recordings": f"{within:.3f}",
            }
        )
        print("curve", rows[-1], flush=True)
    pairs, scores, withins = zip(*points, strict=True)
    axes = plt.subplots(figsize=(4.5, 3), layout="constrained")[1]
    axes.plot(pairs, scores, "o-", color="#0072B2", label="pooled")
    axes.plot(pairs, withins, "s--", color="#D55E00", label="within recordings")
    axes.set(xlabel="pairs of views seen in training", ylabel="macro F1, four region groups")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    axes.figure.savefig(figure, dpi=150)
    return markdown(rows) + f"\n\n![Learning curve]({figure.name})"


def continuous(units: Any, encoder: Any) -> list[dict[str, str]]:
    """Measure re-identification in a continuous recording, and classify ADn and PoS."""
    start, end = units.time_support.start[0], units.time_support.end[-1]
    middle = (start + end) / 2
    halves = [nap.IntervalSet(start, middle), nap.IntervalSet(middle, end)]
    shifted = nap.IntervalSet(start + encoder.config.patch_seconds / 2, end)
    whole = nap.IntervalSet(start, end)

    def statistics(epochs: nap.IntervalSet) -> np.ndarray:
        return nap_nuclr.unit_statistics(units, epochs=epochs).to_numpy()

    blank = untrained(encoder)
    systems = {
        f"encoder {encoder.identity}": lambda epochs: embedding(units, encoder, epochs=epochs),
        "the same network, untrained": lambda epochs: embedding(units, blank, epochs=epochs),
        "single-unit statistics": statistics,
    }
    labels = np.asarray(units["brain_area"], dtype=str)
    rows = []
    for name, describe in systems.items():
        first, second = (describe(half) for half in halves)
        scalings = {
            "re-identification": np.eye(first.shape[1]),
            "features standardised": _standardising(first, second),
            "features whitened": _whitening(first, second),
        }
        row = {"system": name} | {
            column: f"{reidentification(first @ scaling, second @ scaling):.3f}"
            for column, scaling in scalings.items()
        }
        x = describe(whole)
        row["re-identification at another patch phase"] = "–"
        if name != "single-unit statistics":
            other = describe(shifted)
            row["re-identification at another patch phase"] = (
                f"{reidentification(x, other):.3f} (cosine {_agreement(x, other):.3f})"
            )
        scores = []
        for seed in SPLITS:
            predicted, fold = out_of_fold(labels, by_probe(x, labels), seed)
            scores.append(macro_f1(labels, predicted, fold)["pooled"])
        row["ADn against PoS, macro F1"] = spread(scores)
        print(row, flush=True)
        rows.append(row)
    return rows


def _standardising(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the matrix that divides features by their standard deviation over units."""
    return np.diag(1 / (np.concatenate((first, second)).std(axis=0) + 1e-9))


def _whitening(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the matrix that makes features uncorrelated over units (Ledoit-Wolf covariance)."""
    scale = _standardising(first, second)
    covariance = LedoitWolf().fit(np.concatenate((first, second)) @ scale).covariance_
    variances, axes = np.linalg.eigh(covariance)
    return scale @ axes / np.sqrt(variances)


def _agreement(first: np.ndarray, second: np.ndarray) -> float:
    """Return the median cosine between a unit's two vectors, recording mean subtracted."""
    a, b = (unit_length(x - x.mean(axis=0)) for x in (first, second))
    return float(np.median((a * b).sum(axis=1)))


PAGE = """# The encoder "spikes"

Written by `python benchmarks/bundled_encoder.py` on {machine}. Encoder `{identity}`, trained on
{training[recordings]} recordings ({training[minutes]} minutes on a CPU, {training[steps]} steps of
{training[pairs_a_step]} pairs, seed {training[seed]}): {data}. For other systems see
[benchmarks](benchmarks.md).

## Learning curve

Encoders kept during training: four groups of regions, five folds over units
(transductive), one draw of the folds. “Within recordings” is the mean over recordings with at least
two groups of 20 units.

{curve}

## Head direction (Peyrache et al. 2015): 38 minutes, 32 units, never trained on

`embed(units)` in one line. Re-identification: how often a unit's nearest neighbour in the other
half of the recording is the unit itself (chance {chance:.3f}): with the features unchanged (cosine,
mean over units subtracted), divided by their s.d. over units, and whitened. Another patch phase:
all windows begin half a patch later. ADn against PoS: five folds over 32 units, {splits} draws.

{continuous}
"""


def main() -> None:
    """Read the command line and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=HERE.parent.parent / "shared" / "data")
    arguments = parser.parse_args()
    encoder = nap_nuclr.load_encoder()
    sessions = steinmetz(arguments.data)
    (recording,) = head_direction(arguments.data).values()
    continuous_rows = continuous(recording, encoder)
    page = PAGE.format(
        machine=machine(),
        identity=encoder.identity,
        training=encoder.card["training"],
        data=encoder.card["data"],
        splits=len(SPLITS),
        chance=1 / len(recording),
        continuous=markdown(continuous_rows),
        curve=_curve(sessions, encoder.card["training"]),
    )
    DOCS.mkdir(exist_ok=True)
    (DOCS / "bundled_encoder.md").write_text(page, encoding="utf-8")
    print(page)
    encoder.card["scores"] = {
        "measured_by": "benchmarks/bundled_encoder.py; see also docs/benchmarks.md",
        "head_direction": continuous_rows,
    }
    nap_nuclr.save_encoder(encoder, ENCODERS["spikes"], dtype="float16")


def _curve(sessions: dict[str, Any], training: dict[str, Any]) -> str:
    """Return the learning curve if this encoder's run exists, else the curve of the page."""
    if CHECKS.is_dir() and nap_nuclr.load_encoder(RUN).card["training"] == training:
        return learning_curve(sessions, training["pairs_a_step"], DOCS / "learning_curve.png")
    page = DOCS / "bundled_encoder.md"
    before = page.read_text(encoding="utf-8") if page.exists() else ""
    _, _, rest = before.partition("two groups of 20 units.\n\n")
    return rest.partition("\n\n## ")[0] or "(the training run is not available)"


if __name__ == "__main__":
    main()
