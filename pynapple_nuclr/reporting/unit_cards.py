"""What the page's script draws from: the map, the table and a card for every unit."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import numpy as np

from pynapple_nuclr.plotting._depth import depth_column, runs_downward
from pynapple_nuclr.plotting._embedding import project
from pynapple_nuclr.plotting.style import COLOURS, MARKERS, class_style
from pynapple_nuclr.plotting.unit_columns import Labels, class_probabilities
from pynapple_nuclr.recording import Units
from pynapple_nuclr.reporting.neurons import Neurons, find_neighbours, users_columns
from pynapple_nuclr.reporting.unit_activity import encode_waveforms, read_activity

MIN_MAP_UNITS = 3
_MOST_COLUMNS, _MOST_LETTERS = 12, 80  # of the user's own metadata on a card


def as_cards(units: Units, neurons: Neurons, method: str, neighbours: int) -> dict[str, Any]:
    """Return all that the script needs to draw the units, JSON-able: None for NaN."""
    points, axes = _map(neurons, method)
    nearest, similarity = find_neighbours(neurons, neighbours)
    classes, probabilities = class_probabilities(
        neurons.metadata, str(neurons.target), neurons.classes
    )
    both = neurons.given is not None and neurons.predicted is not None
    return {
        "target": neurons.target,
        "predicted": neurons.predicted is not None,
        "colour": COLOURS[0],
        "classes": [{"name": name, **_look(i)} for i, name in enumerate(neurons.classes)],
        "ids": [str(unit) for unit in neurons.metadata.index],
        "points": points,
        "axes": axes,
        "labels": _texts(neurons.labels),
        "given": _texts(neurons.given) if both else None,
        "confidence": _numbers(neurons.confidence),
        "rate": _numbers(neurons.numbers("rate")),
        "stability": _numbers(neurons.summary("stability")),
        "windows": _numbers(neurons.summary("n_windows")),
        "probabilities": {"classes": classes, "values": list(map(_numbers, probabilities))}
        if classes
        else None,
        "neighbours": [
            [
                [int(row), round(float(value), 3)]
                for row, value in zip(*pair, strict=True)
                if row >= 0
            ]
            for pair in zip(nearest, similarity, strict=True)
        ],
        "own": _own(neurons),
        "depth": _depth(neurons),
        "activity": read_activity(units),
        "waveforms": encode_waveforms(neurons.waveforms),
    }


def as_json(value: Any) -> str:
    r"""Return JSON that may stand inside ``<script>``: nothing in it can end the element.

    Examples
    --------
    >>> from pynapple_nuclr.reporting.unit_cards import as_json
    >>> as_json("</script>")
    '"\\u003c/script\\u003e"'
    """
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    for letter in "<>&":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text


def _look(i: int) -> dict[str, str]:
    """Return the colour of figures, and a marker: colour is never the only sign on a page."""
    return {"colour": class_style(i)[0], "marker": MARKERS[(i + i // len(COLOURS)) % len(MARKERS)]}


def _map(neurons: Neurons, method: str) -> tuple[list[list[float] | None], list[str]]:
    """Return the place of every unit, None for those without, and what the axes are called."""
    shown = np.flatnonzero(neurons.embedded)
    places: list[list[float] | None] = [None] * len(neurons.vectors)
    if len(shown) < MIN_MAP_UNITS:
        return places, []
    rate = neurons.numbers("rate")
    rate = None if rate is None else rate[shown]
    points, axes = project(neurons.vectors[shown], method, rate)
    for row, point in zip(shown, points, strict=True):
        places[row] = [_short(value) for value in point]
    return places, axes


def _depth(neurons: Neurons) -> dict[str, Any] | None:
    name = depth_column(neurons.metadata)
    if name is None or not np.isfinite(values := neurons.metadata[name].to_numpy(float)).any():
        return None
    return {"name": name, "values": _numbers(values), "down": runs_downward(neurons.metadata, name)}


def _own(neurons: Neurons) -> dict[str, Any]:
    names = users_columns(neurons)[:_MOST_COLUMNS]
    return {"names": names, "values": [_in_words(neurons.metadata[name]) for name in names]}


def _in_words(values: Iterable[Any]) -> list[str]:
    words = (f"{one:.4g}" if isinstance(one, float) else str(one) for one in values)
    return [one if len(one) <= _MOST_LETTERS else f"{one[:_MOST_LETTERS]}…" for one in words]


def _texts(labels: Labels | None) -> list[str] | None:
    return None if labels is None else [str(one) for one in labels.texts]


def _numbers(values: Iterable[float] | None) -> list[float | None] | None:
    if values is None:
        return None
    return [_short(value) if np.isfinite(value) else None for value in values]


def _short(value: float) -> float:
    return float(f"{value:.4g}")
