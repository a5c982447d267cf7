"""Macro F1 and accuracy against the share of units that a prediction is kept for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import xarray as xr

from pynapple_nuclr.plotting.style import COLOURS, new_axes, open_frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_CURVES = {"macro_f1": "macro F1", "accuracy": "accuracy"}


def plot_coverage(report: xr.Dataset, *, ax: Axes | None = None) -> Axes:
    """Draw macro F1 and accuracy by the fraction of units that get an answer, the surest first.

    The reliability diagram beside it is `plot_confidence`.

    Parameters
    ----------
    report : Dataset
        From `confidence_report`.
    ax : matplotlib Axes, optional
        Where to draw. Default: a new figure.

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> from pynapple_nuclr import confidence_report, plot_coverage
    >>> report = confidence_report(["PV", "SST"], [[0.9, 0.1], [0.2, 0.8]], ["PV", "SST"])
    >>> plot_coverage(report).get_xlabel()
    'fraction of units answered'
    """
    ax, _ = new_axes(ax, 4.0, 3.6)
    for (name, label), colour in zip(_CURVES.items(), COLOURS, strict=False):
        ax.plot(report["coverage"], report[f"coverage_{name}"], color=colour, label=label)
    ax.set(xlabel="fraction of units answered", xlim=(0, 1), ylim=(0, 1.02))
    ax.set_title(f"{report.attrs['units']} units, the surest first", size=10)
    ax.legend(frameon=False)
    open_frame(ax)
    return ax
