"""The three protocols: what they show, what they hide, and what the table holds."""

import json
import warnings

import numpy as np
import pynapple as nap
import pytest
from evaluation_systems import (
    KINDS,
    Counting,
    KnowsWhatItSaw,
    MostCommonHere,
    RemembersLabels,
    Unique,
    mice,
    recording,
    truth_of,
)

from pynapple_nuclr import evaluation

PROTOCOLS = ["transductive", "transductive_zero_shot", "inductive_zero_shot"]
ZERO_SHOT = PROTOCOLS[1:]


def evaluate(recordings, protocol="transductive", systems=None, target="cell_type", **options):
    systems = [Counting()] if systems is None else systems
    options = {"n_shuffles": 0, "progress": False} | options
    return evaluation.evaluate(recordings, target, protocol, systems, **options)


def f1(dataset, system="counting", **where):
    return dataset["macro_f1"].sel(system=system, **where).values.ravel()


# what is hidden


def test_an_embedding_that_remembers_recordings_fails_only_where_it_never_saw_them():
    recordings = mice(3, n=45)
    KnowsWhatItSaw.truth = truth_of(recordings)
    KnowsWhatItSaw.received.clear()
    dataset = evaluate(recordings, PROTOCOLS, [KnowsWhatItSaw()], standardize=["none", "recording"])
    seen = dataset["macro_f1"].sel(system="remembers its training").isel(seed=0)
    assert (seen.sel(protocol=PROTOCOLS[:2]) == 1.0).all()
    # All units of the animal left out look the same: it predicts one label, or by luck another.
    by_animal = dataset["macro_f1_fold"].sel(
        system="remembers its training", fold=["m0", "m1", "m2"]
    )
    np.testing.assert_allclose(by_animal.sel(protocol="inductive_zero_shot"), 1 / 6)
    assert "cell_type" not in KnowsWhatItSaw.received
    assert "animal" in KnowsWhatItSaw.received


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_probe_that_remembers_units_knows_nothing_of_those_it_tests(protocol):
    recordings = mice(3, n=100)
    assert 0.2 < f1(evaluate(recordings, protocol, [Unique()]), "unique")[0] < 0.46


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_labels_of_tested_units_reach_no_system(protocol):
    recordings = mice(3)
    truth = truth_of(recordings)
    RemembersLabels.shown.clear()
    dataset = evaluate(recordings, protocol, [RemembersLabels()])
    np.testing.assert_allclose(f1(dataset, "remembers labels"), 1 / 6)  # always the first label
    n_folds = 5 if protocol == "transductive" else 3
    assert len(RemembersLabels.shown) == n_folds
    hidden = [set(truth) - set(shown) for shown in RemembersLabels.shown]
    assert all(shown.items() <= truth.items() for shown in RemembersLabels.shown)
    assert set.union(*hidden) == set(truth)
    assert sum(map(len, hidden)) == len(truth)  # each unit is tested once
    if protocol != "transductive":
        animals = [set(truth_of({name: units})) for name, units in recordings.items()]
        assert sorted(map(sorted, hidden)) == sorted(map(sorted, animals))


def test_inductive_fits_never_see_the_animal_left_out():
    recordings = mice(3) | {"late": recording(seed=9, animal="m0")}
    Counting.fits.clear()
    evaluate(recordings, "inductive_zero_shot")
    fitted = {tuple(names) for names, _, _ in Counting.fits}
    assert fitted == {
        ("day_1", "day_2"),
        ("day_0", "day_2", "late"),
        ("day_0", "day_1", "late"),
    }
    Counting.fits.clear()
    evaluate(recordings, PROTOCOLS[:2], seeds=[3, 5])
    everything = sorted(recordings)
    assert Counting.fits == [(everything, 3, True), (everything, 5, True)]


def test_labels_of_tested_units_do_not_change_what_is_said_of_them():
    recordings = mice(3, separation=0.4)
    before = evaluate(recordings, ZERO_SHOT)
    recordings["day_1"]["cell_type"] = np.roll(recordings["day_1"]["cell_type"], 1)
    after = evaluate(recordings, ZERO_SHOT)
    tested = before["animal"].values == "m1"
    for name in ("predicted", "confidence"):
        one, other = (d[name].sel(system="counting").values for d in (before, after))
        np.testing.assert_array_equal(one[..., tested], other[..., tested])
        assert (one[..., ~tested] != other[..., ~tested]).any()


