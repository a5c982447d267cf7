"""Draw how the method works: `python docs/method_figure.py` writes method*.svg to _static."""

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle

WIDTH, HEIGHT = 12.0, 7.3  # inches; all positions below use them
UNITS, PATCHES = 6, 10
LIGHT = {
    "paper": "#ffffff",
    "panel": "#f3f5f8",
    "ink": "#1f2733",
    "soft": "#667080",
    "line": "#c3cad4",
    "units": ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9"],
    "mark": "#332080",
}
DARK = LIGHT | {
    "paper": "#14181e",
    "panel": "#20262f",
    "ink": "#e8ecf2",
    "soft": "#a3adba",
    "line": "#465160",
    "units": ["#4FA8DD", "#F0B83F", "#2FC598", "#DE96BD", "#F0864A", "#86CBF2"],
    "mark": "#B3A4F5",
}


class Page:
    """A figure without axes, in inches, with one set of colours."""

    def __init__(self, colours: dict) -> None:
        self.colours = colours
        self.figure = Figure(figsize=(WIDTH, HEIGHT), facecolor=colours["paper"])
        self.ax: Axes = self.figure.add_axes((0, 0, 1, 1))
        self.ax.set(xlim=(0, WIDTH), ylim=(0, HEIGHT))
        self.ax.set_axis_off()

    def text(self, x: float, y: float, words: str, size: float = 10, **how: object) -> None:
        """Write text; `how` are matplotlib's options."""
        how = {"color": self.colours["soft"], "ha": "center", "va": "center"} | how
        self.ax.text(x, y, words, fontsize=size, linespacing=1.35, **how)

    def heading(self, x: float, y: float, number: str, words: str) -> None:
        """Write a panel's letter and title."""
        ink, how = self.colours["ink"], {"ha": "left", "va": "baseline", "weight": "bold"}
        self.text(x, y, number, 13, color=self.colours["mark"], **how)
        self.text(x + 0.27, y, words, 12.5, color=ink, **how)

    def panel(self, x: float, y: float, width: float, height: float, **how: object) -> None:
        """Draw a rounded box."""
        shape = "round,pad=0,rounding_size=0.12"
        how = {"facecolor": self.colours["panel"], "edgecolor": "none", "zorder": 0} | how
        self.ax.add_patch(FancyBboxPatch((x, y), width, height, boxstyle=shape, **how))

    def arrow(self, start: tuple, end: tuple, **how: object) -> None:
        """Draw an arrow between two points."""
        how = {"arrowstyle": "-|>", "color": self.colours["soft"], "linewidth": 1.4} | how
        self.ax.add_patch(
            FancyArrowPatch(start, end, mutation_scale=11, shrinkA=0, shrinkB=0, **how)
        )

    def cells(
        self, x: float, y: float, size: tuple, values: np.ndarray, colours: list, gap: float = 0.1
    ) -> None:
        """Draw a matrix, its first row on top: one colour per row, one value (0 to 1) per cell."""
        rows, columns = values.shape
        width, height = size[0] / columns, size[1] / rows
        for i, j in np.ndindex(rows, columns):
            corner = (x + (j + gap / 2) * width, y + size[1] - (i + 1 - gap / 2) * height)
            self.ax.add_patch(
                Rectangle(
                    corner,
                    width * (1 - gap),
                    height * (1 - gap),
                    facecolor=colours[i],
                    alpha=0.15 + 0.85 * float(values[i, j]),
                    linewidth=0,
                )
            )

    def raster(
        self, x: float, y: float, size: tuple, rows: list, rng: np.random.Generator
    ) -> np.ndarray:
        """Draw spikes of some units (None: left out); return the counts (rows, patches)."""
        height = size[1] / len(rows)
        counts = np.zeros((len(rows), PATCHES))
        for i, unit in enumerate(rows):
            middle = y + size[1] - (i + 0.5) * height
            if unit is None:
                self.ax.plot([x, x + size[0]], [middle, middle], ":", color=self.colours["line"])
                continue
            rhythm = np.sin(np.linspace(0, 2.5 * np.pi, 200) + unit * 1.1) * (1 + unit % 3) / 2
            odds = np.exp(rhythm) * (0.05 + 0.012 * unit)
            times = np.linspace(0, 1, 200)[rng.random(200) < odds]
            colour = self.colours["units"][unit]
            bottom, top = middle - 0.34 * height, middle + 0.34 * height
            self.ax.vlines(x + times * size[0], bottom, top, color=colour, linewidth=1.1)
            counts[i] = np.histogram(times, PATCHES, range=(0, 1))[0]
        return counts


