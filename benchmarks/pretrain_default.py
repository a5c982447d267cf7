"""Train the encoder that comes with the package, by the package's own `pretrain`.

    python benchmarks/pretrain_default.py --data ../shared/data --minutes 85

Can be interrupted and started again with the same arguments: it goes on where it was. Trained on
the Steinmetz sessions alone (CC BY 4.0). Patches are half a trial long and lie at a random phase
in it, so that the encoder does not only know stimulus onsets. `--install` then stores the result
in half precision in pynapple_nuclr/weights, as loaded by everybody; its scores are added to the
card by benchmarks/bundled_encoder.py.

Beside them stand simulated populations that are recorded without gaps, as most users' are.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pynapple as nap

import pynapple_nuclr as nap_nuclr
from recordings import steinmetz

HERE = Path(__file__).parent
WEIGHTS = HERE.parent / "pynapple_nuclr" / "weights"
RUN = HERE / "runs" / "default"
CONFIG = {
    "patch_duration": 0.2,
    "window_duration": 3.2,
    "gaps": "join",
    "population_scores": "window",
    "population_dropout": 0.5,
    "dim": 64,
    "heads": 4,
    "head_dim": 16,
    "dropout": 0.0,
}
RECIPE = {
    "batch_size": 2,
    "learning_rate": 1e-3,
    "max_units": 192,
    "max_view_distance": None,
    "precision": "bf16-mixed",
    "patience": 1000,
    "keep_checks": True,
    "seed": 0,
}
CARD = {
    "what_it_is": (
        "A demonstration: 27 minutes of 0.4 s trials from three mice, trained on a CPU. Fine-tune "
        "it on your own recordings (pretrain with init=) before you rely on it."
    ),
    "data": (
        "steinmetz2019: 14 Neuropixels sessions of 3 mice, 11,706 units, 0.4 s after each stimulus "
        "(Steinmetz et al. 2019, Nature 576:266, doi:10.1038/s41586-019-1787-x; figshare 9598406)"
    ),
    "data_licence": "CC BY 4.0",
    "licence": "MIT",
    "method": "NuCLR, arXiv:2512.01199, at a reduced width and budget",
    "recipe": "benchmarks/pretrain_default.py; patches of half a trial, half of the trials whole",
    "choice": (
        "population_scores='window' by the ablations in docs/benchmarks.md; patches of half a "
        "trial, because encoders that only knew patches from stimulus onset on found the units of "
        "a continuous recording again less often; the step by held-out re-identification"
    ),
    "no_probe": "no region probe comes with it: prediction on left-out mice is not measured yet",
}


def simulated() -> dict[str, nap.TsGroup]:
    """Return populations that were never recorded: continuous, and of known laws."""
    worlds = ("context", "single")
    return {
        f"simulated {world} {animal}": units
        for world in worlds
        for animal, units in nap_nuclr.simulate(
            world, n_units=150, n_classes=4, duration=150, animals=4, seed=2019
        ).items()
    }


def train(data: Path, minutes: float, out: Path) -> None:
    """Train for so many minutes, earlier runs with the same `out` counted in."""
    encoder = nap_nuclr.pretrain(
        steinmetz(data) | simulated(),
        nap_nuclr.EncoderConfig(**CONFIG),
        max_minutes=minutes,
        out=out,
        **RECIPE,
    )
    print(f"{encoder.identity}: {encoder.card['training']}")


def install(out: Path) -> None:
    """Store a trained encoder in the package."""
    encoder = nap_nuclr.load_encoder(out)
    encoder.name = "nuclr-steinmetz-demo"
    encoder.card = {**CARD, **encoder.card}
    nap_nuclr.save_encoder(encoder, WEIGHTS, dtype="float16")
    print(f"installed {nap_nuclr.load_encoder().identity}")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=HERE.parent.parent / "shared" / "data")
    parser.add_argument("--minutes", type=float, default=85)
    parser.add_argument("--out", type=Path, default=RUN)
    parser.add_argument("--install", action="store_true", help="store the trained encoder")
    arguments = parser.parse_args()
    if arguments.install:
        install(arguments.out)
    else:
        train(arguments.data, arguments.minutes, arguments.out)


if __name__ == "__main__":
    main()
