"""What a probe reads beside the vectors, and its honest score beside chance."""

from __future__ import annotations

import numpy as np
import pytest
from embedded_groups import DIM, FAR, KINDS, embedded, fitted, quick

from pynapple_nuclr.columns import add_columns, embeddings
from pynapple_nuclr.probes import Probe


def test_features_join_the_embedding():
    units = embedded(90, separation=0.0, width=np.array([0.1, 0.5, 0.9] * 30))
    alone = Probe("cell_type", inputs="embedding").fit(units, verbose=False)
    joined = Probe("cell_type", inputs="embedding", features=("width",))
    joined.fit(units, verbose=False)
    assert alone.cv_score_ < 0.7 < 0.95 < joined.cv_score_
    assert joined.n_features_in_ == DIM + 1
    assert joined.annotate(units)["predicted_cell_type"].tolist() == units["cell_type"].tolist()
    with pytest.raises(ValueError, match=r"'width'.*cell_type"):
        joined.predict(embedded())


def test_features_that_are_no_numbers_or_missing():
    with pytest.raises(ValueError, match="'shape' holds 'wide'"):
        Probe("cell_type", features=["shape"]).fit(embedded(shape=["wide"] * 30))
    width = np.where(np.arange(30) == 2, np.nan, 1.0)
    with pytest.raises(ValueError, match="'width' is nan for unit 7"):
        Probe("cell_type", features=["width"]).fit(embedded(width=width))
    # A silent unit is not looked at, so its features may be missing.
    with pytest.warns(UserWarning, match="1 silent"):
        Probe("cell_type", features=["width"]).fit(embedded(width=width, silent=[2]))


def test_normalize_removes_what_a_whole_recording_shares():
    train = [embedded(seed=i, shift=3.0 * i) for i in range(3)]
    test = embedded(seed=8, shift=FAR, silent=[3])
    by = {"inputs": "embedding"}
    plain = Probe("cell_type", **by).fit(train, verbose=False)
    normalized = Probe("cell_type", standardize="recording", **by).fit(train, verbose=False)
    with pytest.warns(UserWarning, match="1 silent"):
        assert plain.score(test) < 0.6
    with pytest.warns(UserWarning, match="1 silent"):
        assert normalized.score(test) > 0.95
    # On arrays all of X is one recording, its features left as they are.
    x = embeddings(embedded(seed=8, shift=FAR)).values
    expected = normalized.predict(embedded(seed=8, shift=FAR))
    np.testing.assert_array_equal(normalized.predict(x), expected)


def test_a_prefix():
    units = embedded()
    vectors = embeddings(units).values
    both = add_columns(
        units, vectors=vectors[:, :3], summary={"mine_encoder": ["mine@1"] * 30}, prefix="mine"
    )
    probe = Probe("cell_type", prefix="mine").fit(both, verbose=False)
    assert probe.encoder_ == "mine@1"
    assert probe.n_features_in_ == 3
    assert "nuclr_0" in probe.annotate(both).metadata_columns


def test_the_score_is_printed_beside_chance_and_the_inputs(capsys):
    probe = Probe("cell_type", calibrate=False).fit(embedded(seed=3))
    score, less, inputs = capsys.readouterr().out.splitlines()
    assert score == (
        f"cell_type: macro F1 {probe.cv_score_:.2f} by unit (5 folds), chance "
        f"{probe.cv_chance_:.2f} ± {probe.cv_chance_sd_:.2f}, 30 units"
    )
    assert less == "expect less in other recordings and animals: the folds left out units"
    tried = ", ".join(f"{name} {f1:.2f}" for name, f1 in probe.cv_inputs_.items())
    assert inputs == f"inputs: {probe.inputs_} (before the choice: {tried})"
    assert list(probe.cv_inputs_) == ["embedding", "statistics", "both"]
    Probe("cell_type", inputs="embedding", calibrate=False).fit(embedded(seed=3))
    assert len(capsys.readouterr().out.splitlines()) == 2
    animals = np.repeat(["m0", "m1"], 15).tolist()
    of_animals = Probe("cell_type", inputs="embedding", calibrate=False)
    of_animals.fit(embedded(seed=3, animal=animals))
    assert len(capsys.readouterr().out.splitlines()) == 1
    Probe("cell_type", calibrate=False).fit(embedded(seed=3), verbose=False)
    assert capsys.readouterr().out == ""


def test_calibration_that_makes_confidence_less_reliable_is_left_out(capsys):
    probe = Probe("cell_type", inputs="embedding").fit(embedded(seed=3))
    found = probe.cv_calibration_
    assert probe.temperature_ == 1
    assert found["ece"] == found["ece_uncalibrated"] < found["ece_rejected"]
    off, calibrated = found["ece"], found["ece_rejected"]
    assert f"{off:.2f} off on average (calibrated: {calibrated:.2f})" in capsys.readouterr().out


