"""The tasks on real recordings: what is predicted, and what is left out.

Labels that a task does not use are blank, so that these units stay in the population.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from fish_scaling import PAIRS, SIMULATED_PAIRS, trained
from lineups import source_of
from pretrain_default import HELD_OUT_FISH

from recordings import (
    head_direction,
    hippocampus,
    macaque,
    optotagged,
    rat_decisions,
    rats,
    steinmetz,
    with_column,
    worms,
    worms_atanas,
    worms_kato,
    zebrafish,
)

LABEL = "label"
"""The metadata column of the labels."""


class Populations(NamedTuple):
    """Recordings with labels, and what each recording is of."""

    recordings: dict[str, Any]  # name → units with a column `LABEL`
    left_out: dict[str, str]  # name → what is left out together with it; empty: units are
    individuals: dict[str, str]  # name → the animal or session over which intervals are
    scored: tuple[str, ...] = ()  # individuals that count in the scores; empty: all of them
    standardized: bool = False  # whether features are standardised within each recording


@dataclass(frozen=True)
class RealTask:
    """One question about real recordings.

    Parameters
    ----------
    title : str
        What is predicted, and from what.
    read : callable
        Folder of the data → `Populations`.
    within : int
        Units of a group, at least, where the probe is trained and tested within a recording; 0:
        the probe is trained on other animals, sessions or laboratories.
    note : str
        What has to be known to read the scores.
    over : str
        What intervals are over.
    encoders : callable, optional
        (recordings, seeds, folder) → row → encoders that the task trains. Default: those given.
    """

    title: str
    read: Callable[[Path], Populations]
    within: int = 0
    note: str = ""
    over: str = "animals"
    encoders: Callable[[Mapping[str, Any], Sequence[int], Path], dict[str, list[Any]]] | None = None


def waveforms(data: Path) -> Populations:
    """Narrow against broad waveforms of single units in striatum and frontal cortex."""

    def label(units: Any) -> list[str]:
        columns = (np.asarray(units[n]) for n in ("putative_type", "area_class", "is_single"))
        return [
            kind if single and area in ("striatum", "frontal_cortex") else ""
            for kind, area, single in zip(*columns, strict=True)
        ]

    recordings = rats(data)
    for units in recordings.values():
        units.drop_info("waveform")
    return _left_out_by_animal(recordings, label)


def area_classes(data: Path) -> Populations:
    """Striatum, frontal cortex and tectum of the rats."""
    return _left_out_by_animal(
        rats(data), lambda units: np.where(units["area_class"] == "other", "", units["area_class"])
    )


def area_groups(data: Path) -> Populations:
    """Regions of the rats, where a recording has several."""
    return _within(rats(data), "area_group", RAT_UNITS)


def decision_regions(data: Path) -> Populations:
    """Regions of choice-selective units of rats in a task."""
    return _left_out_by_animal(rat_decisions(data), lambda units: units["region"])


def macaque_areas(data: Path) -> Populations:
    """Areas of the macaque, each session left out."""
    return _left_out(macaque(data), lambda units: units["region"], {}, {})


def macaque_areas_within(data: Path) -> Populations:
    """Areas of the macaque, where a session has several."""
    return _within(macaque(data), "region", MACAQUE_UNITS)


def zebrafish_regions(data: Path) -> Populations:
    """Names of the regions of the zebrafish that most fish have."""
    return _left_out_by_animal(_common(zebrafish(data), "region", 9), lambda units: units["region"])


def zebrafish_held_out(data: Path) -> Populations:
    """Names of the regions of fish that no encoder was trained on, by labels of the others."""
    all_fish = zebrafish_regions(data)
    half = {name: "tested" if name in HELD_OUT_FISH else "trained" for name in all_fish.recordings}
    scored = tuple(all_fish.individuals[name] for name in HELD_OUT_FISH if name in half)
    return all_fish._replace(left_out=half, scored=scored)


def worm_classes(data: Path) -> Populations:
    """Classes of neurons that worms of both laboratories have."""
    flavell, kato = worms(data) | worms_atanas(data), worms_kato(data)
    labelled = {n: w for n, w in flavell.items() if any(w["neuron_class"])}
    both = set.intersection(*(_present(some, "neuron_class") for some in (labelled, kato)))
    recordings = {name: _without_copies(worm) for name, worm in (labelled | kato).items()}
    laboratory = {name: "Kato" if name in kato else "Flavell" for name in recordings}
    populations = _left_out(
        recordings,
        lambda units: [one if one in both else "" for one in units["neuron_class"]],
        laboratory,
        {},
    )
    return populations._replace(standardized=True)


def steinmetz_regions(data: Path) -> Populations:
    """Four groups of regions of the Steinmetz mice."""
    return _left_out_by_animal(steinmetz(data), lambda units: units["region"])


def steinmetz_regions_within(data: Path) -> Populations:
    """The same, where a session has several."""
    return _within(steinmetz(data), "region", RAT_UNITS)


def head_direction_areas(data: Path) -> Populations:
    """ADn and PoS of one recording."""
    return _within(head_direction(data), "brain_area", MACAQUE_UNITS)


def tagged_types(source: str, *kinds: str) -> Callable[[Path], Populations]:
    """Return a reader of opto-tagged cells of some types, from one laboratory."""

    def read(data: Path) -> Populations:
        chosen = {
            name: units
            for name, units in optotagged(data).items()
            if source_of(units) == source and units["cell_type"].iloc[0] in kinds
        }
        return _left_out_by_animal(chosen, lambda units: units["cell_type"])

    return read


def hippocampus_regions(data: Path) -> Populations:
    """CA1 and CA3 of the mice, on the first day."""
    first = {n: one for n, one in hippocampus(data).items() if n.endswith("day0")}
    return _left_out_by_animal(first, lambda units: units["region"])


RAT_UNITS, MACAQUE_UNITS = 20, 8

TASKS = {
    "a": RealTask(
        "Rats: narrow against broad waveform, each rat left out",
        waveforms,
        note="Single units of striatum and frontal cortex; the waveform itself is not shown.",
    ),
    "b": RealTask(
        "Rats: striatum, frontal cortex or tectum, each rat left out",
        area_classes,
        note=(
            "Most rats have units of one class: it is partly a property of the recording, which "
            "the recording's mean statistics show."
        ),
    ),
    "c": RealTask(
        "Rats: region within a recording",
        area_groups,
        RAT_UNITS,
        "Recordings with two regions or more of 20 units; five folds over units.",
    ),
    "d": RealTask(
        "Rats in a decision task: region, each rat left out",
        decision_regions,
        note="Trials of at most 0.8 s; only units selective for choice.",
    ),
    "e": RealTask(
        "Macaque: area, each session left out",
        macaque_areas,
        note="One animal: intervals and inner folds are over sessions.",
        over="sessions",
    ),
    "e_within": RealTask(
        "Macaque: area within a session",
        macaque_areas_within,
        MACAQUE_UNITS,
        "Sessions with two areas or more of 8 units; five folds over units.",
    ),
    "f": RealTask(
        "Zebrafish: name of the region, each fish left out",
        zebrafish_regions,
        note="The units are means over regions. Regions that at least half of the fish have.",
    ),
    "f_scaling": RealTask(
        "Zebrafish: name of the region, by the number of fish in pretraining",
        zebrafish_held_out,
        note=(
            "![Macro F1 against the number of fish](fish_scaling.png)\n\n"
            f"All encoders (dim 64) go on from one of simulated fluorescence ({SIMULATED_PAIRS:,} "
            f"pairs of views), with {PAIRS:,} pairs of views of fish each where no number is "
            "given. Scored are four fish that no encoder has seen; the probe is always trained on "
            "the labels of all fourteen others, of which each seed takes the first in an order of "
            "its own for pretraining."
        ),
        encoders=trained,
    ),
    "g": RealTask(
        "Worms: class of the neuron, the other laboratory left out",
        worm_classes,
        note=(
            "Classes that worms of both laboratories have. Dag et al. and Atanas et al. are of one "
            "laboratory, Kato et al. of the other. Inner folds leave out worms. The laboratories "
            "measure differently, so features are standardised within each worm, as "
            '`Probe(standardize="recording")` does; the last rows show them as they are.'
        ),
        over="worms",
    ),
    "h_steinmetz": RealTask(
        "Mice (Steinmetz et al.): four groups of regions, each mouse left out", steinmetz_regions
    ),
    "h_steinmetz_within": RealTask(
        "Mice (Steinmetz et al.): four groups of regions within a session",
        steinmetz_regions_within,
        RAT_UNITS,
    ),
    "h_head_direction": RealTask(
        "Head direction: ADn against PoS within a recording",
        head_direction_areas,
        MACAQUE_UNITS,
        "One recording: there is no interval.",
    ),
    "h_sst_vip": RealTask(
        "Opto-tagged cells: SST against VIP, each animal left out",
        tagged_types("Allen", "SST", "VIP"),
    ),
    "h_pv_axo_axonic": RealTask(
        "Opto-tagged cells: PV against axo-axonic, each animal left out",
        tagged_types("hippocampus", "PV", "Axo_Axonic"),
    ),
    "h_hippocampus": RealTask(
        "Hippocampal calcium: CA1 against CA3, each mouse left out",
        hippocampus_regions,
        note="Each mouse has one region: region and mouse cannot be told apart.",
    ),
}
"""Name on the command line → task."""


def _left_out_by_animal(recordings: Mapping[str, Any], label: Callable[[Any], Any]) -> Populations:
    animals = {name: str(np.asarray(one["subject"])[0]) for name, one in recordings.items()}
    return _left_out(recordings, label, animals, animals)


def _left_out(
    recordings: Mapping[str, Any],
    label: Callable[[Any], Any],
    left_out: Mapping[str, str],
    individuals: Mapping[str, str],
) -> Populations:
    """Label recordings; without a mapping each is left out, or resampled, by itself."""
    itself = {name: name for name in recordings}
    labelled = {name: _labelled(one, label(one)) for name, one in recordings.items()}
    return Populations(labelled, dict(left_out) or itself, dict(individuals) or itself)


def _within(recordings: Mapping[str, Any], column: str, least: int) -> Populations:
    """Keep the recordings with two groups or more of this many units, and only their labels."""
    kept = {}
    for name, one in recordings.items():
        values = np.asarray(one[column]).astype(str)
        counts = Counter(values)
        large = {value for value, count in counts.items() if count >= least and value}
        if len(large) >= 2:
            kept[name] = _labelled(one, [v if v in large else "" for v in values])
    animals = {name: str(np.asarray(recordings[name]["subject"])[0]) for name in kept}
    return Populations(kept, {}, animals)


def _labelled(units: Any, labels: Any) -> Any:
    """Return the units with labels and waveforms, and no other column that could reveal labels."""
    new = with_column(units, LABEL, list(map(str, labels)))
    kept = (LABEL, "rate", "waveform")
    new.drop_info([name for name in new.metadata.columns if name not in kept])
    return new


def _without_copies(traces: Any) -> Any:
    """Return the neurons of which no earlier one is an exact copy."""
    _, first = np.unique(np.asarray(traces.values), axis=1, return_index=True)
    return traces[:, np.sort(first)]


def _present(recordings: Mapping[str, Any], column: str) -> set[str]:
    """Return the values that occur in any of the recordings."""
    return set().union(*(set(np.asarray(one[column])) for one in recordings.values())) - {""}


def _common(recordings: Mapping[str, Any], column: str, least: int) -> dict[str, Any]:
    """Blank the values that fewer than `least` recordings have."""
    having = Counter(v for one in recordings.values() for v in set(np.asarray(one[column])))
    return {
        name: with_column(one, column, [v if having[v] >= least else "" for v in one[column]])
        for name, one in recordings.items()
    }
