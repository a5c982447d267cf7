"""Style shared by all figures: colours, axes, legends, titles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

# Distinct with any colour vision: Okabe & Ito's, with indigo and brown instead of black and yellow,
# of which one dominates on white and the other is invisible. (Protanopes see olive as orange.)
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#332080", "#7A3300")
MARKERS = "o^sDvPX*"
GREY, PALE, UNSURE = "#555555", "#CFCFCF", "#A8A8A8"
LETTER = 0.075  # inches, about: the width of a letter
_ROWS = 18  # of a legend's column
_MARGIN = 0.1  # inches, around what we draw


def class_style(i: int) -> tuple[str, str]:
    """Return the colour and the marker of the i-th class: 64 differ."""
    return COLOURS[i % len(COLOURS)], MARKERS[i // len(COLOURS) % len(MARKERS)]


def new_axes(
    ax: Axes | None, width: float = 5.4, height: float = 4.6, *, square: bool = False
) -> tuple[Axes, bool]:
    """Return the axes to draw into (inches), and whether their figure is new and may be resized."""
    if ax is not None:
        return ax, False
    import matplotlib.pyplot as plt

    layout = "compressed" if square else "constrained"  # the former keeps fixed proportions
    figure: Any = plt.figure(figsize=(width, height), layout=layout)
    figure.get_layout_engine().set(w_pad=_MARGIN, h_pad=_MARGIN)
    return figure.subplots(), True


def plain(text: Any) -> str:
    """Return a text from a file as it has to be written: two dollars would enclose a formula."""
    return str(text).replace("$", r"\$")


def mark(label: str, colour: str, marker: str = "o", size: float = 6.0) -> Line2D:
    """Return an entry of a legend (`size` in points)."""
    from matplotlib.lines import Line2D

    return Line2D(
        [],
        [],
        linestyle="none",
        marker=marker,
        color=colour,
        markersize=size,
        markeredgecolor="white",
        markeredgewidth=0.4,
        label=plain(label),
    )


def legend_beside(ax: Axes, handles: Sequence[Any], title: str, ours: bool) -> None:
    """Put a legend to the right of the axes; a new figure grows by its width."""
    legend = ax.legend(
        handles=handles,
        title=plain(title),
        alignment="left",
        loc="upper left",
        bbox_to_anchor=(1.02, 1.0),
        borderaxespad=0,
        frameon=False,
        fontsize="small",
        handletextpad=0.2,
        ncols=max(1, -(-len(handles) // _ROWS)),
    )
    if ours:
        figure: Any = ax.figure
        width = legend.get_window_extent().width / figure.dpi
        figure.set_figwidth(figure.get_figwidth() + width)


def colour_bar(ax: Axes, drawn: Any, label: str) -> Any:
    """Put a colour bar without a frame beside the axes, as high as they are."""
    beside = ax.inset_axes((1.03, 0.0, 0.035, 1.0))
    bar = ax.figure.colorbar(drawn, cax=beside, label=label)
    bar.outline.set_visible(False)
    return bar


def open_frame(ax: Axes, *, ticks: bool = True) -> None:
    """Remove the top and right lines of the axes."""
    ax.spines[["top", "right"]].set_visible(False)
    if not ticks:  # positions have no unit
        ax.set_xticks([])
        ax.set_yticks([])
        ax.spines[["left", "bottom"]].set_color(PALE)


def title(ax: Axes, *parts: str, first: str = "", pad: float = 6.0) -> None:
    """Write what is not empty above the axes: `first` in a line of its own, the rest as it fits."""
    letters = ax.get_window_extent().width / ax.figure.dpi / LETTER
    lines = [first] if first else []
    for i, part in enumerate(part for part in parts if part):
        if i and len(lines[-1]) + len(part) + 2 <= letters:
            lines[-1] += f", {part}"
        else:
            lines.append(part)
    ax.set_title("\n".join(lines), loc="left", fontsize="medium", color=GREY, pad=pad)


def counted(number: Any, what: str) -> str:
    """Return "3 <what>", or nothing for 0."""
    return f"{int(number)} {what}" if number else ""


def spread_out(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Return positions (ascending) near those wanted, at least `gap` apart, between two ends."""
    n = len(wanted)
    gap = min(gap, (high - low) / max(n - 1, 1))
    steps = gap * np.arange(n)
    # Pushed upward from below, then down from above; the mean of both keeps groups centred.
    up = np.maximum.accumulate(np.asarray(wanted) - steps) + steps
    down = np.minimum.accumulate((np.asarray(wanted) - steps)[::-1])[::-1] + steps
    placed = np.clip((up + down) / 2 - steps, low, high - gap * (n - 1)) + steps
    return [float(one) for one in placed]
