"""Recordings of calcium: worms, zebrafish, mouse hippocampus."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pynapple as nap

from recordings.files import dataset_files


def worms(folder: str | Path) -> dict[str, nap.TsdFrame]:
    """Read the whole-brain calcium recordings of Dag et al. 2023, on the rig's own clock.

    Returns
    -------
    dict
        Name → TsdFrame (z-scored traces) with metadata `neuron_class` and `neuron_name`
        ("" = unknown), `label_confidence` and `subject`.
    """
    return _named_neurons(folder, "worm_neuropal")


def worms_kato(folder: str | Path) -> dict[str, nap.TsdFrame]:
    """Read the worms of Kato et al. 2015, immobilised, of another laboratory; as `worms`."""
    return _named_neurons(folder, "worm_kato2015")


def worms_atanas(folder: str | Path) -> dict[str, nap.TsdFrame]:
    """Read the named neurons of the worm of Atanas, Kim et al. 2023; as `worms`."""
    return _named_neurons(folder, "worm_atanas2023")


def zebrafish(folder: str | Path) -> dict[str, nap.TsdFrame]:
    """Read the brain regions of Légaré et al. 2025: 18 fish, 64 to 69 regions, 892 frames.

    The units are means over a region, not cells. The source states no frame rate; one frame a
    second is assumed.

    Returns
    -------
    dict
        Name → TsdFrame (z-scored traces) with metadata `region`, `region_acronym` and `subject`.
    """
    recordings = {}
    for path in dataset_files(folder, "zebrafish_regions"):
        data = np.load(path)
        names = ("region", "region_acronym")
        recordings[path.stem] = _frames(data, **{name: data[name] for name in names})
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
    for path in dataset_files(folder, "hippocampus_calcium"):
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


def _named_neurons(folder: str | Path, dataset: str) -> dict[str, nap.TsdFrame]:
    """Read worms whose neurons carry names."""
    names = ("neuron_class", "neuron_name", "label_confidence")
    recordings = {}
    for path in dataset_files(folder, dataset):
        data = np.load(path)
        recordings[path.stem] = _frames(data, **{name: data[name] for name in names})
    return recordings


def _frames(data: np.lib.npyio.NpzFile, **metadata: Any) -> nap.TsdFrame:
    subject = [str(data["subject"])] * data["traces"].shape[1]
    return nap.TsdFrame(
        t=data["times"], d=data["traces"], metadata={**metadata, "subject": subject}
    )
