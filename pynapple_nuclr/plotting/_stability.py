"""How repeatable embeddings are, against how much the units fire."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pynapple as nap

from pynapple_nuclr.columns import how_to_embed, metadata_frame
from pynapple_nuclr.plotting.points import draw_points
from pynapple_nuclr.plotting.style import GREY, counted, new_axes, open_frame, title
from pynapple_nuclr.plotting.unit_columns import read_column, read_numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from pynapple_nuclr.recording import Units

_NAMES = {"rate": "firing rate (Hz)", "n_windows": "windows"}


def plot_stability(
    units: Units,
    color_by: str | None = None,
    *,
    against: str | None = None,
    ax: Axes | None = None,
    prefix: str = "nuclr",
) -> Axes:
    """Draw how stable each unit's embedding is against its firing rate.

    Parameters
    ----------
    units : TsGroup or TsdFrame
        Embedded units. Those without a stability (silent, or in fewer than two windows) are left
        out and counted.
    color_by : str, optional
        Metadata column to colour by, as in `plot_embedding`. Default: ``nuclr_n_windows``, if
        the units differ in it.
    against : str, optional
        Metadata column of numbers along x; a logarithmic axis if all are positive. Default:
        ``rate`` (Hz) for spikes; for calcium the s.d. of each trace.
    ax : matplotlib Axes, optional
        Where to draw. Default: a new figure.
    prefix : str
        Prefix of the embedding's columns.

    Returns
    -------
    matplotlib Axes
        Stability from 1 (in every window nearest to itself) to 0.5 (chance, a dotted line).

    Raises
    ------
    ValueError
        If the units are not embedded, a column is missing, or no unit has a stability.

    Examples
    --------
    >>> import pynapple as nap
    >>> from pynapple_nuclr.columns import add_columns
    >>> from pynapple_nuclr.plotting import plot_stability
    >>> units = nap.TsGroup({i: nap.Ts([0.1, 0.9]) for i in range(3)})
    >>> units = add_columns(units, vectors=[[0.0], [1.0], [2.0]], summary={
    ...     "nuclr_stability": [0.7, 0.9, 1.0], "nuclr_n_windows": [4, 5, 5],
    ...     "nuclr_encoder": ["tiny@0a1b2c3d"] * 3})
    >>> ax = plot_stability(units)
    >>> ax.get_xlabel(), ax.get_title(loc="left")
    ('firing rate (Hz)', '3 units, median stability 0.90')
    """
    metadata, windows = metadata_frame(units), f"{prefix}_n_windows"
    if f"{prefix}_stability" not in metadata:
        raise ValueError(
            f"units have no column {prefix}_stability; embed them first: units = "
            + how_to_embed(prefix)
        )
    stability = read_numbers(units, f"{prefix}_stability", "prefix")
    against, x = _along_x(units, against)
    color_by = color_by or windows
    values = read_column(units, color_by, "color_by")
    shown = np.isfinite(stability) & np.isfinite(x)
    if not shown.any():
        raise ValueError(
            f"none of {len(shown)} units has a {prefix}_stability and a {against}: it takes two "
            "units with two windows each; embed a longer recording"
        )
    ax, ours = new_axes(ax)
    points = np.column_stack([x, stability])[shown]
    name = _NAMES.get(color_by.removeprefix(f"{prefix}_"), color_by)
    several = color_by != windows or values[shown].nunique() > 1
    draw_points(ax, points, values[shown] if several else None, name, ours=ours)
    if (x[shown] > 0).all():
        ax.set_xscale("log")
        _plain_numbers(ax)
    ax.axhline(0.5, color=GREY, linewidth=1, linestyle=":", zorder=0)
    ax.annotate(
        "chance",
        (1, 0.5),
        xycoords=ax.get_yaxis_transform(),
        xytext=(-2, 2),
        textcoords="offset points",
        ha="right",
        fontsize="small",
        color=GREY,
    )
    ax.set_xlabel(_NAMES.get(against.removeprefix(f"{prefix}_"), against))
    ax.set_ylabel(f"stability ({prefix}_stability)")
    open_frame(ax)
    title(
        ax,
        f"{shown.sum()} units",
        f"median stability {np.median(stability[shown]):.2f}",
        counted((~shown).sum(), "without a stability not shown"),
    )
    return ax


def _along_x(units: Units, against: str | None) -> tuple[str, NDArray[np.float64]]:
    """Return what to call the values along x, and the values (units,)."""
    if against is None and isinstance(units, nap.TsdFrame):
        return "s.d. of the trace", np.asarray(units.values.std(axis=0), dtype=np.float64)
    against = against or "rate"
    return against, read_numbers(units, against, "against")


def _plain_numbers(ax: Axes) -> None:
    """Write 0.1, 1, 10 on a logarithmic axis; between them only where it is short."""
    from matplotlib.ticker import LogFormatter

    ax.xaxis.set_major_formatter("{x:g}")
    low, high = ax.get_xlim()
    if high / low < 30:
        ax.xaxis.set_minor_formatter(LogFormatter(minor_thresholds=(2, 0.5)))
    else:
        ax.xaxis.set_minor_formatter("")
