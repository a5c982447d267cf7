"""The targets of a decoder of activity: behaviour, or what the rest of the population does."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pynapple as nap
import torch.nn.functional as F
from numpy.typing import NDArray
from sklearn.utils.extmath import randomized_svd
from torch import Tensor

from pynapple_nuclr.baselines.time_series import values_at
from pynapple_nuclr.columns import is_missing
from pynapple_nuclr.recording import Recording
from pynapple_nuclr.user_warnings import warn_user

Floats = NDArray[np.float64]
Behaviour: TypeAlias = nap.IntervalSet | nap.Tsd | nap.TsdFrame

MISSING = -100
"""Class of a target that is not known (torch's own number for it)."""

_FEW = 10  # distinct numbers, up to which they are classes
_ROUNDING = 1e-6  # s, by which an interval may be longer than its epoch


@dataclass(frozen=True)
class DecodingTask:
    """One thing to decode."""

    name: str  # of the target
    classes: tuple[Any, ...] = ()  # empty for numbers
    outputs: int = 1  # number of classes, or of numbers
    centre: float = 0.0  # numbers are standardised by centre and scale
    scale: float = 1.0

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the cross-entropy or squared error of outputs (…, outputs), missing left out."""
        if self.classes:
            flat = F.cross_entropy(output.flatten(0, -2), target.flatten(), reduction="sum")
            return flat / max(int((target != MISSING).sum()), 1)
        known = target.isfinite()
        wrong = (output - target.nan_to_num()) * known
        return wrong.square().sum() / max(int(known.sum()), 1)


def behaviour_of(
    recording: Recording, behaviour: Mapping[str, Behaviour] | None
) -> nap.IntervalSet | nap.TsdFrame:
    """Return the behaviour of a recording: intervals within its epochs, or a time series."""
    name = recording.name
    found = (behaviour or {}).get(name)
    if found is None:
        raise ValueError(
            f"recording {name!r} has no behaviour, which Poyo decodes; give behaviour={{{name!r}: "
            "an IntervalSet with metadata, a Tsd or a TsdFrame}, or use UnitEmbeddingDecoder, "
            "which needs none"
        )
    if isinstance(found, nap.IntervalSet):
        return _trials(recording, found)
    if isinstance(found, (nap.Tsd, nap.TsdFrame)):
        return nap.TsdFrame(
            found.t,
            np.asarray(found.values, dtype=np.float64).reshape(len(found), -1),
            time_support=found.time_support,
            columns=found.columns if isinstance(found, nap.TsdFrame) else ["behaviour"],
        )
    raise TypeError(
        f"behaviour of recording {name!r} is a {type(found).__name__}; expected a pynapple "
        "IntervalSet with a metadata column for each target, a Tsd or a TsdFrame"
    )


def _trials(recording: Recording, trials: nap.IntervalSet) -> nap.IntervalSet:
    """Return the intervals within the epochs of a recording."""
    name = recording.name
    epoch = np.searchsorted(recording.epochs[:, 0], trials.start + _ROUNDING, "right") - 1
    inside = (epoch >= 0) & (trials.end <= recording.epochs[epoch, 1] + _ROUNDING)
    if not inside.any() or not len(trials.metadata_columns):
        raise ValueError(
            f"behaviour of recording {name!r}: {len(trials)} intervals, {inside.sum()} within an "
            f"epoch of the recording, metadata {list(trials.metadata_columns)}; expected intervals "
            "of its time support, with a metadata column for each target"
        )
    if not inside.all():
        warn_user(
            f"behaviour of recording {name!r}: {(~inside).sum()} of {len(trials)} intervals are "
            "left out: they are not within one epoch of the recording"
        )
    return trials[inside]


def tasks_of(behaviour: Sequence[nap.IntervalSet | nap.TsdFrame]) -> list[DecodingTask]:
    """Return what there is to decode of the behaviour of all recordings.

    Metadata columns of intervals, or signals of time series, which are always numbers.
    """
    tables = [
        one.metadata if isinstance(one, nap.IntervalSet) else one.as_dataframe()
        for one in behaviour
    ]
    few = _FEW if all(isinstance(one, nap.IntervalSet) for one in behaviour) else 1
    columns = pd.concat(tables, ignore_index=True)
    tasks = []
    for name in columns:
        known = columns[name][~is_missing(columns[name])]
        values = sorted(known.unique().tolist(), key=lambda value: (str(type(value)), value))
        if pd.api.types.is_numeric_dtype(known) and len(values) > few:
            tasks.append(
                DecodingTask(str(name), centre=float(known.mean()), scale=float(known.std()))
            )
        elif len(values) > 1:
            tasks.append(DecodingTask(str(name), classes=tuple(values), outputs=len(values)))
    if not tasks:
        raise ValueError(
            f"behaviour with the columns {list(columns)}: each has one value only; expected two "
            "values or more"
        )
    return tasks


def target_of(task: DecodingTask, columns: pd.DataFrame) -> NDArray[Any]:
    """Return the target of each interval: (intervals, 1) classes, or (intervals, 1, 1) numbers."""
    column = columns.get(task.name, pd.Series(np.nan, columns.index))
    if task.classes:
        codes = pd.Categorical(column, categories=list(task.classes)).codes.astype(np.int64)
        return np.where(codes < 0, MISSING, codes)[:, None]
    numbers = (column.to_numpy(np.float64) - task.centre) / task.scale
    return numbers.astype(np.float32)[:, None, None]


def series_targets(
    tasks: Sequence[DecodingTask], series: nap.TsdFrame, times: Floats, name: str
) -> dict[str, NDArray[np.float32]]:
    """Return the signals of each task at times (windows, queries): (windows, queries, 1)."""
    signals = values_at(series, times.ravel(), name).T.reshape(-1, *times.shape, 1)
    by_name = dict(zip(map(str, series.columns), signals, strict=True))
    unknown = np.full((*times.shape, 1), np.nan)
    return {
        task.name: ((by_name.get(task.name, unknown) - task.centre) / task.scale).astype(np.float32)
        for task in tasks
    }


def digest(behaviour: Behaviour) -> str:
    """Return a short name for behaviour, which changes with any part of it."""
    series = isinstance(behaviour, nap.Tsd)
    table = behaviour.as_series() if series else behaviour.as_dataframe()
    return hashlib.sha256(table.to_csv().encode()).hexdigest()[:12]


def shared_components(
    counts: NDArray[np.int64], components: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Divide units into two random halves, and return for each what the other half does.

    From `counts` (units, patches) follow the halves (units,), 0 or 1 (all 0 where less than two
    units fire), and the scores (2, patches, components) that half 0 and half 1 decode: those of
    the other half. The s.d. of a component is the root of its covariance relative to the first's;
    0 for components that do not exist.
    """
    active = np.flatnonzero(counts.any(axis=1))
    halves = np.zeros(len(counts), np.int64)
    halves[rng.permutation(active)[: len(active) // 2]] = 1
    scores = np.zeros((2, counts.shape[1], components), np.float32)
    if len(active) < 2:
        return halves, scores
    roots = _standardised(np.sqrt(counts[active]).T)
    first, second = roots[:, halves[active] == 0], roots[:, halves[active] == 1]
    found = min(components, second.shape[1])
    left, covariance, right = randomized_svd(first.T @ second, found, random_state=0)
    sign = np.where(left.sum(axis=0) + right.sum(axis=1) < 0, -1, 1)
    weight = sign * np.sqrt(covariance / max(covariance[0], 1e-12))
    scores[0, :, :found] = _standardised(second @ right.T) * weight
    scores[1, :, :found] = _standardised(first @ left) * weight
    return halves, scores


def _standardised(values: Floats) -> Floats:
    """Return values (rows, columns) with mean 0 and s.d. 1 in each column; constants are 0."""
    centred = values - values.mean(axis=0)
    spread = centred.std(axis=0)
    return centred / np.where(spread > 0, spread, 1)
