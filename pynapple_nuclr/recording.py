"""From pynapple objects to compact arrays, checked once, at the door."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd
import pynapple as nap

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pynapple_nuclr.config import Modality

Units: TypeAlias = nap.TsGroup | nap.TsdFrame
"""What a population is: spike trains or calcium traces."""


@dataclass
class Recording:
    """One population, as arrays.

    Attributes
    ----------
    name : str
        Name of the recording, as it stands in errors and coordinates.
    unit_ids : ndarray (units,)
        The ids of the pynapple object, in its order.
    metadata : DataFrame
        The object's metadata, a row per unit.
    epochs : ndarray (epochs, 2)
        Start and end of each epoch in seconds, sorted, without overlap.
    modality : {"spikes", "calcium"}
        Which of the following are set.
    times, units : ndarray (spikes,)
        Spike times in seconds, sorted, and the index of the unit that fired each.
    traces : ndarray (frames, units)
        Calcium traces.
    frame_times : ndarray (frames,)
        Time of each frame in seconds.
    frame_period : float
        Median interval between frames in seconds.
    """

    name: str
    unit_ids: NDArray[Any]
    metadata: pd.DataFrame
    epochs: NDArray[np.float64]
    modality: Modality
    times: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    units: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))
    traces: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 0), np.float32))
    frame_times: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    frame_period: float = float("nan")

    @property
    def n_units(self) -> int:
        """Number of units."""
        return len(self.unit_ids)

    @property
    def duration(self) -> float:
        """Total duration of the epochs, in seconds."""
        return float(np.diff(self.epochs, axis=1).sum())

    def activity(self) -> NDArray[np.float64]:
        """Return a number per unit that depends on its data alone: spikes, or summed trace."""
        if self.modality == "spikes":
            return np.bincount(self.units, minlength=self.n_units).astype(float)
        return self.traces.sum(axis=0, dtype=np.float64)

    def split(self, by: str) -> list[tuple[NDArray[np.int64], Recording]]:
        """Split into populations that never hear each other: probe insertions, imaging planes.

        Parameters
        ----------
        by : str
            Metadata column that names the population of every unit.

        Returns
        -------
        list of (ndarray, Recording)
            For every value of the column the indices of its units, and their recording.

        Raises
        ------
        ValueError
            If there is no such column, or some units have no value in it.
        """
        if by not in self.metadata:
            columns = ", ".join(map(str, self.metadata.columns)) or "none"
            raise ValueError(
                f"recording {self.name!r} has no metadata column {by!r} to split its units by; "
                f"it has {columns}"
            )
        labels = self.metadata[by].astype(object)
        missing = labels.isna() | labels.isin(["", "nan"])
        if missing.any():
            raise ValueError(
                f"recording {self.name!r}: {int(missing.sum())} of {self.n_units} units have no "
                f"value in {by!r}, the first is unit {self.unit_ids[np.argmax(missing)]}; name "
                "the population of every unit, or leave those units out"
            )
        return [
            (np.flatnonzero(labels == value), self._only(labels == value, f"{by} {value}"))
            for value in labels.unique()
        ]

    def _only(self, which: Any, what: str) -> Recording:
        """Return the recording of some of the units: a mask (units,)."""
        which = np.asarray(which, dtype=bool)
        spikes = which[self.units]
        return replace(
            self,
            name=f"{self.name} ({what})",
            unit_ids=self.unit_ids[which],
            metadata=self.metadata[which],
            times=self.times[spikes],
            units=(np.cumsum(which) - 1).astype(np.int32)[self.units[spikes]],
            traces=self.traces[:, which] if self.traces.size else self.traces,
        )

    def order(self) -> NDArray[np.int64]:
        """Return each unit's place (units,) when they are sorted by their data alone."""
        if self.modality == "spikes":
            weights = self.times - self.times[:1]
            when = np.bincount(self.units, weights, minlength=self.n_units).astype(np.float64)
        else:
            when = self.frame_times @ self.traces.astype(np.float64)
        return np.argsort(np.lexsort((when, self.activity())))


def modality_of(units: Units) -> Modality:
    """Return what a pynapple object holds: spikes, or (a ``TsdFrame``) calcium."""
    return "calcium" if isinstance(units, nap.TsdFrame) else "spikes"


def as_recording(
    units: Units, *, name: str = "recording", epochs: nap.IntervalSet | None = None
) -> Recording:
    """Check a pynapple object and turn it into a `Recording`.

    Parameters
    ----------
    units : TsGroup or TsdFrame
        Spike trains, or calcium traces (frames × units).
    name : str
        Name to use in errors.
    epochs : IntervalSet, optional
        Use only these epochs, cut to the object's time support. Default: the time support.

    Returns
    -------
    Recording

    Raises
    ------
    TypeError
        If the object is neither a ``TsGroup`` nor a ``TsdFrame``, or `epochs` no ``IntervalSet``.
    ValueError
        If there are no units, no spikes, non-finite traces or no positive frame period.

    Examples
    --------
    >>> import numpy as np, pynapple as nap
    >>> from pynapple_nuclr.recording import as_recording
    >>> units = nap.TsGroup({4: nap.Ts([0.1, 0.7]), 9: nap.Ts([0.5])})
    >>> recording = as_recording(units)
    >>> recording.times, recording.units, recording.unit_ids
    (array([0.1, 0.5, 0.7]), array([0, 1, 0], dtype=int32), array([4, 9]))
    """
    if epochs is not None and not isinstance(epochs, nap.IntervalSet):
        raise TypeError(
            f"recording {name!r}: epochs is a {type(epochs).__name__}; expected a pynapple "
            "IntervalSet, for example nap.IntervalSet(0, 600)"
        )
    if isinstance(units, nap.TsGroup):
        return _from_spikes(units, name, epochs)
    if isinstance(units, nap.TsdFrame):
        return _from_traces(units, name, epochs)
    raise TypeError(
        f"recording {name!r} is a {type(units).__name__}; expected a pynapple TsGroup (spikes) or "
        'TsdFrame (calcium), for example nap.load_file("session.nwb")["units"]'
    )


