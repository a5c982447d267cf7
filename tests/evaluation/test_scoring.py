"""Scores against values computed by hand, and against scikit-learn where it has the same."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score

from pynapple_nuclr.evaluation.scoring import f1_of_folds, macro_f1_within_recording, score
from pynapple_nuclr.evaluation.standard_probe import train_probe
from pynapple_nuclr.probes import Probe
from pynapple_nuclr.probes.default_estimator import default_estimator
from pynapple_nuclr.probes.fitting import new_estimators

HERE = np.array(["a"])


def sure(predicted, n_classes, confidence=1.0):
    """Probabilities (units, classes) that put `confidence` on one class; NaN where it is None."""
    rest = (1 - confidence) / (n_classes - 1)
    probabilities = np.full((len(predicted), n_classes), rest)
    for unit, one in enumerate(predicted):
        if one is None:
            probabilities[unit] = np.nan
        else:
            probabilities[unit, one] = confidence
    return probabilities


def scores(predicted, y, n_classes, confidence=1.0, recordings=None):
    recordings = np.repeat(HERE, len(y)) if recordings is None else np.asarray(recordings)
    return score(sure(predicted, n_classes, confidence), np.array(y), recordings)


def test_six_units_by_hand():
    # True 0 0 0 1 1 2, predicted 0 0 1 1 2 2: F1 = 4/5, 2/4, 2/3.
    found = scores([0, 0, 1, 1, 2, 2], [0, 0, 0, 1, 1, 2], 3)
    assert found["macro_f1"] == pytest.approx((4 / 5 + 1 / 2 + 2 / 3) / 3)
    assert found["balanced_accuracy"] == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    assert found["top1"] == pytest.approx(4 / 6)
    assert found["coverage"] == 1.0
    assert np.isnan(found["top5"])


def test_macro_f1_is_over_all_classes_and_that_of_folds_over_those_present():
    y, predicted = np.array([0, 0, 1, 1]), [0, 0, 1, 0]
    first = np.array([True, True, False, False])
    assert scores(predicted, y, 3)["macro_f1"] == pytest.approx((4 / 5 + 2 / 3 + 0) / 3)
    of_folds = f1_of_folds(sure(predicted, 3), y, [first, ~first])
    assert of_folds == pytest.approx([1.0, 2 / 3])  # class 0 is not predicted in the second


def test_no_answer_is_missed_but_nobody_is_taken_for_another():
    found = scores([0, None, 1, 1], [0, 0, 1, 1], 2)
    assert found["macro_f1"] == pytest.approx((2 / 3 + 1) / 2)
    assert found["balanced_accuracy"] == pytest.approx((1 / 2 + 1) / 2)
    assert found["coverage"] == 0.75
    nothing = scores([None, None], [0, 1], 2)
    assert nothing["macro_f1"] == 0.0
    assert nothing["coverage"] == 0.0
    assert np.isnan(nothing["ece"])


def test_agrees_with_scikit_learn():
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(7), 300)
    y = rng.integers(0, 7, 300)
    predicted = probabilities.argmax(axis=1)
    found = score(probabilities, y, np.repeat(HERE, 300))
    assert found["macro_f1"] == pytest.approx(f1_score(y, predicted, average="macro"))
    assert found["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(y, predicted))
    first_five = [y[i] in np.argsort(-probabilities[i])[:5] for i in range(300)]
    assert found["top5"] == pytest.approx(np.mean(first_five))


def test_equal_probabilities_share_the_first_five_places():
    probabilities = np.full((1, 10), 0.1)
    assert score(probabilities, np.array([7]), HERE)["top5"] == pytest.approx(0.5)
    probabilities = np.array([[0.5, 0.5, 0, 0, 0, 0, 0, 0, 0, 0]])  # three places for eight
    assert score(probabilities, np.array([9]), HERE)["top5"] == pytest.approx(3 / 8)
    probabilities[:] = np.nan
    assert score(probabilities, np.array([9]), HERE)["top5"] == 0.0


def test_within_recordings():
    # a: 20 + 20 units, predicted half right; b: 20 + 19, does not count; c: 20 + 20 + 1, all right.
    y = np.repeat([0, 1, 0, 1, 0, 1, 2], [20, 20, 20, 19, 20, 20, 1])
    recordings = np.repeat(["a", "b", "c"], [40, 39, 41])
    predicted = y.copy()
    predicted[:10] = 1
    predicted[30:40] = 0
    predicted[40:79] = 2
    assert macro_f1_within_recording(y, predicted, recordings) == pytest.approx((0.5 + 1.0) / 2)
    alone = recordings == "b"
    assert np.isnan(macro_f1_within_recording(y[alone], predicted[alone], recordings[alone]))
    predicted[-1] = 0  # its label is present in c, so its F1 counts as 0
    c = (2 * 20 / 41 + 1 + 0) / 3
    assert macro_f1_within_recording(y, predicted, recordings) == pytest.approx((0.5 + c) / 2)


def test_calibration_by_hand():
    # Ten units with confidence 0.7, of which four are right.
    found = scores([0] * 10, [0] * 4 + [1] * 6, 2, confidence=0.7)
    assert found["ece"] == pytest.approx(0.3)
    assert found["brier"] == pytest.approx((4 * 2 * 0.3**2 + 6 * 2 * 0.7**2) / 10)
    both = np.concatenate([sure([0] * 4, 2, 0.7), sure([0] * 6, 2, 0.95)])
    found = score(both, np.array([0, 0, 0, 1] + [0] * 3 + [1] * 3), np.repeat(HERE, 10))
    assert found["ece"] == pytest.approx((4 * 0.05 + 6 * 0.45) / 10)
    assert scores([0, 1], [0, 1], 2)["ece"] == 0.0


def test_the_confident_half():
    probabilities = np.concatenate([sure([0, 1, 0, 1], 2, 0.9), sure([0, 1, 0, 1], 2, 0.6)])
    y = np.array([0, 1, 0, 1, 1, 0, 1, 0])
    found = score(probabilities, y, np.repeat(HERE, 8))
    assert found["macro_f1_confident_half"] == 1.0
    assert found["macro_f1"] == pytest.approx(0.5)
    probabilities[:4] = np.nan  # without a prediction there is no confidence
    assert score(probabilities, y, np.repeat(HERE, 8))["macro_f1_confident_half"] == 0.0


def test_the_probe_is_that_of_the_package():
    first = next(iter(new_estimators(Probe("label")).values()))
    assert repr(default_estimator()) == repr(first)


def test_the_probe_predicts_no_class_that_it_was_not_trained_on():
    x, y = np.array([[0.0], [0.2], [1.0], [1.2]]), np.array([0, 0, 2, 2])
    predicted = train_probe(x, y, np.array([[0.1], [np.nan]]), 3)
    assert predicted[0] == pytest.approx([0.7, 0.0, 0.3], abs=0.05)
    assert np.isnan(predicted[1]).all()
