"""Train the encoders of the zebrafish's scaling curve: on 0 to 14 fish, for equally many pairs.

    python benchmarks/fish_scaling.py --data ../shared/data --seeds 0
    python benchmarks/fish_scaling.py --data ../shared/data --seeds 1 --rows "pretrained on 1 fish"
    python benchmarks/real_recordings.py --data ../shared/data --only f_scaling --write

All go on from one encoder of simulated fluorescence. The fish of the test are in no encoder's
training. Each seed has its own order of the other fish. The trained encoders are kept in
benchmarks/runs/real/encoders: an interrupted run continues. The second command scores those that
are trained.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from pretrain_default import CALCIUM, FAR_VIEWS, HELD_OUT_FISH, simulated_fluorescence
from scoring import trained_to_the_end

from pynapple_nuclr import Encoder, EncoderConfig, pretrain
from recordings import zebrafish

HERE = Path(__file__).parent
COUNTS = (1, 2, 4, 8, 14)
PAIRS, MORE_PAIRS, SIMULATED_PAIRS = 600, (2400, 9600), 1200
"""Pairs of views: of fish, of fish where the curve's ends get more, of simulated fluorescence."""
BATCH = 4
TRAINING: dict[str, Any] = {
    "batch_size": BATCH,
    "learning_rate": 1e-3,
    "max_view_distance": None,
    "patience": 1000,  # equally many pairs for all
    "progress": False,
}
STARTS = {
    "simulated": CALCIUM,
    "simulated_alone": replace(CALCIUM, temporal_layers=4, spatiotemporal_layers=0),
}
"""Folder of an encoder of simulated fluorescence → its configuration."""


class Row(NamedTuple):
    """How an encoder of the curve is trained."""

    count: int  # fish
    pairs: int = PAIRS
    start: str = "simulated"


ROWS = {f"pretrained on {count} fish": Row(count) for count in COUNTS}
ROWS |= {
    f"{count} fish, {pairs:,} pairs": Row(count, pairs) for pairs in MORE_PAIRS for count in (1, 14)
}
ROWS["14 fish, no population attention"] = Row(14, start="simulated_alone")
NO_FISH = "simulated fluorescence alone"


def folder_of(folder: Path, row: str, seed: int) -> Path:
    """Return where the encoder of a row and seed is kept."""
    return folder / f"{row.replace(' ', '_')}_{seed}"


def train(fish: Mapping[str, Any], rows: Sequence[str], seeds: Sequence[int], folder: Path) -> None:
    """Train the missing encoders, one seed of all rows after the other.

    `fish` is name → recording, those of the test among them.
    """
    needed = sorted({ROWS[row].start for row in rows})
    starts = {start: simulated_encoder(STARTS[start], folder / start) for start in needed}
    others = [name for name in fish if name not in HELD_OUT_FISH]
    for seed in seeds:
        order = np.random.default_rng(seed).permutation(others)
        for row in rows:
            count, pairs, start = ROWS[row]
            chosen = {name: fish[name] for name in sorted(order[:count])}
            encoder = pretrain(
                chosen,
                init=starts[start],
                seed=seed,
                out=folder_of(folder, row, seed),
                steps=pairs // BATCH,
                **TRAINING,
            )
            print(row, seed, encoder.card["training"], flush=True)


def simulated_encoder(config: EncoderConfig, out: Path) -> Encoder:
    """Train an encoder on simulated fluorescence, or read it where it is trained."""
    settings = TRAINING | FAR_VIEWS
    steps = SIMULATED_PAIRS // settings["batch_size"]
    return pretrain(simulated_fluorescence(), config, seed=0, steps=steps, out=out, **settings)


def trained(_: Mapping[str, Any], seeds: Sequence[int], folder: Path) -> dict[str, list[Encoder]]:
    """Return row → the encoders that are trained to the end, one a seed."""
    found = {NO_FISH: trained_to_the_end([folder / "simulated"], SIMULATED_PAIRS)}
    for row, how in ROWS.items():
        folders = [folder_of(folder, row, seed) for seed in seeds]
        found[row] = trained_to_the_end(folders, how.pairs)
    if not any(found.values()):
        raise ValueError(f"{folder} has no encoder; first python benchmarks/fish_scaling.py")
    for row, encoders in found.items():
        seen = "" if row == NO_FISH else f", and {ROWS[row].count} of the fish"
        for encoder in encoders:
            encoder.card["data"] = f"simulated fluorescence{seen}"
    return {row: encoders for row, encoders in found.items() if encoders}


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=HERE.parent.parent / "shared" / "data")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--rows", nargs="*", choices=list(ROWS), default=list(ROWS))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    folder = HERE / "runs" / "real" / "encoders"
    train(zebrafish(arguments.data), arguments.rows, arguments.seeds, folder)


if __name__ == "__main__":
    main()
