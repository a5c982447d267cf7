"""Confusion matrix of a probe's predictions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pynapple_nuclr.columns import UNKNOWN
from pynapple_nuclr.plotting.style import LETTER, colour_bar, counted, new_axes, plain, title
from pynapple_nuclr.plotting.unit_columns import in_order, read_true_and_predicted, training_note

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from pynapple_nuclr.recording import Units

_FAINT = "#C4C4C4"  # counts of zero


def plot_confusion(units: Units, target: str, *, ax: Axes | None = None) -> Axes:
    """Draw true against predicted labels: units by true and predicted label.

    Parameters
    ----------
    units : TsGroup or TsdFrame
        With true labels in a column `target` and those of a probe in ``predicted_<target>``, as
        `Probe.annotate` writes them. Training units of the probe say nothing about its quality:
        the title counts them, where the units say which they are.
    target : str
        What was predicted. Units without a label, or labelled "unknown", are left out and counted.
    ax : matplotlib Axes, optional
        Where to draw. Default: a new figure.

    Returns
    -------
    matplotlib Axes
        Rows are true labels with their units in brackets; the number is a count of units, the
        shade its share of the row. There is a last column "unknown" if the probe gave some units
        no label: in macro F1 and accuracy (in the title) these count as wrong.

    Raises
    ------
    ValueError
        If a column is missing, or no unit has both a label and a prediction.

    Examples
    --------
    >>> import pynapple as nap
    >>> from pynapple_nuclr.plotting import plot_confusion
    >>> units = nap.TsGroup({i: nap.Ts([0.1, 0.9]) for i in range(4)}, metadata={
    ...     "layer": ["L4", "L4", "L5", "L5"], "predicted_layer": ["L4", "L5", "L5", "L5"]})
    >>> print(plot_confusion(units, "layer").get_title(loc="left"))
    macro F1 0.73, accuracy 0.75
    4 units
    """
    from pynapple_nuclr.calibration import macro_f1_of_predictions

    true, predicted, _ = read_true_and_predicted(units, target)
    shown = true.known & ~predicted.missing
    if not shown.any():
        raise ValueError(
            f"none of {len(shown)} units has both a label in {target!r} and a prediction in "
            f"'predicted_{target}'"
        )
    truth, predictions = true.texts[shown], predicted.texts[shown]
    classes = in_order(np.union1d(truth, predictions[predictions != UNKNOWN]))
    columns = classes + [UNKNOWN] * bool((predictions == UNKNOWN).any())
    counts = np.array(
        [[((truth == t) & (predictions == p)).sum() for p in columns] for t in classes]
    )

    text = LETTER * max(len(label) for label in columns)  # inches, about
    side = float(np.clip(0.42 * len(columns), 3.0, 9.0))
    turned = text > 0.95 * side / len(columns)
    ax, _ = new_axes(ax, side + text + 2.2, side + 1.2 + text * turned, square=True)
    draw_counts(ax, counts, classes, columns, turned=turned)
    ax.set(xlabel=f"predicted {target}", ylabel=f"true {target} (units)")
    title(
        ax,
        f"{shown.sum()} units",
        training_note(units, target, shown),
        counted((predictions == UNKNOWN).sum(), f"of them called {UNKNOWN}"),
        counted((~true.known).sum(), "without a label not shown"),
        counted((true.known & predicted.missing).sum(), "without a prediction not shown"),
        first=f"macro F1 {macro_f1_of_predictions(truth, predictions, classes):.2f}, "
        f"accuracy {np.mean(truth == predictions):.2f}",
    )
    return ax


def draw_counts(
    ax: Axes, counts: NDArray[Any], rows: list[str], columns: list[str], *, turned: bool
) -> None:
    """Draw counts (rows, columns), shaded by their share of the row."""
    totals = counts.sum(axis=1)
    share = counts / np.maximum(totals, 1)[:, None]
    drawn = ax.imshow(share, cmap="Blues", vmin=0, vmax=1)
    size = "small" if len(columns) <= 16 else "x-small"
    for (i, j), count in np.ndenumerate(counts):
        colour = "white" if share[i, j] > 0.6 else "black" if count else _FAINT
        ax.text(j, i, f"{count:.0f}", ha="center", va="center", color=colour, fontsize=size)
    ax.set_xticks(np.arange(len(columns)), [plain(one) for one in columns], rotation=90 * turned)
    names = [f"{plain(one)} ({n:.0f})" for one, n in zip(rows, totals, strict=True)]
    ax.set_yticks(np.arange(len(rows)), names)
    ax.tick_params(length=0)
    ax.spines[:].set_color(_FAINT)
    colour_bar(ax, drawn, "share of the row")
