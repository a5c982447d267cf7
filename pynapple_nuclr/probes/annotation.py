"""From class probabilities to metadata columns."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator as Probe  # `Probe` itself imports this module

from pynapple_nuclr.calibration import confidence_above_share
from pynapple_nuclr.checkpoints import as_encoder, find_encoder
from pynapple_nuclr.columns import (
    PREDICTED,
    SCORE,
    SUMMARIES,
    TRAINING,
    UNKNOWN,
    add_columns,
    as_texts,
    check_name,
    embeddings,
    is_embedded,
    metadata_frame,
)
from pynapple_nuclr.embedding import embed
from pynapple_nuclr.probe_score import ProbeScore
from pynapple_nuclr.probes.rows import check_columns
from pynapple_nuclr.recording import Units

# Of `embed`; a probe of statistics embeds nothing, and reads the epochs alone.
_OPTIONS = {"epochs", "gaps", "by", "max_windows", "max_seconds", "tolerance", "max_population"}
_OPTIONS |= {"device", "precision", "progress", "name"}


def write_predictions(
    probe: Probe,
    units: Units,
    probabilities: NDArray[np.float64],
    is_training: NDArray[np.bool_] | None,
    threshold: float | None,
    with_probabilities: bool,
) -> Units:
    """Return a new object with the columns that a probe writes.

    `probabilities` (units, classes); `is_training` (units,): which the probe learned from.
    """
    column, classes = f"{PREDICTED}{probe.target}", probe.classes_
    confidence = probabilities.max(axis=1)
    labels = as_texts(classes)[np.nan_to_num(probabilities).argmax(axis=1)]
    surplus = confidence_above_share(probabilities, probe.class_shares_)
    # NaN is not above any threshold: silent units become unknown here.
    is_sure = np.isfinite(surplus) if threshold is None else surplus >= threshold
    labels = np.where(is_sure, labels, UNKNOWN)
    new = {column: labels, f"{column}_confidence": confidence}
    if with_probabilities:
        new |= zip(_probability_columns(column, classes), probabilities.T, strict=True)
    if is_training is not None:
        new[f"{column}{TRAINING}"] = is_training
    new[f"{column}{SCORE}"] = np.full(len(labels), str(ProbeScore.of(probe)))
    annotated = add_columns(units, predicted=new, prefix=probe.prefix)
    stems = (f"{column}_p_", f"{column}{TRAINING}")  # of an earlier probe
    stale = {name for name in annotated.metadata_columns if name.startswith(stems)} - new.keys()
    annotated.drop_info(sorted(stale))
    return annotated


def _probability_columns(column: str, classes: NDArray[Any]) -> list[str]:
    """Return a name per class; classes that differ in punctuation only are numbered."""
    names: list[str] = []
    for one in as_texts(classes):
        name = re.sub(r"\W", "_", f"{column}_p_{one}")
        again = [f"{name}_{i}" for i in range(2, len(classes) + 2)]
        names.append(next(free for free in [name, *again] if free not in names))
    return names


def units_to_annotate(
    probe: Probe, units: Units, encoder: Any, options: Mapping[str, Any]
) -> Units:
    """Return units that a probe can predict: embedded, if it needs an embedding."""
    embedded = is_embedded(units, probe.prefix)  # refuses what is no pynapple object
    check_name(probe.target, "target", units)
    if probe.inputs_ == "statistics":
        unknown = sorted(options.keys() - _OPTIONS)
        if unknown:
            raise TypeError(f"annotate has no option {', '.join(unknown)}; see those of embed")
        return units
    if not embedded:
        return _embed_for_probe(probe, units, encoder, options)
    _check_embedded(units, probe.prefix, encoder, options)
    return units


def _check_embedded(units: Units, prefix: str, encoder: Any, options: Mapping[str, Any]) -> None:
    """Refuse to annotate vectors that are not those asked for."""
    steering = sorted(options.keys() - {"device", "progress", "name"})
    if steering:
        raise ValueError(
            f"units are embedded already, so {', '.join(steering)} would have no effect; leave it "
            "out, or embed them again: embed(units, …)"
        )
    if encoder is None:
        return
    asked, made = as_encoder(encoder).identity, embeddings(units, prefix).attrs["encoder"]
    if asked != made:
        raise ValueError(
            f"encoder={asked}, but units have vectors of {made} in {prefix}_0 …; leave encoder "
            "out, or embed them again: embed(units, encoder)"
        )


def _embed_for_probe(probe: Probe, units: Units, encoder: Any, options: Mapping[str, Any]) -> Units:
    """Embed units with the encoder that made a probe's training vectors."""
    made = {f"{probe.prefix}_{part}" for part in SUMMARIES}
    needed = [name for name in probe.features if name not in made]
    check_columns(list(metadata_frame(units)), needed)
    chosen = sorted(options.keys() & {"columns", "prefix"})
    if chosen:
        raise ValueError(f"the probe sets {', '.join(chosen)} of embed itself; leave it out")

    known = probe.encoder_
    if encoder is None:
        if known is None:
            raise ValueError(
                "units are not embedded, and this probe was fitted on arrays, so it does not know "
                "its encoder; pass encoder=, or embed(units) first"
            )
        encoder = find_encoder(known)
    encoder = as_encoder(encoder)
    if known not in (None, encoder.identity):
        raise ValueError(
            f"encoder={encoder.identity} cannot embed units for a probe that was trained on "
            f"vectors of {known}; pass that encoder"
        )
    return embed(units, encoder, prefix=probe.prefix, **options)
