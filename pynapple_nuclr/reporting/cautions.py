"""What to check before trusting a page, the most serious first."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pynapple_nuclr.columns import PREDICTED, TRAINING

if TYPE_CHECKING:
    from pynapple_nuclr.checkpoints import Encoder
    from pynapple_nuclr.probe_score import ProbeScore
    from pynapple_nuclr.reporting.neurons import Neurons

FEW = 10  # windows
LOW = 0.6  # stability; 0.5 is chance
_SMALL = 10  # units in one attention population
_POPULATIONS = ("probe", "insertion", "probe_insertion", "imaging_plane", "session", "animal")


class Comparison(NamedTuple):
    """How a recording compares with those of training."""

    familiarity: float  # NaN: unknown
    details: str  # what deviates most, or why it is unknown
    least: float  # familiarity below which it is unlike them


def find_cautions(
    neurons: Neurons, comparison: Comparison, by: str | None, encoder: Encoder | None
) -> list[str]:
    """Return what to be careful about, in sentences; an empty list if there is nothing."""
    found = [
        _score(neurons),
        _demonstration(encoder),
        _unlike(comparison),
        _unrepeatable(neurons),
        _few_windows(neurons),
        _without_embedding(neurons),
        _uncertain(neurons),
        _training_labels(neurons),
        _few_units(neurons),
        _populations(neurons, by),
    ]
    return [one for one in found if one]


def _demonstration(encoder: Encoder | None) -> str:
    what = "" if encoder is None else str(encoder.card.get("what_it_is", ""))
    return what if what.lower().startswith("a demonstration") else ""


def _score(neurons: Neurons) -> str:
    if neurons.predicted is None:
        return ""
    if neurons.score is None:
        return (
            "The score of the probe is not known to this page: report(…, probe=probe) shows it "
            "beside chance."
        )
    return at_chance(neurons.score) or _scored_elsewhere(neurons.score, neurons)


def at_chance(score: ProbeScore) -> str:
    """Return what the score of a probe at chance means; "" of one above it."""
    if score.above_chance:
        return ""
    return (
        f"The probe is not above chance (macro F1 {score.f1} {chance_of(score)}): the labels that "
        "it predicts mean nothing."
    )


def _scored_elsewhere(score: ProbeScore, neurons: Neurons) -> str:
    """Warn if the recording is none of those by which the probe was scored."""
    if not score.expect_less_in or neurons.training.any():
        return ""
    return (
        f"The score of the probe is that of {score.left_out}s left out: expect less in "
        f"{score.expect_less_in}, of which this may be one."
    )


def chance_of(score: ProbeScore) -> str:
    """Return what the probe's score is compared with."""
    return f"by {score.left_out}; chance {score.chance}"


def _training_labels(neurons: Neurons) -> str:
    """Warn of units that the probe learned from, or may have."""
    if neurons.predicted is None:
        return ""
    if n := int(neurons.training.sum()):
        return (
            f"{n} of {len(neurons.vectors)} units are training units of the probe: how well it "
            "agrees with their labels says nothing of others; look at its cross-validated score."
        )
    if f"{PREDICTED}{neurons.target}{TRAINING}" in neurons.metadata:
        return ""
    if neurons.given is None or not neurons.given.known.any():
        return ""
    return (
        f"{_units(int(neurons.given.known.sum()), neurons)} a label in the file. If the probe "
        "learned from them, how well it agrees with them says nothing: look at the score that "
        "the probe was cross-validated with."
    )


def _unlike(comparison: Comparison) -> str:
    if np.isnan(comparison.familiarity):
        return (
            "How this recording compares with the training data is not known: "
            f"{comparison.details}."
        )
    if comparison.familiarity >= comparison.least:
        return ""
    return (
        "This recording is unlike those that the encoder was trained on (familiarity "
        f"{comparison.familiarity:.1g}; below {comparison.least:g} is unusual): "
        f"{comparison.details}. Its embeddings may mean little; fine-tune the encoder on such "
        "recordings first."
    )


def _unrepeatable(neurons: Neurons) -> str:
    stability = neurons.summary("stability")
    if stability is None or not np.isfinite(stability).any():
        return ""
    median, low = np.nanmedian(stability), int((stability < LOW).sum())
    if median < LOW:
        return (
            f"Embeddings are hardly repeatable: the median stability is {median:.2f}, and 0.5 is "
            "chance. If nearly all units are low, the encoder does not fit the recording."
        )
    if not low:
        return ""
    return f"{_units(low, neurons)} a stability below {LOW} (0.5 is chance): hardly repeatable."


def _few_windows(neurons: Neurons) -> str:
    windows = neurons.summary("n_windows")
    if windows is None:
        return ""
    few = int(((windows > 0) & (windows < FEW)).sum())
    return f"{_units(few, neurons)} fewer than {FEW} windows: a rough mean." if few else ""


def _without_embedding(neurons: Neurons) -> str:
    absent = int((~neurons.embedded).sum())
    if not absent:
        return ""
    return (
        f"{_units(absent, neurons)} no embedding (no spike in any window, or left out): in the "
        "table, but not on the map."
    )


def _uncertain(neurons: Neurons) -> str:
    if neurons.predicted is None or (neurons.score and not neurons.score.above_chance):
        return ""
    unsure = int((neurons.predicted.unsure & neurons.embedded).sum())
    if not unsure:
        return ""
    text = f"{_units(unsure, neurons)} the label “unknown”: the probe was not sure enough"
    if unsure == neurons.embedded.sum():
        text += (
            ", or it refused the recording as unlike those that it learned from (annotate warns "
            "of that)"
        )
    return f"{text}."


def _few_units(neurons: Neurons) -> str:
    n = int(neurons.embedded.sum())
    if n > _SMALL:
        return ""
    return f"Only {n} embedded units: an embedding draws on the units recorded with it."


def _populations(neurons: Neurons, by: str | None) -> str:
    """Warn of distances between units that were recorded apart."""
    names = (by,) if by else _POPULATIONS
    for name in names:
        if name in neurons.metadata and (n := neurons.metadata[name].astype(str).nunique()) > 1:
            how = "embedded apart" if by else "perhaps embedded together"
            return (
                f"The units belong to {n} populations ({name}), {how}: differences between "
                "these on the map may come from the recording, not from the kind of neuron."
            )
    return ""


def _units(count: int, neurons: Neurons) -> str:
    return f"{count} of {len(neurons.vectors)} units {'has' if count == 1 else 'have'}"