def draw(colours: dict) -> Figure:
    """Return the figure: from spikes to columns above, training and use below."""
    page = Page(colours)
    rng = np.random.default_rng(4)
    counts = _recording(page, rng)
    _tokens(page, counts)
    _encoder(page)
    _embedding(page, rng)
    _training(page, rng)
    _labels(page, rng)
    return page.figure


def _recording(page: Page, rng: np.random.Generator) -> np.ndarray:
    page.heading(0.3, 6.88, "A", "Spikes of a whole population")
    x, y, width, height = 0.4, 4.75, 3.0, 1.6
    counts = page.raster(x, y, (width, height), list(range(UNITS)), rng)
    for edge in np.linspace(x, x + width, PATCHES + 1):
        whole = edge in (x, x + width)
        line = {"color": page.colours["ink" if whole else "line"], "linewidth": 1 if whole else 0.7}
        page.ax.plot([edge, edge], [y - 0.05, y + height + 0.05], zorder=0, **line)
    page.arrow((x, 6.5), (x + width, 6.5), arrowstyle="<->", color=page.colours["ink"])
    page.text(x + width / 2, 6.64, "window: 10 s", 9.5)
    page.arrow((x, 4.6), (x + width / PATCHES, 4.6), arrowstyle="-", color=page.colours["ink"])
    page.text(x, 4.43, "patch: 1 s, 50 bins of 20 ms", 9.5, ha="left")
    page.text(0.22, y + height / 2, "units", 9.5, rotation=90)
    return counts


def _tokens(page: Page, counts: np.ndarray) -> None:
    page.arrow((3.5, 5.55), (3.92, 5.55))
    page.heading(4.0, 6.88, "B", "Patches")
    values = np.sqrt(counts / counts.max())
    page.cells(4.0, 4.75, (1.7, 1.6), values, page.colours["units"])
    page.text(4.85, 4.53, "spike counts of\none unit, one patch", 9.5, va="top")


def _encoder(page: Page) -> None:
    page.arrow((5.78, 5.55), (6.12, 5.55))
    page.panel(6.2, 3.98, 3.6, 2.72)
    page.heading(6.2, 6.88, "C", "Encoder: a transformer")
    _attention(page, 6.42, "own time", row=2)
    page.text(6.9, 4.32, "2 ×", 10.5, color=page.colours["ink"], weight="bold")
    page.arrow((7.42, 5.7), (7.66, 5.7))
    _attention(page, 7.72, "all units,\nsame time", column=4)
    page.arrow((8.6, 5.7), (8.76, 5.7))
    _attention(page, 8.8, "own time", row=2)
    page.arrow((7.78, 4.52), (9.62, 4.52), arrowstyle="-", color=page.colours["line"])
    page.text(8.7, 4.32, "2 ×", 10.5, color=page.colours["ink"], weight="bold")
    page.text(8.0, 4.1, "attention, then feed-forward, each", 8.5)


def _attention(
    page: Page, x: float, words: str, row: int | None = None, column: int | None = None
) -> None:
    """Draw what attends to what: a unit's patches (a row), or the units of a patch (a column)."""
    columns, width, height = 5, 0.86, 1.15
    values = np.full((UNITS, columns), 0.08)
    if row is not None:
        values[row] = 0.9
    else:
        values[:, column - 2] = 0.9
    page.cells(x, 5.15, (width, height), values, page.colours["units"], gap=0.16)
    page.text(x + width / 2, 5.02, words, 9, va="top")
    ink = page.colours["ink"]
    if row is not None:
        middle = 5.15 + height * (1 - (row + 0.5) / UNITS)
        page.arrow((x + 0.05, middle), (x + width - 0.05, middle), arrowstyle="<->", color=ink)
    else:
        middle = x + width * (column - 1.5) / columns
        page.arrow((middle, 5.2), (middle, 5.15 + height - 0.05), arrowstyle="<->", color=ink)


def _embedding(page: Page, rng: np.random.Generator) -> None:
    page.arrow((9.88, 5.55), (10.22, 5.55))
    page.heading(10.2, 6.88, "D", "Embeddings")
    values = rng.random((UNITS, 8)) ** 1.5
    page.cells(10.3, 4.75, (1.4, 1.6), values, page.colours["units"])
    page.text(
        11.0, 4.53, "mean over patches,\nthen over windows:\none vector per unit", 9.5, va="top"
    )


