"""Probes as files: everything comes back, and nothing in a forged file runs."""

from __future__ import annotations

import ast
import pickle
import zipfile

import numpy as np
import pytest
from embedded_groups import KINDS, TINY, embedded, fitted
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier

from pynapple_nuclr.probes import Probe, load_probe
from pynapple_nuclr.probes.probe_file import read_probe


@pytest.mark.parametrize(
    "estimator",
    [None, LogisticRegression(C=0.5), CalibratedClassifierCV(LinearSVC(), cv=3)],
    ids=["default", "logistic", "calibrated"],
)
def test_save_and_load(tmp_path, estimator):
    units = embedded(depth=np.arange(30.0))
    options = {"features": ("depth",), "standardize": "recording"}
    probe = Probe("cell_type", estimator=estimator, **options).fit(units, verbose=False)
    path = tmp_path / "types.skops"
    probe.save(path)
    assert list(tmp_path.iterdir()) == [path]
    loaded = load_probe(path)
    np.testing.assert_array_equal(loaded.predict_proba(units), probe.predict_proba(units))
    assert loaded.classes_.tolist() == KINDS
    for name in ("encoder_", "cv_score_", "cv_chance_", "cv_group_", "n_units_", "n_features_in_"):
        assert getattr(loaded, name) == getattr(probe, name)
    for name in ("target", "features", "standardize", "prefix"):
        assert getattr(loaded, name) == getattr(probe, name)
    result = load_probe(str(path)).annotate(units)
    assert result["predicted_cell_type"].tolist() == units["cell_type"].tolist()


def test_a_folder_that_is_missing_is_named(tmp_path):
    probe = Probe("cell_type").fit(embedded(), verbose=False)
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*none to write x\.skops to"):
        probe.save(tmp_path / "none" / "x.skops")


def test_only_fitted_probes_are_saved(tmp_path):
    with pytest.raises(NotFittedError):
        Probe("cell_type").save(tmp_path / "a.skops")
    assert not list(tmp_path.iterdir())


TREES = [
    RandomForestClassifier(5, random_state=0),
    ExtraTreesClassifier(5, random_state=0),
    DecisionTreeClassifier(random_state=0),
    GradientBoostingClassifier(n_estimators=3, random_state=0),
    make_pipeline(StandardScaler(), SVC(probability=True, random_state=0)),
    CalibratedClassifierCV(RandomForestClassifier(5, random_state=0), cv=3),
]


@pytest.mark.parametrize("estimator", TREES, ids=lambda one: type(one).__name__)
def test_trees_and_pipelines_are_trusted(tmp_path, estimator):
    probe = fitted(estimator=estimator, n_shuffles=1, calibrate=False)
    probe.save(tmp_path / "a.skops")
    loaded = load_probe(tmp_path / "a.skops")
    units = embedded(seed=5)
    np.testing.assert_array_equal(loaded.predict_proba(units), probe.predict_proba(units))


@pytest.mark.parametrize(
    ("estimator", "named"),
    [
        (HistGradientBoostingClassifier(max_iter=3), "TreePredictor"),
        (KNeighborsClassifier(), "KDTree"),
        (make_pipeline(StandardScaler(), KNeighborsClassifier()), "KDTree"),
    ],
)
def test_other_types_are_refused_by_name_until_they_are_trusted(tmp_path, caplog, estimator, named):
    probe = fitted(estimator=estimator, n_shuffles=1, calibrate=False)
    probe.save(tmp_path / "a.skops")
    with pytest.raises(ValueError, match=rf"a\.skops.*not trusted.*{named}") as error:
        load_probe(tmp_path / "a.skops")
    listed = str(error.value).split("trusted=")[1].rstrip(")")
    assert listed in caplog.text
    names = ast.literal_eval(listed)
    units = embedded(seed=5)
    loaded = load_probe(tmp_path / "a.skops", trusted=names)
    np.testing.assert_array_equal(loaded.predict_proba(units), probe.predict_proba(units))
    for wrong in (True, names[0], [1]):
        with pytest.raises(TypeError, match="trusted="):
            load_probe(tmp_path / "a.skops", trusted=wrong)


def test_trees_that_would_be_read_outside_their_arrays_are_refused(tmp_path):
    def forged(change):
        probe = fitted(estimator=RandomForestClassifier(3, random_state=0), n_shuffles=1)
        tree = probe.estimator_.estimators_[1]
        change(tree.tree_, probe.estimator_)
        probe.save(tmp_path / "bad.skops")
        with pytest.raises(ValueError, match=r"bad\.skops.*a tree"):
            load_probe(tmp_path / "bad.skops")

    def set_node(name, value):
        def change(tree, forest):
            state = tree.__getstate__()
            state["nodes"][name][0] = value
            tree.__setstate__(state)

        return change

    forged(set_node("left_child", 10**6))
    forged(set_node("right_child", 0))  # a circle
    forged(set_node("feature", 10**6))
    forged(set_node("feature", -2))
    forged(lambda tree, forest: setattr(forest.estimators_[1], "n_features_in_", 1))


