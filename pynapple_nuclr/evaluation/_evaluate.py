"""`evaluate`: every system, every protocol, one table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr
from tqdm import tqdm

from pynapple_nuclr.baselines.base import EmbeddingSystem, System
from pynapple_nuclr.evaluation.arguments import as_several, check_counts, seeds_of
from pynapple_nuclr.evaluation.fit_systems import Fits
from pynapple_nuclr.evaluation.folds import check_animals, make_folds
from pynapple_nuclr.evaluation.out_of_fold import Engine, Prediction
from pynapple_nuclr.evaluation.results import (
    attributes,
    blank,
    row_names,
    scores_of,
    system_coordinates,
    write,
)
from pynapple_nuclr.evaluation.results_cache import open_store
from pynapple_nuclr.evaluation.scoring import POOLED, most_likely
from pynapple_nuclr.evaluation.shuffled_labels import chance_scores
from pynapple_nuclr.evaluation.systems import (
    SHUFFLED,
    resolve_systems,
    shuffled_system,
    supports_protocol,
)
from pynapple_nuclr.evaluation.task import PROTOCOLS, Fold, Protocol, Task, read_task

_RUN = ("system", "protocol", "standardize", "seed")
_VARIABLES = {
    **dict.fromkeys(POOLED, _RUN),
    "recording_decodability": _RUN,
    "recording_chance": _RUN,
    "macro_f1_fold": (*_RUN, "fold"),
    "confusion": (*_RUN, "true_label", "predicted_label"),
    "seconds": ("system", "protocol", "seed"),
    "n": ("protocol", "seed", "fold"),
}
_NO_PREDICTION = "(none)"


@dataclass(frozen=True)
class _Plan:
    """Which systems predict which folds of which protocol and seed, and how."""

    task: Task
    rows: dict[str, System]
    folds: dict[tuple[Protocol, int], list[Fold]]
    treatments: list[str]
    n_shuffles: int  # with every seed

    @property
    def n_steps(self) -> int:
        """How many folds will be predicted; those with shuffled labels count as one."""
        per_fold = {
            row: len(self.treatments) if isinstance(system, EmbeddingSystem) else 1
            for row, system in self.rows.items()
        }
        steps = [
            len(folds) * per_fold[row]
            for row, system in self.rows.items()
            for (protocol, _), folds in self.folds.items()
            if supports_protocol(system, protocol)
        ]
        return sum(steps) + len(self.folds) * len(self.treatments) * (self.n_shuffles > 0)


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
    n_shuffles: int = 5,
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
        Runs with shuffled labels, at least; spread over the seeds, of which each has one or more.
        0: the row stays NaN.
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
    rows = resolve_systems(systems, task.modality)
    divided = {
        (one, seed): make_folds(task, one, n_folds, seed) for one in protocols for seed in numbers
    }
    plan = _Plan(task, rows, divided, treatments, -(-n_shuffles // len(numbers)))
    dataset = _blank(plan)
    with (
        open_store(cache) as store,
        tqdm(total=plan.n_steps, disable=not progress, unit="fold") as bar,
    ):
        engine = Engine(task, Fits(task, store), model_selection == "nested", bar.update)
        predictions = _fill(dataset, engine, plan, bar)
        _fill_chance(dataset, engine, plan, bar)
    dataset = dataset.assign_coords(system_coordinates(rows, predictions))
    return dataset.assign_attrs(
        attributes(
            "scores",
            task,
            model_selection=model_selection or "",
            n_folds=n_folds,
            seeds=numbers,
            n_shuffles=plan.n_shuffles * len(numbers),
            history=json.dumps({row: own[0].history for row, own in predictions.items()}),
        )
    )


def _blank(plan: _Plan) -> xr.Dataset:
    """Return the table without scores: all coordinates, and how many units each fold tests."""
    task = plan.task
    names = [fold.name for folds in plan.folds.values() for fold in folds]
    coords: dict[str, Sequence[Any]] = {
        "system": row_names(plan.rows),
        "protocol": list(dict.fromkeys(protocol for protocol, _ in plan.folds)),
        "standardize": plan.treatments,
        "seed": list(dict.fromkeys(seed for _, seed in plan.folds)),
        "fold": list(dict.fromkeys(names)),
        "true_label": task.classes.tolist(),
        "predicted_label": [*task.classes, _NO_PREDICTION],
    }
    dataset = blank(coords, _VARIABLES)
    for (protocol, seed), folds in plan.folds.items():
        counts = {fold.name: int(fold.test.sum()) for fold in folds}
        write(dataset, {"n": counts}, protocol=protocol, seed=seed)
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


def _fill(
    dataset: xr.Dataset, engine: Engine, plan: _Plan, bar: Any
) -> dict[str, list[Prediction]]:
    """Write the scores of every system; return its predictions."""
    of_systems: dict[str, list[Prediction]] = {}
    for row, system in plan.rows.items():
        bar.set_description(row)
        for (protocol, seed), folds in plan.folds.items():
            if not supports_protocol(system, protocol):
                continue
            predictions = engine.predict(system, folds, protocol, seed, plan.treatments)
            of_systems.setdefault(row, []).extend(predictions.values())
            for how, one in predictions.items():
                place = {"system": row, "protocol": protocol, "standardize": how, "seed": seed}
                write(dataset, scores_of(one.probabilities, plan.task, folds), **place)
                write(dataset, {"seconds": one.seconds}, **place)
                _write_units(dataset, one, plan.task, folds, place)
                if isinstance(system, EmbeddingSystem):
                    write(dataset, _decodability(engine, system, folds, how, seed), **place)
    dataset["chosen"] = dataset["chosen"].astype(str)
    return of_systems


def _fill_chance(dataset: xr.Dataset, engine: Engine, plan: _Plan, bar: Any) -> None:
    """Write the scores of the probe on shuffled labels."""
    bar.set_description(SHUFFLED)
    system = shuffled_system(plan.rows)
    for (protocol, seed), folds in plan.folds.items():
        for how in plan.treatments if plan.n_shuffles else ():
            place = {"system": SHUFFLED, "protocol": protocol, "standardize": how, "seed": seed}
            write(
                dataset, chance_scores(engine, system, folds, how, seed, plan.n_shuffles), **place
            )
            bar.update()


def _write_units(
    dataset: xr.Dataset,
    prediction: Prediction,
    task: Task,
    folds: Sequence[Fold],
    place: dict[str, Any],
) -> None:
    predicted = most_likely(prediction.probabilities)[task.given]  # −1, the last, is ""
    dataset["predicted"].loc[place] = np.append(task.classes, "")[predicted]
    dataset["confidence"].loc[place] = prediction.probabilities.max(axis=1)[task.given]
    for fold, chosen in zip(folds, prediction.chosen, strict=True):
        dataset["chosen"].loc[{**place, "fold": fold.name}] = chosen


def _decodability(
    engine: Engine, system: EmbeddingSystem, folds: Sequence[Fold], standardize: str, seed: int
) -> dict[str, float]:
    """Return how well the recording can be decoded, mean over the fits of the folds."""
    fits = {fold.visible_recordings: engine.vectors(system, fold, seed) for fold in folds}
    predicted = [engine.probing.decode_recordings(fit.values, standardize) for fit in fits.values()]
    found, chance = np.mean(predicted, axis=0)
    return {"recording_decodability": found, "recording_chance": chance}
