"""Figures of scores. matplotlib is imported only when one is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pynapple_nuclr.evaluation.score_tables import mean_and_spread, point_dimension
from pynapple_nuclr.evaluation.systems import SHUFFLED
from pynapple_nuclr.plotting._confusion import draw_counts
from pynapple_nuclr.plotting.style import COLOURS

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

_GREY, _PALE = "#6E6E6E", "#D0D0D0"


def plot_scores(dataset: xr.Dataset, score: str = "macro_f1", *, ax: Axes | None = None) -> Axes:
    """Draw a score of every system in every protocol.

    Parameters
    ----------
    dataset : Dataset
        From `evaluate`.
    score : str
        Which. With "macro_f1_fold" the single points are folds, or left-out animals; else seeds.
    ax : matplotlib Axes, optional
        Where to draw. Default: a new figure.

    Returns
    -------
    matplotlib Axes
        A row for each system: a large mark for the mean, filled without normalisation, hollow
        with it; small ones for what it is the mean of.

    Raises
    ------
    ValueError
        If there is no such score.

    Examples
    --------
    >>> import pynapple_nuclr as nap_nuclr
    >>> from pynapple_nuclr.evaluation import evaluate, plot_scores
    >>> units = nap_nuclr.simulate("single", n_units=30, duration=60)
    >>> ax = plot_scores(evaluate(units, "cell_type", systems=["statistics"], progress=False))
    >>> ax.get_xlabel()
    'macro F1'
    """
    _check(dataset, score)
    rows = dataset["system"].values
    ax = _axes(ax, 1.6 + 0.42 * len(rows))
    protocols, treatments = dataset["protocol"].values, dataset["normalize"].values
    n_marks = len(protocols) * len(treatments)
    for i, protocol in enumerate(protocols):
        colour = COLOURS[i % len(COLOURS)]
        for j, how in enumerate(treatments):
            # A few marks to a row, the first on top; rows from top to bottom.
            offset = 0.5 * ((i * len(treatments) + j + 0.5) / n_marks - 0.5)
            values = dataset[score].sel(protocol=protocol, normalize=how)
            single = values.mean("seed") if "fold" in values.dims else values
            points = single.transpose("system", ...).values
            mean, _ = mean_and_spread(values, ["system"])
            y = np.arange(len(rows)) + offset
            spots = np.repeat(y[:, None], points.shape[1], axis=1)
            ax.scatter(points, spots, s=9, color=colour, alpha=0.5, linewidths=0)
            face = colour if how == "none" else "white"
            label = protocol.replace("_", " ") + ("" if how == "none" else ", normalised")
            ax.scatter(mean, y, s=42, facecolors=face, edgecolors=colour, label=label, zorder=3)
    ax.set_yticks(np.arange(len(rows)), rows)
    for tick, row in zip(ax.get_yticklabels(), rows, strict=True):
        tick.set_color(_GREY if _is_floor(row) else "black")
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xlabel(_title(score))
    ax.grid(axis="x", color=_PALE, linewidth=0.6)
    _dress(ax, dataset)
    _legend(ax, below=True)
    return ax


def plot_label_efficiency(
    dataset: xr.Dataset, score: str = "macro_f1", *, ax: Axes | None = None
) -> Axes:
    """Draw how a score grows with the labels that are shown.

    Parameters
    ----------
    dataset : Dataset
        From `label_efficiency`.
    score : str
        Which.
    ax : matplotlib Axes, optional
        Where to draw. Default: a new figure.

    Returns
    -------
    matplotlib Axes
        A line for each system, with its s.d. over seeds and draws; dashed with normalisation.

    Raises
    ------
    ValueError
        If there is no such score, or the Dataset is another.
    """
    ax = _plot_curve(dataset, "fraction", score, ax)
    ax.set_xscale("log")
    fractions = dataset["fraction"].values
    ax.set_xticks(fractions, [f"{100 * one:g}" for one in fractions])
    ax.minorticks_off()
    ax.set_xlabel("labels of the training units shown (%)")
    return ax


def plot_data_scaling(
    dataset: xr.Dataset, score: str = "macro_f1", *, ax: Axes | None = None
) -> Axes:
    """Draw how a score on unseen animals grows with the animals that systems see.

    Parameters
    ----------
    dataset : Dataset
        From `data_scaling`.
    score : str
        Which.
    ax : matplotlib Axes, optional
        Where to draw. Default: a new figure.

    Returns
    -------
    matplotlib Axes
        A line for each system, with its s.d. over seeds and orders; dashed with normalisation.

    Raises
    ------
    ValueError
        If there is no such score, or the Dataset is another.
    """
    ax = _plot_curve(dataset, "n_animals", score, ax)
    ax.set_xticks(dataset["n_animals"].values)
    ax.set_xlabel("animals that the system has seen")
    return ax


def plot_confusion(
    dataset: xr.Dataset,
    system: str | None = None,
    protocol: str | None = None,
    *,
    normalize: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw which labels a system takes for which.

    Parameters
    ----------
    dataset : Dataset
        From `evaluate`.
    system, protocol, normalize : str, optional
        Which. Default: the first.
    ax : matplotlib Axes, optional
        Where to draw. Default: a new figure.

    Returns
    -------
    matplotlib Axes
        Rows are true labels; the shade is the share of the row, the number the units (mean over
        seeds). A column "(none)" only where there are such units.

    Raises
    ------
    ValueError
        If there is no such system, protocol or normalisation.
    """
    _check(dataset, "confusion")
    chosen = {"system": system, "protocol": protocol, "normalize": normalize}
    for dim, at in chosen.items():
        there = dataset[dim].values.tolist()
        if at is not None and at not in there:
            raise ValueError(f"{dim}={at!r}; expected one of {', '.join(map(repr, there))}")
        chosen[dim] = there[0] if at is None else at
    counts = dataset["confusion"].sel(chosen).mean("seed")
    if not counts[:, -1].any():
        counts = counts[:, :-1]
    true, told = (counts[dim].values for dim in ("true_label", "predicted_label"))
    ax = _axes(ax, 4.6, 5.4)
    draw_counts(ax, counts.values, list(true), list(told), turned=len(told) > 6)
    ax.set_xlabel("predicted")
    ax.set_ylabel(f"true {dataset.attrs.get('target', '')}".strip())
    ax.set_title(f"{chosen['system']}, {chosen['protocol']}", loc="left", fontsize="medium")
    return ax


