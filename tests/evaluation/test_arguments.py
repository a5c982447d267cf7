"""What an evaluation refuses, and its messages."""

import sys

import pytest
from evaluation_systems import KINDS, Counting, mice, recording

import pynapple_nuclr as nap_nuclr
from pynapple_nuclr import evaluation
from pynapple_nuclr.baselines._statistics import Statistics


def evaluate(recordings, protocol="transductive", systems=None, target="cell_type", **options):
    systems = [Counting()] if systems is None else systems
    options = {"n_shuffles": 0, "progress": False} | options
    return evaluation.evaluate(recordings, target, protocol, systems, **options)


def test_refusals_name_what_is_wrong():
    recordings = mice(2)
    for options, message in (
        ({"protocol": "inductive"}, "protocol='inductive'.*'inductive_zero_shot'"),
        ({"standardize": "animal"}, "standardize='animal'.*'recording'"),
        ({"model_selection": "best"}, "model_selection='best'"),
        ({"seeds": 0}, "seeds=0"),
        ({"seeds": [1, 1]}, "seeds="),
        ({"n_folds": 1}, "n_folds=1; expected at least 2"),
        ({"systems": ["oracle"]}, "'oracle' is unknown.*Nuclr"),
        ({"systems": []}, "systems is empty"),
        ({"systems": [Counting(), Counting()]}, "two systems are called 'counting'"),
        ({"target": "region"}, "no recording has a metadata column 'region'.*cell_type"),
        ({"animals": {"day_0": "m0"}}, "'day_1'"),
        ({"animals": ["m0"]}, "1 entries for 2 recordings"),
        ({"animals": "mouse"}, "'day_0' has no metadata column 'mouse'"),
    ):
        with pytest.raises(ValueError, match=message):
            evaluate(recordings, **options)
    for systems in ([3], 3):
        with pytest.raises(TypeError, match="is a int"):
            evaluate(recordings, systems=systems)
    with pytest.raises(TypeError, match="'day_0' is a str"):
        evaluate({"day_0": "session.nwb"})


def test_zero_shot_needs_two_animals():
    recordings = {"a": recording(0), "b": recording(1)}
    with pytest.raises(ValueError, match=r"at least two; only 'm0'.*animals="):
        evaluate(recordings, "inductive_zero_shot")
    for units in recordings.values():
        units.drop_info("animal")
    with pytest.raises(ValueError, match="none is named"):
        evaluate(recordings, "transductive_zero_shot")
    dataset = evaluate(recordings, "transductive_zero_shot", animals={"a": "one", "b": "two"})
    assert dataset["fold"].values.tolist() == ["one", "two"]
    dataset = evaluate([*recordings.values()], "transductive_zero_shot", animals=["x", "y"])
    assert dataset["fold"].values.tolist() == ["x", "y"]


def test_a_class_in_one_animal_is_said():
    recordings = {"a": recording(0), "b": recording(1, animal="m1", kinds=KINDS[:2])}
    with pytest.warns(UserWarning, match="in one animal only: VIP"):
        dataset = evaluate(recordings, "inductive_zero_shot")
    assert dataset["macro_f1"].sel(system="counting").item() < 0.75


def test_a_recording_of_two_animals_is_refused():
    recordings = mice(2)
    recordings["day_1"]["animal"] = ["m1"] * 15 + ["m2"] * 15
    with pytest.raises(ValueError, match="'day_1' has 2 animals"):
        evaluate(recordings, "inductive_zero_shot")


def test_blanks_and_case_of_labels():
    labels = recording()["cell_type"].to_numpy().astype(object)
    with_blank, in_lower_case = labels.copy(), labels.copy()
    with_blank[0], in_lower_case[:6] = "PV ", [one.lower() for one in labels[:6]]
    units = recording()
    units.set_info(cell_type=with_blank)
    assert evaluate({"day": units})["true_label"].values.tolist() == list(KINDS)
    units.set_info(cell_type=in_lower_case)
    with pytest.warns(UserWarning, match="differ only in case .*'PV', 'SST', 'VIP', 'pv'"):
        evaluate({"day": units})


def test_too_few_classes_or_units():
    with pytest.raises(ValueError, match="one class, PV"):
        evaluate(mice(2, kinds=("PV",)))
    recordings = mice(2)
    recordings["day_0"]["cell_type"] = ["rare", *recordings["day_0"]["cell_type"][1:]]
    with pytest.raises(ValueError, match="fewer than two units of: rare"):
        evaluate(recordings)


def test_modalities():
    worm = nap_nuclr.simulate("single", modality="calcium", n_units=12, duration=30)
    with pytest.raises(ValueError, match="'counting' reads spikes; the recordings hold calcium"):
        evaluate(worm)
    with pytest.raises(ValueError, match=r"'a' holds spikes and 'b' calcium"):
        evaluate({"a": recording(), "b": worm})
    dataset = evaluate(worm, systems=[Statistics()], n_folds=2)
    assert dataset.attrs["modality"] == "calcium"
    assert dataset["coverage"].sel(system="statistics").item() == 1.0


def test_wrong_answers_name_the_system():
    class Short(Counting):
        name = "short"

        def embed(self, recordings):
            return {name: x[1:] for name, x in super().embed(recordings).items()}

    with pytest.raises(ValueError, match=r"'short' returned shape \(29, 2\).*'day_0'.*30"):
        evaluate(mice(2), systems=[Short()])

    class Broken(Counting):
        name = "broken"

        def fit(self, recordings, *, seed=0, progress=False):
            raise ValueError("too short")

    with pytest.raises(ValueError, match="too short") as error:
        evaluate(mice(2), systems=[Broken()])
    if sys.version_info >= (3, 11):  # earlier errors take no notes
        assert "'broken' was fitted on day_0, day_1" in error.value.__notes__[0]


def test_an_empty_animal_column_beside_a_full_subject_column():
    recordings = mice(2)
    for number, units in enumerate(recordings.values()):
        units["animal"] = [""] * len(units)
        units["subject"] = [f"s{number}"] * len(units)
    dataset = evaluate(recordings, "inductive_zero_shot")
    assert dataset["fold"].values.tolist() == ["s0", "s1"]
