"""The map of a population's embeddings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from pynapple_nuclr.columns import metadata_frame
from pynapple_nuclr.plotting.points import draw_points
from pynapple_nuclr.plotting.style import counted, new_axes, open_frame, title
from pynapple_nuclr.plotting.unit_columns import read_column, read_vectors

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from pynapple_nuclr.recording import Units

_SEED = 0
_FOLLOWS = 0.7  # correlation of an axis with the log firing rate, to say that it follows it
_MIN_UNITS = 10  # for that correlation


def plot_embedding(
    units: Units,
    color_by: str | None = None,
    *,
    method: Literal["pca", "tsne", "umap"] = "pca",
    remove: Literal["rate"] | None = None,
    ax: Axes | None = None,
    prefix: str = "nuclr",
) -> Axes:
    """Draw a map of the units: those with similar embeddings lie close to each other.

    Parameters
    ----------
    units : TsGroup or TsdFrame
        Embedded units. Those without an embedding (silent) are left out and counted.
    color_by : str, optional
        Metadata column to colour by. Numbers get a colour bar; anything else a colour and a
        marker per class. Missing labels and "unknown" are pale grey.
    method : {"pca", "tsne", "umap"}
        How dim values become two: the first principal components (each axis is stretched to
        fill the figure; its label says the share of the variance), t-SNE (scikit-learn), or UMAP
        (needs ``umap-learn``).
    remove : {"rate"}, optional
        Subtract first what a linear regression on the log firing rate predicts of each value, to
        see what else units differ in. Default: nothing.
    ax : matplotlib Axes, optional
        Where to draw. Default: a new figure. The legend stands to the right of the axes.
    prefix : str
        Prefix of the embedding's columns.

    Returns
    -------
    matplotlib Axes
        A principal component whose correlation with the log firing rate is above 0.7 (or below
        −0.7) says so: "PC 1, 82 %, follows firing rate".

    Raises
    ------
    ValueError
        If the units are not embedded, fewer than three have an embedding, there is no column
        `color_by`, or no such `method`; with `remove`, if units have no positive ``rate``.
    ImportError
        If `method` is "umap" and umap-learn is not installed.

    References
    ----------
    Okabe & Ito, "Color Universal Design", 2008 (the palette).

    Examples
    --------
    >>> import numpy as np, pynapple as nap, pynapple_nuclr as nap_nuclr
    >>> from pynapple_nuclr.columns import add_columns
    >>> units = nap.TsGroup({i: nap.Ts([0.1, 0.9]) for i in range(4)},
    ...     metadata={"cell_type": ["PV", "PV", "SST", "SST"]})
    >>> vectors = [[1.0, 0.0], [2.0, 0.0], [-1.0, 0.0], [-2.0, 0.1]]
    >>> units = add_columns(units, vectors=vectors, summary={"nuclr_encoder": ["tiny@0a1b2c3"] * 4})
    >>> ax = nap_nuclr.plot_embedding(units, "cell_type")
    >>> ax.get_xlabel()
    'PC 1 (100 % of variance)'
    """
    vectors, shown = read_vectors(units, prefix, 3, "a map")
    values = None if color_by is None else read_column(units, color_by, "color_by")[shown]
    if remove not in (None, "rate"):
        raise ValueError(f"remove={remove!r}; expected 'rate' or None")
    metadata = metadata_frame(units)
    rate = metadata["rate"].to_numpy(dtype=float)[shown] if "rate" in metadata else None
    if remove == "rate":
        vectors = _without_rate(vectors, rate)
    points, labels = project(vectors, method, rate)
    ax, ours = new_axes(ax)
    draw_points(ax, points, values, color_by, ours=ours)
    ax.set(xlabel=labels[0], ylabel=labels[1])
    open_frame(ax, ticks=False)
    ax.margins(0.06)
    title(
        ax,
        f"{shown.sum()} units",
        "firing rate removed" if remove else "",
        counted((~shown).sum(), "without an embedding not shown"),
    )
    return ax


def project(
    vectors: NDArray[np.float64], method: str, rate: NDArray[np.float64] | None = None
) -> tuple[NDArray[np.float64], list[str]]:
    """Return points (units, 2) and the labels of the two axes; `rate` (units,) is in Hz."""
    if method == "pca":
        centred = vectors - vectors.mean(axis=0)
        u, s, _ = np.linalg.svd(centred, full_matrices=False)
        if len(s) < 2:  # a single dimension
            u, s = np.column_stack([u, np.zeros(len(u))]), np.append(s, 0.0)
        shares = 100 * s**2 / max(np.sum(s**2), np.finfo(float).tiny)
        points = u[:, :2] * s[:2]
        labels = [
            f"PC {i + 1}, {shares[i]:.0f} %, follows firing rate"
            if _follows_rate(points[:, i], rate)
            else f"PC {i + 1} ({shares[i]:.0f} % of variance)"
            for i in range(2)
        ]
        return points, labels
    if method == "tsne":
        from sklearn.manifold import TSNE

        perplexity = min(30.0, (len(vectors) - 1) / 3)
        model = TSNE(perplexity=perplexity, init="pca", random_state=_SEED)
        return model.fit_transform(vectors), ["t-SNE 1", "t-SNE 2"]
    if method == "umap":
        try:
            from umap import UMAP
        except ImportError:
            raise ImportError(
                'method="umap" needs the package umap-learn: pip install umap-learn; '
                'or use method="tsne"'
            ) from None
        model = UMAP(n_neighbors=min(15, len(vectors) - 1), random_state=_SEED)
        return model.fit_transform(vectors), ["UMAP 1", "UMAP 2"]
    raise ValueError(f"method={method!r}; expected 'pca', 'tsne' or 'umap'")


def _follows_rate(values: NDArray[np.float64], rate: NDArray[np.float64] | None) -> bool:
    """Return whether values (units,) correlate with the log firing rate."""
    if rate is None:
        return False
    fires = rate > 0
    # A constant has no correlation; its rounding errors must not be given one.
    varies = np.ptp(values) > 1e-9 and fires.any() and np.ptp(rate[fires]) > 0
    if fires.sum() < _MIN_UNITS or not varies:
        return False
    return bool(abs(np.corrcoef(values[fires], np.log(rate[fires]))[0, 1]) > _FOLLOWS)


def _without_rate(
    vectors: NDArray[np.float64], rate: NDArray[np.float64] | None
) -> NDArray[np.float64]:
    """Return the residuals (units, dim) of a regression on the log firing rate."""
    if rate is None or not (rate > 0).all():
        raise ValueError(
            "remove='rate' needs a metadata column 'rate' that is positive for every embedded unit"
        )
    design = np.column_stack([np.ones(len(rate)), np.log(rate)])
    coefficients, *_ = np.linalg.lstsq(design, vectors, rcond=None)
    return np.asarray(vectors - design @ coefficients)
