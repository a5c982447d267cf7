"""Train encoders of rats with one change each, for equally many pairs, and compare them.

    python benchmarks/rat_ablations.py --data ../shared/data --train
    python benchmarks/rat_ablations.py --data ../shared/data --train --steps 3000 \
        --rows "published objective" "intervals beside the counts"
    python benchmarks/rat_ablations.py --data ../shared/data --write

Two rats train no encoder; on them, units are found again without labels, which is what choices are
made by. The trained encoders are kept in benchmarks/runs/ablations: an interrupted run continues.
The table is printed, and with `--write` replaces the one in docs/real_recordings.md.
"""

from __future__ import annotations

import argparse
import datetime
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import real_page
import torch
from features import Features
from label_free import RIVALS, measures
from page import machine, markdown
from pretrain_default import HELD_OUT_RATS, SIZE
from scoring import trained_to_the_end, untrained

from pynapple_nuclr import Encoder, EncoderConfig, pretrain
from recordings import rats

HERE = Path(__file__).parent
UNTRAINED = "untrained network"
STEPS = 750
MORE_STEPS = 3000
TITLES = {
    STEPS: "## What changes of the training are worth, at equal budget",
    MORE_STEPS: "### With more pairs",
}
"""Steps → title of the table; no others are in the page."""
WINDOWS = 24  # of a recording that an encoder reads
TRAINING: dict[str, Any] = {
    "batch_size": 4,
    "max_units": 96,
    "learning_rate": 1e-3,
    "patience": 1000,  # equally many pairs for all
    "checks": 3,
    "progress": False,
}
PUBLISHED = EncoderConfig(dropout=0.1, **SIZE)
THINNED = {"spikes_kept": (0.5, 1.0)}
MEASURED = ("finds itself", f"among {RIVALS} of like rate", "PC 1 with rate, ρ")
VARIANTS: dict[str, tuple[EncoderConfig, dict[str, Any]]] = {
    "published objective": (PUBLISHED, {}),
    "intervals beside the counts": (replace(PUBLISHED, interval_bins=16), {}),
    "intervals, thinned": (replace(PUBLISHED, interval_bins=16), THINNED),
    "thinned: half of the spikes or more are kept": (PUBLISHED, THINNED),
    "negatives of like rate": (PUBLISHED, {"rate_matched": 0.7}),
    "views at any distance": (PUBLISHED, {"max_view_distance": None}),
    "attention scores by window": (replace(PUBLISHED, attention_scope="window"), {}),
    "attends to a random half or more": (replace(PUBLISHED, population_dropout=0.5), {}),
    "no population attention": (
        replace(PUBLISHED, temporal_layers=4, spatiotemporal_layers=0),
        {},
    ),
    "bins of 5 ms": (replace(PUBLISHED, bin_size=0.005), {}),
}
"""Row → configuration, and changes of the training."""


def folder_of(row: str, seed: int, steps: int) -> Path:
    """Return where the encoder of a row and seed is kept."""
    name = "".join(letter if letter.isalnum() else "_" for letter in row)
    budget = "ablations" if steps == STEPS else f"ablations_{steps}_steps"
    return HERE / "runs" / budget / f"{name}_{seed}"


def train(data: Path, rows: Sequence[str], seeds: Sequence[int], steps: int) -> None:
    """Train the missing encoders, one seed of all rows after the other."""
    recordings = {
        name: units for name, units in rats(data).items() if name.split("_")[0] not in HELD_OUT_RATS
    }
    for seed in seeds:
        for row in rows:
            config, changes = VARIANTS[row]
            out = folder_of(row, seed, steps)
            encoder = pretrain(
                recordings, config, seed=seed, steps=steps, out=out, **TRAINING | changes
            )
            print(row, seed, encoder.card["training"], flush=True)


def trained(seeds: Sequence[int], steps: int) -> dict[str, list[Encoder]]:
    """Return row → the encoders that are trained to the end, one a seed."""
    found = {}
    for row in VARIANTS:
        folders = [folder_of(row, seed, steps) for seed in seeds]
        if done := trained_to_the_end(folders, steps * TRAINING["batch_size"]):
            found[row] = done
    return found


def table(data: Path, seeds: Sequence[int], steps: int) -> str:
    """Return the table, with what has to be known to read it."""
    encoders = {UNTRAINED: [untrained(Encoder(PUBLISHED), seed) for seed in seeds]}
    encoders |= trained(seeds, steps)
    features = Features(HERE / "runs" / "real" / "features", WINDOWS)
    rats_left_out = {
        name: units for name, units in rats(data).items() if name.split("_")[0] in HELD_OUT_RATS
    }
    one_by_one = {
        f"{row} {i}": [one] for row, several in encoders.items() for i, one in enumerate(several)
    }
    statistics, *found = measures(features, one_by_one, rats_left_out)
    remaining = iter(found)
    rows = [statistics | {"seeds": "", "minutes": ""}]
    for row, several in encoders.items():
        rows.append(_row(row, several, [next(remaining) for _ in several]))
    columns = ("features", "seeds", "minutes", *MEASURED)
    pairs = steps * TRAINING["batch_size"]
    return "\n\n".join(
        [
            TITLES[steps],
            f"Encoders of width {SIZE['dim']}, each trained on {pairs} pairs of at most "
            f"{TRAINING['max_units']} units of six rats (`python benchmarks/rat_ablations.py`), "
            f"one change each. Measured without labels on {len(rats_left_out)} recordings of "
            f"{' and '.join(HELD_OUT_RATS)}, which trained none: mean over seeds, and the range. "
            f"{datetime.date.today().isoformat()}, {machine()}.",
            markdown([{name: row[name] for name in columns} for row in rows]),
        ]
    )


def _row(name: str, encoders: Sequence[Encoder], found: Sequence[dict[str, str]]) -> dict[str, str]:
    """Return the mean over seeds of each measure, and the range."""
    row = {"features": name, "seeds": str(len(encoders)), "minutes": ""}
    if name != UNTRAINED:
        minutes = [one.card["training"]["minutes"] for one in encoders]
        row["minutes"] = f"{np.mean(minutes):.0f}"
    for measure in MEASURED:
        values = [float(one[measure]) for one in found]
        row[measure] = f"{np.mean(values):.3f}"
        if len(values) > 1:
            row[measure] += f" ({min(values):.2f} to {max(values):.2f})"
    return row


def main() -> None:
    """Read the command line, train or score, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=HERE.parent.parent / "shared" / "data")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--rows", nargs="*", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--steps", type=int, default=STEPS, help="of the encoders to train")
    parser.add_argument("--train", action="store_true", help="train the missing encoders, only")
    parser.add_argument("--write", action="store_true", help="write docs/real_recordings.md")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.train:
        train(arguments.data, arguments.rows, arguments.seeds, arguments.steps)
        return
    text = "\n\n".join(table(arguments.data, arguments.seeds, steps) for steps in TITLES)
    print(text)
    if arguments.write:
        real_page.replace("ablations", text)


if __name__ == "__main__":
    main()