def test_scores_of_structure_and_of_noise():
    probe = fitted()
    assert probe.cv_score_ > 0.9
    assert 0.1 < probe.cv_chance_ < 0.55
    noise = Probe("cell_type").fit(embedded(150, separation=0.0), verbose=False)
    assert abs(noise.cv_score_ - noise.cv_chance_) < 0.15
    assert probe.above_chance_
    # Two standard deviations: about one in twenty is above by chance.
    noises = [embedded(60, separation=0.0, seed=seed) for seed in range(1, 5)]
    above = [Probe("cell_type").fit(one, verbose=False).above_chance_ for one in noises]
    assert sum(above) <= 1


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_probe_of_random_labels_says_so_and_writes_unknown(seed):
    units = embedded(60, seed=seed)
    kinds = np.random.default_rng(seed).permutation(units["cell_type"].to_numpy())
    with pytest.warns(UserWarning, match=r"not above chance: macro F1 0\.\d+ .*chance 0\.\d+ ± 0"):
        probe = Probe("random").fit(units, kinds, verbose=False)
    with pytest.warns(UserWarning, match="all units are called 'unknown'.*force=True"):
        annotated = probe.annotate(units)
    assert set(annotated["predicted_random"]) == {"unknown"}
    forced = probe.annotate(units, force=True)
    assert set(forced["predicted_random"]) <= set(kinds)
    assert fitted().annotate(units)["predicted_cell_type"].isin(kinds).all()


def test_the_number_of_shuffles_is_a_parameter():
    probe = fitted(n_shuffles=1)
    assert probe.cv_chance_sd_ == 0
    for wrong in (0, 2.5, True, "many"):
        with pytest.raises(ValueError, match="n_shuffles="):
            Probe("cell_type", n_shuffles=wrong).fit(embedded(), verbose=False)


def test_folds_leave_out_animals_recordings_or_units():
    recordings = {f"r{i}": embedded(12, seed=i) for i in range(4)}
    mice = {"r0": "A", "r1": "A", "r2": "B", "r3": "B"}
    assert quick().fit(recordings, animals=mice, verbose=False).cv_group_ == "animal"
    assert quick().fit(recordings, verbose=False).cv_group_ == "recording"
    assert quick().fit(recordings["r0"], verbose=False).cv_group_ == "unit"
    one = dict.fromkeys(recordings, "A")
    assert quick().fit(recordings, animals=one, verbose=False).cv_group_ == "recording"
    columns = [embedded(12, seed=i, animal=[f"m{i}"] * 12) for i in range(3)]
    assert quick().fit(columns, animals="animal", verbose=False).cv_group_ == "animal"
    x = np.concatenate([embeddings(group).values for group in columns])
    by_rows = quick().fit(x, KINDS * 12, animals=np.repeat([1, 2, 3], 12), verbose=False)
    assert by_rows.cv_group_ == "animal"


def test_an_animals_own_signature_does_not_help_across_animals():
    # Each animal holds one class and has an offset of its own: nothing can be learnt across.
    recordings = {}
    for i in range(6):
        group = embedded(
            10, seed=i, separation=0.0, shift=np.random.default_rng(i).normal(0, 9, DIM)
        )
        group.set_info({"cell_type": [KINDS[i % 2]] * 10})
        recordings[f"r{i}"] = group
    within = Probe("cell_type", n_shuffles=1).fit(
        np.concatenate([embeddings(group).values for group in recordings.values()]),
        np.repeat([KINDS[i % 2] for i in range(6)], 10),
        verbose=False,
    )
    across = Probe("cell_type", n_shuffles=1).fit(
        recordings, animals={name: name for name in recordings}, verbose=False
    )
    assert within.cv_score_ > 0.95
    assert across.cv_score_ < 0.7


def test_a_class_of_one_animal_only_is_said():
    recordings = {"r0": embedded(12, seed=0), "r1": embedded(12, seed=1)}
    for name, kind in (("r0", "PV"), ("r1", "SST")):
        recordings[name].set_info({"cell_type": [kind] * 12})
    with pytest.warns(UserWarning, match="'cell_type': 2 of 2 classes in one animal only"):
        probe = quick().fit(recordings, animals={"r0": "A", "r1": "B"}, verbose=False)
    assert probe.cv_score_ == 0
    # Without animals such recordings cannot be left out: folds are of units, and leak.
    with pytest.warns(UserWarning, match="'cell_type': 2 of 2 classes in one of 2 recordings") as w:
        assert quick().fit(recordings, verbose=False).cv_group_ == "unit"
    folds, chance = w
    assert "the probe is not above chance" in str(chance.message)
    assert folds.filename == chance.filename == __file__
    recordings["r2"] = embedded(12, seed=2).getby_category("cell_type")["PV"]
    with pytest.warns(UserWarning, match="'cell_type': 1 of 2 classes in one of 3 recordings"):
        assert quick().fit(recordings, verbose=False).cv_group_ == "unit"


