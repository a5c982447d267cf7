"""How often predictions of each confidence are right."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xarray as xr

from pynapple_nuclr.plotting.style import (
    COLOURS,
    GREY,
    counted,
    new_axes,
    open_frame,
    spread_out,
    title,
)
from pynapple_nuclr.plotting.unit_columns import read_true_and_predicted, training_note

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from pynapple_nuclr.recording import Units


class _Bins(NamedTuple):
    """Mean confidence, accuracy and number of units of the bins that hold any (bins,)."""

    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    units: NDArray[np.int64]
    notes: list[str]


def plot_confidence(
    units: Units | xr.Dataset, target: str | None = None, *, ax: Axes | None = None
) -> Axes:
    """Draw confidence against accuracy: calibrated, 80 % of units with confidence 0.8 are right.

    Parameters
    ----------
    units : TsGroup, TsdFrame or Dataset
        With true labels in a column `target`, and ``predicted_<target>`` and its confidence, as
        `Probe.annotate` writes them; or what `confidence_report` returns. Training units of the
        probe say nothing about its quality: the title counts them, where the units say which they
        are.
    target : str, optional
        What was predicted; not for a Dataset. Units without a label, or called "unknown", are left
        out and counted.
    ax : matplotlib Axes, optional
        Where to draw. Default: a new figure.

    Returns
    -------
    matplotlib Axes
        A point for each of 15 bins of equal width that holds units: mean confidence and accuracy,
        with Wilson's 95 % confidence interval; the number above is its count of units. The title
        gives the expected calibration error (ECE: mean distance from the diagonal, weighted by
        units).

    Raises
    ------
    TypeError
        If `target` is missing.
    ValueError
        If a column is missing, confidences are no probabilities, or no unit is left.

    References
    ----------
    Guo, Pleiss, Sun & Weinberger, "On calibration of modern neural networks", ICML 2017,
    arXiv:1706.04599; Wilson 1927, doi:10.1080/01621459.1927.10502953.

    Examples
    --------
    >>> import pynapple as nap
    >>> from pynapple_nuclr.plotting import plot_confidence
    >>> units = nap.TsGroup({i: nap.Ts([0.1, 0.9]) for i in range(4)}, metadata={
    ...     "layer": ["L4", "L4", "L5", "L5"], "predicted_layer": ["L4", "L5", "L5", "L5"],
    ...     "predicted_layer_confidence": [0.75, 0.75, 0.75, 0.75]})
    >>> print(plot_confidence(units, "layer").get_title(loc="left"))
    ECE 0.000
    4 units
    """
    bins = _of_report(units) if isinstance(units, xr.Dataset) else _of_units(units, target)
    ax, _ = new_axes(ax, 4.8, 4.8, square=True)
    low, high = _wilson(bins)
    ax.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=":", zorder=1)
    ax.errorbar(
        bins.confidence,
        bins.accuracy,
        # Rounding may put an end of the interval just outside 0 to 1.
        yerr=np.maximum([bins.accuracy - low, high - bins.accuracy], 0),
        fmt="o",
        color=COLOURS[0],
        markersize=5,
        elinewidth=1,
        capsize=2,
    )
    above = ax.get_xaxis_transform()
    ax.text(1.03, 1.01, "units", transform=above, va="bottom", fontsize=7, color=GREY)
    gap = 0.02 + 0.025 * len(str(bins.units.max()))  # so that numbers do not overlap
    positions = spread_out(bins.confidence.tolist(), gap, 0.0, 1.0)
    for x, count in zip(positions, bins.units, strict=True):
        ax.text(
            x, 1.01, f"{count}", transform=above, ha="center", va="bottom", fontsize=7, color=GREY
        )
    ax.set(xlim=(0, 1), ylim=(-0.03, 1.03), aspect="equal")
    ax.set(xlabel="confidence", ylabel="accuracy (share of units, 95 % interval)")
    open_frame(ax)
    gaps = np.abs(bins.accuracy - bins.confidence)
    error = float(np.average(gaps, weights=bins.units))
    title(ax, f"{bins.units.sum()} units", *bins.notes, first=f"ECE {error:.3f}", pad=16)
    return ax


def _of_units(units: Units, target: str | None) -> _Bins:
    from pynapple_nuclr.calibration import reliability  # loads scipy.optimize

    if target is None:
        raise TypeError("target is missing: the column of true labels, for example 'cell_type'")
    true, predicted, confidence = read_true_and_predicted(units, target)
    if confidence is None:
        raise ValueError(
            f"there is no column 'predicted_{target}_confidence'; write it with Probe.annotate"
        )
    has_prediction = predicted.known & np.isfinite(confidence)
    shown = true.known & has_prediction
    if not shown.any():
        raise ValueError(
            f"none of {len(shown)} units has a label in {target!r}, a prediction and its confidence"
        )
    sure = confidence[shown]
    if sure.min() < 0 or sure.max() > 1 + 1e-6:
        raise ValueError(
            f"'predicted_{target}_confidence' runs from {sure.min():.3g} to {sure.max():.3g}; "
            "expected probabilities, 0 to 1"
        )
    right = true.texts[shown] == predicted.texts[shown]
    notes = [
        training_note(units, target, shown),
        counted((~true.known).sum(), "without a label not shown"),
        counted((true.known & ~has_prediction).sum(), "without a prediction not shown"),
    ]
    return _with_units(reliability(sure, right), notes)


def _of_report(report: xr.Dataset) -> _Bins:
    needed = ("bin_confidence", "bin_accuracy", "bin_units")
    if missing := [name for name in needed if name not in report]:
        raise ValueError(
            f"units is a Dataset without {', '.join(missing)}; expected that of confidence_report"
        )
    gone = report.attrs.get("left_out", 0)
    notes = [counted(gone, "without a label or a prediction not shown")]
    return _with_units([report[name].values for name in needed], notes)


def _with_units(bins: Iterable[NDArray[Any]], notes: list[str]) -> _Bins:
    confidence, accuracy, units = bins
    full = units > 0
    return _Bins(confidence[full], accuracy[full], units[full].astype(np.int64), notes)


def _wilson(bins: _Bins) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the ends of the 95 % interval of each accuracy (bins,)."""
    from scipy.stats import binomtest

    right = np.round(bins.accuracy * bins.units).astype(int)
    pairs = zip(right.tolist(), bins.units.tolist(), strict=True)
    ends = [binomtest(k, n).proportion_ci(method="wilson") for k, n in pairs]
    return np.array([one.low for one in ends]), np.array([one.high for one in ends])
