"""Probes as files: everything comes back, and nothing in a forged file runs."""

from __future__ import annotations

import pickle
import zipfile

import numpy as np
import pytest
from embedded_groups import KINDS, embedded, fitted
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from pynapple_nuclr.probes import Probe, load_probe


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


def test_only_fitted_and_safe_probes_are_saved(tmp_path):
    with pytest.raises(NotFittedError):
        Probe("cell_type").save(tmp_path / "a.skops")
    forest = fitted(estimator=RandomForestClassifier(3, random_state=0))
    with pytest.raises(ValueError, match=r"Tree.*LogisticRegression"):
        forest.save(tmp_path / "a.skops")
    assert not list(tmp_path.iterdir())


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
    with pytest.raises(ValueError, match=r"bad\.skops.*tells other classes"):
        load_probe(tmp_path / "bad.skops")
