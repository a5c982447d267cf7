"""`evaluate`: every system, every protocol, one table."""

from __future__ import annotations

import json
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
from pynapple_nuclr.evaluation.task import PROTOCOLS, Protocol, Task, read_task

_RUN = ("system", "protocol", "standardize", "seed")
_VARIABLES = {
    **dict.fromkeys(POOLED, _RUN),
    "recording_decodability": _RUN,
    "recording_chance": _RUN,
    "macro_f1_fold": (*_RUN, "fold"),
    "confusion": (*_RUN, "true_label", "predicted_label"),
    "chance_sd": _RUN[1:],
    "seconds": ("system", "protocol", "seed"),
    "n": ("protocol", "seed", "fold"),
}
_NO_PREDICTION = "(none)"


def evaluate(
    recordings: Any,
    target: str,
    protocol: str | Sequence[str] = "transductive",
    systems: Any = None,
    *,
    animals: Any = None,
    n_folds: int = 5,
    seeds: int | Sequence[int] = 1,
    standardize: str | Sequence[str] = "none",
    n_shuffles: int = 100,
    model_selection: Literal["nested"] | None = None,
    cache: str | Path | None = None,
    progress: bool = True,
) -> xr.Dataset:
    """Measure how well systems predict the label of each unit.

    Every embedding gets the same probe (`StandardScaler` and balanced `LogisticRegression`). The
    rows "shuffled labels" (chance) and the priors are always in the table. No system, scaler or
    probe ever gets the label of a unit that it is scored on.

    Parameters
    ----------
    recordings : list or mapping
        Recordings: TsGroups or TsdFrames, with labels as metadata. Units without a label (None,
        NaN, "") are left out of the scores, not of the population; so are units that never fire.
    target : str
        Metadata column of the labels.
    protocol : str or sequence of str
        "transductive": systems are fitted on all recordings without labels; the probe is trained
        on some of the units and tested on others, by stratified folds over all units.
        "transductive_zero_shot": the same fit; each animal's labels are left out in turn.
        "inductive_zero_shot": nothing of the left-out animal takes part in fit or probe.
    systems : sequence or mapping, optional
        Systems of `pynapple_nuclr.baselines` or their names; a mapping names the rows. Default:
        the bundled encoder, and single-unit statistics.
    animals : mapping, list or str, optional
        Recording name → animal, one per recording, or the metadata column that names it; default
        as in `pynapple_nuclr.columns.recording_animals`.
    n_folds : int
        Folds of the transductive protocol.
    seeds : int or sequence of int
        How many, or which: of fits, and of the transductive folds.
    standardize : {"none", "recording"} or both
        "recording": vectors are standardised within each recording, over all its units, before
        the probe. Has no effect on systems that are not read by a probe.
    n_shuffles : int
        How often the labels are shuffled, at least, and compared with the predictions; spread over
        the seeds, of which each has one or more. 0: the row stays NaN.
    model_selection : {"nested"}, optional
        For every fold, choose among each system's ``candidates()`` by 3 inner folds of its
        training units (zero-shot: animals, where there are two or more). Default: no choice.
    cache : path, optional
        Folder that keeps fits, so that an interrupted run continues and nothing is fitted twice.
        A fit depends on the system's settings, the recordings' content and the seed, for systems
        of labels also on the labels shown.
    progress : bool
        Show a bar that counts folds.

    Returns
    -------
    Dataset
        Dimensions ``system``, ``protocol``, ``standardize``, ``seed``, and ``fold`` (in zero-shot
        protocols: the left-out animal). Draw it with ``dataset.nuclr.plot()``, print it with
        ``dataset.nuclr.table()``.

        ============================== =========================================================
        ``macro_f1``                   of the pooled out-of-fold predictions, over all classes
        ``macro_f1_fold``              of each fold or left-out animal, over the labels that occur
                                       there
        ``macro_f1_within_recording``  mean over recordings with at least two groups of 20 units,
                                       over the labels present in each; chance: labels shuffled
                                       within recordings
        ``balanced_accuracy``          mean recall of the classes
        ``top1``, ``top5``             share of units whose label is the first, among the first five
                                       (NaN below six classes)
        ``ece``, ``brier``,            calibration error, Brier score, and macro F1 of the more
        ``macro_f1_confident_half``    confident half of the predicted units: see
                                       `pynapple_nuclr.calibration`
        ``coverage``                   share of the units with a prediction; others count as missed
        ``confusion``                  units: ``true_label`` × ``predicted_label``
        ``n``                          units scored in each fold
        ``chance_sd``                  s.d. of ``macro_f1`` over the shuffles of "shuffled labels"
        ``seconds``                    of fitting and embedding
        ``recording_decodability``     balanced accuracy of the probe in decoding the recording from
                                       one unit's vector, beside ``recording_chance``
        ``predicted``,                 out-of-fold label ("" = none) and its probability, of every
        ``confidence``                 ``unit`` (coordinates ``recording``, ``unit_id``, ``label``,
                                       ``animal``)
        ``chosen``                     with `model_selection`: the settings chosen for each fold
        ============================== =========================================================

        Coordinates of ``system``: ``identity`` (name@hash), ``pretrained_on`` (what it was
        fitted on) and ``settings``. What a protocol does not have is NaN.

    Raises
    ------
    TypeError, ValueError
        If a name is unknown, a system cannot read the recordings, there are fewer than two
        classes, or a zero-shot protocol has fewer than two animals.
    LeakError
        If something would be fitted on what it is tested on: a unit is in two recordings, a
        system's settings name the labels or a column that reveals them, or its encoder was
        pretrained on an animal that an inductive protocol leaves out. It is a ValueError.

    Examples
    --------
    >>> import pynapple_nuclr as nap_nuclr
    >>> from pynapple_nuclr.evaluation import evaluate
    >>> mice = nap_nuclr.simulate("single", n_units=30, duration=60, animals=2)
    >>> scores = evaluate(mice, "cell_type", "inductive_zero_shot", ["statistics"], progress=False)
    >>> f1 = scores["macro_f1"].squeeze()
    >>> bool(f1.sel(system="statistics") > 0.9), bool(f1.sel(system="shuffled labels") < 0.6)
    (True, True)
    """
    protocols: list[Protocol] = as_several("protocol", protocol, PROTOCOLS)
    treatments = as_several("standardize", standardize, ("none", "recording"))
    numbers = seeds_of(seeds)
    check_counts(n_folds=(n_folds, 2), n_shuffles=(n_shuffles, 0))
    as_several("model_selection", model_selection or "nested", ("nested",))
    task = read_task(recordings, target, animals)
    for one in protocols:
        check_animals(task, one)
    rows = resolve_systems(systems, task)
    points = [
        Point({"protocol": one, "seed": seed}, make_folds(task, one, n_folds, seed))
        for one in protocols
        for seed in numbers
    ]
    shuffles_per_seed = -(-n_shuffles // len(numbers))
    dataset = _blank(task, rows, points, treatments)
    predictions = fill(
        dataset,
        task,
        rows,
        points,
        nested=model_selection == "nested",
        n_shuffles=shuffles_per_seed,
        cache=cache,
        progress=progress,
    )
    dataset["chosen"] = dataset["chosen"].astype(str)
    dataset = dataset.assign_coords(system_coordinates(rows, predictions))
    return dataset.assign_attrs(
        attributes(
            "scores",
            task,
            model_selection=model_selection or "",
            n_folds=n_folds,
            seeds=numbers,
            n_shuffles=shuffles_per_seed * len(numbers),
            history=json.dumps({row: own[0].history for row, own in predictions.items()}),
        )
    )


def _blank(
    task: Task, rows: Mapping[str, System], points: Sequence[Point], treatments: Sequence[str]
) -> xr.Dataset:
    """Return the table without scores: all coordinates, and how many units each fold tests."""
    coords = coordinates(rows, points, treatments) | {
        "true_label": task.classes.tolist(),
        "predicted_label": [*task.classes, _NO_PREDICTION],
    }
    dataset = blank(coords, _VARIABLES)
    for point in points:
        counts = {fold.name: int(fold.test.sum()) for fold in point.folds}
        write(dataset, {"n": counts}, **point.place)
    shape = [len(coords[dim]) for dim in _RUN]
    empty = np.full((*shape, len(task.scored)), "", dtype=task.classes.dtype)
    dataset["predicted"] = ((*_RUN, "unit"), empty)
    dataset["confidence"] = ((*_RUN, "unit"), np.full(empty.shape, np.nan, dtype=np.float32))
    chosen = np.full((*shape, len(coords["fold"])), "", dtype=object)
    dataset["chosen"] = ((*_RUN, "fold"), chosen)
    units = task.scored[task.given]
    return dataset.assign_coords(
        recording=("unit", task.recordings[units]),
        unit_id=("unit", task.unit_ids[units]),
        label=("unit", task.labels[units]),
        animal=("unit", task.animals[units]),
    )
