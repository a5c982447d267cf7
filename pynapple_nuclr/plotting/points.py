"""One point per unit, coloured by numbers or labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pynapple_nuclr.columns import UNKNOWN
from pynapple_nuclr.plotting.style import (
    COLOURS,
    GREY,
    PALE,
    UNSURE,
    class_style,
    colour_bar,
    legend_beside,
    mark,
)
from pynapple_nuclr.plotting.unit_columns import Labels, is_number, read_labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D
    from numpy.typing import NDArray

_SURE = (0.5, 1.0)  # confidences that the legend shows


def point_size(n_points: int) -> float:
    """Return the area of a point (points²): smaller for larger populations."""
    return float(np.clip(4000 / max(n_points, 1), 12, 42))


def draw_points(
    ax: Axes,
    points: NDArray[Any],
    values: pd.Series | None,
    name: str | None,
    *,
    ours: bool,
    confidence: NDArray[np.float64] | None = None,
    classes: list[str] | None = None,
) -> None:
    """Draw a point (units, 2) per unit, with a colour bar for numbers or a legend for classes."""
    size = point_size(len(points))
    sizes = np.full(len(points), size)
    if confidence is not None:
        sizes *= _share(confidence)
    if values is None:
        _scatter(ax, points, sizes, color=COLOURS[0])
    elif is_number(values):
        _draw_numbers(ax, points, sizes, values.to_numpy(dtype=float), name or "", ours)
    else:
        handles = _draw_classes(ax, points, sizes, read_labels(values), classes)
        if confidence is not None:
            radius = 6 * np.sqrt(_share(np.array(_SURE)))
            pairs = zip(_SURE, radius, strict=True)
            handles += [mark(f"confidence {one:g}", GREY, size=r) for one, r in pairs]
        legend_beside(ax, handles, name or "", ours)


def _share(confidence: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return which share of its area a point gets: a quarter at least."""
    return np.asarray(0.25 + 0.75 * np.clip(np.nan_to_num(confidence), 0.0, 1.0))


def _scatter(ax: Axes, points: NDArray[Any], sizes: NDArray[Any], **options: Any) -> Any:
    # Pale rims keep neighbours apart.
    style: dict[str, Any] = {"linewidths": 0.4, "edgecolors": "white", "alpha": 0.9}
    x, y = points.T
    return ax.scatter(x, y, sizes, **(style | options))


def _draw_numbers(
    ax: Axes, points: NDArray[Any], sizes: NDArray[Any], values: NDArray[Any], name: str, ours: bool
) -> None:
    there = np.isfinite(values)
    gone = int((~there).sum())
    if gone:
        _scatter(ax, points[~there], sizes[~there], color=PALE)
    if not there.any():
        legend_beside(ax, [mark(f"missing ({gone})", PALE)], name, ours)
        return
    drawn = _scatter(ax, points[there], sizes[there], c=values[there], cmap="viridis")
    label = "firing rate (Hz)" if name == "rate" else name
    bar = colour_bar(ax, drawn, f"{label} (grey: {gone} missing)" if gone else label)
    if float(np.ptp(values[there])) < 1:
        return
    if (values[there] % 1 == 0).all():  # counts have no halves
        bar.ax.yaxis.get_major_locator().set_params(integer=True)


def _draw_classes(
    ax: Axes, points: NDArray[Any], sizes: NDArray[Any], labels: Labels, classes: list[str] | None
) -> list[Line2D]:
    """Draw a colour and marker per class; return the entries of the legend."""
    greys = []
    pale = ((labels.missing, "no label", PALE), (labels.unsure, UNKNOWN, UNSURE))
    for where, label, colour in pale:
        if where.any():
            text = f"{label} ({where.sum()})"
            _scatter(ax, points[where], sizes[where], color=colour, label=text)
            greys.append(mark(text, colour))
    handles = {}
    # Colours go by the natural order, so that they are the same in every figure of the units;
    # large classes first, so that small ones lie on top.
    for label in sorted(labels.classes, key=labels.count, reverse=True):
        mine, (colour, marker) = labels.texts == label, class_style(labels.classes.index(label))
        text = f"{label} ({mine.sum()})"
        _scatter(ax, points[mine], sizes[mine], color=colour, marker=marker, label=text)
        handles[label] = mark(text, colour, marker)
    return [handles[label] for label in classes or labels.classes] + greys
