"""Leaks of folds, probes, normalisers and calibrators: planted, and seen to be refused."""

import numpy as np
import pytest
from evaluation_systems import Counting, RemembersLabels, mice, recording
from leaks import PROTOCOLS, TINY, caught, evaluate
from sklearn.linear_model import LogisticRegression

from pynapple_nuclr import Encoder, Probe, evaluation
from pynapple_nuclr.baselines import Nuclr
from pynapple_nuclr.evaluation import (
    LeakError,
    _evaluate,
    folds,
    learning_curves,
    out_of_fold,
    standard_probe,
)
from pynapple_nuclr.evaluation.task import Task, read_task
from pynapple_nuclr.probes import cross_validation
from pynapple_nuclr.probes.cross_validation import Candidate, Key


def test_nothing_honest_is_refused():
    systems = {
        "vectors": Counting(options=(False,)),
        "labels": RemembersLabels(),
        "encoder": Nuclr(Encoder(TINY)),
    }
    options = {"standardize": ["none", "recording"], "model_selection": "nested", "n_shuffles": 1}
    dataset = evaluate(mice(3), PROTOCOLS, systems, **options)
    assert dataset["coverage"].sel(system="vectors").values.min() == 1
    assert issubclass(LeakError, ValueError)


# folds: where they are made, before anything is fitted


def made(recordings, protocol):
    return folds.make_folds(read_task(recordings, "cell_type"), protocol, 5, 0)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_tested_unit_that_shows_its_label(monkeypatch, protocol):
    honest = folds._fold

    def overlapping(name, tested, use, *rest):
        return honest(name, tested, use, *rest)._replace(train=use)

    monkeypatch.setattr(folds, "_fold", overlapping)
    with caught("fold", protocol, "units 126, ", "'day_0'", "trained on and then tested"):
        made(mice(3), protocol)


@pytest.mark.parametrize("protocol", PROTOCOLS[1:])
def test_folds_by_unit_where_animals_should_be_left_out(monkeypatch, protocol):
    def by_unit(task, use, seen, protocol, at_most=None):
        parts = folds._by_unit(task, use, 3, 0, seen)
        return [part._replace(protocol=protocol, visible_recordings=()) for part in parts]

    monkeypatch.setattr(folds, "_by_animal", by_unit)
    with caught(f"'fold 1' of protocol {protocol!r}", "animal 'm0', 'm1', 'm2' is tested"):
        made(mice(3), protocol)


def test_an_inductive_fold_that_sees_the_recordings_of_its_animal(monkeypatch):
    monkeypatch.setattr(folds, "without_hidden", lambda task, fold: fold)
    with caught("fold 'm0'", "recording 'day_0', 'late' is of a tested animal"):
        made(mice(3) | {"late": recording(7, animal="m0")}, PROTOCOLS[2])


# folds: where they are used, by a system that the error names


@pytest.mark.parametrize("system", [Counting(), RemembersLabels()], ids=lambda one: one.name)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_folds_of_somebody_else(monkeypatch, system, protocol):
    def somebodys(task, *options):
        first, *rest = folds.make_folds(task, *options)
        few = np.cumsum(first.test) <= 4
        leaking = {
            "transductive": {"train": first.train | first.test & few},
            "transductive_zero_shot": {"train": ~first.test | few, "test": first.test & ~few},
            "inductive_zero_shot": {"visible_recordings": tuple(task.units)},
        }
        return [first._replace(**leaking[protocol]), *rest]

    monkeypatch.setattr(_evaluate, "make_folds", somebodys)
    what = {
        "transductive": "of recording 'day_0', 'day_1' would be trained on and then tested",
        "transductive_zero_shot": "animal 'm0' is tested, and units 1",
        "inductive_zero_shot": "recording 'day_0' is of a tested animal",
    }
    with caught(f"system {system.name!r}, fold", repr(protocol), what[protocol]):
        evaluate(mice(3), protocol, [system])


def test_points_of_curves_that_leak(monkeypatch):
    recordings = mice(3)

    def all_seen(fold, task, *_):
        return fold._replace(visible_recordings=tuple(task.units))

    monkeypatch.setattr(learning_curves, "_fewer", all_seen)
    options = {"systems": [Counting()], "n_shuffles": 0, "progress": False}
    with caught("system 'counting'", "fold 'm0'", "recording 'day_0' is of a tested animal"):
        evaluation.data_scaling(recordings, "cell_type", n_orders=1, **options)

    def all_shown(fold, *_):
        return fold._replace(train=np.ones_like(fold.train))

    monkeypatch.setattr(learning_curves, "_thinned", all_shown)
    with caught("system 'counting'", "fold 'fold 1'", "trained on and then tested"):
        evaluation.label_efficiency(recordings, "cell_type", [0.5], n_draws=1, **options)


def test_vectors_for_chance_and_decodability_are_watched_as_well():
    task = read_task(mice(3), "cell_type")
    fold, *_ = folds.make_folds(task, PROTOCOLS[2], 5, 0)
    fold = fold._replace(visible_recordings=tuple(task.units))
    with caught("'counting'", "'day_0'"):
        out_of_fold.Engine(task, fits=None).vectors(Counting(), fold, 0)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("system", [Counting, RemembersLabels])
