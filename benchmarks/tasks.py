"""The tasks on real recordings: each function measures one part and returns its Markdown.

All fits use `evaluate` and its cache, so an interrupted run continues where it stopped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pynapple as nap
import xarray as xr
from lineups import (
    CONTINUOUS,
    EVENTS,
    PAIRS,
    TRIALS,
    WORMS,
    ablations,
    ours,
    source_of,
)
from page import (
    SCORES,
    best,
    bootstrap,
    convergence,
    figure,
    joined,
    markdown,
    selections,
    training_data,
)
from scoring import untrained

from pynapple_nuclr import load_encoder
from pynapple_nuclr.baselines import Lolcat, Nemo, Neuprint, Nuclr, Poyo, Statistics, System
from pynapple_nuclr.evaluation import data_scaling, evaluate, label_efficiency
from recordings import (
    head_direction,
    hippocampus,
    optotagged,
    steinmetz,
    steinmetz_trials,
    two_probes,
    with_column,
    worms,
)

PROTOCOLS = ["transductive", "transductive_zero_shot", "inductive_zero_shot"]
PRIORS = ["prior: most common label", "prior: correlated neighbours"]
BOTH = ["none", "recording"]
CANDIDATE = Path(__file__).parent / "runs" / "candidate"
"""Folder of an encoder that may be bundled later; used if it exists."""


@dataclass
class Bench:
    """Folders of the recordings and results, and the amount of computation.

    Parameters
    ----------
    data, cache, docs : Path
        Folders of recordings, fitted systems and figures.
    seeds : int
        Number of seeds of the fits that are compared.
    pairs : int
        Pairs of views in the reduced budget.
    targets : list of dict
        Rows of the table of targets, added by each task.
    """

    data: Path
    cache: Path
    docs: Path
    seeds: int = 1
    pairs: int = PAIRS
    targets: list[dict[str, Any]] = field(default_factory=list)

    def run(self, recordings: Any, target: str, systems: Any, **options: Any) -> xr.Dataset:
        """Run `evaluate`, with a cache of the fitted systems."""
        return evaluate(recordings, target, systems=systems, cache=self.cache, **options)

    def add_target(
        self, task: str, target: str, found: float, reached: bool, compared_with: str = ""
    ) -> None:
        """Record a target and whether it was reached."""
        verdict = "reached" if reached else "**missed**"
        self.targets.append(
            {
                "task": task,
                "target": target,
                "measured": f"{found:.3f}",
                "compared with": compared_with,
                "": verdict,
            }
        )


def steinmetz_regions(bench: Bench) -> str:
    """Classify four groups of regions, in all protocols."""
    sessions = steinmetz(bench.data)
    scores = bench.run(
        sessions,
        "region",
        {
            "nuclr": ours(TRIALS, bench.pairs),
            Statistics.name: Statistics(),
            Lolcat.name: Lolcat(),
            Nemo.name: Nemo(),
            Neuprint.name: Neuprint(config=TRIALS),
            Poyo.name: Poyo(behaviour=steinmetz_trials(bench.data)),
        },
        protocol=PROTOCOLS,
        standardize=BOTH,
        seeds=bench.seeds,
        model_selection="nested",
    )
    once = bench.run(
        sessions, "region", _frozen(), protocol=PROTOCOLS[:2], standardize=BOTH, seeds=bench.seeds
    )
    _region_targets(bench, scores, once)
    drawn = figure(
        bench.docs / "regions.png",
        lambda axes: scores.nuclr.plot("macro_f1_fold", ax=axes),
        (7.0, 5.0),
    )
    calibration = ("macro_f1", "macro_f1_confident_half", "ece", "brier")
    return "\n\n".join(
        [
            joined([scores, once]),
            drawn,
            "Confidence and calibration:",
            joined([scores, once], calibration),
            "Convergence: the loss of each system in its first fit:",
            convergence(bench.docs / "convergence.png", [scores, once]),
            "Candidates selected by inner folds, and the time of a fit:",
            selections(scores),
            "What each system was trained on:",
            training_data(scores, once),
        ]
    )


def _frozen() -> dict[str, System]:
    """Return encoders that are not trained here; they were trained on all of these sessions."""
    systems: dict[str, System] = {
        "bundled encoder": Nuclr(),
        "the same network, untrained": Nuclr(untrained(load_encoder())),
    }
    if CANDIDATE.exists():
        systems["candidate for the bundled encoder"] = Nuclr(CANDIDATE)
    return systems


def _region_targets(bench: Bench, scores: xr.Dataset, once: xr.Dataset) -> None:
    own = ["nuclr", "bundled encoder", "candidate for the bundled encoder"]
    others = ["statistics", Lolcat.name, Nemo.name]
    others += [Neuprint.name, Poyo.name]
    both = [scores, once]
    for score, name in (("macro_f1", "regions"), ("macro_f1_within_recording", "regions, within")):
        found, prior, other = (
            best(both, score, systems, protocol="transductive") for systems in (own, PRIORS, others)
        )
        compared = f"priors {prior:.3f}, others {other:.3f}"
        reached = found > max(prior, other)
        bench.add_target(f"Steinmetz {name}", "above priors and others", found, reached, compared)
        if score == "macro_f1":
            bench.add_target(f"Steinmetz {name}", "0.70", found, found >= 0.70)
    for protocol in PROTOCOLS[1:]:
        found, other = (
            best(both, "macro_f1_fold", systems, protocol=protocol) for systems in (own, others)
        )
        name = f"Steinmetz regions, mean over mice, {protocol}"
        bench.add_target(name, "above others", found, found > other, f"others {other:.3f}")
        bench.add_target(name, "0.35", found, found >= 0.35)


def ablation(bench: Bench) -> str:
    """Change one thing at a time."""
    scores = bench.run(
        steinmetz(bench.data),
        "region",
        ablations(bench.pairs),
        protocol=PROTOCOLS[:2],
        standardize=BOTH,
    )
    keep = [name for name in scores["system"].values if name not in PRIORS]
    return joined([scores.sel(system=keep)], SCORES)


def fewer_labels(bench: Bench) -> str:
    """Draw label efficiency."""
    curve = label_efficiency(
        steinmetz(bench.data),
        "region",
        [0.01, 0.03, 0.1, 0.3, 1.0],
        [ours(TRIALS, bench.pairs), Statistics()],
        cache=bench.cache,
    )
    drawn = figure(bench.docs / "label_efficiency.png", lambda axes: curve.nuclr.plot(ax=axes))
    return f"{curve.nuclr.table(markdown=True)}\n\n{drawn}"


def fewer_animals(bench: Bench) -> str:
    """Draw data scaling."""
    curve = data_scaling(
        steinmetz(bench.data),
        "region",
        [ours(TRIALS, bench.pairs), Statistics()],
        n_orders=1,
        standardize="recording",
        cache=bench.cache,
    )
    drawn = figure(bench.docs / "data_scaling.png", lambda axes: curve.nuclr.plot(ax=axes))
    return f"{curve.nuclr.table(markdown=True)}\n\n{drawn}"


def head_direction_cells(bench: Bench) -> str:
    """Classify ADn and PoS: 20 splits of the same units."""
    recordings = head_direction(bench.data)
    own = ours(CONTINUOUS, bench.pairs).fit(recordings, seed=0)
    systems = {
        "bundled encoder": Nuclr(),
        "nuclr, trained on this recording": Nuclr(own.encoder_),
        "statistics": Statistics(),
    }
    scores = bench.run(recordings, "brain_area", systems, seeds=20)
    rows = []
    for name in scores["system"].values:
        if name != "shuffled labels":
            low, high = bootstrap(scores, name)
            rows.append(
                {
                    "system": name,
                    "macro F1": scores.nuclr.table(["macro_f1"]).loc[name, "macro F1"],
                    "95 % over units": f"{low:.2f} to {high:.2f}",
                }
            )
    ours_best = best([scores], "macro_f1", list(systems)[:2])
    compared = f"statistics {best([scores], 'macro_f1', ['statistics']):.3f}"
    bench.add_target(
        "head direction, ADn against PoS", "0.85", ours_best, ours_best >= 0.85, compared
    )
    return markdown(rows) + "\n\n" + training_data(scores)


def tagged_cells(bench: Bench) -> str:
    """Classify opto-tagged types within one laboratory, each animal left out."""
    cells = optotagged(bench.data)
    systems = [Nuclr(name="bundled encoder"), Statistics(), Lolcat(), Nemo()]
    text = []
    for source, kinds in (("Allen", ("SST", "VIP")), ("hippocampus", ("PV", "Axo_Axonic"))):
        chosen = {
            n: u
            for n, u in cells.items()
            if source_of(u) == source and u["cell_type"].iloc[0] in kinds
        }
        scores = bench.run(chosen, "cell_type", systems, protocol=PROTOCOLS[2], seeds=1)
        size = f"{scores.attrs['n_units']} cells, {scores.attrs['n_animals']} animals"
        text += [
            f"**{' against '.join(kinds)}** ({source}; {size})",
            joined([scores], ("macro_f1", "balanced_accuracy")),
        ]
    sourced = {
        name: with_column(units, "source", source_of(units)) for name, units in cells.items()
    }
    scores = bench.run(sourced, "source", systems, protocol=PROTOCOLS[2], seeds=1)
    text += [
        "**The laboratory**, predicted from the same features (all cells):",
        joined([scores], ("macro_f1", "balanced_accuracy")),
    ]
    return "\n\n".join(text)


def worm_classes(bench: Bench) -> str:
    """Classify every neuron of a left-out worm."""
    recordings = _with_common_classes(worms(bench.data), 4)
    own = ours(WORMS, bench.pairs)
    alone = replace(WORMS, temporal_layers=4, spatiotemporal_layers=0)
    blind = own.with_changes("no population attention", config=alone)
    systems = [own, blind, Statistics(), Neuprint(config=WORMS)]
    scores = bench.run(
        recordings,
        "neuron_class",
        systems,
        protocol=PROTOCOLS[2],
        animals="subject",
        seeds=1,
        standardize=BOTH,
    )
    found, chance = (best([scores], "top1", [name]) for name in ("nuclr", "shuffled labels"))
    other = best([scores], "top1", [Statistics.name, Neuprint.name])
    bench.add_target(
        "worms, neuron class, top 1",
        "5 × shuffled labels",
        found,
        found >= 5 * chance,
        f"shuffled {chance:.3f}",
    )
    bench.add_target(
        "worms, neuron class, top 1", "above others", found, found > other, f"others {other:.3f}"
    )
    return (
        joined([scores], ("top1", "top5", "macro_f1", "macro_f1_fold", "recording_decodability"))
        + "\n\n"
        + training_data(scores)
    )


def calcium_regions(bench: Bench) -> str:
    """Classify CA1 and CA3, each mouse left out; as a control, predict the mouse."""
    sessions = {n: t for n, t in hippocampus(bench.data).items() if n.endswith("day0")}
    systems = [ours(EVENTS, bench.pairs), Statistics()]
    options = {"seeds": 1, "standardize": BOTH}
    regions = bench.run(sessions, "region", systems, protocol=PROTOCOLS[1], **options)
    mice = bench.run(sessions, "subject", systems, **options)
    return "\n\n".join(
        [
            joined([regions], ("macro_f1", "balanced_accuracy")),
            "Control: predict which of the seven mice a cell is from (transductive).",
            joined([mice], ("macro_f1", "balanced_accuracy")),
        ]
    )


def insertions(bench: Bench) -> str:
    """Classify simulated cell types of two simultaneous probes, as two populations and as one."""
    probes, together = two_probes()
    rows = []
    for how, recordings in (("each probe a population", probes), ("both probes one", together)):
        systems = {"nuclr": ours(CONTINUOUS, bench.pairs), "bundled encoder": Nuclr()}
        scores = bench.run(recordings, "cell_type", systems, seeds=bench.seeds)
        table = scores.nuclr.table(["macro_f1", "macro_f1_fold"])
        rows += [
            {"population": how, "system": name, **table.loc[name].to_dict()}
            for name in (*systems, "shuffled labels")
        ]
    return markdown(rows)


def _with_common_classes(
    recordings: Mapping[str, nap.TsdFrame], least: int
) -> dict[str, nap.TsdFrame]:
    """Return the worms without the labels of classes that fewer than `least` of them have."""
    labels = {name: np.asarray(worm["neuron_class"], str) for name, worm in recordings.items()}
    worms_with = Counter(one for own in labels.values() for one in set(own))
    return {
        name: with_column(
            worm, "neuron_class", [one if worms_with[one] >= least else "" for one in labels[name]]
        )
        for name, worm in recordings.items()
    }
