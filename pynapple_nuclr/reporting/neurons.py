"""The data of a page, read once from the metadata of a population."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pynapple_nuclr.columns import (
    PREDICTED,
    UNKNOWN,
    embeddings,
    is_missing,
    metadata_frame,
    vector_columns,
)
from pynapple_nuclr.plotting.unit_columns import (
    Labels,
    directions,
    is_number,
    read_labels,
    read_predictions,
    read_score,
    target_to_show,
    training_units,
)
from pynapple_nuclr.probe_score import ProbeScore
from pynapple_nuclr.recording import Units

Floats = NDArray[np.float64]

MOST_LABELS = 64  # that colours and markers tell apart
_BLOCK = 1_000  # units whose similarities to all others are computed at once


class Neurons(NamedTuple):
    """A population as a page shows it.

    `vectors` (units, dim) are NaN for units without an embedding; `target` is the column whose
    labels are shown: `given`, and `predicted` with their `confidence` (units,) by a probe of this
    `score`; `classes` are in the order of their colours.
    """

    metadata: pd.DataFrame
    vectors: Floats
    encoder: str
    prefix: str
    target: str | None
    classes: list[str]
    given: Labels | None
    predicted: Labels | None
    confidence: Floats | None
    score: ProbeScore | None = None
    waveforms: NDArray[np.float32] | None = None  # (units, samples), each scaled to a peak of 1

    @property
    def training(self) -> NDArray[np.bool_]:
        """Return which units the probe learned from (units,), as far as the units say."""
        return training_units(self.metadata, str(self.target))

    @property
    def embedded(self) -> NDArray[np.bool_]:
        """Return which units have an embedding (units,)."""
        return np.asarray(np.isfinite(self.vectors).all(axis=1))

    @property
    def labels(self) -> Labels | None:
        """Return the labels that colour the map: predicted ones, where there are any."""
        return self.given if self.predicted is None else self.predicted

    def numbers(self, name: str) -> Floats | None:
        """Return a column of numbers (units,), if there is one."""
        if name not in self.metadata or not is_number(self.metadata[name]):
            return None
        return self.metadata[name].to_numpy(dtype=float)

    def summary(self, name: str) -> Floats | None:
        """Return what the embedding says of each unit: "stability" or "n_windows"."""
        return self.numbers(f"{self.prefix}_{name}")


def read_neurons(units: Units, target: str | None, prefix: str, name: str) -> Neurons:
    """Read a population's metadata; ValueError without an embedding, or labels called `target`."""
    vectors = embeddings(units, prefix, name=name)
    everything = metadata_frame(units)
    metadata = everything.drop(columns=vector_columns(everything.columns))
    target = target_to_show(metadata, target, f"recording {name!r}: ")
    given = predicted = confidence = None
    if target in metadata:
        given = read_labels(metadata[target])
    if target is not None and f"{PREDICTED}{target}" in metadata:
        predicted, confidence = read_predictions(units, target)
    found = [one for labels in (given, predicted) if labels for one in labels.classes]
    classes = list(dict.fromkeys(found))
    if len(classes) > MOST_LABELS:
        raise ValueError(
            f"recording {name!r}: target={target!r} has {len(classes)} labels ({classes[0]}, "
            f"{classes[1]}, …); expected at most {MOST_LABELS}: choose a column of classes"
        )
    values = np.asarray(vectors.values, dtype=np.float64)
    encoder = str(vectors.attrs["encoder"])
    score = None if predicted is None else read_score(metadata, str(target))
    return Neurons(
        metadata, values, encoder, prefix, target, classes, given, predicted, confidence, score
    )


def find_neighbours(neurons: Neurons, number: int) -> tuple[NDArray[np.int64], Floats]:
    """Return the units nearest to each (units, number), −1: none, and their similarity.

    That is the cosine after subtracting the mean embedding, as in `plot_unit`.
    """
    # Sorted by id, so that equally near ones do not depend on the order of the units.
    order = np.argsort(neurons.metadata.index.astype(str).to_numpy(), kind="stable")
    rows = order[neurons.embedded[order]]
    n, number = len(neurons.vectors), min(number, max(len(rows) - 1, 0))
    nearest, similarity = np.full((n, number), -1), np.full((n, number), np.nan)
    if not number:
        return nearest, similarity
    unit_vectors = directions(neurons.vectors[rows])
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        products = unit_vectors[start : start + _BLOCK] @ unit_vectors.T
        products[np.arange(len(block)), np.arange(start, start + len(block))] = -np.inf
        found = np.argsort(-products, axis=1, kind="stable")[:, :number]
        nearest[block] = rows[found]
        similarity[block] = np.take_along_axis(products, found, axis=1)
    return nearest, similarity


def label_groups(labels: Labels) -> list[tuple[str, NDArray[np.bool_]]]:
    """Return labels and who has them; last those called "unknown", and those without any."""
    groups = [(one, labels.texts == one) for one in labels.classes]
    rest = [(UNKNOWN, labels.unsure), ("no label", labels.missing)]
    return groups + [(name, mine) for name, mine in rest if mine.any()]


def users_columns(neurons: Neurons) -> list[str]:
    """Return the user's columns: all that neither a probe nor an embedding has written."""
    ours = {"rate", neurons.target}
    names = [str(name) for name in neurons.metadata if name not in ours]
    made = (PREDICTED, f"{neurons.prefix}_")
    own = [name for name in names if not name.startswith(made)]
    return [name for name in own if not is_missing(neurons.metadata[name]).all()]