def test_nested_choice_by_units_that_are_tested(monkeypatch, protocol, system):
    class TwoWays(system):
        name = "two ways"

        def candidates(self):
            return [self, system()]

    def whole(task, fold, seed):
        everything = np.ones_like(fold.train)
        return folds._by_unit(task, everything, 3, 0, fold.visible_recordings)

    monkeypatch.setattr(out_of_fold, "inner_folds", whole)
    with caught("'two ways'", "which configuration is chosen", "not among its training units"):
        evaluate(mice(3), protocol, [TwoWays()], model_selection="nested")


def test_nested_choice_that_sees_more_than_its_fold(monkeypatch):
    def sees_all(task, fold, seed):
        parts = folds.inner_folds(task, fold, seed)
        return [
            part._replace(protocol="transductive", visible_recordings=tuple(task.units))
            for part in parts
        ]

    monkeypatch.setattr(out_of_fold, "inner_folds", sees_all)
    with caught("'counting'", "fold 'm0'", "inner fold 'm1' would see recording 'day_0'"):
        evaluate(mice(3), PROTOCOLS[2], [Counting(options=(True,))], model_selection="nested")


# probe, normaliser, calibrator


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_probe_that_is_given_tested_units(monkeypatch, protocol):
    """What a fold hides is not there, whoever forgets to look: here nobody checks the fold."""
    for module in (folds, out_of_fold):
        monkeypatch.setattr(module, "check_fold", lambda task, fold, system="": fold)
    honest = folds._fold

    def overlapping(name, tested, use, *rest):
        return honest(name, tested, use, *rest)._replace(train=use)

    monkeypatch.setattr(folds, "_fold", overlapping)
    hidden = 18 if protocol == "transductive" else 30
    with caught(f"fitted on {hidden} units, of 90, whose labels are hidden"):
        evaluate(mice(3), protocol)


def test_a_normaliser_of_several_recordings(monkeypatch):
    task = read_task(mice(3), "cell_type")
    fold, *_ = folds.make_folds(task, PROTOCOLS[2], 5, 0)
    vectors = np.random.default_rng(0).normal(size=(90, 2)).astype(np.float32)
    standard_probe.Probing(task).predict(vectors, fold, "recording")
    monkeypatch.setattr(Task, "rows_of", lambda self, name: slice(None))
    with caught("normaliser of recording 'day_0'", "'day_1', 'day_2' (animal 'm1', 'm2')"):
        standard_probe.Probing(task).predict(vectors, fold, "recording")


def test_what_standardises_a_recording_says_nothing_about_another():
    """Nothing of the animal left out reaches the vectors of the others."""
    recordings = mice(3, separation=0.4)
    before = evaluate(recordings, PROTOCOLS[2], standardize="recording")
    task = read_task(recordings, "cell_type")
    fold, *_ = folds.make_folds(task, PROTOCOLS[2], 5, 0)
    vectors = np.random.default_rng(0).normal(size=(90, 2)).astype(np.float32)
    learned = []
    for factor in (1, 100):
        vectors[task.rows_of("day_0")] *= factor
        x = standard_probe.Probing(task)._standardized(vectors, "recording")
        learned.append(x[task.scored][fold.train])
    np.testing.assert_array_equal(*learned)
    assert before["coverage"].sel(system="counting").item() == 1


def test_a_calibrator_that_is_given_tested_units():
    rng = np.random.default_rng(0)
    labels, x = np.repeat(["a", "b"], 20), rng.normal(size=(40, 2))
    parts = np.array_split(rng.permutation(40), 4)
    honest = [(np.setdiff1d(np.arange(40), part), part) for part in parts]
    probabilities = rng.dirichlet([1, 1], 40)
    given = (Candidate(x, LogisticRegression()), labels, np.zeros(40, int), None)
    assert cross_validation.calibrate_folds(*given, honest, probabilities).shape == (40, 2)
    leaking = [*honest[:2], (np.arange(40), parts[2])]
    with caught("calibrates", "fold 3", ", ".join(map(str, sorted(parts[2])[:5]))):
        cross_validation.calibrate_folds(*given, leaking, probabilities)


@pytest.mark.parametrize("by", ["animal", "recording"])
def test_a_probe_cross_validated_on_the_animals_of_its_training(monkeypatch, by):
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(60, 2)), np.tile(["a", "b", "c"], 20)
    groups = np.repeat(["m0", "m1", "m2", "m3"], 15)
    given = (groups, groups if by == "animal" else None)
    candidates = {Key("embedding"): Candidate(x, LogisticRegression())}
    given = (candidates, labels, *given, "kind", True)
    score = cross_validation.cross_validate(*given)
    assert (score.by, score.folds) == (by, 4)
    monkeypatch.setattr(
        cross_validation,
        "_by_group",
        lambda labels, groups, most: cross_validation._of_units(labels),
    )
    with caught("the probe of 'kind'", f"in fold 1 on {by} 'm0', 'm1', 'm2', 'm3'"):
        cross_validation.cross_validate(*given)
    if by == "animal":
        with caught("the probe of 'kind'"):
            Probe("kind").fit(x, labels, animals=groups, verbose=False)
