"""Measure how an encoder of calcium finds regions of unseen fish whose activity is slowed.

    python benchmarks/slowed_fish.py --data ../shared/data --write
    python benchmarks/slowed_fish.py --data ../shared/data --encoder "another=FOLDER"

No labels are used. Recordings are slowed at the same frame rate, as activity or the indicator is in
other animals. The second command adds rows. `--write` replaces the table in
docs/real_recordings.md.
"""

from __future__ import annotations

import argparse
import datetime
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import real_page
import torch
from features import STATISTICS, Features
from label_free import reidentified
from page import machine, markdown
from pretrain_default import HELD_OUT_FISH, NOISE, slowed
from scoring import untrained

from pynapple_nuclr import load_encoder
from recordings import zebrafish

HERE = Path(__file__).parent
FACTORS = (1.0, 1.7, 3.0)


def table(data: Path, encoders: dict[str, Any]) -> str:
    """Return how often regions of the fish that are held out find themselves."""
    features = Features(HERE / "runs" / "real" / "features")
    rows = {STATISTICS: STATISTICS} | {row: features.add(one) for row, one in encoders.items()}
    fish = [one for name, one in zebrafish(data).items() if name in HELD_OUT_FISH]
    found: list[dict[str, str]] = [{"features": row} for row in rows]
    for factor in FACTORS:
        slow = [one if factor == 1 else slowed(one, factor) for one in fish]
        for shown, name in zip(found, rows.values(), strict=True):
            halves = [features.halves(name, one) for one in slow]
            scores = [reidentified(*pair, np.zeros(len(pair[0]))) for pair in halves]
            shown["as recorded" if factor == 1 else f"{factor:g} times slower"] = (
                f"{np.mean(scores):.3f}"
            )
    return "\n\n".join(
        [
            "## Zebrafish: regions find themselves, activity slowed",
            f"How often a region's nearest neighbour between odd and even windows is the region "
            f"itself, mean over the {len(fish)} fish that trained no encoder; traces were slowed "
            f"by interpolation, and noise of {NOISE} standard deviations was added "
            f"(`python benchmarks/slowed_fish.py`). {datetime.date.today().isoformat()}, "
            f"{machine()}.",
            markdown(found),
        ]
    )


def main() -> None:
    """Read the command line, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=HERE.parent.parent / "shared" / "data")
    parser.add_argument("--encoder", nargs="*", default=[], help="NAME=FOLDER")
    parser.add_argument("--write", action="store_true", help="write docs/real_recordings.md")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    bundled = load_encoder("calcium")
    encoders = {"untrained network": untrained(bundled, 0), "bundled encoder": bundled}
    for text in arguments.encoder:
        name, folder = text.split("=", 1)
        encoders[name] = load_encoder(Path(folder))
    text = table(arguments.data, encoders)
    print(text)
    if arguments.write:
        real_page.replace("f_slowed", text)


if __name__ == "__main__":
    main()
