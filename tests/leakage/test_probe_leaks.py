"""What a probe must not learn from, and names that are the same ones in other types."""

import warnings

import numpy as np
import pynapple as nap
import pytest
from embedded_groups import KINDS, TINY, embedded, quick
from evaluation_systems import Counting, recording
from sklearn.linear_model import LogisticRegression
from tally import counts

from pynapple_nuclr import Probe, simulate
from pynapple_nuclr.calibration import confidence_report, fit_temperature
from pynapple_nuclr.columns import add_columns, as_texts, embeddings
from pynapple_nuclr.evaluation import LeakError, evaluate


def random_labels(units, seed=0):
    units["cell_type"] = np.random.default_rng(seed).permutation(KINDS * len(units))[: len(units)]
    return units


def test_a_unit_in_two_recordings_is_refused():
    units, other = random_labels(embedded()), embedded(seed=1)
    with pytest.raises(LeakError, match=r"'again' and 'day' have 30 units in common"):
        Probe("cell_type", n_shuffles=1).fit({"again": units, "day": units, "other": other})
    some = units[units.index[:3]]
    with pytest.raises(LeakError, match=r"'day' and 'some' have 3 units in common"):
        Probe("cell_type", standardize="recording").fit({"day": units, "some": some})
    counts["leaks planted and caught"] += 2


@pytest.mark.parametrize("inputs", ["embedding", "statistics", "auto"])
def test_the_same_spikes_in_two_recordings_are_refused_whatever_describes_them(inputs):
    units = simulate("single", n_units=12, duration=30, seed=0)
    rng = np.random.default_rng(0)  # vectors of another day's embedding, so none is equal
    day, again = (
        add_columns(units, vectors=rng.normal(size=(12, 4)), summary={"nuclr_encoder": [TINY] * 12})
        for _ in range(2)
    )
    with pytest.raises(LeakError, match="'again' and 'day' have 12 units in common.*activity"):
        Probe("cell_type", inputs=inputs, n_shuffles=1).fit({"again": again, "day": day})
    counts["leaks planted and caught"] += 1


def test_a_unit_twice_in_one_recording_is_reported():
    units = embedded()
    vectors = embeddings(units).values.copy()
    vectors[:4] = vectors[10:14]
    copied = add_columns(units, vectors=vectors, summary={"nuclr_encoder": [TINY] * len(units)})
    with pytest.warns(UserWarning, match="4 units have the same embedding as another one"):
        quick().fit(copied, verbose=False)


def test_spikes_that_are_twice_in_one_recording_are_reported_once():
    units = simulate("single", n_units=12, duration=30, seed=0)
    copied = nap.TsGroup(
        {**units, 99: units[0]}, metadata={"cell_type": [*units["cell_type"], "fast"]}
    )
    with pytest.warns(UserWarning, match="1 unit has the same activity as another") as caught:
        Probe("cell_type", inputs="statistics", n_shuffles=1).fit(copied, verbose=False)
    assert sum("another one of their recording" in str(one.message) for one in caught) == 1


def test_the_label_is_no_feature():
    with pytest.raises(LeakError, match="'layer', the label"):
        Probe("layer", features=["depth", "layer"]).fit(embedded())
    counts["leaks planted and caught"] += 1


