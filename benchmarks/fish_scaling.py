"""Encoders of the zebrafish's scaling curve: trained on 1 to 14 fish, for equally many pairs.

The fish of the test are in no encoder's training. Each seed has its own order of the other fish.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from lineups import WORMS

from pynapple_nuclr import Encoder, pretrain

TESTED = ("fish15", "fish16", "fish17", "fish18")
COUNTS = (1, 2, 4, 8, 14)
CONFIG = replace(WORMS, frame_rate=1.0)
ALONE = replace(CONFIG, temporal_layers=4, spatiotemporal_layers=0)
TRAINING = {
    "batch_size": 4,
    "steps": 500,
    "learning_rate": 1e-3,
    "max_view_distance": None,
    "patience": 1000,  # equally many pairs for all
    "progress": False,
}


def fish_encoders(
    fish: Mapping[str, Any], seeds: Sequence[int], folder: Path, **training: Any
) -> dict[str, list[Encoder]]:
    """Train the encoders, or read those that the folder has.

    Parameters
    ----------
    fish : mapping
        Name → recording, those of the test among them.
    seeds : sequence of int
        One encoder each.
    folder : Path
        Keeps the encoders; an interrupted training continues.
    **training
        Changes to `TRAINING`.

    Returns
    -------
    dict
        Row ("pretrained on 4 fish") → encoders, one a seed.
    """
    others = [name for name in fish if name not in TESTED]
    counts = [count for count in COUNTS if count <= len(others)]
    rows = {f"pretrained on {count} fish": (count, CONFIG) for count in counts}
    rows[f"{counts[-1]} fish, no population attention"] = counts[-1], ALONE
    found: dict[str, list[Encoder]] = {row: [] for row in rows}
    for seed in seeds:
        order = np.random.default_rng(seed).permutation(others)
        for row, (count, config) in rows.items():
            chosen = {name: fish[name] for name in sorted(order[:count])}
            out = folder / f"{row.replace(' ', '_')}_{seed}"
            encoder = pretrain(chosen, config, seed=seed, out=out, **TRAINING | training)
            encoder.card["data"] = f"{', '.join(chosen)} of zebrafish_regions"
            found[row].append(encoder)
    return found
