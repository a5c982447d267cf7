"""Recordings of spikes: rats, a macaque, head-direction cells, opto-tagged cells."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pynapple as nap

from recordings.files import as_group, dataset_files, spread_counts

_UNIT_COLUMNS = ("area_group", "area_class", "putative_type", "is_single", "depth_from_tip_um")


def rats(
    folder: str | Path, sessions: Iterable[str] | None = None, *, duplicates: bool = False
) -> dict[str, nap.TsGroup]:
    """Read the continuous Neuropixels recordings of Luo, Bondy et al. 2020: 38 of 8 rats.

    Parameters
    ----------
    folder : path
        The folder that holds ``rat_neuropixels``.
    sessions : iterable of str, optional
        Names of the sessions to read. Default: all.
    duplicates : bool
        Keep units that duplicate another (more than 30 % of spikes within 0.5 ms).

    Returns
    -------
    dict
        Name → TsGroup with metadata `area_group`, `area_class`, `putative_type` ("" = unclear),
        `is_single`, `depth_from_tip_um`, `waveform` (units, 32; µV at 30 kHz, the trough near the
        ninth sample) and `subject`.
    """
    recordings = {}
    for path in dataset_files(folder, "rat_neuropixels", sessions):
        data = np.load(path)
        kept = np.flatnonzero(duplicates | (data["duplicate_of"] < 0))
        # Of 61 samples, with the trough near the fifteenth, those that the files of 32 have.
        waveform = data["waveform_uV"][kept]
        waveform = waveform[:, 6:38] if waveform.shape[1] > 32 else waveform
        recordings[path.stem] = as_group(
            _trains(data, kept),
            nap.IntervalSet(float(data["start"]), float(data["end"])),
            **{name: data[name][kept] for name in _UNIT_COLUMNS},
            waveform=list(waveform),
            subject=[str(data["subject"])] * len(kept),
        )
    return recordings


def rat_decisions(
    folder: str | Path, sessions: Iterable[str] | None = None
) -> dict[str, nap.TsGroup]:
    """Read the trials of Luo, Kim et al. 2025: 0.2 to 1 s from the onset of the clicks.

    Trials with optogenetic inactivation are left out. Spike k of the n in a bin of 10 ms is put at
    (k + ½)/n of it.

    Returns
    -------
    dict
        Name → TsGroup with metadata `region` and `subject`; the time support has one epoch a trial.
    """
    recordings = {}
    for path in dataset_files(folder, "rat_decisions", sessions):
        data = np.load(path)
        width, lengths = float(data["bin_size"]), data["trial_bins"].astype(np.int64)
        index = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        bin_start = np.repeat(data["trial_start"], lengths) + index * width
        shown = ~data["photostimulus"]
        bins = np.repeat(shown, lengths)
        counts = data["counts"][:, bins].astype(np.int64)
        times, per_unit = spread_counts(counts, bin_start[bins], width)
        start = data["trial_start"][shown]
        recordings[path.stem] = as_group(
            np.split(times, np.cumsum(per_unit)[:-1]),
            nap.IntervalSet(start, start + lengths[shown] * width),
            region=data["brain_area"],
            subject=[str(data["subject"])] * len(counts),
        )
    return recordings


def macaque(folder: str | Path, sessions: Iterable[str] | None = None) -> dict[str, nap.TsGroup]:
    """Read the continuous recordings of Miranda, Butler et al. 2025: 40 min of 19 sessions.

    Returns
    -------
    dict
        Name → TsGroup with metadata `region`, `cluster_quality` and `subject`; times are whole
        milliseconds, and duplicates are left out.
    """
    recordings = {}
    for path in dataset_files(folder, "macaque_frontal", sessions):
        data = np.load(path)
        kept = np.flatnonzero(data["duplicate_of"] < 0)
        recordings[path.stem] = as_group(
            _trains(data, kept),
            nap.IntervalSet(float(data["start"]), float(data["end"])),
            region=data["brain_area"][kept],
            cluster_quality=data["cluster_quality"][kept],
            subject=[str(data["subject"])] * len(kept),
        )
    return recordings


def head_direction(folder: str | Path) -> dict[str, nap.TsGroup]:
    """Read the continuous recording of Peyrache et al. 2015: 38 min awake, 32 units.

    Returns
    -------
    dict
        Name → TsGroup with metadata `brain_area` (ADn or PoS) and `subject`.
    """
    recordings = {}
    for path in dataset_files(folder, "head_direction"):
        data = np.load(path)
        order = np.argsort(data["spike_units"], kind="stable")  # each unit's stay sorted in time
        per_unit = np.bincount(data["spike_units"], minlength=len(data["brain_area"]))
        recordings[path.stem] = as_group(
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
        recordings[session] = as_group(
            [train[(train >= start) & (train <= end)] for train in (trains[c] for c in cells)],
            nap.IntervalSet(start, end),
            **{name: data[name][cells] for name in ("cell_type", "brain_area", "subject")},
        )
    return recordings


def _trains(data: np.lib.npyio.NpzFile, kept: np.ndarray) -> list[np.ndarray]:
    """Return the spike times of some units, each unit's sorted."""
    order = np.argsort(data["spike_units"], kind="stable")
    counts = np.bincount(data["spike_units"], minlength=len(data["brain_area"]))
    times = data["spike_times"][order].astype(np.float64)
    trains = np.split(times, np.cumsum(counts)[:-1])
    return [trains[unit] for unit in kept]