def test_a_folder_holds_the_probe_and_its_card(tmp_path):
    probe = fitted()
    probe.save(tmp_path / "types")
    assert {one.name for one in (tmp_path / "types").iterdir()} == {"probe.skops", "README.md"}
    units = embedded(seed=5)
    loaded = load_probe(str(tmp_path / "types"))
    np.testing.assert_array_equal(loaded.predict_proba(units), probe.predict_proba(units))
    card = (tmp_path / "types" / "README.md").read_text()
    for text in ("# A probe of cell_type", f"macro F1: {probe.cv_score_:.2f} by unit", TINY):
        assert text in card


def test_files_of_the_second_format_are_read(tmp_path):
    import skops.io

    probe = fitted()
    params, state = read_probe(_saved(probe, tmp_path))
    added = ("missing_labels", "n_shuffles", "inputs")
    old_params = {k: v for k, v in params.items() if k not in added}
    old_params["normalize"] = old_params.pop("standardize")
    added = ("cv_chance_sd_", "inputs_", "cv_inputs_", "class_shares_")
    old_state = {k: v for k, v in state.items() if k not in added}
    old_state["seen_"] = old_state.pop("training_hashes_")
    old = {"format": "pynapple_nuclr probe 2", "params": old_params, "fitted": old_state}
    (tmp_path / "old.skops").write_bytes(skops.io.dumps(old))
    loaded = load_probe(tmp_path / "old.skops")
    units = embedded(seed=5)
    np.testing.assert_array_equal(loaded.predict_proba(units), probe.predict_proba(units))
    assert (loaded.standardize, loaded.above_chance_) == ("none", True)
    assert (loaded.annotate(units, threshold=0.9)["predicted_cell_type"] == "unknown").any()
    np.testing.assert_array_equal(loaded.training_hashes_, probe.training_hashes_)


def _saved(probe, folder):
    probe.save(folder / "new.skops")
    return folder / "new.skops"


def test_a_probe_shows_what_it_is():
    assert repr(Probe("cell_type")) == "Probe(target='cell_type')"
    probe = fitted()
    assert repr(probe).startswith("<Probe cell_type: 3 classes (PV, SST, VIP), macro F1 ")
    shown = probe._repr_mimebundle_()
    assert shown["text/plain"] == repr(probe)
    assert f"<td style='text-align:left'>{TINY}</td>" in shown["text/html"]
    escaped = Probe("kind").fit([[0.0], [0.1], [1.0], [1.1]], ["<b>", "<b>", "x", "x"])
    assert "&lt;b&gt;" in escaped._repr_html_() and "<b>" not in escaped._repr_html_()


class Trap:
    """Says when it is unpickled or constructed."""

    sprung: list[str] = []

    def __reduce__(self):
        return Trap.sprung.append, ("pickle",)

    def __setstate__(self, state):
        Trap.sprung.append("state")


def test_forged_and_broken_files_are_refused_and_nothing_runs(tmp_path):
    import skops.io

    good = tmp_path / "good.skops"
    fitted().save(good)
    whole = good.read_bytes()

    bad = {
        "pickle": pickle.dumps({"format": "pynapple_nuclr probe 2", "fitted": Trap()}),
        "truncated": whole[: len(whole) // 2],
        "one byte short": whole[:-1],
        "empty": b"",
        "text": b"a,b,c\n1,2,3\n",
        "other estimator": skops.io.dumps(LogisticRegression()),
        "other dictionary": skops.io.dumps({"weights": np.ones(3)}),
        "nothing at all": skops.io.dumps({"format": "pynapple_nuclr probe 2"}),
        "nothing learnt": skops.io.dumps(
            {"format": "pynapple_nuclr probe 2", "params": {}, "fitted": {}}
        ),
    }
    renamed = tmp_path / "renamed.skops"
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(renamed, "w") as target:
        for item in source.namelist():
            data = source.read(item)
            if item == "schema.json":  # the scaler becomes a class of this test module
                data = data.replace(b'"StandardScaler"', b'"Trap"').replace(
                    b'"sklearn.preprocessing._data"', f'"{__name__}"'.encode()
                )
            target.writestr(item, data)
    bad["another type"] = renamed.read_bytes()
    with pytest.raises(skops.io.exceptions.UntrustedTypesFoundException, match="Trap"):
        skops.io.loads(bad["another type"])  # it is a whole file, refused for its type
    for name, data in bad.items():
        path = tmp_path / "bad.skops"
        path.write_bytes(data)
        with pytest.raises(ValueError, match=r"bad\.skops"):
            load_probe(path)
            pytest.fail(name)
    assert Trap.sprung == []
    with pytest.raises(FileNotFoundError, match=r"there is no file .*none\.skops"):
        load_probe(tmp_path / "none.skops")


def test_an_estimator_of_other_classes_is_refused(tmp_path):
    probe = Probe("cell_type").fit(embedded(), verbose=False)
    probe.estimator_[-1].classes_ = np.array(["PV", "SST", "other"])
    probe.save(tmp_path / "bad.skops")
    with pytest.raises(ValueError, match=r"bad\.skops.*has other classes"):
        load_probe(tmp_path / "bad.skops")
