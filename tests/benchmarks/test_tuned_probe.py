"""The probe whose regularisation is chosen by inner folds."""

import numpy as np
import pytest
import tuned_probe
from features import Features
from tuned_probe import SETTINGS, Choices, Setting, TunedProbe, inner_folds

from pynapple_nuclr.evaluation import evaluate


class Table(Features):
    """Features that are given: a column that tells the label, and columns of noise."""

    def __init__(self, recordings):
        self.made = {}
        for units in recordings.values():
            rng = np.random.default_rng(len(self.made))
            y = np.unique(np.asarray(units["cell_type"]), return_inverse=True)[1]
            self.made[self.key(units)] = {
                "good": np.column_stack([y + 0.1 * rng.normal(size=len(y))]),
                "noise": rng.normal(size=(len(y), 30)),
            }

    @staticmethod
    def key(units):
        return tuple(len(units[unit]) for unit in units.index)

    def vectors(self, name, units):
        return self.made[self.key(units)][name]


@pytest.fixture(scope="module")
def mice():
    import pynapple_nuclr as nap_nuclr

    return nap_nuclr.simulate("single", n_units=24, duration=20, animals=3)


def row(mice, *inputs, **how):
    animals = {name: name for name in mice}
    return TunedProbe(inputs, Table(mice), "row", animals, **how)


def macro_f1(mice, system, protocol="transductive_zero_shot"):
    options = {"progress": False, "n_shuffles": 0, "animals": {name: name for name in mice}}
    scores = evaluate(mice, "cell_type", protocol, [system], **options)
    return float(scores["macro_f1"].sel(system="row").squeeze())


def test_inner_folds_leave_out_each_animal_once():
    animals = np.repeat(["a", "b", "c"], [3, 2, 4])
    folds = list(inner_folds(np.zeros(9, int), animals, seed=0))
    assert [set(animals[test]) for test in folds] == [{"a"}, {"b"}, {"c"}]
    many = np.repeat([f"animal{i:02}" for i in range(18)], 2)
    parts = list(inner_folds(np.zeros(36, int), many, seed=0))
    assert len(parts) == 4
    assert np.sum(parts, axis=0).tolist() == [1] * 36


def test_inner_folds_leave_out_units_where_one_animal_is_labelled():
    folds = list(inner_folds(np.tile([0, 1], 6), np.full(12, "a"), seed=0))
    assert len(folds) == 3
    assert np.sum(folds, axis=0).tolist() == [1] * 12


@pytest.mark.parametrize("protocol", ["transductive", "transductive_zero_shot"])
def test_a_feature_that_tells_the_label_is_read(mice, protocol, monkeypatch):
    monkeypatch.setattr(tuned_probe, "SETTINGS", (Setting(0.1, True), Setting(1.0, True)))
    assert macro_f1(mice, row(mice, "good"), protocol) == 1
    assert macro_f1(mice, row(mice, "noise"), protocol) < 0.7
    assert macro_f1(mice, row(mice, "good", shuffled=True), protocol) < 0.8


def test_noise_beside_a_good_feature_costs_little(mice):
    choices = Choices()
    assert macro_f1(mice, row(mice, "good", "noise", choices=choices)) > 0.9
    assert len(choices["row"]) == 3  # one choice for each animal left out


def test_inner_folds_choose_the_setting_of_the_best_score(mice):
    """A weak feature in much noise: the setting with the best inner score is taken."""
    rng = np.random.default_rng(0)
    y = np.tile([0, 1], 60)
    animals = np.repeat(["a", "b", "c"], 40)
    x = np.column_stack([y + rng.normal(size=120), rng.normal(size=(120, 60))])
    folds = list(inner_folds(y, animals, 0))
    (probe,) = tuned_probe._choose([x], y, folds)
    scores = {
        how: tuned_probe._f1(y, p) for how, p in tuned_probe._out_of_fold([x], y, folds, used=[0])
    }
    assert probe.setting == max(SETTINGS, key=scores.get)  # of equal ones the first


@pytest.mark.parametrize(("apart", "balanced"), [(0.7, True), (1.5, False)])
def test_inner_folds_choose_the_weighting_of_the_classes(apart, balanced):
    """A rare class that overlaps much needs equal weights; one that is apart does not."""
    y = np.tile([0] * 4 + [1], 120)
    animals = np.repeat(["a", "b", "c"], 200)
    x = (apart * y + np.random.default_rng(0).normal(size=600))[:, None]
    (probe,) = tuned_probe._choose([x], y, list(inner_folds(y, animals, 0)))
    assert probe.setting.balanced == balanced


def test_units_without_one_of_two_features_are_predicted_by_the_other(mice):
    system = row(mice, "good", "noise")
    labels = {name: np.asarray(units["cell_type"]).astype(str) for name, units in mice.items()}
    name, units = next(iter(mice.items()))
    own = system.features.made[system.features.key(units)]
    own["noise"][0] = np.nan
    own["good"][1], own["noise"][1] = np.nan, np.nan
    found = system.fit(mice, labels).predict_proba({name: units})[name]
    assert np.isfinite(found[0]).all()
    assert np.isnan(found[1]).all()
