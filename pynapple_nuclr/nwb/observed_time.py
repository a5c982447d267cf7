"""Time in: when the units of an NWB file were observed, and epochs by the name of their table."""

from __future__ import annotations

import functools
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pynapple as nap

from pynapple_nuclr.nwb.values import read_ragged, read_values

if TYPE_CHECKING:
    from numpy.typing import NDArray


def observed(table: Any, source: Any) -> nap.IntervalSet | None:
    """Return when all units were observed; None if they say nothing of it, or never were."""
    if "obs_intervals" not in table.colnames:
        return None
    parts = [part.astype(np.float64) for part in read_ragged(table["obs_intervals"]) if len(part)]
    different = {part.tobytes(): part for part in _usable(parts, source) if len(part)}
    sets = [nap.IntervalSet(part) for part in different.values()]
    if len(sets) < 2:
        return sets[0] if sets else None
    with warnings.catch_warnings():  # pynapple warns of an empty intersection; so do we
        warnings.simplefilter("ignore")
        common = functools.reduce(nap.IntervalSet.intersect, sets)
    answer = "share no time, so none are used: epochs= says which time to use"
    if len(common):
        answer = f"only the time that all share is used, {common.tot_length():g} s"
    warnings.warn(
        f"{source}: units have {len(sets)} different obs_intervals; {answer}",
        UserWarning,
        stacklevel=4,  # whoever called read_units or read_recording
    )
    return common if len(common) else None


def _usable(parts: list[NDArray[np.float64]], source: Any) -> list[NDArray[np.float64]]:
    """Return intervals (intervals, 2) that have a start before an end; warn of the others."""
    lasting = [np.isfinite(part).all(axis=1) & (part[:, 1] > part[:, 0]) for part in parts]
    total, left = sum(map(len, lasting)), sum(int(one.sum()) for one in lasting)
    if left < total:
        rest = "" if left else "; none are left: epochs= says which time to use"
        warnings.warn(
            f"{source}: {total - left} of {total} obs_intervals have no start before an end (NaN, "
            f"infinite, or reversed) and are left out{rest}",
            UserWarning,
            stacklevel=5,  # whoever called read_units or read_recording
        )
    return [part[one] for part, one in zip(parts, lasting, strict=True)]


def check_epochs(epochs: Any) -> None:
    """Refuse epochs that are neither intervals nor the name of a table of them, nor None."""
    if epochs is not None and not isinstance(epochs, (str, nap.IntervalSet)):
        raise TypeError(
            f"epochs is a {type(epochs).__name__}; expected a pynapple IntervalSet, such as "
            "nap.IntervalSet(0, 20), or the name of a table of intervals in the file"
        )


def named_epochs(
    nwbfile: Any, source: Any, epochs: str | nap.IntervalSet | None
) -> nap.IntervalSet | None:
    """Return epochs; those given by name from the tables of intervals of an open file."""
    if not isinstance(epochs, str):
        return epochs
    from pynwb.epoch import TimeIntervals

    tables = {
        table.name: table for table in nwbfile.objects.values() if isinstance(table, TimeIntervals)
    }
    if epochs not in tables:
        raise ValueError(
            f"{source} has no intervals {epochs!r}; it has {', '.join(tables) or 'none'}"
        )
    start, stop = (read_values(tables[epochs][name].data) for name in ("start_time", "stop_time"))
    whole = np.isfinite(start) & np.isfinite(stop)  # a trial that was broken off has no end
    return nap.IntervalSet(start[whole], stop[whole])
