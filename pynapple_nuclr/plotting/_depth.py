"""Labels along the depth of a probe insertion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pynapple_nuclr.columns import metadata_frame
from pynapple_nuclr.plotting.points import draw_points, point_size
from pynapple_nuclr.plotting.style import counted, new_axes, open_frame, plain, title
from pynapple_nuclr.plotting.unit_columns import (
    Labels,
    column_names,
    is_number,
    read_column,
    read_labels,
    read_numbers,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from pynapple_nuclr.recording import Units

# Columns as sorters, NWB files and the Allen Institute call them, all of them in µm.
_USUAL = ("depth", "depths", "rel_y", "y", "position_y", "location_y", "probe_vertical_position")
_DOWNWARD = ("depth", "depths")  # taken to increase downward, the others upward
_PHY = {"ch", "depth"}  # phy's tables of clusters have both, and their depth increases upward
_HEIGHT = 4.6


def plot_depth(
    units: Units,
    color_by: str,
    *,
    depth: str | None = None,
    by: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw labels along the depth of the probe, to see where one region ends and the next begins.

    Parameters
    ----------
    units : TsGroup or TsdFrame
        With depths. Units without one are left out and counted.
    color_by : str
        Metadata column to colour by, as in `plot_embedding`: ``"predicted_region"``, say. If
        there is a column ``<color_by>_confidence``, surer units are larger.
    depth : str, optional
        Metadata column of depths. Default: the first of depth, depths, rel_y, y, position_y,
        location_y, probe_vertical_position, which are taken to be in µm.
    by : str, optional
        Metadata column that names the probe (shank, group) of each unit: each gets a column.
    ax : matplotlib Axes, optional
        Where to draw. Default: a new figure.

    Returns
    -------
    matplotlib Axes
        Columns "depth" and "depths" are taken to increase downward, all others, and the depth of
        phy (beside a column "ch"), upward, as the axis says: if yours are counted otherwise,
        ``ax.invert_yaxis()``. The side position within a column has no meaning. The legend lists
        labels from the top down, by their median.

    Raises
    ------
    ValueError
        If a column is missing or holds no numbers, or no unit has a depth.

    Examples
    --------
    >>> import pynapple as nap
    >>> from pynapple_nuclr.plotting import plot_depth
    >>> units = nap.TsGroup({i: nap.Ts([0.1, 0.9]) for i in range(3)},
    ...     metadata={"rel_y": [20.0, 900.0, 940.0], "region": ["CA1", "V1", "V1"]})
    >>> ax = plot_depth(units, "region")
    >>> ax.get_ylabel(), [text.get_text() for text in ax.get_legend().get_texts()]
    ('rel_y (µm, upward)', ['V1 (2)', 'CA1 (1)'])
    """
    values = read_column(units, color_by, "color_by")
    depth = _usual_column(units) if depth is None else depth
    heights = read_numbers(units, depth, "depth")
    shown = np.isfinite(heights)
    if not shown.any():
        raise ValueError(f"depth={depth!r} is missing for all of {len(shown)} units")
    probes = read_labels(["all"] * len(shown) if by is None else read_column(units, by, "by"))
    names, place = _columns_of(probes, by, shown)
    confidence = None
    if f"{color_by}_confidence" in metadata_frame(units):
        confidence = read_numbers(units, f"{color_by}_confidence", "color_by")[shown]

    heights, values = heights[shown], values[shown]
    width = max(1.2 * len(names), 2.0)
    ax, ours = new_axes(ax, width + 1.4, _HEIGHT)
    labels = None if is_number(values) else read_labels(values)
    ids = np.asarray(metadata_frame(units).index)[shown].astype(str)
    step = np.sqrt(point_size(len(heights))) / 72  # inches: the width of a point
    gap = (np.ptp(heights) or 1.0) * step / (0.85 * _HEIGHT)
    x = place + _side_steps(heights, place, ids, gap, step / width * len(names))
    down = runs_downward(metadata_frame(units), depth)
    draw_points(
        ax,
        np.column_stack([x, heights]),
        values,
        color_by,
        ours=ours,
        confidence=confidence,
        classes=None if labels is None else _from_the_top(labels, heights, down),
    )
    if down:
        ax.invert_yaxis()
    ax.set_xlim(-0.5, len(names) - 0.5)
    counts = np.bincount(place, minlength=len(names))
    if by is None:
        ax.set_xticks([])
    else:
        ticks = [f"{plain(name)}\n({count})" for name, count in zip(names, counts, strict=True)]
        turned = max(len(name) for name in names) > 12
        ax.set_xticks(np.arange(len(names)), ticks, rotation=90 if turned else 0)
        ax.set_xlabel(f"{by} (units)")
    direction = "downward" if down else "upward"
    ax.set_ylabel(f"{depth} (µm, {direction})" if depth in _USUAL else depth)
    open_frame(ax)
    title(ax, f"{shown.sum()} units", counted((~shown).sum(), f"without a {depth} not shown"))
    return ax


def depth_column(metadata: pd.DataFrame) -> str | None:
    """Return the first usual name of a column of depths that is there."""
    usual = (name for name in _USUAL if name in metadata and is_number(metadata[name]))
    return next(usual, None)


def runs_downward(metadata: pd.DataFrame, depth: str) -> bool:
    """Return whether a column of depths is taken to increase downward."""
    return depth in _DOWNWARD and not set(metadata) >= _PHY


def _usual_column(units: Units) -> str:
    metadata = metadata_frame(units)
    if (name := depth_column(metadata)) is not None:
        return name
    raise ValueError(
        f"units have no column of depths ({', '.join(_USUAL)}); name yours with depth=. There are "
        f"{column_names(metadata)}"
    )


def _columns_of(
    probes: Labels, by: str | None, shown: NDArray[np.bool_]
) -> tuple[list[str], NDArray[np.int64]]:
    """Return the probes that have units, and the place of each shown unit among them."""
    texts = np.where(probes.missing, f"no {by}", probes.texts)[shown]
    there = set(texts.tolist())
    names = [name for name in [*probes.classes, "unknown", f"no {by}"] if name in there]
    return names, np.array([names.index(text) for text in texts])


def _from_the_top(labels: Labels, heights: NDArray[Any], down: bool) -> list[str]:
    def middle(label: str) -> float:
        return float(np.median(heights[labels.texts == label])) * (1 if down else -1)

    return sorted(labels.classes, key=middle)


def _side_steps(
    heights: NDArray[Any], place: NDArray[Any], ids: NDArray[Any], gap: float, step: float
) -> NDArray[np.float64]:
    """Return how far each unit steps aside, so that it covers no unit of about its depth."""
    lanes = int(0.4 / step)
    offsets = step * np.array(sorted(range(-lanes, lanes + 1), key=abs))
    last = {int(one): np.full(len(offsets), -np.inf) for one in np.unique(place)}
    result = np.zeros(len(heights))
    for i in np.lexsort([ids, heights]):
        below = last[int(place[i])]
        free = np.flatnonzero(heights[i] - below >= gap)
        lane = free[0] if len(free) else int(below.argmin())
        below[lane], result[i] = heights[i], offsets[lane]
    return result
