"""Probabilities that mean what they say, also on animals that nothing has seen."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
from embedded_groups import KINDS, embedded
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, f1_score
from sklearn.svm import LinearSVC

from pynapple_nuclr.calibration import (
    brier_score,
    confidence_report,
    confident_half,
    expected_calibration_error,
    fit_temperature,
    macro_f1,
    macro_f1_of_predictions,
    with_temperature,
)
from pynapple_nuclr.plotting import plot_coverage
from pynapple_nuclr.probes import Probe, load_probe
from pynapple_nuclr.probes.cross_validation import Candidate, calibrate_folds

CLASSES = np.array(["A", "B", "C"])


def answers(n=3000, seed=0, sharpness=1.0):
    """Labels drawn from probabilities, and these probabilities, sharpened."""
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet([0.6] * 3, n)
    labels = CLASSES[(rng.random((n, 1)) > probabilities.cumsum(axis=1)).sum(axis=1).clip(0, 2)]
    return labels, with_temperature(probabilities, 1 / sharpness)


def world(n_animals, seed, n_units=40, dim=24, shift=0.5):
    """Units of three types in animals that each displace all of their vectors a little."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(3, dim)) * 0.35
    kinds = rng.integers(0, 3, (n_animals, n_units))
    own = shift * rng.normal(size=(n_animals, 1, dim))
    x = centres[kinds] + own + rng.normal(size=(n_animals, n_units, dim))
    animals = np.repeat([f"{seed}-{i}" for i in range(n_animals)], n_units)
    return x.reshape(-1, dim), CLASSES[kinds.ravel()], animals


TOO_SURE = LogisticRegression(C=1e4, max_iter=3000)


# the figures


def test_figures_are_those_of_scikit_learn():
    labels, probabilities = answers(500, sharpness=2.0)
    predicted = CLASSES[probabilities.argmax(axis=1)]
    expected = brier_score_loss(labels, probabilities, labels=CLASSES, scale_by_half=False)
    assert brier_score(labels, probabilities, CLASSES) == pytest.approx(expected)
    assert macro_f1(labels, probabilities, CLASSES) == f1_score(labels, predicted, average="macro")


def test_calibrated_probabilities_have_a_small_error_and_sharpened_ones_a_large_one():
    errors = [expected_calibration_error(*answers(sharpness=s), CLASSES) for s in (1, 3, 0.3)]
    assert errors[0] < 0.03
    assert min(errors[1:]) > 0.1


def test_the_error_is_that_of_the_bins():
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.4, 0.6]])
    error = expected_calibration_error(list("ABAA"), probabilities, ["A", "B"])
    assert error == pytest.approx(0.5 * abs(0.5 - 0.9) + 0.5 * abs(0.5 - 0.6))


def test_a_label_that_is_no_class_counts_as_wrong():
    probabilities = [[1.0, 0.0], [0.0, 1.0]]
    assert brier_score(["A", "Z"], probabilities, ["A", "B"]) == pytest.approx(1.0)
    assert expected_calibration_error(["A", "Z"], probabilities, ["A", "B"]) == pytest.approx(0.5)
    assert macro_f1(["A", "Z"], probabilities, ["A", "B"]) == pytest.approx(1 / 3)


def test_units_without_labels_or_probabilities_are_left_out():
    labels, probabilities = answers(300)
    some = probabilities.copy()
    some[:5] = np.nan
    gaps = labels.astype(object)
    gaps[5:9] = [None, np.nan, "", "nan"]
    report = confidence_report(gaps, some, CLASSES)
    assert report.attrs == {"units": 291, "left_out": 9}
    assert report.drop_attrs().equals(
        confidence_report(labels[9:], probabilities[9:], CLASSES).drop_attrs()
    )


@pytest.mark.parametrize(
    ("labels", "probabilities", "message"),
    [
        (["A"], [[0.5, 0.5]], r"shape \(1, 2\) for 1 labels and 3 classes"),
        (["A"], [[0.5, 0.2, 0.1]], "sum of 1"),
        (["A"], [[1.5, -0.5, 0.0]], "least value -0.5"),
        ([None], [[0.5, 0.5, 0.0]], "none of 1 units"),
    ],
)
def test_invalid_probabilities_are_refused(labels, probabilities, message):
    with pytest.raises(ValueError, match=message):
        confidence_report(labels, probabilities, CLASSES)


# abstention


def test_abstaining_helps_where_there_is_something_to_know_and_not_on_shuffled_labels():
    labels, probabilities = answers()
    half, every = confident_half(labels, probabilities, CLASSES)
    assert half > every + 0.1
    shuffled = np.random.default_rng(1).permutation(labels)
    half, every = confident_half(shuffled, probabilities, CLASSES)
    assert abs(half - every) < 0.03


