"""Draw the figure of the README from a real recording; writes _static/readme.png.

    python docs/readme_figure.py --data ../shared/data

A rat of Luo, Bondy et al. 2020 (eLife 9:e59716, Apache-2.0) on which the encoder was not trained.
The probe "waveform-type", fitted on the other rats, labels its units from their spikes; their
waveforms, unknown to the probe, show what the labels are worth.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pynapple as nap
from matplotlib.axes import Axes

import pynapple_nuclr as nap_nuclr
from pynapple_nuclr.plotting.style import class_style

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "benchmarks"))
from waveform_probe import fit, labelled  # noqa: E402

from recordings import rats  # noqa: E402

INK, SOFT = "#1f2733", "#667080"
RAT, SESSION = "T181", "T181_2018_06_19_idle_bank1"
INTERVAL = nap.IntervalSet(100, 115)  # seconds of the recording that are drawn
TYPES = {"broad": class_style(0)[0], "narrow": class_style(1)[0], "unknown": "#a9b3c0"}


def label_a_new_rat(data: Path) -> tuple[nap.TsGroup, nap_nuclr.Probe]:
    """Return a recording with predicted types, and the probe, fitted on the other rats."""
    recordings = labelled(data)
    waveforms = rats(data, [SESSION])[SESSION]
    probe = fit({name: one for name, one in recordings.items() if not name.startswith(RAT)})
    units = probe.annotate(nap_nuclr.embed(recordings[SESSION], progress=False))
    units["waveform"] = list(waveforms["waveform"])
    return units, probe


def draw_spikes(ax: Axes, units: nap.TsGroup) -> None:
    """Draw the spikes, one row per unit, from the surface down, in the colour of its type."""
    trains = units.restrict(INTERVAL)
    order = np.argsort(-np.asarray(units["depth_from_tip_um"]))
    for row, unit in enumerate(np.asarray(units.index)[order]):
        times = trains[unit].t - INTERVAL.start[0]
        colour = TYPES[units["predicted_waveform_type"].loc[unit]]
        ax.plot(times, np.full(len(times), row), "|", color=colour, markersize=1.6)
    ax.set(xlabel="time (s)", ylabel="unit, by depth", xlim=(0, INTERVAL.tot_length()))
    ax.set_ylim(len(units) + 1, -2)


def draw_map(ax: Axes, units: nap.TsGroup) -> None:
    """Draw the first two components of the embeddings."""
    nap_nuclr.plot_embedding(units, "predicted_waveform_type", ax=ax)
    ax.get_legend().remove()


def draw_waveforms(ax: Axes, units: nap.TsGroup) -> None:
    """Draw the median waveform of the units of each predicted type, with quartiles."""
    waveform = np.stack(units["waveform"])
    waveform = waveform / -waveform.min(axis=1, keepdims=True)
    predicted = np.asarray(units["predicted_waveform_type"])
    time = np.arange(waveform.shape[1]) / 30
    for name, colour in TYPES.items():
        own = waveform[predicted == name]
        low, middle, high = np.nanpercentile(own, [25, 50, 75], axis=0)
        if name != "unknown":
            ax.fill_between(time, low, high, color=colour, alpha=0.2, lw=0)
        ax.plot(time, middle, color=colour, lw=1.8, label=f"{name} ({len(own)})")
    ax.set(xlabel="time (ms)", ylabel="waveform / trough")


def write(data: Path, path: Path) -> str:
    """Write the figure; return what it shows in words."""
    units, probe = label_a_new_rat(data)
    style = {"font.size": 9, "axes.edgecolor": SOFT, "axes.spines.top": False}
    with plt.rc_context(style | {"axes.spines.right": False}):
        figure, axes = plt.subplots(1, 3, figsize=(10.5, 3.4), layout="constrained")
        draw_spikes(axes[0], units)
        draw_map(axes[1], units)
        draw_waveforms(axes[2], units)
        axes[2].legend(frameon=False, fontsize=8.5, title="predicted from spikes")
        titles = (
            "spikes",
            "embed, annotate: predicted types",
            "waveforms, unknown to the probe",
        )
        for ax, words in zip(axes, titles, strict=True):
            ax.set_title(words, loc="left", color=INK, weight="bold", fontsize=10)
        figure.savefig(path, dpi=160, facecolor="white")
    plt.close(figure)
    true, predicted = np.asarray(units["waveform_type"]), units["predicted_waveform_type"]
    known = (true != "") & (np.asarray(predicted) != "unknown")
    right = np.mean(true[known] == np.asarray(predicted)[known])
    return (
        f"{SESSION}: {len(units)} units; of {(true != '').sum()} with a known type "
        f"{known.sum()} got a label, and {right:.0%} of these are right\n{probe}"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    print(write(parser.parse_args().data, ROOT / "docs" / "_static" / "readme.png"))
