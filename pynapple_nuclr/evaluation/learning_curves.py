"""How scores grow: with the labels that are shown, and with the animals in training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr

from pynapple_nuclr.baselines.base import System
from pynapple_nuclr.evaluation.arguments import as_several, check_counts, seeds_of
from pynapple_nuclr.evaluation.folds import check_animals, make_folds
from pynapple_nuclr.evaluation.points import Point, coordinates, fill
from pynapple_nuclr.evaluation.results import attributes, blank, system_coordinates, write
from pynapple_nuclr.evaluation.scoring import POOLED
from pynapple_nuclr.evaluation.systems import resolve_systems
from pynapple_nuclr.evaluation.task import PROTOCOLS, Fold, Protocol, Task, read_task

_FRACTIONS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


def label_efficiency(
    recordings: Any,
    target: str,
    fractions: Sequence[float] = _FRACTIONS,
    systems: Any = None,
    protocol: Protocol = "transductive",
    *,
    animals: Any = None,
    n_folds: int = 5,
    n_draws: int = 3,
    seeds: int | Sequence[int] = 1,
    standardize: str | Sequence[str] = "none",
    n_shuffles: int = 1,
    cache: str | Path | None = None,
    progress: bool = True,
) -> xr.Dataset:
    """Measure how scores grow with the number of labels that are shown.

    The folds are those of `evaluate`. Of a fold's training units, only a fraction of each class
    shows its label, at least one unit; the units of a smaller fraction are among those of a
    larger one. Embeddings are fitted without labels, once for all fractions.

    Parameters
    ----------
    recordings, target, systems, animals, n_folds, seeds, standardize, cache, progress
        As in `evaluate`.
    fractions : sequence of float
        Of the training labels, above 0 and up to 1.
    protocol : str
        One of those of `evaluate`.
    n_draws : int
        How often the units that show their label are drawn.
    n_shuffles : int
        Runs with shuffled labels at every point; 0: the row stays NaN.

    Returns
    -------
    Dataset
        Dimensions ``system``, ``standardize``, ``seed``, ``fraction``, ``draw`` and ``fold``: the
        scores of `evaluate`, and ``n_labels``, the mean number of labels shown in a fold. Draw it
        with ``dataset.nuclr.plot()``.

    Raises
    ------
    TypeError, ValueError
        As `evaluate`; if a fraction is out of its range.

    Examples
    --------
    >>> import pynapple_nuclr as nap_nuclr
    >>> from pynapple_nuclr.evaluation import label_efficiency
    >>> units = nap_nuclr.simulate("single", n_units=60, duration=60)
    >>> curve = label_efficiency(units, "cell_type", [0.1, 1.0], ["statistics"], n_draws=1,
    ...     progress=False)
    >>> curve["n_labels"].values.ravel().tolist()
    [6.0, 48.0]
    """
    (which,) = as_several("protocol", [protocol], PROTOCOLS)
    check_counts(n_folds=(n_folds, 2), n_draws=(n_draws, 1), n_shuffles=(n_shuffles, 0))
    if not fractions or not all(0 < one <= 1 for one in fractions):
        raise ValueError(f"fractions={fractions!r}; expected some above 0 and up to 1")
    task = read_task(recordings, target, animals)
    check_animals(task, which)
    points = []
    for seed in seeds_of(seeds):
        whole = make_folds(task, which, n_folds, seed)
        for draw in range(n_draws):
            for fraction in sorted(set(fractions)):
                thinned = [
                    _thinned(fold, task, fraction, [seed, draw, number])
                    for number, fold in enumerate(whole)
                ]
                place = {"seed": seed, "fraction": fraction, "draw": draw}
                points.append(Point(place, thinned))
    rows = resolve_systems(systems, task)
    options = {"n_shuffles": n_shuffles, "cache": cache, "progress": progress}
    curve = _curve(task, rows, points, standardize, **options)
    dims = tuple(points[0].place)
    curve["n_labels"] = (dims, np.zeros([curve.sizes[dim] for dim in dims]))
    for point in points:
        shown = np.mean([fold.train.sum() for fold in point.folds])
        write(curve, {"n_labels": shown}, **point.place)
    return curve.assign_attrs(attributes("label efficiency", task, protocol=which))


def data_scaling(
    recordings: Any,
    target: str,
    systems: Any = None,
    animals: Any = None,
    n_animals: Sequence[int] | None = None,
    *,
    labels: Literal["all", "same"] = "all",
    n_orders: int = 3,
    seeds: int | Sequence[int] = 1,
    standardize: str | Sequence[str] = "none",
    n_shuffles: int = 1,
    cache: str | Path | None = None,
    progress: bool = True,
) -> xr.Dataset:
    """Measure how scores on unseen animals grow with the number of animals in training.

    Each labelled animal is left out in turn (protocol "inductive_zero_shot"). Systems are fitted
    on the first, the first two, … of the others, in several random orders. A system whose encoder
    is frozen does not change.

    Parameters
    ----------
    recordings, target, systems, animals, seeds, standardize, cache, progress
        As in `evaluate`. Animals without labels are never left out, but systems are fitted on them.
    n_animals : sequence of int, optional
        How many animals systems are fitted on. Default: 1, 2, … all others.
    labels : {"all", "same"}
        Which labels the probe is shown: those of all animals but the one left out, so that only
        pretraining changes; or those of the animals that the system was fitted on. Systems of
        labels learn from nothing else, and are always shown the latter.
    n_orders : int
        Random orders of the animals.
    n_shuffles : int
        Runs with shuffled labels at every point; 0: the row stays NaN.

    Returns
    -------
    Dataset
        Dimensions ``system``, ``standardize``, ``seed``, ``n_animals``, ``order`` and ``fold`` (the
        animal left out): the scores of `evaluate`. The priors do not exist here. Draw it with
        ``dataset.nuclr.plot()``.

    Raises
    ------
    TypeError, ValueError
        As `evaluate`; if a number is out of its range.

    Examples
    --------
    >>> import pynapple_nuclr as nap_nuclr
    >>> from pynapple_nuclr.evaluation import data_scaling
    >>> mice = nap_nuclr.simulate("single", n_units=20, duration=60, animals=3)
    >>> curve = data_scaling(mice, "cell_type", ["statistics"], n_orders=1, progress=False)
    >>> curve["macro_f1"].sel(system="statistics").values.ravel().round(1)
    array([1., 1.])
    """
    as_several("labels", labels, ("all", "same"))
    check_counts(n_orders=(n_orders, 1), n_shuffles=(n_shuffles, 0))
    task = read_task(recordings, target, animals)
    which: Protocol = "inductive_zero_shot"
    check_animals(task, which)
    known = sorted(set(task.animals))
    most = len(known) - 1
    numbers = list(range(1, most + 1)) if n_animals is None else sorted(set(n_animals))
    if not numbers or min(numbers) < 1 or max(numbers) > most:
        raise ValueError(
            f"n_animals={numbers}; with one of {len(known)} animals left out, expected some from 1 "
            f"to {most}"
        )
    points = []
    for seed in seeds_of(seeds):
        whole = make_folds(task, which, 2, seed)
        for order in range(n_orders):
            # The same order for every left-out animal: many of the sets then coincide.
            ordered = np.random.default_rng(order).permutation(known).tolist()
            for number in numbers:
                fewer = [_fewer(fold, task, ordered, number, labels) for fold in whole]
                place = {"seed": seed, "n_animals": number, "order": order}
                points.append(Point(place, fewer))
    rows = resolve_systems(systems, task, priors=False)
    options = {"n_shuffles": n_shuffles, "cache": cache, "progress": progress}
    curve = _curve(task, rows, points, standardize, **options)
    return curve.assign_attrs(attributes("data scaling", task, protocol=which, labels=labels))


def _thinned(fold: Fold, task: Task, fraction: float, seed: Sequence[int]) -> Fold:
    """Return the fold with a fraction of its training units, at least one of each class."""
    order = np.random.default_rng(seed).permutation(len(task.y))
    order = order[fold.train[order]]
    train = np.zeros_like(fold.train)
    for one in range(len(task.classes)):
        mine = order[task.y[order] == one]
        train[mine[: int(np.ceil(fraction * len(mine) - 1e-9))]] = True
    return fold._replace(train=train)


def _fewer(fold: Fold, task: Task, ordered: Sequence[str], number: int, labels: str) -> Fold:
    """Return the fold with only the first animals of an order visible."""
    animals = [one for one in ordered if one != fold.name][:number]
    train = fold.train
    if labels == "same":
        train = train & np.isin(task.animals[task.scored], animals)
    return fold._replace(visible_recordings=task.recordings_of(animals), train=train)


def _curve(
    task: Task,
    rows: Mapping[str, System],
    points: Sequence[Point],
    standardize: str | Sequence[str],
    **options: Any,
) -> xr.Dataset:
    """Return the scores of every system at every point; options as those of `fill`."""
    treatments = as_several("standardize", standardize, ("none", "recording"))
    dims = ("system", "standardize", *points[0].place)
    variables = {**dict.fromkeys(POOLED, dims), "macro_f1_fold": (*dims, "fold")}
    dataset = blank(coordinates(rows, points, treatments), variables)
    predictions = fill(dataset, task, rows, points, **options)
    return dataset.assign_coords(system_coordinates(rows, predictions))