def _training(page: Page, rng: np.random.Generator) -> None:
    page.heading(0.3, 3.28, "E", "Training, without labels: re-identify units at another time")
    first, second = [0, 1, None, 3, 4, 5], [0, 1, 2, 3, None, 5]
    for y, rows, name in ((1.85, first, "one window"), (0.45, second, "another")):
        page.raster(0.4, y, (2.1, 1.1), rows, rng)
        page.panel(0.35, y - 0.05, 2.2, 1.2)
        page.text(0.22, y + 0.55, name, 9.5, rotation=90)
        page.arrow((2.62, y + 0.55), (2.95, 1.75 + (y - 1.15) * 0.45))
    page.panel(3.0, 1.2, 1.0, 1.0, edgecolor=page.colours["line"])
    page.text(3.5, 1.7, "the same\nencoder", 10, color=page.colours["ink"])
    page.arrow((4.08, 1.7), (4.6, 1.7))
    left = [unit for unit in first if unit is not None]
    top = [unit for unit in second if unit is not None]
    x, y, cell = 4.9, 0.75, 0.36
    for i, unit in enumerate(left):
        colour = page.colours["units"][unit]
        middle = y + (len(left) - i - 0.5) * cell
        page.ax.plot(x - 0.12, middle, "o", color=colour, markersize=7)
        for j, other in enumerate(top):
            same = unit == other
            shade = colour if same else page.colours["soft"]
            corner = (x + (j + 0.06) * cell, y + (len(left) - i - 0.94) * cell)
            page.ax.add_patch(
                Rectangle(
                    corner,
                    0.88 * cell,
                    0.88 * cell,
                    facecolor=shade,
                    alpha=1.0 if same else 0.16 + 0.14 * rng.random(),
                    linewidth=0,
                )
            )
    for j, other in enumerate(top):
        colour = page.colours["units"][other]
        page.ax.plot(x + (j + 0.5) * cell, y + 5 * cell + 0.12, "o", color=colour, markersize=7)
    page.text(x + 2.5 * cell, 2.88, "similarity", 9.5)
    page.text(
        x + 2.5 * cell,
        0.55,
        "same unit: increase. Others of\nthe same recording: decrease",
        9.5,
        va="top",
    )


def _labels(page: Page, rng: np.random.Generator) -> None:
    page.heading(7.55, 3.28, "F", "Labels (optional)")
    units = page.colours["units"]
    page.cells(7.65, 0.95, (1.0, 1.7), rng.random((UNITS, 6)) ** 1.5, units)
    page.text(8.15, 2.82, "embeddings", 9.5)
    page.arrow((8.75, 1.8), (9.08, 1.8))
    page.panel(9.12, 1.3, 0.86, 1.0, edgecolor=page.colours["line"])
    page.text(9.55, 1.8, "probe", 10.5, color=page.colours["ink"])
    page.text(9.55, 1.15, "fitted to units\nwith known labels", 9, va="top")
    page.arrow((10.02, 1.8), (10.34, 1.8))
    page.text(11.05, 2.82, "predicted_cell_type", 9, family="monospace")
    labels = ["PV", "SST", "PV", "unknown", "VIP", "SST"]
    for i, (label, sure) in enumerate(zip(labels, [0.9, 0.7, 0.8, 0.3, 0.6, 0.9], strict=True)):
        middle = 0.95 + 1.7 * (1 - (i + 0.5) / UNITS)
        page.ax.plot(10.52, middle, "o", color=units[i], markersize=7)
        ink = page.colours["soft" if label == "unknown" else "ink"]
        page.text(10.7, middle, label, 10, ha="left", color=ink)
        page.text(11.72, middle, f"{sure:.1f}", 9.5, ha="right")
    page.text(9.7, 0.42, "columns of the same pynapple object", 9.5)


def write(folder: Path) -> list[Path]:
    """Write the figure for light and for dark pages; the same bytes every time."""
    written = []
    style = {"svg.hashsalt": "pynapple-nuclr", "svg.fonttype": "path", "font.family": "DejaVu Sans"}
    with matplotlib.rc_context(style):
        for name, colours in (("method", LIGHT), ("method_dark", DARK)):
            path = folder / f"{name}.svg"
            no_date = {"Date": None, "Creator": None}
            draw(colours).savefig(path, facecolor=colours["paper"], metadata=no_date)
            written.append(path)
    return written


if __name__ == "__main__":
    write(Path(__file__).parent / "_static")