def _plot_curve(dataset: xr.Dataset, along: str, score: str, ax: Axes | None) -> Axes:
    found = point_dimension(dataset)
    if found != along:
        raise ValueError(f"dataset has no dimension {along!r}: it is of another function")
    _check(dataset, score)
    ax = _axes(ax, 4.2, 6.4)
    x, own = dataset[along].values, 0
    floors = iter("sD^v")  # grey all of them: told apart by their marks
    for row in dataset["system"].values:
        colour, mark = _GREY, "o"
        if _is_floor(row):
            mark = next(floors, "o")
        else:
            colour, own = COLOURS[own % len(COLOURS)], own + 1
        for how in dataset["normalize"].values:
            values = dataset[score].sel(system=row, normalize=how)
            mean, spread = mean_and_spread(values, [along])
            if mean.isnull().all():
                continue
            style = ":" if row == SHUFFLED else "-" if how == "none" else "--"
            label = row + ("" if how == "none" else ", normalised")
            ax.plot(x, mean, style, color=colour, marker=mark, markersize=4, label=label)
            low, high = (mean - spread).fillna(mean), (mean + spread).fillna(mean)
            ax.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
    ax.set_ylabel(_title(score))
    ax.grid(axis="y", color=_PALE, linewidth=0.6)
    _dress(ax, dataset)
    _legend(ax)
    return ax


def _check(dataset: xr.Dataset, score: str) -> None:
    if score not in dataset:
        there = [str(name) for name, one in dataset.items() if "system" in one.dims]
        raise ValueError(f"there is no score {score!r}; there are {', '.join(there)}")


def _axes(ax: Axes | None, height: float, width: float = 7.2) -> Axes:
    if ax is None:
        import matplotlib.pyplot as plt

        _, ax = plt.subplots(figsize=(width, height), layout="constrained")
    return ax


def _is_floor(row: str) -> bool:
    return row == SHUFFLED or row.startswith("prior")


def _title(score: str) -> str:
    return score.removesuffix("_fold").replace("_f1", " F1").replace("_", " ")


def _dress(ax: Axes, dataset: xr.Dataset) -> None:
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    about = dataset.attrs
    if "target" in about:
        title = f"{about['target']}: {about['n_units']} units, {about['n_recordings']} recordings"
        ax.set_title(title, loc="left", fontsize="medium", color=_GREY)


def _legend(ax: Axes, below: bool = False) -> None:
    place: Any = (
        {"loc": "upper center", "bbox_to_anchor": (0.5, -0.16), "ncols": 2} if below else {}
    )
    ax.legend(frameon=False, fontsize="small", **place)
