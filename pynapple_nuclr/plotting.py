"""Figures: the map of a population's embeddings."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from pynapple_nuclr.columns import embeddings, is_missing, metadata_frame, vector_columns

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from pynapple_nuclr.recording import Units

# Told apart with any colour vision: Okabe & Ito's, with violet and olive for its black and yellow,
# of which one would dominate on white and the other vanish.
_COLOURS = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#D55E00",
    "#56B4E9",
    "#7B5EA7",
    "#B8A900",
)
_MARKERS = "o^sDvPX*"
_GREY, _PALE = "#555555", "#CFCFCF"
_SEED = 0


def plot_embedding(
    units: Units,
    color_by: str | None = None,
    *,
    method: Literal["pca", "tsne", "umap"] = "pca",
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
    ax : matplotlib Axes, optional
        Where to draw. Default: a new figure. The legend stands to the right of the axes.
    prefix : str
        Prefix of the embedding's columns.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        If the units are not embedded, fewer than three have an embedding, there is no column
        `color_by`, or no such `method`.
    ImportError
        If `method` is "umap" and umap-learn is not installed.

    References
    ----------
    Okabe & Ito, "Color Universal Design", 2008 (the palette).

    Examples
    --------
    >>> import numpy as np, pynapple as nap, pynapple_nuclr as nap_nuclr
    >>> from pynapple_nuclr.columns import lay_out
    >>> units = nap.TsGroup({i: nap.Ts([0.1, 0.9]) for i in range(4)},
    ...     metadata={"cell_type": ["PV", "PV", "SST", "SST"]})
    >>> vectors = [[1.0, 0.0], [2.0, 0.0], [-1.0, 0.0], [-2.0, 0.1]]
    >>> units = lay_out(units, vectors=vectors, summary={"nuclr_encoder": ["tiny@0a1b2c3d"] * 4})
    >>> ax = nap_nuclr.plot_embedding(units, "cell_type")
    >>> ax.get_xlabel()
    'PC 1 (100 % of variance)'
    """
    vectors = np.asarray(embeddings(units, prefix).values, dtype=np.float64)
    shown = np.asarray(np.isfinite(vectors).all(axis=1))
    if shown.sum() < 3:
        raise ValueError(
            f"{shown.sum()} of {len(shown)} units have an embedding; a map needs at least 3"
        )
    values = _column(units, color_by)[shown]
    points, labels = _project(vectors[shown], method)

    figure = None
    if ax is None:
        import matplotlib.pyplot as plt

        figure, ax = plt.subplots(figsize=(6.4, 4.6), layout="constrained")
    if color_by is None:
        ax.scatter(*points.T, color=_COLOURS[0], **_style(len(points)))
    elif pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        _draw_numbers(ax, points, values.to_numpy(dtype=float), color_by)
    else:
        legend_columns = _draw_classes(ax, points, values, color_by)
        if figure is not None:
            figure.set_figwidth(6.4 + 1.3 * (legend_columns - 1))
    _dress(ax, labels, shown)
    return ax


def _column(units: Units, name: str | None) -> pd.Series:
    metadata = metadata_frame(units)
    if name is None:
        return pd.Series(np.zeros(len(metadata)), index=metadata.index)
    if name not in metadata:
        columns = metadata.columns.drop(vector_columns(metadata.columns))
        raise ValueError(f"color_by={name!r} is no metadata column; there are {', '.join(columns)}")
    return metadata[name]


def _project(vectors: NDArray[np.float64], method: str) -> tuple[NDArray[np.float64], list[str]]:
    """Return points (units, 2) and the labels of the two axes."""
    if method == "pca":
        centred = vectors - vectors.mean(axis=0)
        u, s, _ = np.linalg.svd(centred, full_matrices=False)
        if len(s) < 2:  # a single dimension
            u, s = np.column_stack([u, np.zeros(len(u))]), np.append(s, 0.0)
        shares = 100 * s**2 / max(np.sum(s**2), np.finfo(float).tiny)
        labels = [f"PC {i + 1} ({shares[i]:.0f} % of variance)" for i in range(2)]
        return u[:, :2] * s[:2], labels
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