# what is scored


def test_unlabelled_and_silent_units_are_left_out_of_scores_not_of_the_population():
    recordings = mice(2)
    labels = recordings["day_0"]["cell_type"].to_numpy().astype(object)
    labels[:4] = ["", None, np.nan, "nan"]
    silent = nap.TsGroup(
        {**dict(recordings["day_0"].items()), 999: nap.Ts([])},
        time_support=recordings["day_0"].time_support,
        metadata={"cell_type": [*labels, "PV"], "animal": ["m0"] * 31},
    )
    dataset = evaluate({"day_0": silent, "day_1": recordings["day_1"]})
    assert dataset.sizes["unit"] == 26 + 30
    assert dataset.attrs["n_units"] == 56
    assert dataset.attrs["n_unlabelled"] == 4
    assert dataset.attrs["n_silent"] == 1
    assert int(dataset["n"].sum()) == 56
    assert 999 not in dataset["unit_id"]


def test_recordings_without_labels_take_part_in_fits_only():
    recordings = mice(2)
    extra = recording(seed=7, animal="m7")
    extra.drop_info("cell_type")
    Counting.fits.clear()
    with pytest.warns(UserWarning, match="unlabelled.*'cell_type': extra"):
        dataset = evaluate(recordings | {"extra": extra}, "inductive_zero_shot")
    assert sorted(names for names, _, _ in Counting.fits) == [
        ["day_0", "extra"],
        ["day_1", "extra"],
    ]
    assert dataset["fold"].values.tolist() == ["m0", "m1"]


def test_predictions_are_those_of_the_scores_in_the_order_given():
    recordings = dict(reversed(mice(3, separation=0.5).items()))
    dataset = evaluate(recordings, PROTOCOLS, seeds=2)
    given = np.concatenate([units["cell_type"] for units in recordings.values()])
    np.testing.assert_array_equal(dataset["label"], given)
    assert dataset["recording"].values[[0, -1]].tolist() == ["day_2", "day_0"]
    assert dataset["unit_id"].values[:3].tolist() == [100, 101, 102]
    right = (dataset["predicted"] == dataset["label"]).mean("unit").sel(system="counting")
    np.testing.assert_allclose(right, dataset["top1"].sel(system="counting"))
    confusion = dataset["confusion"].sel(system="counting")
    hits = sum(confusion.sel(true_label=k, predicted_label=k) for k in KINDS)
    np.testing.assert_allclose(hits / 90, right)
    assert (confusion.sum(["true_label", "predicted_label"]) == 90).all()
    confidence = dataset["confidence"].sel(system="counting")
    assert ((confidence >= 1 / 3) & (confidence <= 1)).all()


def test_unit_and_recording_order_do_not_matter():
    order = np.random.default_rng(0).permutation(30)
    recordings = mice(3, separation=0.5)
    shuffled = {
        f"day_{i}": recording(i, 30, f"m{i}", separation=0.5, order=order) for i in (2, 0, 1)
    }
    options = {"standardize": ["none", "recording"], "seeds": 2, "n_shuffles": 2}
    one, other = (evaluate(g, PROTOCOLS, **options) for g in (recordings, shuffled))
    for name in ("macro_f1", "macro_f1_within_recording", "ece", "macro_f1_fold", "confusion"):
        np.testing.assert_allclose(one[name], other[name], atol=1e-6, err_msg=name)
    for i in range(3):
        a = one["predicted"][..., (one["recording"] == f"day_{i}").values]
        b = other["predicted"][..., (other["recording"] == f"day_{i}").values]
        np.testing.assert_array_equal(a[..., order], b)


def test_the_same_call_gives_the_same_numbers():
    recordings = mice(2, separation=0.5)
    one, other = (evaluate(recordings, PROTOCOLS, n_shuffles=2) for _ in range(2))
    one, other = (d.drop_vars("seconds").drop_attrs() for d in (one, other))
    assert one.identical(other)


