"""Similarity of the embeddings of all pairs of units."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pynapple_nuclr.columns import UNKNOWN
from pynapple_nuclr.plotting.style import (
    GREY,
    LETTER,
    PALE,
    UNSURE,
    class_style,
    colour_bar,
    counted,
    new_axes,
    plain,
    spread_out,
    title,
)
from pynapple_nuclr.plotting.unit_columns import directions, read_column, read_labels, read_vectors

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from pynapple_nuclr.recording import Units

_BAND = 0.025  # width of the bands, as a share of the axes


def plot_similarity(
    units: Units, order_by: str | None = None, *, ax: Axes | None = None, prefix: str = "nuclr"
) -> Axes:
    """Draw the cosine similarity of all pairs of units, ordered by their labels.

    Parameters
    ----------
    units : TsGroup or TsdFrame
        Embedded units. Those without an embedding (silent) are left out and counted. Their mean
        embedding is subtracted first: else all pairs look alike.
    order_by : str, optional
        Metadata column of labels: a block for each, in natural order, then "unknown" and those
        without. Within a block, and without labels, similar units are neighbours (average
        linkage).
    ax : matplotlib Axes, optional
        Where to draw. Default: a new figure.
    prefix : str
        Prefix of the embedding's columns.

    Returns
    -------
    matplotlib Axes
        With an image of the similarities (units, units), −1 to 1.

    Raises
    ------
    ValueError
        If the units are not embedded, fewer than three have an embedding, or there is no column
        `order_by`.

    Examples
    --------
    >>> import pynapple as nap
    >>> from pynapple_nuclr.columns import add_columns
    >>> from pynapple_nuclr.plotting import plot_similarity
    >>> units = nap.TsGroup({i: nap.Ts([0.1, 0.9]) for i in range(4)},
    ...     metadata={"layer": ["L5", "L4", "L5", "L4"]})
    >>> units = add_columns(units, vectors=[[0.0], [3.0], [1.0], [4.0]],
    ...     summary={"nuclr_encoder": ["tiny@0a1b2c3d"] * 4})
    >>> ax = plot_similarity(units, "layer")
    >>> ax.images[0].get_array()[0].round(1).tolist()
    [1.0, 1.0, -1.0, -1.0]
    """
    vectors, shown = read_vectors(units, prefix, 3, "a matrix of similarities")
    blocks = _blocks(units, order_by, shown)
    vectors = directions(vectors)
    order = np.concatenate([_cluster_order(vectors, members) for _, _, members in blocks])
    similarity = vectors[order] @ vectors[order].T

    names = max(len(f"{name} (99)") for name, *_ in blocks)
    ax, _ = new_axes(ax, 5.6 + LETTER * names, 4.9, square=True)
    n = len(order)
    drawn = ax.imshow(similarity, cmap="RdBu_r", vmin=-1, vmax=1, extent=(0, n, n, 0))
    colour_bar(ax, drawn, "cosine similarity, mean subtracted")
    ax.set(xticks=[], yticks=[], xlabel="units")
    if order_by is None:
        ax.set_ylabel("units")
    else:
        _draw_bands(ax, [(name, colour, len(members)) for name, colour, members in blocks])
    ax.spines[:].set_visible(False)
    title(
        ax,
        f"{n} units" + (f" by {order_by}" if order_by else ""),
        counted((~shown).sum(), "without an embedding not shown"),
        pad=6 if order_by is None else 16,
    )
    return ax


def _blocks(
    units: Units, order_by: str | None, shown: NDArray[np.bool_]
) -> list[tuple[str, str, NDArray[np.int64]]]:
    """Return name, colour and members of each block of units."""
    if order_by is None:
        return [("", PALE, np.arange(shown.sum()))]
    labels = read_labels(read_column(units, order_by, "order_by")[shown])
    blocks = [
        (label, class_style(i)[0], np.flatnonzero(labels.texts == label))
        for i, label in enumerate(labels.classes)
    ]
    blocks += [(UNKNOWN, UNSURE, np.flatnonzero(labels.unsure))]
    blocks += [("no label", PALE, np.flatnonzero(labels.missing))]
    return [block for block in blocks if len(block[2])]


def _cluster_order(vectors: NDArray[np.float64], members: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the members of a block so that similar ones are neighbours."""
    if len(members) < 3:
        return members
    from scipy.cluster.hierarchy import leaves_list, linkage

    # First sorted by value: the figure must not depend on the order of the units.
    members = members[np.lexsort(vectors[members].T)]
    return np.asarray(members[leaves_list(linkage(vectors[members], "average"))])


def _draw_bands(ax: Axes, blocks: list[tuple[str, str, int]]) -> None:
    """Draw a coloured band and a name beside each block, and lines between blocks."""
    from matplotlib.patches import Rectangle

    ends = np.cumsum([size for _, _, size in blocks])
    n, along = ends[-1], ax.get_yaxis_transform()  # x in shares of the axes, y in units
    options: dict[str, Any] = {"clip_on": False, "linewidth": 0}
    middles = [float(end - size / 2) for end, (_, _, size) in zip(ends, blocks, strict=True)]
    # As many lines of small text as fit beside a figure of the default height.
    places = spread_out(middles, n / 26, 0, n)
    for (name, colour, size), end, middle, place in zip(blocks, ends, middles, places, strict=True):
        at = (-1.6 * _BAND, end - size)
        ax.add_patch(Rectangle(at, _BAND, size, color=colour, transform=along, **options))
        over = (end - size, 1 + 0.6 * _BAND)
        across = ax.get_xaxis_transform()
        ax.add_patch(Rectangle(over, size, _BAND, color=colour, transform=across, **options))
        ax.annotate(
            f"{plain(name)} ({size})",
            (-1.6 * _BAND, middle),
            xytext=(-4 * _BAND, place),
            xycoords=along,
            textcoords=along,
            ha="right",
            va="center",
            fontsize="small",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": GREY, "linewidth": 0.6, "shrinkB": 0},
        )
        if end < n:
            ax.axhline(end, color="black", linewidth=0.6)
            ax.axvline(end, color="black", linewidth=0.6)
