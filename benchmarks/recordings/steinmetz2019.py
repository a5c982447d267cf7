"""Steinmetz et al. 2019: mouse Neuropixels recordings in trials of 0.4 s."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pynapple as nap
from numpy.typing import NDArray

from recordings.files import as_group, dataset_files, spread_counts

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
    for name, data, trials in _sessions(folder, sessions):
        counts, width = data["counts"], float(data["bin_size"])
        bin_start = trials[:, :1] + np.arange(counts.shape[2]) * width  # (trials, bins), s
        by_unit = counts.swapaxes(0, 1).reshape(counts.shape[1], -1).astype(np.int64)
        times, per_unit = spread_counts(by_unit, bin_start.ravel(), width)
        areas = data["brain_area"]
        recordings[name] = as_group(
            np.split(times, np.cumsum(per_unit)[:-1]),
            nap.IntervalSet(trials),
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
        As for `steinmetz`.

    Returns
    -------
    dict
        Name → IntervalSet, an interval a trial, with metadata `contrast_left`, `contrast_right`
        (0 to 1) and `feedback` (1 reward, −1 not).
    """
    shown = ("contrast_left", "contrast_right", "feedback")
    return {
        name: nap.IntervalSet(trials, metadata={key: data[key] for key in shown})
        for name, data, trials in _sessions(folder, sessions)
    }


def _sessions(
    folder: str | Path, sessions: Iterable[str] | None
) -> Iterator[tuple[str, Mapping[str, Any], NDArray[np.float64]]]:
    """Yield name, arrays and start and end (trials, 2) in seconds of each session."""
    for path in dataset_files(folder, "steinmetz2019", sessions):
        data = np.load(path)
        start, seconds = data["trial_start"], data["counts"].shape[2] * float(data["bin_size"])
        yield path.stem, data, np.column_stack([start, start + seconds])