def as_recordings(
    groups: Units | Sequence[Units] | Mapping[str, Units],
    *,
    by: str | None = None,
) -> dict[str, Recording]:
    """Check several pynapple objects: a list (names "0", "1", …) or a mapping name → object.

    Parameters
    ----------
    groups : TsGroup, TsdFrame, list or mapping
        One population, or several.
    by : str, optional
        Metadata column by which each is split into populations, as `Recording.split` does.

    Returns
    -------
    dict
        Name → `Recording`, in the order given.

    Raises
    ------
    TypeError, ValueError
        As `as_recording`, naming the recording; ValueError if there is none.
    """
    whole = [as_recording(units, name=name) for name, units in name_groups(groups).items()]
    parts = whole if by is None else [part for one in whole for _, part in one.split(by)]
    return {part.name: part for part in parts}


def name_groups(groups: Any) -> dict[str, Any]:
    """Give several objects names: a mapping keeps its own, a list gets "0", "1" and so on.

    Raises
    ------
    TypeError
        If `groups` is neither an object, nor a list or mapping of them.
    ValueError
        If it is empty.
    """
    # A TsGroup is a mapping itself (unit id → spikes): ask for it first.
    if isinstance(groups, (nap.TsGroup, nap.TsdFrame)):
        groups = {"recording": groups}
    if isinstance(groups, (list, tuple)):
        groups = {str(i): units for i, units in enumerate(groups)}
    if not isinstance(groups, Mapping):
        raise TypeError(
            f"groups is a {type(groups).__name__}; expected a list of pynapple objects, or a "
            "mapping name → object"
        )
    if not groups:
        raise ValueError("groups is empty; expected at least one recording")
    return {str(name): units for name, units in groups.items()}


def _from_spikes(group: nap.TsGroup, name: str, epochs: nap.IntervalSet | None) -> Recording:
    ids = np.asarray(group.index)
    if len(ids) == 0:
        raise ValueError(f"recording {name!r} has no units; expected a TsGroup with at least one")
    trains = [np.asarray(group[unit].t, dtype=np.float64) for unit in ids]
    times = np.concatenate(trains)
    if times.size == 0:
        raise ValueError(
            f"recording {name!r} has no spikes at all in its {len(ids)} units; was it restricted "
            "to epochs without data?"
        )
    units = np.repeat(np.arange(len(ids), dtype=np.int32), [len(train) for train in trains])
    order = np.argsort(times, kind="stable")
    times, units = times[order], units[order]
    used = _epochs(group, epochs)
    first, last = np.searchsorted(times, used).T
    if len(used) and not (last > first).any():
        raise ValueError(
            f"recording {name!r} has no spikes at all in the epochs chosen ({used.min():g} to "
            f"{used.max():g} s); its spikes lie between {times[0]:g} and {times[-1]:g} s"
        )
    _warn_if_not_seconds(group, name)
    return Recording(
        name=name,
        unit_ids=ids,
        metadata=group.metadata,
        epochs=used,
        modality="spikes",
        times=times,
        units=units,
    )


def _from_traces(frame: nap.TsdFrame, name: str, epochs: nap.IntervalSet | None) -> Recording:
    ids = np.asarray(frame.columns)
    frame_times = np.asarray(frame.t, dtype=np.float64)
    if len(ids) == 0 or len(frame_times) < 2:
        raise ValueError(
            f"recording {name!r} has {len(frame_times)} frames of {len(ids)} units; expected at "
            "least two frames and one unit"
        )
    period = float(np.median(np.diff(frame_times)))
    if not period > 0:
        raise ValueError(
            f"recording {name!r} has a median interval of {period:g} s between frames; expected "
            "a positive frame period: are the times in seconds and distinct?"
        )
    traces = np.asarray(frame.values, dtype=np.float32)
    if not np.isfinite(traces).all():
        row, column = np.argwhere(~np.isfinite(traces))[0]
        raise ValueError(
            f"recording {name!r}: unit {ids[column]} is {traces[row, column]} at frame {row} "
            f"({frame_times[row]:g} s); expected finite traces: interpolate or drop those frames"
        )
    return Recording(
        name=name,
        unit_ids=ids,
        metadata=frame.metadata,
        epochs=_epochs(frame, epochs),
        modality="calcium",
        traces=traces,
        frame_times=frame_times,
        frame_period=period,
    )


def _epochs(units: Units, epochs: nap.IntervalSet | None) -> NDArray[np.float64]:
    """Return the epochs to use as (epochs, 2) seconds, cut to the time support."""
    support = units.time_support
    if epochs is not None:
        with warnings.catch_warnings():  # pynapple warns of an empty intersection; windows raise
            warnings.simplefilter("ignore")
            support = support.intersect(epochs)
    return np.asarray(support.values, dtype=np.float64).reshape(-1, 2)


def _warn_if_not_seconds(group: nap.TsGroup, name: str) -> None:
    """Warn of spike times that look like milliseconds or samples taken for seconds."""
    hours = float(np.diff(group.time_support.values, axis=1).sum()) / 3600
    rate = float(np.median(group["rate"]))
    if hours > 24 and rate < 0.01:
        warnings.warn(
            f"recording {name!r} lasts {hours:.0f} hours at a median rate of {rate:.2g} Hz: its "
            "spike times look like milliseconds or samples; pynapple expects seconds",
            UserWarning,
            stacklevel=2,
        )