def _style(n_points: int) -> Any:  # keyword arguments of scatter, of several types
    """Choose smaller points for larger populations; pale rims keep neighbours apart."""
    size = float(np.clip(4000 / n_points, 12, 42))
    return {"s": size, "linewidths": 0.4, "edgecolors": "white", "alpha": 0.9}


def _draw_numbers(ax: Axes, points: NDArray[Any], values: NDArray[Any], name: str) -> None:
    style, missing = _style(len(points)), ~np.isfinite(values)
    if missing.any():
        label = f"missing ({missing.sum()})"
        ax.scatter(*points[missing].T, color=_PALE, label=label, **style)
        ax.legend(frameon=False, fontsize="small", loc="best", handletextpad=0.1)
    if missing.all():
        return
    x, y = points[~missing].T
    drawn = ax.scatter(x, y, c=values[~missing], cmap="viridis", **style)
    bar = ax.figure.colorbar(drawn, ax=ax, label=name, pad=0.02, aspect=30)
    bar.outline.set_visible(False)


def _draw_classes(ax: Axes, points: NDArray[Any], values: pd.Series, name: str) -> int:
    """Draw a colour and marker per class; return the columns of the legend."""
    missing = is_missing(values)
    texts = np.array(["" if gone else str(v) for v, gone in zip(values, missing, strict=True)])
    unsure = (texts == "unknown") & ~missing
    style = _style(len(points))
    for where, label, marker in ((missing, "no label", "o"), (unsure, "unknown", "o")):
        if where.any():
            colour = _PALE if where is missing else "#A8A8A8"
            label = f"{label} ({where.sum()})"
            ax.scatter(*points[where].T, color=colour, marker=marker, label=label, **style)
    classes, counts = np.unique(texts[~missing & ~unsure], return_counts=True)
    natural = sorted(range(len(classes)), key=lambda i: _natural(str(classes[i])))
    classes, counts = classes[natural], counts[natural]
    handles = {}
    for i in np.argsort(-counts, kind="stable"):  # large classes first, small ones on top
        mine = texts == classes[i]
        label = f"{classes[i]} ({counts[i]})"
        colour = _COLOURS[i % len(_COLOURS)]
        marker = _MARKERS[i // len(_COLOURS) % len(_MARKERS)]
        handles[i] = ax.scatter(*points[mine].T, color=colour, marker=marker, label=label, **style)
    grey = ax.get_legend_handles_labels()[0][: int(missing.any()) + int(unsure.any())]
    n_columns = 1 + (len(handles) + len(grey) - 1) // 18
    ax.legend(
        handles=[handles[i] for i in sorted(handles)] + grey,
        title=name,
        alignment="left",
        loc="upper left",
        bbox_to_anchor=(1.02, 1.0),
        borderaxespad=0,
        frameon=False,
        fontsize="small",
        handletextpad=0.2,
        ncols=n_columns,
        markerscale=(36 / style["s"]) ** 0.5,
    )
    return n_columns


def _natural(text: str) -> list[tuple[bool, int, str]]:
    """Return a key that puts "L2" before "L10"."""
    parts = re.findall(r"\d+|\D+", text)
    return [(p.isdecimal(), int(p) if p.isdecimal() else 0, p) for p in parts]


def _dress(ax: Axes, labels: list[str], shown: NDArray[np.bool_]) -> None:
    """Label the axes, take away what says nothing, and count the units."""
    ax.set_xlabel(labels[0], color=_GREY)
    ax.set_ylabel(labels[1], color=_GREY)
    ax.set_xticks([])  # positions have no unit
    ax.set_yticks([])
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(_PALE)
    ax.margins(0.06)
    title = f"{shown.sum()} units"
    if not shown.all():
        title += f", {(~shown).sum()} without an embedding not shown"
    ax.set_title(title, loc="left", fontsize="medium", color=_GREY)