def test_shuffled_labels_are_near_chance_and_priors_know_only_their_own_recording():
    recordings = {
        f"day_{i}": recording(i, 120, f"m{i}", kinds=kinds)
        for i, kinds in enumerate([("PV", "PV", "PV", "SST"), ("SST", "SST", "SST", "PV")])
    }
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset = evaluate(recordings, PROTOCOLS, [Counting(), MostCommonHere()], n_shuffles=8)
    rows = dataset["system"].values.tolist()
    assert rows[:2] == ["counting", "prior: here"]
    assert {"prior: most common label", "prior: correlated neighbours"} < set(rows)
    assert rows[-1] == "shuffled labels"
    assert (f1(dataset) > 0.8).all()
    assert (abs(f1(dataset, "shuffled labels") - 0.5) < 0.06).all()
    sd = dataset["chance_sd"].values
    assert ((sd > 0.01) & (sd < 0.06)).all()
    table = dataset.nuclr.table(["macro_f1", "coverage"])
    chance = table.xs("shuffled labels", level="system")["macro F1"]
    assert chance.str.fullmatch(r"0\.\d{3} ± 0\.0\d{2}").all()
    row = table.loc[("inductive_zero_shot", "prior: most common label")]
    assert row.tolist() == ["– (needs test labels)", "–"]
    for prior in ("prior: here", "prior: most common label"):
        assert f1(dataset, prior, protocol="transductive") == pytest.approx(0.75)
        within = dataset["macro_f1_within_recording"].sel(system=prior, protocol="transductive")
        assert float(within.item()) == pytest.approx((6 / 7 + 0) / 2)  # one label for all
        assert np.isnan(f1(dataset, prior, protocol=ZERO_SHOT)).all()
        assert (dataset["predicted"].sel(system=prior, protocol=ZERO_SHOT) == "").all()


def test_shuffles_within_recordings_keep_what_a_recording_gives_away():
    kinds = [("PV",) * 3 + ("SST",), ("SST",) * 3 + ("PV",)]
    recordings = {f"day_{i}": recording(i, 120, f"m{i}", kinds=one) for i, one in enumerate(kinds)}
    for name, units in recordings.items():  # a vector of the recording, and nothing else
        units.set_info(day=np.full(len(units), float(name[-1])))

    class Day(Counting):
        name = "day"

        def embed(self, recordings):
            return {name: np.array(units["day"])[:, None] for name, units in recordings.items()}

    dataset = evaluate(recordings, systems=[Day()], n_shuffles=5)
    predicted = dataset.sel(system="shuffled labels")
    # It still shows which label is frequent in a recording; shuffled anywhere, nothing.
    assert predicted["macro_f1_within_recording"].item() == pytest.approx(3 / 7, abs=0.01)
    assert predicted["macro_f1"].item() == pytest.approx(0.5, abs=0.08)
    assert dataset["macro_f1"].sel(system="day").item() == pytest.approx(0.75)
    assert dataset["recording_decodability"].sel(system="day").item() == 1.0
    assert dataset["recording_chance"].sel(system="day").item() == 0.5


def test_normalisation_takes_the_signature_of_a_recording_away():
    class Signed(Counting):
        name = "signed"

        def embed(self, recordings):
            return {n: x + 9.0 * int(n[-1]) for n, x in super().embed(recordings).items()}

    dataset = evaluate(mice(3, n=60), PROTOCOLS, [Signed()], standardize=["none", "recording"])
    predicted = dataset["recording_decodability"].sel(system="signed").isel(seed=0)
    assert (predicted.sel(standardize="none") > 0.95).all()
    assert (predicted.sel(standardize="recording") < 0.5).all()
    scores = dataset["macro_f1"].sel(system="signed", protocol=ZERO_SHOT).isel(seed=0)
    assert (scores.sel(standardize="none") < 0.7).all()
    assert (scores.sel(standardize="recording") > 0.9).all()


