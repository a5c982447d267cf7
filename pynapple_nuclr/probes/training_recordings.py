"""Whether a recording is like those that a probe of statistics learned from.

The encoder of an embedding compares recordings itself; statistics have no encoder that could.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator as Probe  # `Probe` itself imports this module

from pynapple_nuclr.familiarity import MIN_FAMILIARITY, probability_of_largest
from pynapple_nuclr.probes.rows import Rows
from pynapple_nuclr.user_warnings import warn_user

_LEAST = 8  # recordings: fewer do not show how much recordings differ
_NAMED = 3  # deviations that the warning names


def describe_recordings(probe: Probe, rows: Rows) -> dict[str, NDArray[np.float64]]:
    """Return the means of each recording (recordings, columns) and the variance within them.

    Empty if the probe reads other than statistics, or standardises each recording.
    """
    if probe.inputs_ != "statistics" or probe.standardize != "none":
        return {}
    x = rows.x[rows.has_embedding]
    names = rows.recordings[rows.has_embedding]
    each = [x[names == name] for name in np.unique(names)]
    return {
        "means": np.array([one.mean(axis=0) for one in each]),
        "variance": np.mean([one.var(axis=0) for one in each], axis=0),
    }


def deviations(probe: Probe, rows: Rows) -> NDArray[np.float64]:
    """Return by how many s.d. the means of a recording lie from those of training (columns,).

    Empty if the probe learned from few recordings, or not from statistics alone.
    """
    known, x = probe.training_recordings_, rows.x[rows.has_embedding]
    if not known or len(known["means"]) < _LEAST or not len(x):
        return np.empty(0)
    n = len(known["means"])
    # Recordings differ, and a recording of few units is described less exactly.
    variance = known["means"].var(axis=0, ddof=1) * (1 + 1 / n) + known["variance"] / len(x)
    apart = x.mean(axis=0) - known["means"].mean(axis=0)
    return np.where(variance > 0, apart / np.sqrt(np.where(variance > 0, variance, 1)), 0.0)


def warn_if_unlike(probe: Probe, rows: Rows) -> bool:
    """Return whether a recording is unlike those of training; warn if so."""
    found = deviations(probe, rows)
    familiarity = probability_of_largest(found, len(probe.training_recordings_.get("means", ())))
    if not familiarity < MIN_FAMILIARITY:
        return False
    names = [*rows.statistics, *probe.features]
    largest = ", ".join(
        f"{names[i]} {found[i]:+.1f} s.d." for i in np.argsort(-np.abs(found))[:_NAMED]
    )
    warn_user(
        f"{probe.target!r}: the recording is unlike the "
        f"{len(probe.training_recordings_['means'])} that the probe learned from (familiarity "
        f"{familiarity:.1g}, refused below {MIN_FAMILIARITY}), by its mean unit_statistics, "
        f"largest deviations: {largest}; check its times (in seconds?); all units are called "
        "'unknown' (force=True writes the predictions)"
    )
    return True
