"""Draw the figure of the README: `python docs/readme_figure.py` writes _static/readme.png."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pynapple as nap
from matplotlib.axes import Axes

import pynapple_nuclr as nap_nuclr
from pynapple_nuclr.plotting.style import class_style

INK, SOFT = "#1f2733", "#667080"
INTERVAL = nap.IntervalSet(100, 130)  # seconds of the recording that are drawn


def label_a_new_mouse() -> nap.TsGroup:
    """Return a simulated recording, with types predicted by a probe fitted on two others."""
    mice = nap_nuclr.simulate("context", n_units=90, duration=300, animals=3, seed=5)
    mice = {name: nap_nuclr.embed(units, progress=False) for name, units in mice.items()}
    units = mice.pop("animal2")
    return nap_nuclr.Probe("cell_type").fit(mice, verbose=False).annotate(units)


def draw_spikes(ax: Axes, units: nap.TsGroup) -> None:
    """Draw the spikes, one row per unit."""
    trains = units.restrict(INTERVAL)
    for row, unit in enumerate(trains.index):
        times = trains[unit].t - INTERVAL.start[0]
        ax.plot(
            times, np.full(len(times), row), "|", color=INK, markersize=2.1, markeredgewidth=0.5
        )
    ax.set(
        xlabel="time (s)", ylabel="unit", xlim=(0, INTERVAL.tot_length()), ylim=(-2, len(units) + 1)
    )


def draw_rates(ax: Axes, units: nap.TsGroup) -> None:
    """Draw the rate of each predicted type, relative to its mean."""
    types = units.getby_category("predicted_cell_type")
    for i, (name, group) in enumerate(sorted(types.items())):
        rate = group.count(0.5).smooth(0.7).mean(axis=1)
        part = rate.restrict(INTERVAL)
        ax.plot(
            part.t - INTERVAL.start[0],
            part.values / rate.values.mean(),
            color=class_style(i)[0],
            label=name,
            linewidth=1.8,
        )
    ax.axhline(1, color="#c3cad4", linewidth=0.8, zorder=0)
    ax.set(xlabel="time (s)", ylabel="rate / mean rate", xlim=(0, INTERVAL.tot_length()))
    ax.set_ylim(0.4, 1.7)


def write(path: Path) -> float:
    """Write the figure; return the share of units whose predicted type is the true one."""
    units = label_a_new_mouse()
    style = {"font.size": 9, "axes.edgecolor": SOFT, "axes.spines.top": False}
    with plt.rc_context(style | {"axes.spines.right": False}):
        figure, axes = plt.subplots(1, 3, figsize=(10.5, 3.3), layout="constrained")
        draw_spikes(axes[0], units)
        nap_nuclr.plot_embedding(units, "predicted_cell_type", ax=axes[1])
        axes[1].get_legend().remove()
        draw_rates(axes[2], units)
        handles = axes[2].get_legend_handles_labels()
        axes[2].legend(
            *handles, frameon=False, fontsize=8.5, ncols=3, loc="upper center", columnspacing=1
        )
        titles = ("spikes", "embed, annotate: predicted types", "their firing rates")
        for ax, words in zip(axes, titles, strict=True):
            ax.set_title(words, loc="left", color=INK, weight="bold", fontsize=10)
        figure.savefig(path, dpi=160, facecolor="white")
    plt.close(figure)
    return float(
        np.mean(np.asarray(units["predicted_cell_type"]) == np.asarray(units["cell_type"]))
    )


if __name__ == "__main__":
    right = write(Path(__file__).parent / "_static" / "readme.png")
    print(f"{right:.0%} of the predicted types are right")