def test_the_table_says_who_was_asked_and_how():
    class Pretrained(Counting):
        name = "pretrained"
        identity = "tiny@0a1b2c3d"
        pretrained_on = "two mice"

    system = Pretrained()
    dataset = evaluate(mice(2), systems={"ours": system, "labels": RemembersLabels()}, seeds=2)
    ours = dataset.sel(system="ours")
    assert ours["identity"].item() == "tiny@0a1b2c3d"
    assert ours["pretrained_on"].item() == "two mice"
    assert json.loads(ours["settings"].item())["useful"] is True
    assert (
        dataset["pretrained_on"].sel(system="labels").item()
        == "labelled units of the training folds"
    )
    assert (dataset["seconds"].sel(system=["ours", "labels"]) > 0).all()
    history = json.loads(dataset.attrs["history"])["ours"]
    assert len(history) == 200
    assert history[-1] == {"step": 299.0, "loss": 1 / 300}
    assert system.history_ == []  # the system that was received in is not changed
    assert dataset.attrs["target"] == "cell_type"
    assert dataset.attrs["seeds"] == [0, 1]


def test_a_rare_class_and_a_system_that_says_nothing():
    recordings = mice(2, n=30)
    recordings["day_0"]["cell_type"] = ["rare", "rare", *recordings["day_0"]["cell_type"][2:]]

    class Shy(Counting):
        name = "shy"

        def embed(self, recordings):
            return {
                n: np.where(x[:, :1] > 4, np.nan, x) for n, x in super().embed(recordings).items()
            }

    dataset = evaluate(recordings, systems=[Shy()])
    answered = dataset["coverage"].sel(system="shy").item()
    silent = (dataset["predicted"].sel(system="shy") == "").mean().item()
    assert 0 < answered < 1
    assert answered == pytest.approx(1 - silent)
    column = dataset["confusion"].sel(system="shy", predicted_label="(none)")
    assert column.sum().item() == pytest.approx(60 * silent)


# nested choice


def test_nested_validation_chooses_what_works_and_says_so():
    recordings = mice(3)
    bad = Counting(useful=False, options=(True,))
    fixed, chosen = (
        evaluate(recordings, PROTOCOLS, [bad], model_selection=c) for c in (None, "nested")
    )
    assert (f1(fixed) < 0.5).all()
    assert (f1(chosen) > 0.9).all()
    predicted = chosen["chosen"].sel(system="counting", protocol="transductive")
    assert {json.loads(one)["useful"] for one in predicted.values.ravel() if one} == {True}
    assert (fixed["chosen"] == "").all()


@pytest.mark.parametrize("protocol", ZERO_SHOT)
def test_nested_choice_never_sees_a_test_label(protocol):
    recordings = mice(3)
    options = {"systems": [Counting(useful=False, options=(True,))], "model_selection": "nested"}
    before = evaluate(recordings, protocol, **options)
    # In the animal left out the useful vectors now mislead, and still they are chosen.
    kinds = dict(zip(KINDS, np.roll(KINDS, 1), strict=True))
    recordings["day_2"]["cell_type"] = [kinds[one] for one in recordings["day_2"]["cell_type"]]
    after = evaluate(recordings, protocol, **options)
    fold = {"system": "counting", "fold": "m2"}
    assert (before["chosen"].sel(fold) == after["chosen"].sel(fold)).all()
    assert (after["macro_f1_fold"].sel(fold) < 0.1).all()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_nested_choice_of_a_label_system_shows_it_no_test_label(protocol):
    class TwoWays(RemembersLabels):
        name = "two ways"

        def candidates(self):
            return [self, RemembersLabels()]

    RemembersLabels.shown.clear()
    recordings = mice(3, n=18)
    truth = truth_of(recordings)
    dataset = evaluate(recordings, protocol, [TwoWays()], model_selection="nested")
    folds = 5 if protocol == "transductive" else 3
    inner = 3 if protocol == "transductive" else 2
    assert len(RemembersLabels.shown) == folds * (1 + 2 * inner)
    np.testing.assert_allclose(f1(dataset, "two ways"), 1 / 6)
    per_fold = np.array_split(np.arange(len(RemembersLabels.shown)), folds)
    for calls in per_fold:  # the last of a fold is its own fit: nobody before was shown more
        shown = [set(RemembersLabels.shown[i]) for i in calls]
        assert all(one < shown[-1] for one in shown[:-1])
        assert len(truth) - len(shown[-1]) in (10, 11, 18)
