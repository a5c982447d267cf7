"""The card of one unit: activity, nearest neighbours, prediction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pynapple as nap

from pynapple_nuclr.columns import PREDICTED, embeddings, metadata_frame
from pynapple_nuclr.plotting.activity_panels import draw_autocorrelogram, draw_raster, draw_trace
from pynapple_nuclr.plotting.style import (
    COLOURS,
    GREY,
    PALE,
    UNSURE,
    class_style,
    open_frame,
    plain,
    title,
)
from pynapple_nuclr.plotting.unit_columns import (
    class_probabilities,
    directions,
    predicted_targets,
    read_labels,
    target_to_show,
)
from pynapple_nuclr.user_warnings import list_some, show_span

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

    from pynapple_nuclr.recording import Units

_MOST_BARS = 10  # classes of which the probability is drawn
_HEADLINE, _LONG = 80, 46  # letters in a line above the card, and of a name on a bar


def plot_unit(
    units: Units,
    unit: Any,
    target: str | None = None,
    *,
    neighbours: int = 6,
    epochs: nap.IntervalSet | None = None,
    figure: Figure | SubFigure | None = None,
    prefix: str = "nuclr",
) -> dict[str, Axes]:
    """Draw a card of one unit: its activity, its neighbours, its prediction.

    Parameters
    ----------
    units : TsGroup or TsdFrame
        The embedded population.
    unit : int or str
        Id of the unit.
    target : str, optional
        Which label to show: of the neighbours, and as predicted by a probe (``predicted_<target>``,
        its confidence, and ``predicted_<target>_p_…`` where they were asked for). Default: the
        first that was predicted, if any.
    neighbours : int
        How many of the units nearest in the embedding space to show.
    epochs : IntervalSet, optional
        Activity in these epochs only. Default: the time support.
    figure : matplotlib Figure or SubFigure, optional
        Where to draw. Default: a new figure.
    prefix : str
        Prefix of the embedding's columns.

    Returns
    -------
    dict
        Name → matplotlib Axes. "raster": up to 20 excerpts of 10 s (or 60 epochs, if shorter),
        evenly spread over the session, one below the other; "autocorrelogram": 1 ms bins, by
        `pynapple.compute_autocorrelogram`, divided by the mean rate. Or "trace" for calcium.
        "neighbours": cosine similarity after subtracting the mean embedding; an asterisk marks
        labels that are predicted only. "prediction": the probability of each class; only with a
        target that was predicted.

    Raises
    ------
    ValueError
        If the units are not embedded, there is no such unit or target, or `epochs` lie outside the
        time support.

    Examples
    --------
    >>> import pynapple as nap
    >>> from pynapple_nuclr.columns import add_columns
    >>> from pynapple_nuclr.plotting import plot_unit
    >>> units = nap.TsGroup({i: nap.Ts([0.1, 0.4, 0.9]) for i in range(3)})
    >>> units = add_columns(units, vectors=[[0.0, 1.0], [0.0, 2.0], [3.0, 0.0]],
    ...     summary={"nuclr_encoder": ["tiny@0a1b2c3d"] * 3})
    >>> panels = plot_unit(units, 2)
    >>> list(panels), [label.get_text() for label in panels["neighbours"].get_yticklabels()]
    (['raster', 'autocorrelogram', 'neighbours'], ['0', '1'])
    """
    vectors = np.asarray(embeddings(units, prefix).values, dtype=np.float64)
    metadata = metadata_frame(units)
    if unit not in metadata.index:
        raise ValueError(
            f"unit={unit!r} is not one of the {len(metadata)} units: {list_some(metadata.index)}"
        )
    if neighbours < 1:
        raise ValueError(f"neighbours={neighbours!r}; expected at least 1")
    target = target_to_show(metadata, target)
    support = units.time_support
    epochs = support if epochs is None else support.intersect(epochs)
    if not len(epochs):
        raise ValueError(
            f"epochs lie outside the time support, {show_span(support.start[0], support.end[-1])}"
        )
    predicted = target in predicted_targets(list(metadata))
    panels = _panels(figure, isinstance(units, nap.TsGroup), predicted)
    if isinstance(units, nap.TsGroup):
        draw_raster(panels["raster"], units, unit, epochs)
        draw_autocorrelogram(panels["autocorrelogram"], units, unit, epochs)
    else:
        draw_trace(panels["trace"], units, unit, epochs)
    _draw_neighbours(panels["neighbours"], vectors, metadata, unit, target, neighbours)
    if "prediction" in panels and target is not None:
        _draw_prediction(panels["prediction"], metadata, unit, target)
    whole: Any = next(iter(panels.values())).figure
    headline = plain(_headline(metadata.loc[unit], unit, target, prefix))
    whole.suptitle(headline, x=0.01, ha="left", size=11)
    return panels


def _panels(figure: Any, spikes: bool, predicted: bool) -> dict[str, Axes]:
    if figure is None:
        import matplotlib.pyplot as plt

        figure = plt.figure(figsize=(8.4, 5.8), layout="constrained")
    if not spikes:
        last = "prediction" if predicted else "neighbours"
        return figure.subplot_mosaic([["trace", "trace"], ["neighbours", last]])
    if not predicted:  # no empty corner
        return figure.subplot_mosaic(
            [["raster", "autocorrelogram"], ["raster", "neighbours"]], width_ratios=[1.5, 1]
        )
    top = ["raster", "raster", "autocorrelogram"]
    bottom = ["neighbours", "neighbours", "prediction"]
    return figure.subplot_mosaic([top, bottom], width_ratios=[0.8, 0.8, 1.2])


def _headline(row: pd.Series, unit: Any, target: str | None, prefix: str) -> str:
    """Return lines: what the unit does, and what it is names."""
    measures, names = [f"unit {unit}"], []
    if "rate" in row.index:
        measures.append(f"{row['rate']:.3g} Hz")
    if np.isfinite(row.get(f"{prefix}_stability", np.nan)):
        measures.append(f"stability {row[f'{prefix}_stability']:.2f}")
    if f"{prefix}_n_windows" in row.index:
        n_windows = row[f"{prefix}_n_windows"]
        measures.append(f"{n_windows} window{'' if n_windows == 1 else 's'}")
    if target in row.index and not read_labels([row[target]]).missing[0]:
        names.append(f"{target} {row[target]}")
    if (column := f"{PREDICTED}{target}") in row.index:
        sure = row.get(f"{column}_confidence", np.nan)
        sure = f" ({sure:.2f})" if np.isfinite(sure) else ""
        names.append(f"predicted {row[column]}{sure}")
    together = "   ".join(names)
    lines = [together] if len(together) <= _HEADLINE else names
    return "\n".join(["   ".join(measures), *filter(None, lines)])


def _draw_neighbours(
    ax: Axes, vectors: Any, metadata: pd.DataFrame, unit: Any, target: str | None, number: int
) -> None:
    open_frame(ax)
    title(ax, "nearest neighbours" + (f": {target}" if target else ""))
    row = metadata.index.get_loc(unit)
    has_embedding = np.isfinite(vectors).all(axis=1)
    if not has_embedding[row] or has_embedding.sum() < 2:
        _write_in(
            ax, "no embedding" if not has_embedding[row] else "no other unit has an embedding"
        )
        return
    unit_vectors = np.full_like(vectors, np.nan)
    unit_vectors[has_embedding] = directions(vectors[has_embedding])
    similarity = unit_vectors @ unit_vectors[row]
    similarity[row] = np.nan
    # Ties are sorted by id: the order of the units must not matter.
    nearest = np.lexsort([metadata.index.astype(str), -similarity])
    nearest = nearest[np.isfinite(similarity[nearest])][:number]
    names, colours = _neighbour_labels(metadata, nearest, target)
    if any(name.endswith("*") for name in names):
        title(ax, f"nearest neighbours: {target} (* predicted)")
    _draw_bars(ax, names, similarity[nearest], colours)
    ax.set_xlim(min(0.0, 1.1 * float(similarity[nearest].min())), 1)
    ax.set_xlabel("cosine similarity, mean subtracted")


def _draw_bars(ax: Axes, names: list[str], lengths: Any, colours: list[str]) -> None:
    """Draw a pale bar for each name, and the name on it: long ones need no margin."""
    y = np.arange(len(names))
    ax.barh(y, lengths, color=colours, height=0.8, alpha=0.45)
    short = [one if len(one) <= _LONG else f"{one[:_LONG]}…" for one in names]
    ax.set_yticks(y, list(map(plain, short)), ha="left")
    ax.tick_params(axis="y", length=0, pad=-5, labelsize="small")
    ax.set_ylim(max(len(y), 4) - 0.4, -0.6)


def _neighbour_labels(
    metadata: pd.DataFrame, rows: Any, target: str | None
) -> tuple[list[str], list[str]]:
    """Return id and label of each neighbour, and the colour of the label."""
    ids = [str(one) for one in metadata.index[rows]]
    if target is None:
        return ids, [COLOURS[0]] * len(ids)
    texts = np.array([""] * len(metadata), dtype=object)
    classes: list[str] = _classes(metadata, target)
    # Known labels replace predicted ones.
    for column, star in ((f"{PREDICTED}{target}", "*"), (target, "")):
        if column in metadata:
            labels = read_labels(metadata[column])
            texts = np.where(labels.missing, texts, labels.texts.astype(object) + star)
    names = [f"{one} {text}".strip() for one, text in zip(ids, texts[rows], strict=True)]
    return names, [_colour(text.removesuffix("*"), classes) for text in texts[rows]]


def _classes(metadata: pd.DataFrame, target: str) -> list[str]:
    """Return the classes by which colours go: as in every other figure coloured by the column."""
    columns = [name for name in (target, f"{PREDICTED}{target}") if name in metadata]
    found = [one for name in columns for one in read_labels(metadata[name]).classes]
    return list(dict.fromkeys(found))


def _colour(label: str, classes: list[str]) -> str:
    if not label:
        return PALE
    return class_style(classes.index(label))[0] if label in classes else UNSURE


def _draw_prediction(ax: Axes, metadata: pd.DataFrame, unit: Any, target: str) -> None:
    column = f"{PREDICTED}{target}"
    row, label = metadata.loc[unit], str(metadata.loc[unit, column])
    sure = float(row[f"{column}_confidence"])
    open_frame(ax)
    title(ax, "prediction")
    if not np.isfinite(sure):
        _write_in(ax, "no probabilities")
        return
    classes = _classes(metadata, target)
    written, values = class_probabilities(metadata.loc[[unit]], target, classes)
    probabilities = dict(zip(written, values[0], strict=True)) or {label: sure}
    ranked = sorted(probabilities, key=lambda name: (-probabilities[name], name))
    shown, rest = ranked[:_MOST_BARS], ranked[_MOST_BARS:]
    colours = [_colour(one, classes) for one in shown]
    names = [f"{probabilities[one]:.2f} {one}" for one in shown]
    _draw_bars(ax, names, [probabilities[one] for one in shown], colours)
    ax.set_xlim(0, 1)
    others = sum(probabilities[one] for one in rest)
    more = f" ({len(rest)} more classes: {others:.2f})" if rest else ""
    ax.set_xlabel(f"probability{more}")


def _write_in(ax: Axes, text: str) -> None:
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", color=GREY)
    ax.set(xticks=[], yticks=[])
