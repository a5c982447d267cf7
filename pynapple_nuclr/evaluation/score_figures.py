"""Figures of scores. matplotlib is imported only when one is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from pynapple_nuclr.evaluation.score_tables import (
    is_score,
    mean_and_spread,
    point_dimension,
    title_of,
)
from pynapple_nuclr.evaluation.systems import SHUFFLED
from pynapple_nuclr.plotting._confusion import draw_counts
from pynapple_nuclr.plotting.style import COLOURS, new_axes

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

_GREY, _PALE = "#6E6E6E", "#D0D0D0"


def plot_scores(scores: xr.Dataset, score: str = "macro_f1", *, ax: Axes | None = None) -> Axes:
    """Draw a score of every system in every protocol, or a learning curve.

    Parameters
    ----------
    scores : Dataset
        From `evaluate`; those of `label_efficiency` and `data_scaling` have their own figures.
    score : str
        Which. With "macro_f1_fold" the single points are folds, or left-out animals; else seeds.
    ax : matplotlib Axes, optional
        Where to draw. Default: a new figure.

    Returns
    -------
    matplotlib Axes
        A row for each system: a large mark for the mean, hollow where vectors are standardised;
        small ones for what it is the mean of.

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
    along = point_dimension(scores)
    if along is not None:
        draw = plot_label_efficiency if along == "fraction" else plot_data_scaling
        return draw(scores, score, ax=ax)
    _check(scores, score)
    systems = scores["system"].values
    ax = new_axes(ax, 7.2, 1.6 + 0.42 * len(systems))[0]
    protocols, treatments = scores["protocol"].values, scores["standardize"].values
    pairs = [(protocol, how) for protocol in protocols for how in treatments]
    for number, (protocol, how) in enumerate(pairs):
        colour = COLOURS[number // len(treatments) % len(COLOURS)]
        values = scores[score].sel(protocol=protocol, standardize=how)
        single = values.mean("seed") if "fold" in values.dims else values
        points = single.transpose("system", ...).values
        # Half of a row's height holds its marks, the first of them on top.
        y = np.arange(len(systems)) + 0.5 * ((number + 0.5) / len(pairs) - 0.5)
        spots = np.repeat(y[:, None], points.shape[1], axis=1)
        ax.scatter(points, spots, s=9, color=colour, alpha=0.5, linewidths=0)
        fill = colour if how == "none" else "white"
        label = protocol.replace("_", " ") + ("" if how == "none" else ", standardised")
        mean, _ = mean_and_spread(values, ["system"])
        ax.scatter(mean, y, s=42, facecolors=fill, edgecolors=colour, label=label, zorder=3)
    ax.set_yticks(np.arange(len(systems)), systems)
    for tick, name in zip(ax.get_yticklabels(), systems, strict=True):
        if _is_reference(name):
            tick.set_color(_GREY)
    ax.set_ylim(len(systems) - 0.5, -0.5)  # the first system on top
    ax.set_xlabel(_label(score))
    if not (scores[score] < 0).any():
        ax.set_xlim(left=0)  # differences of a few hundredths look as small as they are
    _finish(ax, scores, grid="x", loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)
    return ax


def plot_label_efficiency(
    scores: xr.Dataset, score: str = "macro_f1", *, ax: Axes | None = None
) -> Axes:
    """Draw how a score grows with the labels that are shown.

    Parameters
    ----------
    scores : Dataset
        From `label_efficiency`.
    score, ax
        As in `plot_scores`.

    Returns
    -------
    matplotlib Axes
        A line for each system, with its s.d. over seeds and draws; dashed if standardised.

    Raises
    ------
    ValueError
        If there is no such score, or the Dataset is another.
    """
    ax = _plot_curve(scores, "fraction", score, ax)
    ax.set_xscale("log")
    fractions = scores["fraction"].values
    ax.set_xticks(fractions, [f"{100 * one:g}" for one in fractions])
    ax.minorticks_off()
    ax.set_xlabel("labels of the training units shown (%)")
    return ax


def plot_data_scaling(
    scores: xr.Dataset, score: str = "macro_f1", *, ax: Axes | None = None
) -> Axes:
    """Draw how a score on unseen animals grows with the animals that systems are fitted on.

    Parameters
    ----------
    scores : Dataset
        From `data_scaling`.
    score, ax
        As in `plot_scores`.

    Returns
    -------
    matplotlib Axes
        A line for each system, with its s.d. over seeds and orders; dashed if standardised.

    Raises
    ------
    ValueError
        If there is no such score, or the Dataset is another.
    """
    ax = _plot_curve(scores, "n_animals", score, ax)
    ax.set_xticks(scores["n_animals"].values)
    ax.set_xlabel("animals that the system was fitted on")
    return ax


def plot_confusion(
    scores: xr.Dataset,
    system: str | None = None,
    protocol: str | None = None,
    *,
    standardize: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw which labels a system predicts for which.

    Parameters
    ----------
    scores : Dataset
        From `evaluate`.
    system, protocol, standardize : str, optional
        Which. Default: the first.
    ax : matplotlib Axes, optional
        Where to draw. Default: a new figure.

    Returns
    -------
    matplotlib Axes
        Rows are true labels; the shade is the share of the row, the number the units (mean over
        seeds). A column "(none)" only where units without a prediction exist.

    Raises
    ------
    ValueError
        If there is no such system, protocol or standardisation.
    """
    if "confusion" not in scores:
        raise ValueError("there are no counts of predictions here; expected a result of evaluate")
    chosen = {"system": system, "protocol": protocol, "standardize": standardize}
    for dim, at in chosen.items():
        known = scores[dim].values.tolist()
        if at is not None and at not in known:
            raise ValueError(f"{dim}={at!r}; expected one of {', '.join(map(repr, known))}")
        chosen[dim] = known[0] if at is None else at
    counts = scores["confusion"].sel(chosen).mean("seed")
    if not counts[:, -1].any():
        counts = counts[:, :-1]
    true, predicted = (counts[dim].values for dim in ("true_label", "predicted_label"))
    ax = new_axes(ax, 5.4, 4.6)[0]
    draw_counts(ax, counts.values, list(true), list(predicted), turned=len(predicted) > 6)
    ax.set_xlabel("predicted")
    ax.set_ylabel(f"true {scores.attrs.get('target', '')}".strip())
    ax.set_title(f"{chosen['system']}, {chosen['protocol']}", loc="left", fontsize="medium")
    return ax


def _plot_curve(scores: xr.Dataset, along: str, score: str, ax: Axes | None) -> Axes:
    if point_dimension(scores) != along:
        raise ValueError(f"dataset has no dimension {along!r}: it is of another function")
    _check(scores, score)
    ax = new_axes(ax, 6.4, 4.2)[0]
    n_coloured, reference_marks = 0, iter("sD^v")  # references are grey, and differ by marks
    for name in scores["system"].values:
        if _is_reference(name):
            colour, mark = _GREY, next(reference_marks, "o")
        else:
            colour, mark = COLOURS[n_coloured % len(COLOURS)], "o"
            n_coloured += 1
        for how in scores["standardize"].values:
            mean, spread = mean_and_spread(scores[score].sel(system=name, standardize=how), [along])
            if mean.isnull().all():
                continue
            style = ":" if name == SHUFFLED else "-" if how == "none" else "--"
            label = name + ("" if how == "none" else ", standardised")
            x = scores[along].values
            ax.plot(x, mean, style, color=colour, marker=mark, markersize=4, label=label)
            low, high = (mean - spread).fillna(mean), (mean + spread).fillna(mean)
            ax.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
    ax.set_ylabel(_label(score))
    _finish(ax, scores, grid="y")
    return ax


def _check(scores: xr.Dataset, score: str) -> None:
    known = [
        str(name) for name, one in scores.items() if is_score(one) and "standardize" in one.dims
    ]
    if score not in known:
        raise ValueError(f"there is no score {score!r}; there are {', '.join(known)}")


def _is_reference(name: str) -> bool:
    return name == SHUFFLED or name.startswith("prior")


def _label(score: str) -> str:
    return score.removesuffix("_fold").replace("_f1", " F1").replace("_", " ")


def _finish(ax: Axes, scores: xr.Dataset, *, grid: Literal["x", "y"], **legend: Any) -> None:
    ax.grid(axis=grid, color=_PALE, linewidth=0.6)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_title(title_of(scores), loc="left", fontsize="medium", color=_GREY)
    ax.legend(frameon=False, fontsize="small", **legend)