@pytest.mark.parametrize("column", ["animal", "subject"])
def test_a_column_of_animals_is_used_by_itself(column, capsys):
    # Two recordings of each animal, which identify it: leaving out recordings would leak.
    recordings = [
        embedded(12, seed=i, shift=9.0 * (i // 2), **{column: [f"m{i // 2}"] * 12})
        for i in range(4)
    ]
    probe = quick().fit(recordings)
    assert probe.cv_group_ == "animal"
    assert "by animal (2 folds)" in capsys.readouterr().out
    named = quick().fit(recordings, animals=list("AABB"), verbose=False)
    assert (named.cv_group_, named.cv_score_) == ("animal", probe.cv_score_)
    some = np.array([None] * 11 + ["m0"], dtype=object)  # said of one unit: so are the others
    recordings[0].set_info({column: some})
    assert quick().fit(recordings, verbose=False).cv_score_ == probe.cv_score_
    assert quick().fit(recordings[:2], verbose=False).cv_group_ == "recording"
    for change in ("unknown", "no column"):
        recordings[0].set_info({column: np.array([None] * 12, dtype=object)})
        if change == "no column":
            recordings[0].drop_info(column)
        with pytest.warns(
            UserWarning, match=f"recordings 0 do not name theirs in a column '{column}"
        ):
            assert quick().fit(recordings, verbose=False).cv_group_ == "recording"


def test_a_probe_of_animals_leaves_none_out():
    recordings = [embedded(12, seed=i, animal=["A", "B"] * 6) for i in range(2)]
    assert quick("animal").fit(recordings, verbose=False).cv_group_ == "recording"


def test_animals_of_a_list_of_recordings():
    recordings = [embedded(12, seed=i) for i in range(3)]
    expected = quick().fit(recordings, animals={"0": "A", "1": "A", "2": "B"})
    assert expected.cv_group_ == "animal"
    for animals in ({0: "A", 1: "A", 2: "B"}, ["A", "A", "B"], np.array([1, 1, 2])):
        probe = quick().fit(recordings, animals=animals, verbose=False)
        assert (probe.cv_group_, probe.cv_score_) == ("animal", expected.cv_score_)


def test_wrong_animals():
    recordings = {"r0": embedded(12), "r1": embedded(12)}
    with pytest.raises(ValueError, match="'r1'"):
        Probe("cell_type", n_shuffles=1).fit(recordings, animals={"r0": "A"})
    with pytest.raises(ValueError, match="animals has 3 entries for 2 recordings"):
        Probe("cell_type", n_shuffles=1).fit(recordings, animals=["A", "B", "C"])
    with pytest.raises(ValueError, match="animals has shape"):
        Probe("cell_type", n_shuffles=1).fit(np.eye(4), list("aabb"), animals=["A", "B"])
    with pytest.raises(ValueError, match="1 units without an animal, of 6"):
        Probe("cell_type", n_shuffles=1).fit(embedded(6, animal=[None, *"AABBB"]), animals="animal")


def test_the_same_twice():
    a, b = (Probe("cell_type", n_shuffles=1).fit(embedded(), verbose=False) for _ in range(2))
    assert (a.cv_score_, a.cv_chance_) == (b.cv_score_, b.cv_chance_)
    np.testing.assert_array_equal(a.predict_proba(embedded()), b.predict_proba(embedded()))


def test_score_is_the_macro_f1():
    units = embedded(30, seed=3, separation=0.8)
    probe = fitted()
    truth, found = units["cell_type"].to_numpy(), probe.predict(units)
    f1 = [
        2
        * ((truth == kind) & (found == kind)).sum()
        / ((truth == kind).sum() + (found == kind).sum())
        for kind in KINDS
    ]
    assert probe.score(units) == pytest.approx(np.mean(f1))
    assert probe.score(embeddings(units).values, truth.astype(str)) == pytest.approx(np.mean(f1))
    assert probe.score(units) != pytest.approx(np.mean(truth == found), abs=1e-6)


def test_score_leaves_out_missing_labels_of_arrays_too():
    units = embedded(30, seed=3, separation=0.8)
    x, labels = embeddings(units).values, units["cell_type"].to_numpy().astype(object)
    weights = np.linspace(0.1, 1, 30)
    probe, some = fitted(), slice(4, None)
    expected = probe.score(x[some], labels[some])
    weighted = probe.score(x[some], labels[some], weights[some])
    labels[:4] = [None, np.nan, "", "nan"]
    with pytest.warns(UserWarning, match="4 units without a label in 'cell_type'"):
        assert probe.score(x, labels) == expected
    with pytest.warns(UserWarning, match="4 units without a label"):
        assert probe.score(x, labels, weights) == weighted
    with pytest.raises(ValueError, match="inconsistent"):
        probe.score(x, labels[1:])


def test_columns_called_as_variables_of_encode_can_be_read():
    stability = np.array([0.1, 0.5, 0.9] * 30)
    units = embedded(90, separation=0.0, stability=stability, start=["x", "y", "z"] * 30)
    assert Probe("cell_type", features=["stability"]).fit(units, verbose=False).cv_score_ > 0.95
    assert Probe("start").fit(units, verbose=False).classes_.tolist() == ["x", "y", "z"]
    assert Probe("unit").fit(units, ["x", "y", "z"] * 30, verbose=False).n_units_ == 90