def test_a_feature_that_is_a_code_of_the_labels_is_reported():
    units = embedded(separation=0.0)
    kinds = units["cell_type"].to_numpy()
    units["code"] = [float(KINDS.index(kind)) for kind in kinds]
    units["depth"] = np.arange(30.0) + 100 * (kinds == "PV")  # a feature, if a good one
    units["shank"] = np.arange(30) // 8
    options = {"inputs": "embedding", "n_shuffles": 1}
    with pytest.warns(UserWarning, match="feature 'code': each of its 3 values goes with one"):
        Probe("cell_type", features=["depth", "code"], **options).fit(units, verbose=False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        Probe("cell_type", features=["depth", "shank"], **options).fit(units, verbose=False)
    assert not any("goes with one label" in str(one.message) for one in caught)
    counts["leaks planted and caught"] += 1


def test_an_array_of_several_animals_is_not_normalised_as_one():
    units = embedded()
    x, y = embeddings(units).values, units["cell_type"].to_numpy().astype(str)
    animals = np.repeat(["m0", "m1"], len(x) // 2)
    with pytest.raises(LeakError, match="standardize='recording' takes an array as one recording"):
        Probe("cell_type", standardize="recording").fit(x, y, animals=animals)
    for options in ({}, {"animals": np.repeat("m0", len(x))}):
        Probe("cell_type", standardize="recording").fit(x, y, verbose=False, **options)
    counts["leaks planted and caught"] += 1


@pytest.mark.parametrize("standardize", ["none", "recording"])
def test_learned_units_are_known_again_in_part(standardize):
    units = embedded()
    probe = Probe("cell_type", standardize=standardize).fit(units, verbose=False)
    with pytest.warns(UserWarning, match="5 of these 5 units are ones that the probe learned from"):
        probe.score(units[units.index[:5]])
    probe.score(embedded(seed=9))


def test_animals_that_not_all_recordings_name_are_reported():
    recordings = {f"day{i}": embedded(seed=i) for i in range(3)}
    for name in ("day0", "day1"):
        recordings[name]["animal"] = ["m0"] * len(recordings[name])
    with pytest.warns(UserWarning, match="recordings day2 do not name theirs in a column 'animal'"):
        probe = quick().fit(recordings, verbose=False)
    assert probe.cv_group_ == "recording"
    named = dict(zip(recordings, ["m0", "m0", "m1"], strict=True))
    assert quick().fit(recordings, animals=named, verbose=False).cv_group_ == "animal"


def mouse(seed, animals):
    units = recording(seed)
    units["animal"] = np.array(animals)
    return units


def test_whole_numbers_name_the_same_animal_in_every_type():
    """One missing value makes a column of whole numbers floats."""
    days = {
        "a": mouse(0, [1] * 30),
        "b": mouse(1, [1.0] * 29 + [np.nan]),
        "c": mouse(2, [2] * 30),
    }
    options = {"protocol": "inductive_zero_shot", "systems": [Counting()], "progress": False}
    for animals in (None, {"a": 1, "b": 1.0, "c": 2}, [1, np.float32(1), 2]):
        predicted = evaluate(days, "cell_type", animals=animals, n_shuffles=0, **options)
        assert predicted["fold"].values.tolist() == ["1", "2"]
    recordings = {}
    for i, (name, units) in enumerate(days.items()):
        recordings[name] = embedded(seed=i)
        recordings[name]["animal"] = units["animal"].to_numpy()
    one = quick().fit({name: recordings[name] for name in "ab"}, verbose=False)
    assert one.cv_group_ == "recording"  # of one animal
    assert quick().fit(recordings, verbose=False).cv_group_ == "animal"


def test_whole_numbers_are_the_same_labels_in_every_type():
    layers = dict(zip(KINDS, range(4, 4 + len(KINDS)), strict=True))

    def days(missing):
        recordings = {}
        for seed in range(3):
            units = recording(seed, animal=f"m{seed}")
            layer = np.array([layers[kind] for kind in units["cell_type"]])
            if missing and seed == 1:
                layer = layer.astype(float)
                layer[0] = np.nan
            units["layer"] = layer
            units.drop_info("cell_type")
            recordings[f"d{seed}"] = units
        return recordings

    options = {"systems": [Counting()], "n_shuffles": 0, "progress": False}
    all_known, one_missing = (
        evaluate(days(missing), "layer", "inductive_zero_shot", **options)
        for missing in (False, True)
    )
    assert one_missing["true_label"].values.tolist() == all_known["true_label"].values.tolist()
    scores = [
        predicted["macro_f1"].sel(system="counting").values.item()
        for predicted in (all_known, one_missing)
    ]
    assert scores[1] == pytest.approx(scores[0], abs=0.05)

    units = embedded()
    units["layer"] = np.array([layers[kind] for kind in units["cell_type"]], dtype=float)
    written = quick("layer").fit(units, verbose=False).annotate(units, probabilities=True)
    assert set(written["predicted_layer"]) == {str(layer) for layer in layers.values()}
    assert f"predicted_layer_p_{min(layers.values())}" in written.metadata_columns
    assert as_texts([4.0, 4, np.float32(4), "4", 4.5, None, np.nan, ""]).tolist() == [
        *["4"] * 4, "4.5", "", "", ""]  # fmt: skip


def test_confidence_of_labels_in_another_type():
    labels, classes = [4, 5, 4, 5], ["4", "5"]
    probabilities = [[0.9, 0.1], [0.2, 0.8], [0.8, 0.2], [0.2, 0.8]]
    as_numbers = confidence_report(labels, probabilities, [4.0, 5.0])
    assert confidence_report(labels, probabilities, classes)["ece"] == as_numbers["ece"]
    assert float(as_numbers["ece"]) < 0.2
    texts = [str(label) for label in labels]
    assert fit_temperature(labels, probabilities, classes) == fit_temperature(
        texts, probabilities, classes
    )


class Voting(LogisticRegression):
    """Predicts by something else than its probabilities, as SVC does."""

    def predict(self, x):
        return np.roll(super().predict(x), 1)


def test_what_is_predicted_is_what_is_written():
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(60, 4)), np.tile(["a", "b", "c"], 20)
    units = nap.TsGroup({i: nap.Ts([0.5, 0.6]) for i in range(60)}, metadata={"kind": y})
    units = add_columns(units, vectors=x, summary={"nuclr_encoder": [TINY] * 60})
    probe = Probe("kind", estimator=Voting())
    probe.fit(units, verbose=False)
    written = probe.annotate(units, force=True)["predicted_kind"].to_numpy()
    assert (probe.estimator_.predict(x.astype(np.float32)) != written).any()
    np.testing.assert_array_equal(probe.predict(units), written)