def test_nothing_is_won_by_never_naming_a_rare_class():
    labels = np.repeat(["A", "B"], [90, 10])
    probabilities = np.where((labels == "A")[:, None], [0.9, 0.1], [0.45, 0.55])
    half, every = confident_half(labels, probabilities, ["A", "B"])
    assert (half, every) == (0.5, 1.0)


def test_coverage_runs_from_the_surest_to_all():
    labels, probabilities = answers(1000)
    report = confidence_report(labels, probabilities, CLASSES)
    assert report["coverage_units"].values.tolist() == list(range(50, 1001, 50))
    assert (np.diff(report["coverage_threshold"]) <= 0).all()
    surest = probabilities.max(axis=1) >= float(report["coverage_threshold"].sel(coverage=0.25))
    right = labels[surest] == CLASSES[probabilities[surest].argmax(axis=1)]
    assert float(report["coverage_accuracy"].sel(coverage=0.25)) == right.mean()
    assert float(report["coverage_macro_f1"][-1]) == float(report["macro_f1"])
    assert float(report["bin_units"].sum()) == 1000


def test_the_order_of_the_units_does_not_matter_even_where_they_tie():
    labels, probabilities = answers(400)
    probabilities = probabilities.round(1)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    order = np.random.default_rng(0).permutation(400)
    first = confidence_report(labels, probabilities, CLASSES)
    again = confidence_report(labels[order], probabilities[order], CLASSES)
    for name in first:
        np.testing.assert_allclose(again[name], first[name], atol=1e-12)


def test_the_figure():
    report = confidence_report(*answers(300), CLASSES)
    ax = plot_coverage(report)
    assert {line.get_label() for line in ax.lines} == {"macro F1", "accuracy"}
    np.testing.assert_allclose(ax.lines[0].get_ydata(), report["coverage_macro_f1"])
    _, axes = plt.subplots()
    assert plot_coverage(report, ax=axes) is axes
    plt.close("all")


# temperature


def test_the_temperature_is_found_again():
    labels, probabilities = answers(sharpness=3.0)
    assert fit_temperature(labels, probabilities, CLASSES) == pytest.approx(3.0, rel=0.1)
    labels, probabilities = answers(sharpness=0.5)
    assert fit_temperature(labels, probabilities, CLASSES) == pytest.approx(0.5, rel=0.1)


def test_few_right_answers_are_no_reason_to_be_sure_for_ever():
    probabilities = np.tile([[0.8, 0.2], [0.2, 0.8]], (5, 1))
    temperature = fit_temperature(["A", "B"] * 5, probabilities, ["A", "B"])
    surest = with_temperature(probabilities, temperature).max()
    assert surest == pytest.approx(6 / 7, abs=0.01)


def test_classes_that_a_fold_did_not_know_say_nothing():
    labels, probabilities = answers(400, sharpness=3.0)
    temperature = fit_temperature(labels, probabilities, CLASSES)
    more = np.tile([0.9, 0.1, np.nan], (50, 1))
    found = fit_temperature(
        np.append(labels, ["C"] * 50), np.concatenate([probabilities, more]), CLASSES
    )
    assert found == pytest.approx(temperature, rel=0.01)
    assert fit_temperature(["C"] * 50, more, CLASSES) == 1


# the probe


@pytest.fixture(scope="module")
def probes():
    x, labels, animals = world(10, seed=0)
    return {
        on: Probe("kind", estimator=TOO_SURE, calibrate=on).fit(
            x, labels, animals=animals, verbose=False
        )
        for on in (True, False)
    }


def test_a_classifier_that_is_too_sure_becomes_calibrated_on_other_animals(probes):
    x, labels, _ = world(30, seed=1)
    raw, calibrated = (probes[on].predict_proba(x) for on in (False, True))
    before, after = (
        expected_calibration_error(labels, probabilities, CLASSES)
        for probabilities in (raw, calibrated)
    )
    assert before > 0.08
    assert after < before / 2
    assert brier_score(labels, calibrated, CLASSES) < brier_score(labels, raw, CLASSES)
    # It changes how sure the probe is, and no prediction.
    np.testing.assert_array_equal(raw.argmax(axis=1), calibrated.argmax(axis=1))
    np.testing.assert_array_equal(probes[True].predict(x), probes[False].predict(x))
    assert probes[True].temperature_ > 1.4
    assert probes[False].temperature_ == 1


def test_the_cross_validated_figures_tell_beforehand(probes):
    figures = probes[True].cv_calibration_
    assert figures["ece"] < 0.7 * figures["ece_uncalibrated"]
    assert figures["brier"] < figures["brier_uncalibrated"]
    assert figures["macro_f1"] == pytest.approx(probes[True].cv_score_)
    assert figures["macro_f1_confident_half"] > figures["macro_f1"]
    assert probes[True].cv_score_ == probes[False].cv_score_
    assert probes[False].cv_calibration_["ece"] == figures["ece_uncalibrated"]
    assert "ece_uncalibrated" not in probes[False].cv_calibration_
    x, labels, _ = world(30, seed=1)
    outside = expected_calibration_error(labels, probes[True].predict_proba(x), CLASSES)
    assert abs(figures["ece"] - outside) < 0.05


