"""Train the encoders that come with the package, by the package's own `pretrain`.

    python benchmarks/pretrain_default.py rats --data ../shared/data --minutes 85
    python benchmarks/pretrain_default.py spikes --data ../shared/data --minutes 95
    python benchmarks/pretrain_default.py simulated-calcium --minutes 43
    python benchmarks/pretrain_default.py calcium --data ../shared/data --minutes 55
    python benchmarks/pretrain_default.py calcium --data ../shared/data --minutes 60 \
        --init benchmarks/runs/calcium --out benchmarks/runs/calcium_2
    python benchmarks/pretrain_default.py calcium --data ../shared/data --minutes 70 --slowed \
        --init pynapple_nuclr/weights/calcium --out benchmarks/runs/calcium_3

An interrupted run continues when it is started again with the same arguments. `--install` then
stores the result in half precision in pynapple_nuclr/weights; benchmarks/bundled_encoder.py adds
scores to the card. `--record` updates the card of the stored encoder, its windows and what is known
of its training recordings ("calcium": with `--slowed`); the weights are not changed. "rats" is
trained in windows of 10 s and stored to read windows of 30 s. `--init` goes on from an encoder in a
new run, whose learning rate rises and falls again; the card then lists the earlier runs, too.

"rats" is trained on continuous recordings of six rats (Apache-2.0; two more are held out) and on
simulated populations; "spikes", whose patches fit into trials, on the Steinmetz sessions (CC BY
4.0), in patches of half a trial at a random phase, and on simulated populations. "calcium" goes on
from "simulated-calcium", which is not stored itself, with the regions of 14 zebrafish (CC BY 4.0;
four more are held out) beside the simulated fluorescence; `--slowed` adds the same fish slowed, as
activity is in other animals. Its second and third runs were installed with `--average 4`.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pynapple as nap
import torch

import pynapple_nuclr as nap_nuclr
from pynapple_nuclr.bundled import ENCODERS
from pynapple_nuclr.familiarity import record_training_data
from recordings import rats, steinmetz, zebrafish

HERE = Path(__file__).parent
HELD_OUT_RATS = ("T181", "T224")
"""The rats on which encoders are compared; none of their recordings trains an encoder."""
HELD_OUT_FISH = ("fish15", "fish16", "fish17", "fish18")
"""The same for zebrafish."""
SIZE = {"dim": 64, "heads": 4, "head_dim": 16}
TRAINING = {
    "learning_rate": 1e-3,
    "patience": 1000,
    "keep_checks": True,
    "seed": 0,
}
CALCIUM = nap_nuclr.EncoderConfig(modality="calcium", attention_scope="window", dropout=0.0, **SIZE)
NOISE = 0.3
"""Of slowed traces, in standard deviations of each."""
FAR_VIEWS = {"batch_size": 2, "max_units": 192, "max_view_distance": None}


@dataclass(frozen=True)
class Recipe:
    """One encoder: its name, what it reads, and what its card says."""

    name: str
    config: nap_nuclr.EncoderConfig
    training: dict[str, Any]
    card: dict[str, Any]
    init: str = ""  # the recipe whose run it goes on from
    reads: float | None = None  # s: windows of the stored encoder; None: those of its training


RECIPES = {
    "rats": Recipe(
        "nuclr-rats",
        nap_nuclr.EncoderConfig(interval_bins=16, dropout=0.1, **SIZE),
        {"batch_size": 4, "max_units": 96, "spikes_kept": (0.5, 1.0)},
        {
            "what_it_is": (
                "4.4 hours of continuous recordings of six rats, and 40 minutes of simulated "
                "populations, trained on one thread of a CPU."
            ),
            "data": (
                "rat_neuropixels: 28 recordings of 6 rats, duplicate units left out (Luo, Bondy "
                "et al. 2020, eLife 9:e59716; Brody-Lab/chronic_neuropixels); simulated: 4 "
                "populations of the world context, 4 of single"
            ),
            "data_licence": "Apache-2.0",
            "licence": "MIT",
            "method": (
                "NuCLR, arXiv:2512.01199, at a reduced width and budget, with histograms of "
                "intervals beside the counts"
            ),
            "recipe": "benchmarks/pretrain_default.py rats",
            "choice": (
                "interval_bins, spikes_kept, the step and the windows that it reads (30 s; trained "
                "in 10 s) by re-identification of units of two rats held out (T181, T224)"
            ),
        },
        reads=30.0,
    ),
    "spikes": Recipe(
        "nuclr-steinmetz-demo",
        nap_nuclr.EncoderConfig(
            patch_duration=0.2,
            window_duration=3.2,
            gaps="join",
            attention_scope="window",
            population_dropout=0.5,
            dropout=0.0,
            **SIZE,
        ),
        FAR_VIEWS,
        {
            "what_it_is": (
                "A demonstration: 27 minutes of 0.4 s trials from three mice, and 20 minutes of "
                "simulated populations, trained on a CPU. Fine-tune it on your own recordings "
                "(pretrain with init=) before you rely on it."
            ),
            "data": (
                "steinmetz2019: 14 Neuropixels sessions of 3 mice, 11,706 units, 0.4 s after each "
                "stimulus (Steinmetz et al. 2019, Nature 576:266, doi:10.1038/s41586-019-1787-x; "
                "figshare 9598406); simulated: 4 populations of the world context, 4 of single"
            ),
            "data_licence": "CC BY 4.0",
            "licence": "MIT",
            "method": "NuCLR, arXiv:2512.01199, at a reduced width and budget",
            "recipe": "benchmarks/pretrain_default.py spikes",
            "choice": (
                "attention_scope and population_dropout by the ablations in docs/benchmarks.md; "
                "patches of half a trial, because encoders that only knew patches from stimulus "
                "onset on found the units of a continuous recording again less often; the step "
                "by held-out re-identification"
            ),
            "no_probe": "no region probe comes with it: see docs/benchmarks.md on left-out mice",
        },
    ),
    "simulated-calcium": Recipe("nuclr-simulated-calcium", CALCIUM, FAR_VIEWS, {}),
    "calcium": Recipe(
        "nuclr-calcium",
        CALCIUM,
        {"batch_size": 4, "max_units": 96},
        {
            "what_it_is": (
                "3.5 hours of recordings of the brain regions of 14 zebrafish, the same slowed 1.7 "
                "times, and 2 hours of simulated fluorescence, trained on one thread of a CPU. No "
                "mammal and no single cell but simulated ones are among them: fine-tune it on your "
                "own recordings (pretrain with init=) before you rely on it."
            ),
            "data": (
                "zebrafish_regions: 14 fish, means of 64 to 68 named regions (Légaré et al. 2025, "
                "Sci Adv, doi:10.1126/sciadv.adv7576; Borealis doi:10.5683/SP3/IIVGOB); 12 "
                "populations of nap_nuclr.simulate(modality='calcium'), 10 minutes each"
            ),
            "data_licence": "CC BY 4.0",
            "licence": "MIT",
            "method": "NuCLR, arXiv:2512.01199, at a reduced width and budget",
            "recipe": (
                "benchmarks/pretrain_default.py simulated-calcium, then calcium, then that --init, "
                "then that --init --slowed"
            ),
            "choice": (
                "recordings, their speed, batch and checks by re-identification of the regions of "
                "four zebrafish held out (fish15 to fish18)"
            ),
            "no_probe": "no probe comes with it",
        },
        init="simulated-calcium",
    ),
}


def simulated(animals: int, **options: Any) -> dict[str, Any]:
    """Return simulated populations, continuous and with known types."""
    return {
        f"simulated {world} {animal}": units
        for world in ("context", "single")
        for animal, units in nap_nuclr.simulate(
            world, n_units=150, n_classes=4, animals=animals, seed=2019, **options
        ).items()
    }


def simulated_fluorescence() -> dict[str, Any]:
    """Return the simulated recordings of calcium."""
    frame_rate = CALCIUM.frame_rate
    return simulated(6, duration=600, modality="calcium", frame_rate=frame_rate, drift=0.3)


def slowed(traces: Any, factor: float = 1.7) -> Any:
    """Return traces that change more slowly by a factor, at the same frame rate.

    Noise (`NOISE`) replaces that which interpolation averages.
    """
    frames, values = np.arange(len(traces)), np.asarray(traces.values, dtype=float)
    at = np.linspace(0, frames[-1], int(factor * len(frames)))
    slow = np.stack([np.interp(at, frames, one) for one in values.T], axis=1)
    slow += NOISE * values.std(axis=0) * np.random.default_rng(0).standard_normal(slow.shape)
    step = np.median(np.diff(traces.times()))
    return nap.TsdFrame(t=step * np.arange(len(at)), d=slow, columns=traces.columns)


def recordings_of(which: str, data: Path, with_slowed: bool = False) -> dict[str, Any]:
    """Return what an encoder is trained on."""
    if which == "rats":
        names = [path.stem for path in (data / "rat_neuropixels").glob("*.npz")]
        taught = [name for name in names if name.split("_")[0] not in HELD_OUT_RATS]
        return rats(data, taught) | simulated(4, duration=300)
    if which == "spikes":
        return steinmetz(data) | simulated(4, duration=150)
    if which == "simulated-calcium":
        return simulated_fluorescence()
    fish = {name: one for name, one in zebrafish(data).items() if name not in HELD_OUT_FISH}
    slow = {f"{name}, slowed": slowed(one) for name, one in fish.items()} if with_slowed else {}
    return simulated_fluorescence() | fish | slow


def train(
    which: str, recordings: Mapping[str, Any], minutes: float, out: Path, init_from: Path | None
) -> None:
    """Train for this many minutes, including earlier runs with the same `out`."""
    recipe = RECIPES[which]
    settings = TRAINING | recipe.training
    if init_from is None and recipe.init:
        init_from = HERE / "runs" / recipe.init
    init = None if init_from is None else nap_nuclr.load_encoder(init_from)
    encoder = nap_nuclr.pretrain(
        recordings,
        None if init else recipe.config,
        init=init,
        max_minutes=minutes,
        out=out,
        **settings,
    )
    if init is not None:
        earlier = [*init.card.get("earlier_training", []), init.card["training"]]
        encoder.card["earlier_training"] = earlier
        nap_nuclr.save_encoder(encoder, out)
    print(f"{encoder.identity}: {encoder.card['training']}")


def install(which: str, out: Path, step: int | None, average: int | None) -> None:
    """Store a trained encoder: the best by held-out time, that of a step, or a mean of the last."""
    trained = nap_nuclr.load_encoder(out)
    encoder = trained
    if average is not None:
        encoder = mean_of_last(out, average)
        trained.card["training"]["mean_of_last_checks"] = average
    elif step is not None:
        encoder = nap_nuclr.load_encoder(out / "checks" / f"step_{step:06d}")
        trained.card["training"]["stored_step"] = step
    encoder = as_recipe_says(RECIPES[which], encoder, trained.card)
    nap_nuclr.save_encoder(encoder, ENCODERS[which], dtype="float16")
    print(f"installed {nap_nuclr.load_encoder(which).identity}")


def mean_of_last(out: Path, number: int) -> nap_nuclr.Encoder:
    """Return the encoder whose weights are the mean of the last checks of a run.

    Izmailov et al. 2018, arXiv:1803.05407.
    """
    checks = sorted((out / "checks").iterdir())[-number:]
    encoders = [nap_nuclr.load_encoder(check) for check in checks]
    states = [encoder.state_dict() for encoder in encoders]
    means = {key: torch.stack([one[key] for one in states]).mean(dim=0) for key in states[0]}
    encoders[0].load_state_dict(means)
    return encoders[0]


def record_training(which: str, recordings: Mapping[str, Any]) -> None:
    """Record the training data on the card of the stored encoder."""
    stored = nap_nuclr.load_encoder(which)
    encoder = as_recipe_says(RECIPES[which], stored, stored.card)
    encoder = record_training_data(encoder, recordings)
    nap_nuclr.save_encoder(encoder, ENCODERS[which], dtype="float16")
    kept = nap_nuclr.load_encoder(which)
    print(f"{kept.identity} has {len(kept.card['fingerprints'])} fingerprints")


def as_recipe_says(
    recipe: Recipe, encoder: nap_nuclr.Encoder, card: Mapping[str, Any]
) -> nap_nuclr.Encoder:
    """Return the encoder with the name, the windows and the card of its recipe."""
    if recipe.reads:
        encoder = encoder.with_window(recipe.reads)
    encoder.name = recipe.name
    encoder.card = {**recipe.card, **card, **recipe.card}
    return encoder


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("which", choices=list(RECIPES))
    parser.add_argument("--data", type=Path, default=HERE.parent.parent / "shared" / "data")
    parser.add_argument("--minutes", type=float, default=95)
    parser.add_argument("--out", type=Path, help="default: benchmarks/runs/WHICH")
    parser.add_argument("--init", type=Path, help="encoder to go on from (default: the recipe's)")
    parser.add_argument("--slowed", action="store_true", help="calcium: the fish slowed, too")
    parser.add_argument("--install", action="store_true", help="store the trained encoder")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--step", type=int, help="with --install: the check at this step")
    which.add_argument("--average", type=int, help="with --install: the mean of so many checks")
    parser.add_argument(
        "--record", action="store_true", help="only update the card of the stored encoder"
    )
    arguments = parser.parse_args()
    out = arguments.out or HERE / "runs" / arguments.which

    def recordings() -> dict[str, Any]:
        return recordings_of(arguments.which, arguments.data, arguments.slowed)

    if arguments.record:
        record_training(arguments.which, recordings())
    elif arguments.install:
        install(arguments.which, out, arguments.step, arguments.average)
    else:
        train(arguments.which, recordings(), arguments.minutes, out, arguments.init)


if __name__ == "__main__":
    main()
