"""The real recordings of ``shared/data`` as pynapple objects, for benchmarks and tests.

Every function takes the folder that holds the five data sets (see its own README for sources and
licences) and returns a mapping, name of the recording → pynapple object with metadata.

Examples
--------
    from recordings import steinmetz
    sessions = steinmetz("../shared/data", sessions=["cori_20161214"])
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pynapple as nap
from numpy.typing import NDArray

from pynapple_nuclr import simulate

GROUPS = {
    "HPF": "POST SUB DG CA1 CA3",
    "VIS": "VISp VISrl VISam VISpm VISl VISa",
    "TH": "LP LD RT MD MG LGd VPM VPL PO POL",
    "MB": "MRN SCm SCs APN PAG",
}
"""The four region groups that the paper decodes, and the Allen acronyms in each."""

REGION = {area: group for group, areas in GROUPS.items() for area in areas.split()}


def steinmetz(folder: str | Path, sessions: Iterable[str] | None = None) -> dict[str, nap.TsGroup]:
    """Read the trials of Steinmetz et al. 2019: 0.4 s after each stimulus.

    The files hold spike counts in 10 ms bins; spike k of the n in a bin is put at (k + ½)/n of it.

    Parameters
    ----------
    folder : path
        The folder that holds ``steinmetz2019``.
    sessions : iterable of str, optional
        Names (``subject_yyyymmdd``) of the sessions to read. Default: all 14.

    Returns
    -------
    dict
        Name → TsGroup with metadata `brain_area`, `region` (one of `GROUPS`, or "") and
        `subject`; the time support has one epoch a trial.
    """
    recordings = {}
    for path in _files(folder, "steinmetz2019", sessions):
        data = np.load(path)
        counts, start, width = data["counts"], data["trial_start"], float(data["bin_size"])
        bin_start = start[:, None] + np.arange(counts.shape[2]) * width  # (trials, bins), s
        by_unit = counts.swapaxes(0, 1).reshape(counts.shape[1], -1).astype(np.int64)
        times, per_unit = _spread(by_unit, bin_start.ravel(), width)
        areas = data["brain_area"]
        recordings[path.stem] = _spikes(
            np.split(times, np.cumsum(per_unit)[:-1]),
            nap.IntervalSet(start, start + counts.shape[2] * width),
            brain_area=areas,
            region=[REGION.get(area, "") for area in areas],
            subject=[str(data["subject"])] * len(areas),
        )
    return recordings


def steinmetz_trials(
    folder: str | Path, sessions: Iterable[str] | None = None
) -> dict[str, nap.IntervalSet]:
    """Read what was shown and what came of it in the trials of `steinmetz`.

    Parameters
    ----------
    folder : path
        The folder that holds ``steinmetz2019``.
    sessions : iterable of str, optional
        Names (``subject_yyyymmdd``) of the sessions to read. Default: all 14.

    Returns
    -------
    dict
        Name → IntervalSet, an interval a trial, with metadata `contrast_left`, `contrast_right`
        (0 to 1) and `feedback` (1 reward, −1 not).
    """
    trials = {}
    for path in _files(folder, "steinmetz2019", sessions):
        data = np.load(path)
        seconds = data["counts"].shape[2] * float(data["bin_size"])
        trials[path.stem] = nap.IntervalSet(
            data["trial_start"],
            data["trial_start"] + seconds,
            metadata={key: data[key] for key in ("contrast_left", "contrast_right", "feedback")},
        )
    return trials


def head_direction(folder: str | Path) -> dict[str, nap.TsGroup]:
    """Read the continuous recording of Peyrache et al. 2015: 38 min awake, 32 units.

    Returns
    -------
    dict
        Name → TsGroup with metadata `brain_area` (ADn or PoS) and `subject`.
    """
    recordings = {}
    for path in _files(folder, "head_direction"):
        data = np.load(path)
        order = np.argsort(data["spike_units"], kind="stable")  # each unit's stay sorted in time
        per_unit = np.bincount(data["spike_units"], minlength=len(data["brain_area"]))
        recordings[path.stem] = _spikes(
            np.split(data["spike_times"][order], np.cumsum(per_unit)[:-1]),
            nap.IntervalSet(float(data["start"]), float(data["end"])),
            brain_area=data["brain_area"],
            subject=[str(data["subject"])] * len(per_unit),
        )
    return recordings


def optotagged(folder: str | Path) -> dict[str, nap.TsGroup]:
    """Read the opto-tagged cells of CellExplorer: 33 sessions of 1 to 6 tagged cells.

    Each cell's hour begins at its own first spike, so a session's time support is what its cells
    have in common. One cell that the set has twice, spike for spike, is given once.

    Returns
    -------
    dict
        Session → TsGroup with metadata `cell_type`, `brain_area` ("" = not stated) and `subject`.
    """
    data = np.load(Path(folder) / "optotagged_cells" / "cells.npz")
    trains = np.split(data["spike_times"], np.cumsum(data["spike_counts"])[:-1])
    recordings = {}
    for session in dict.fromkeys(data["session"].tolist()):
        cells = np.flatnonzero(data["session"] == session)
        once = {trains[cell].tobytes(): cell for cell in cells[::-1]}
        cells = np.sort(list(once.values()))
        start = max(trains[cell][0] for cell in cells)
        end = min(trains[cell][-1] for cell in cells)
        recordings[session] = _spikes(
            [train[(train >= start) & (train <= end)] for train in (trains[c] for c in cells)],
            nap.IntervalSet(start, end),
            **{name: data[name][cells] for name in ("cell_type", "brain_area", "subject")},
        )
    return recordings


def worms(folder: str | Path) -> dict[str, nap.TsdFrame]:
    """Read the whole-brain calcium recordings of Dag et al. 2023, on the rig's own clock.

    Returns
    -------
    dict
        Name → TsdFrame (z-scored traces) with metadata `neuron_class` and `neuron_name`
        ("" = unknown), `label_confidence` and `subject`.
    """
    recordings = {}
    for path in _files(folder, "worm_neuropal"):
        data = np.load(path)
        names = ("neuron_class", "neuron_name", "label_confidence")
        recordings[path.stem] = nap.TsdFrame(
            t=data["times"],
            d=data["traces"],
            metadata={
                **{name: data[name] for name in names},
                "subject": [str(data["subject"])] * data["traces"].shape[1],
            },
        )
    return recordings


def hippocampus(folder: str | Path) -> dict[str, nap.TsdFrame]:
    """Read the calcium events of Sheintuch et al. 2022: one mouse per region, running.

    The bouts of a running direction are laid end to end, as in the files; the two directions are
    two epochs.

    Returns
    -------
    dict
        ``mouse_envE_dayD`` → TsdFrame (event sizes, zero between events) with metadata `region`
        (CA1 or CA3) and `subject`.
    """
    recordings = {}
    for path in _files(folder, "hippocampus_calcium"):
        data = np.load(path)
        for key in (name for name in data.files if re.fullmatch(r"env\d_day\d_shape", name)):
            session = key.removesuffix("_shape")
            frames, units = data[key]
            traces = np.zeros((frames, units), np.float32)
            traces[data[f"{session}_frame"], data[f"{session}_unit"]] = data[f"{session}_value"]
            times = np.arange(frames) * float(data["frame_period"])
            first = np.unique([0, data[f"{session}_split"]])
            first = first[first < frames]
            last = np.append(first[1:], frames) - 1
            recordings[f"{path.stem}_{session}"] = nap.TsdFrame(
                t=times,
                d=traces,
                time_support=nap.IntervalSet(times[first], times[last]),
                metadata={
                    "region": [str(data["region"])] * units,
                    "subject": [str(data["subject"])] * units,
                },
            )
    return recordings


def two_probes(
    recordings: int = 3, **how: Any
) -> tuple[dict[str, nap.TsGroup], dict[str, nap.TsGroup]]:
    """Simulate recordings of two probes whose populations do not know of each other.

    Parameters
    ----------
    recordings : int
        How many.
    **how
        Passed on to `simulate` (world "context").

    Returns
    -------
    (dict, dict)
        The probes of every recording one by one, and both as one population.
    """
    how = {"n_units": 60, "duration": 300, "seed": 2025} | how
    animals = list(simulate("context", animals=2 * recordings, **how).values())
    apart, together = {}, {}
    for number, pair in enumerate(zip(animals[::2], animals[1::2], strict=True)):
        trains = [one[unit] for one in pair for unit in one.index]
        types = np.concatenate([one["cell_type"] for one in pair])
        animal = [f"animal{number}"] * len(types)
        together[f"day{number}"] = nap.TsGroup(
            dict(enumerate(trains)),
            time_support=pair[0].time_support,
            metadata={"cell_type": types, "animal": animal},
        )
        for probe, one in zip("AB", pair, strict=True):
            apart[f"day{number} probe {probe}"] = one
            one.set_info(animal=[f"animal{number}"] * len(one))
    return apart, together


def _files(folder: str | Path, dataset: str, names: Iterable[str] | None = None) -> list[Path]:
    """List the files of a data set, all of them or those named."""
    if names is None:
        return sorted((Path(folder) / dataset).glob("*.npz"))
    return [Path(folder) / dataset / f"{name}.npz" for name in names]


def _spread(
    counts: NDArray[np.int64], bin_start: NDArray[np.float64], width: float
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Turn counts (units, bins) into spike times, unit after unit, and the spikes of each unit."""
    n = counts.ravel()
    in_bin = np.repeat(np.arange(n.size), n)
    k = np.arange(in_bin.size) - np.repeat(np.cumsum(n) - n, n)  # index of a spike in its bin
    times = bin_start[in_bin % bin_start.size] + (k + 0.5) / n[in_bin] * width
    return times, counts.sum(axis=1)


def _spikes(
    trains: Iterable[NDArray[np.float64]], epochs: nap.IntervalSet, **metadata: Any
) -> nap.TsGroup:
    """Build a TsGroup of spike trains that lie within the epochs already."""
    return nap.TsGroup(
        {unit: nap.Ts(train, time_support=epochs) for unit, train in enumerate(trains)},
        time_support=epochs,
        bypass_check=True,
        metadata=metadata,
    )
