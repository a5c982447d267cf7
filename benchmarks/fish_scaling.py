"""Encoders of the zebrafish's scaling curve: trained on 0 to 14 fish, for equally many pairs.

All go on from one encoder of simulated fluorescence. The fish of the test are in no encoder's
training. Each seed has its own order of the other fish.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from pretrain_default import CALCIUM, FAR_VIEWS, HELD_OUT_FISH, simulated_fluorescence

from pynapple_nuclr import Encoder, EncoderConfig, pretrain

COUNTS = (1, 2, 4, 8, 14)
ALONE = replace(CALCIUM, temporal_layers=4, spatiotemporal_layers=0)
PAIRS, SIMULATED_PAIRS = 600, 1200
"""Pairs of views: of fish, and before of simulated fluorescence."""
BATCH = 4
TRAINING = {
    "steps": PAIRS // BATCH,
    "batch_size": BATCH,
    "learning_rate": 1e-3,
    "max_view_distance": None,
    "patience": 1000,  # equally many pairs for all
    "progress": False,
}
SIMULATED = FAR_VIEWS | {"steps": SIMULATED_PAIRS // FAR_VIEWS["batch_size"]}
"""Changes of the training on simulated fluorescence."""


def fish_encoders(
    fish: Mapping[str, Any], seeds: Sequence[int], folder: Path, **training: Any
) -> dict[str, list[Encoder]]:
    """Train the encoders, or read those that the folder has.

    Parameters
    ----------
    fish : mapping
        Name → recording, those of the test among them.
    seeds : sequence of int
        One encoder of each row for each seed.
    folder : Path
        Keeps the encoders; an interrupted training continues.
    **training
        Changes to `TRAINING` and `SIMULATED`.

    Returns
    -------
    dict
        Row ("pretrained on 4 fish") → encoders, one a seed.
    """
    others = [name for name in fish if name not in HELD_OUT_FISH]
    counts = [count for count in COUNTS if count <= len(others)]
    starts = {
        name: _simulated_encoder(config, folder / name, training)
        for name, config in (("simulated", CALCIUM), ("simulated_alone", ALONE))
    }
    rows = {f"pretrained on {count} fish": ("simulated", count) for count in counts}
    rows[f"{counts[-1]} fish, no population attention"] = "simulated_alone", counts[-1]
    found = {"simulated fluorescence alone": [starts["simulated"]]}
    found |= {row: [] for row in rows}
    for seed in seeds:
        order = np.random.default_rng(seed).permutation(others)
        for row, (start, count) in rows.items():
            chosen = {name: fish[name] for name in sorted(order[:count])}
            encoder = pretrain(
                chosen,
                init=starts[start],
                seed=seed,
                out=folder / f"{row.replace(' ', '_')}_{seed}",
                **TRAINING | training,
            )
            encoder.card["data"] = f"simulated fluorescence; {', '.join(chosen)}"
            found[row].append(encoder)
    return found


def _simulated_encoder(config: EncoderConfig, out: Path, training: Mapping[str, Any]) -> Encoder:
    settings = TRAINING | SIMULATED | training
    encoder = pretrain(simulated_fluorescence(), config, seed=0, out=out, **settings)
    encoder.card["data"] = "simulated fluorescence"
    return encoder
