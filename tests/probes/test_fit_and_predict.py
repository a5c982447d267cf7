"""What a probe accepts and refuses, as a scikit-learn classifier and on embedded recordings."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pynapple as nap
import pytest
import xarray as xr
from embedded_groups import KINDS, TINY, dataset, embedded, fitted, quick
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import cross_val_score
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from pynapple_nuclr.columns import embeddings
from pynapple_nuclr.probes import Probe, cross_validation


@parametrize_with_checks([Probe("cell_type", estimator=GaussianNB(), n_shuffles=1)])
def test_scikit_learn_conventions(estimator, check):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(estimator)


def test_parameters_are_untouched_and_clonable():
    estimator = LogisticRegression(C=0.1)
    features = ["depth"]
    probe = Probe("cell_type", estimator=estimator, features=features, standardize="recording")
    assert probe.estimator is estimator
    assert probe.features is features
    copy = clone(probe)
    assert copy.get_params()["estimator__C"] == 0.1
    assert copy.standardize == "recording"
    copy.set_params(estimator__C=2.0)
    assert estimator.C == 0.1


def test_a_fit_that_takes_long_shows_a_bar(monkeypatch, capsys):
    fitted()
    assert "cross-validating" not in capsys.readouterr().err
    monkeypatch.setattr(cross_validation, "_SECONDS_WITHOUT_BAR", 0)
    quick().fit(embedded(), verbose=False)
    assert not capsys.readouterr().err
    Probe("cell_type", n_shuffles=1).fit(embedded())
    n_fits = 3 * 8 * 5  # inputs, settings of the classifier, folds
    assert re.search(rf"cross-validating: 100%.* {n_fits}/{n_fits} ", capsys.readouterr().err)


def test_arrays_and_groups_give_the_same_probe():
    units = embedded()
    x, y = embeddings(units).values, units["cell_type"].to_numpy().astype(str)
    by_group = quick().fit(units, verbose=False)
    by_array = quick().fit(x, y, verbose=False)
    np.testing.assert_allclose(by_group.predict_proba(units), by_array.predict_proba(x))
    assert by_array.encoder_ is None
    assert by_group.encoder_ == TINY
    assert by_group.cv_score_ == by_array.cv_score_
    np.testing.assert_array_equal(by_array.predict(units), by_group.predict(x))
    assert cross_val_score(Probe("cell_type", n_shuffles=1), x, y, cv=2).mean() > 0.9


def test_not_fitted():
    for method in ("predict", "predict_proba", "annotate"):
        with pytest.raises(NotFittedError):
            getattr(Probe("cell_type"), method)(embedded())


@pytest.mark.parametrize("modality", ["spikes", "calcium"])
def test_every_kind_of_input_gives_the_same_classes(modality):
    a, b = embedded(seed=1, modality=modality), embedded(24, seed=2, modality=modality)
    test = embedded(21, seed=3, modality=modality)
    expected = quick().fit([a, b], verbose=False).predict_proba(test)
    for recordings in ({"m1": a, "m2": b}, [dataset(a), dataset(b)], {"m1": dataset(a), "m2": b}):
        probe = quick().fit(recordings, verbose=False)
        assert probe.classes_.tolist() == KINDS
        assert probe.n_units_ == 54
        np.testing.assert_allclose(probe.predict_proba(test), expected)
        np.testing.assert_allclose(probe.predict_proba(dataset(test)), expected)
        np.testing.assert_allclose(probe.predict_proba(embeddings(test)), expected)
    both = quick().fit([a, b], verbose=False).predict([test, test])
    assert len(both) == 42
    alone = quick().fit(dataset(a), verbose=False)
    np.testing.assert_array_equal(
        alone.predict_proba(test),
        quick().fit(a, verbose=False).predict_proba(test),
    )


def test_labels_given_beside_one_recording():
    units = embedded()
    other = np.where(units["cell_type"] == "PV", "fast", "slow")
    probe = quick("spiking").fit(units, other, verbose=False)
    assert probe.classes_.tolist() == ["fast", "slow"]
    with pytest.warns(UserWarning, match="30 of these 30 units are ones that the probe learned"):
        assert probe.score(units, other) == 1.0
    with pytest.raises(ValueError, match="2 recordings"):
        quick("spiking").fit([units, units], other)


def test_missing_labels_and_silent_units_are_left_out_in_one_warning():
    units = embedded(silent=[29])
    labels = units["cell_type"].to_numpy().astype(object)
    labels[:4] = [None, np.nan, "", "nan"]
    units.set_info({"cell_type": labels})
    with pytest.warns(UserWarning) as said:
        probe = quick().fit(units, verbose=False)
    assert len(said) == 1
    assert "4 units without a label in 'cell_type' and 1 silent" in str(said[0].message)
    assert probe.n_units_ == 25
    assert probe.classes_.tolist() == KINDS
    with pytest.warns(UserWarning) as said:
        assert probe.score(units) > 0.9
    assert "4 units without a label" in str(said[0].message)
    assert "25 of these 25 units are ones that the probe learned from" in str(said[1].message)
    assert f"units left out it was {probe.cv_score_:.2f} (by unit)" in str(said[1].message)
    x = np.nan_to_num(embeddings(units).values)
    with pytest.warns(UserWarning, match="4 units without a label"):
        assert quick().fit(x, labels, verbose=False).n_units_ == 26


def test_numbers_as_labels():
    units = embedded()
    units.set_info({"layer": np.array([4, 5, 6] * 10)})
    probe = quick("layer").fit(units, verbose=False)
    assert probe.classes_.tolist() == [4, 5, 6]
    assert probe.predict(units).dtype == probe.classes_.dtype
    test = embedded(silent=[0])
    assert probe.predict(test)[0] == "unknown"
    assert set(probe.predict(test)[1:]) == {4, 5, 6}
    found = probe.annotate(test)["predicted_layer"]
    assert found.iloc[0] == "unknown"
    assert set(found.iloc[1:]) == {"4", "5", "6"}


def test_two_few_classes_or_units():
    units = embedded()
    for labels, message in (
        (["PV"] * 30, "one class, PV"),
        ([None] * 30, "no labelled unit"),
        (["PV"] * 29 + ["SST"], "fewer than two units of: SST"),
        (range(30), "holds 30 different numbers for 30 units; a probe predicts classes"),
        (np.linspace(0, 1, 30), "continuous"),
        ([1] * 15 + ["PV"] * 15, "strings and numbers"),
    ):
        with (
            pytest.raises(ValueError, match=message),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            Probe("x", n_shuffles=1).fit(units, np.array(labels, dtype=object))


def test_unknown_columns_name_the_recording_and_what_is_there():
    recordings = {"m1": embedded(depth=np.arange(30.0)), "m2": embedded()}
    with pytest.raises(ValueError, match=r"'m2'.*'depth'.*cell_type"):
        Probe("cell_type", features=["depth"]).fit(recordings)
    with pytest.raises(ValueError, match=r"'m1'.*'region'.*depth"):
        Probe("region", n_shuffles=1).fit(recordings)
    with pytest.raises(ValueError, match=r"'m2'.*'animal'"):
        Probe("cell_type", n_shuffles=1).fit(
            {"m1": embedded(animal=["x"] * 30), "m2": embedded()}, animals="animal"
        )


def test_not_embedded_and_wrong_kinds():
    plain = nap.TsGroup(
        {0: nap.Ts([0.1, 0.2])}, time_support=nap.IntervalSet(0, 1), metadata={"cell_type": ["PV"]}
    )
    with pytest.raises(ValueError, match=r"'m1'.*embed"):
        Probe("cell_type", n_shuffles=1).fit({"m1": plain})
    with pytest.raises(TypeError, match=r"'m1' is a str"):
        Probe("cell_type", n_shuffles=1).fit({"m1": "session.nwb"})
    with pytest.raises(ValueError, match="empty"):
        Probe("cell_type", n_shuffles=1).fit([])
    with pytest.raises(ValueError, match="requires y"):
        Probe("cell_type", n_shuffles=1).fit("session.nwb")
    with pytest.raises(ValueError, match="'embedding'"):
        Probe("cell_type", n_shuffles=1).fit(xr.Dataset(attrs={"encoder": TINY}))
    with pytest.raises(TypeError, match="list"):
        fitted().annotate([embedded()])


@pytest.mark.parametrize("name", ["cell type", "count", "rate", "", None])
def test_names_that_cannot_be_columns(name):
    with pytest.raises(ValueError, match="target="):
        Probe(name, n_shuffles=1).fit(embedded(), ["PV", "SST"] * 15)
    with pytest.raises(ValueError, match="prefix="):
        Probe("cell_type", prefix=name).fit(embedded())


def test_wrong_parameters():
    with pytest.raises(ValueError, match="standardize='animal'"):
        Probe("cell_type", standardize="animal").fit(embedded())
    with pytest.raises(ValueError, match=r"\['depth'\]"):
        Probe("cell_type", features="depth").fit(embedded())
    for threshold in (-0.1, 80, "0.5", True, [0.5]):
        with pytest.raises(ValueError, match="threshold="):
            fitted().annotate(embedded(), threshold=threshold)


@pytest.mark.parametrize(
    "estimator",
    ["logistic", LogisticRegression, Ridge(), KMeans(2), make_pipeline(StandardScaler(), Ridge())],
)
def test_what_is_no_classifier_is_refused(estimator):
    with pytest.raises(TypeError, match="estimator=.*expected a classifier of scikit-learn"):
        Probe("cell_type", estimator=estimator).fit(embedded())


def test_vectors_of_another_encoder_are_refused():
    other = embedded(encoder="other@ffffffff")
    with pytest.raises(ValueError, match=r"'m2'.*other@ffffffff.*'m1'.*tiny@0a1b2c3d"):
        Probe("cell_type", n_shuffles=1).fit({"m1": embedded(), "m2": other})
    probe = fitted()
    for method in ("predict", "predict_proba", "annotate", "score"):
        with pytest.raises(ValueError, match=r"other@ffffffff.*tiny@0a1b2c3d"):
            getattr(probe, method)(other)


def test_vectors_of_another_size_are_refused():
    probe = Probe("cell_type", n_shuffles=1).fit(np.eye(6), list("aabbcc"), verbose=False)
    with pytest.raises(ValueError, match="6 columns.*have 8"):
        probe.predict(embedded())