@pytest.mark.parametrize("by", ["animal", "recording", "unit"])
def test_what_calibrates_a_fold_has_not_seen_its_labels(by):
    x, labels, animals = world(4, seed=2, n_units=15)
    groups = {"animal": animals, "recording": animals, "unit": np.arange(60) % 5}[by]
    parts = np.unique(groups)
    folds = [(np.flatnonzero(groups != p), np.flatnonzero(groups == p)) for p in parts]
    raw = np.random.default_rng(0).dirichlet([1, 1, 1], 60)
    recordings = np.zeros(60, int) if by == "unit" else animals
    given = (recordings, animals if by == "animal" else None, folds, raw)
    before = calibrate_folds(Candidate(x, TOO_SURE), labels, *given)
    test = folds[1][1]
    other = labels.copy()
    other[test] = np.roll(CLASSES, 1)[np.searchsorted(CLASSES, labels[test])]
    after = calibrate_folds(Candidate(x, TOO_SURE), other, *given)
    np.testing.assert_array_equal(after[test], before[test])
    assert not np.allclose(after[folds[0][1]], before[folds[0][1]])


def test_on_shuffled_labels_the_probe_learns_to_be_unsure():
    x, labels, animals = world(6, seed=0)
    shuffled = np.random.default_rng(3).permutation(labels)
    probe = Probe("kind", estimator=TOO_SURE).fit(x, shuffled, animals=animals, verbose=False)
    figures = probe.cv_calibration_
    assert figures["ece"] < 0.1 < figures["ece_uncalibrated"]
    assert figures["macro_f1_confident_half"] < figures["macro_f1"] + 0.05
    assert probe.predict_proba(x).max() < 0.6


def test_calibration_of_units_recordings_and_columns_in_a_file(tmp_path):
    units = embedded(60, seed=0, separation=0.5)
    probe = Probe("cell_type").fit(units, verbose=False)
    assert probe.cv_group_ == "unit"
    probe.save(tmp_path / "probe.skops")
    loaded = load_probe(tmp_path / "probe.skops")
    assert loaded.temperature_ == probe.temperature_ != 1
    assert loaded.cv_calibration_ == probe.cv_calibration_
    np.testing.assert_array_equal(loaded.predict_proba(units), probe.predict_proba(units))
    found = probe.annotate(units)["predicted_cell_type_confidence"]
    np.testing.assert_allclose(found, probe.predict_proba(units).max(axis=1))
    several = {f"r{i}": embedded(12, seed=i, separation=0.5) for i in range(3)}
    assert Probe("cell_type").fit(several, verbose=False).temperature_ != 1


def test_classes_that_no_other_animal_has_cannot_calibrate():
    groups = {"r0": embedded(12, seed=0), "r1": embedded(12, seed=1)}
    for name, kind in (("r0", "PV"), ("r1", "SST")):
        groups[name].set_info({"cell_type": [kind] * 12})
    with pytest.warns(UserWarning, match="in one animal only"):
        probe = Probe("cell_type").fit(groups, animals=["a", "b"], verbose=False)
    assert probe.temperature_ == 1
    assert probe.cv_calibration_["macro_f1"] == probe.cv_score_ == 0
    assert probe.cv_calibration_["ece"] == pytest.approx(1.0)


def test_an_estimator_without_probabilities_has_nothing_to_calibrate():
    probe = Probe("cell_type", estimator=LinearSVC()).fit(embedded(), verbose=False)
    assert (probe.temperature_, probe.cv_calibration_) == (1, {})
    assert probe.classes_.tolist() == KINDS


def test_calibrate_is_a_yes_or_no():
    with pytest.raises(ValueError, match="calibrate='isotonic'"):
        Probe("cell_type", calibrate="isotonic").fit(embedded())


@given(st.integers(1, 40), st.integers(1, 5), st.booleans(), st.booleans(), st.integers(0, 999))
def test_macro_f1_is_that_of_scikit_learn(units, n_classes, weighted, named, seed):
    rng = np.random.default_rng(seed)
    names = np.array(["PV", "SST", "VIP", "Pyr", "none"])
    labels, predicted = rng.choice(names[:n_classes], (2, units))
    how = {
        "sample_weight": rng.random(units) + 0.1 if weighted else None,
        "labels": names if named else None,
    }
    expected = f1_score(labels, predicted, average="macro", zero_division=0, **how)
    found = macro_f1_of_predictions(labels, predicted, how["labels"], how["sample_weight"])
    assert found == pytest.approx(expected)
