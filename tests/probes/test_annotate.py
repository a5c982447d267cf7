"""Predictions as metadata columns."""

from __future__ import annotations

import warnings

import numpy as np
import pynapple as nap
import pytest
from embedded_groups import KINDS, dataset, embedded, fitted, quick
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from pynapple_nuclr.columns import embeddings, metadata_frame
from pynapple_nuclr.config import EncoderConfig
from pynapple_nuclr.embedding import embed
from pynapple_nuclr.plotting.unit_columns import read_score
from pynapple_nuclr.probe_score import ProbeScore
from pynapple_nuclr.probes import Probe

LITTLE = EncoderConfig(
    bin_size=0.02, patch_duration=0.2, window_duration=1.0, dim=32, heads=2, head_dim=16
)


@pytest.mark.parametrize("modality", ["spikes", "calcium"])
def test_annotate_writes_columns_and_changes_no_input(modality):
    units = embedded(21, seed=5, silent=[4], modality=modality, depth=np.arange(21.0))
    before = list(units.metadata_columns)
    result = fitted().annotate(units)
    assert units.metadata_columns == before
    assert type(result) is type(units)
    new = ["predicted_cell_type", "predicted_cell_type_confidence"]
    first = [name for name in result.metadata_columns if name != "rate"][:2]
    assert first == new
    notes = {"predicted_cell_type_probe", "predicted_cell_type_training"}
    assert set(result.metadata_columns) == {*before, *new, *notes}
    kinds, confidence = (result[name].to_numpy() for name in new)
    embedded_units = np.arange(21) != 4
    assert kinds[4] == "unknown"
    assert np.isnan(confidence[4])
    assert (kinds == units["cell_type"])[embedded_units].mean() > 0.9
    assert (confidence[embedded_units] > 1 / 3).all()
    assert (confidence[embedded_units] <= 1).all()
    if modality == "spikes":
        assert set(result[result["predicted_cell_type"] == "PV"].index) <= set(units.index)
    else:
        assert result[:, result["predicted_cell_type"] == "PV"].shape[1] > 3


def test_units_know_the_score_of_their_probe_and_whether_it_learned_from_them():
    units = embedded(60, seed=5)
    probe = Probe("cell_type", inputs="embedding").fit(units[list(units.index[:40])], verbose=False)
    result = probe.annotate(units)
    np.testing.assert_array_equal(result["predicted_cell_type_training"], np.arange(60) < 40)
    (text,) = set(result["predicted_cell_type_probe"])
    assert text == str(ProbeScore.of(probe))
    assert read_score(metadata_frame(result), "cell_type") == ProbeScore.of(probe)
    # A probe fitted on arrays does not know its units.
    x = embeddings(units).values
    by_array = Probe("cell_type").fit(x, units["cell_type"], verbose=False)
    assert "predicted_cell_type_training" not in by_array.annotate(result).metadata_columns


def test_a_threshold_counts_from_the_share_of_the_class():
    units = embedded(60, seed=6, separation=0.6)
    kinds = np.where(units["cell_type"] == "PV", "PV", "other")  # a third, and two thirds
    for estimator, shares in ((None, [1 / 2, 1 / 2]), (LogisticRegression(), [1 / 3, 2 / 3])):
        probe = Probe("cell_type", inputs="embedding", estimator=estimator)
        probe.fit(units, kinds, verbose=False)
        np.testing.assert_allclose(probe.class_shares_, shares)
        p = probe.predict_proba(units)
        share = np.array(shares)[p.argmax(axis=1)]
        for threshold in (0.0, 0.3, 0.5):
            labels = probe.annotate(units, threshold=threshold, force=True)["predicted_cell_type"]
            sure = p.max(axis=1) >= share + threshold * (1 - share)
            np.testing.assert_array_equal(labels != "unknown", sure)


def test_threshold_and_probabilities():
    units = embedded(30, seed=6, separation=2.0)
    probe = fitted()
    likely = float(np.median(probe.predict_proba(units).max(axis=1)))
    threshold = (likely - 1 / 3) / (1 - 1 / 3)  # each of the three classes is a third
    result = probe.annotate(units, threshold=threshold, probabilities=True)
    confidence = result["predicted_cell_type_confidence"]
    unknown = result["predicted_cell_type"] == "unknown"
    assert unknown.any()
    assert not unknown.all()
    np.testing.assert_array_equal(unknown, confidence < likely - 1e-12)
    probabilities = np.stack([result[f"predicted_cell_type_p_{kind}"] for kind in KINDS], axis=1)
    np.testing.assert_allclose(probabilities, probe.predict_proba(units))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)


def test_class_names_become_safe_columns_and_old_ones_go():
    units = embedded()
    layers = np.array(["L2/3", "L2 3", "L4"] * 10)
    units.set_info({"layer": layers})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first = quick("layer").fit(units, verbose=False).annotate(units, probabilities=True)
    names = [name for name in first.metadata_columns if "_p_" in name]
    stem = "predicted_layer_p_"
    assert names == [f"{stem}L2_3", f"{stem}L2_3_2", f"{stem}L4"]
    second = quick("layer").fit(units, ["L5", "L6"] * 15, verbose=False)
    again = second.annotate(first, probabilities=True)
    names = [name for name in again.metadata_columns if "_p_" in name]
    assert names == [f"{stem}L5", f"{stem}L6"]
    plain = second.annotate(again)
    assert not [name for name in plain.metadata_columns if "_p_" in name]


def test_two_probes_side_by_side_show_in_repr(terminal_of_80_columns):
    units = embedded(region=["CA1", "CA3"] * 15, depth=np.arange(30))
    for target in ("region", "cell_type"):
        units = quick(target).fit(units, verbose=False).annotate(units)
    assert "predicted_cell_type" in repr(units)
    assert "predicted_region" in repr(units)


def test_all_units_silent():
    result = fitted().annotate(embedded(3, silent=[0, 1, 2]))
    assert result["predicted_cell_type"].tolist() == ["unknown"] * 3
    assert fitted().predict(embedded(3, silent=[0, 1, 2])).tolist() == ["unknown"] * 3


def test_predictions_survive_permuting_units():
    order = np.random.default_rng(0).permutation(30)
    whole = dataset(embedded(separation=1.0, silent=[7]))
    probe = fitted(standardize="recording")
    probabilities = probe.predict_proba(whole)
    np.testing.assert_allclose(probe.predict_proba(whole.isel(unit=order)), probabilities[order])
    frame = embedded(separation=1.0, modality="calcium")
    calcium = probe.annotate(frame)["predicted_cell_type"]
    permuted = probe.annotate(frame[:, order])["predicted_cell_type"]
    assert permuted.to_dict() == calcium.to_dict()
    with pytest.warns(UserWarning, match="1 silent"):
        shuffled = quick().fit(whole.isel(unit=order), verbose=False)
    with pytest.warns(UserWarning, match="1 silent"):
        straight = quick().fit(whole, verbose=False)
    np.testing.assert_allclose(
        shuffled.predict_proba(whole), straight.predict_proba(whole), atol=1e-3
    )


def test_an_estimator_without_probabilities():
    probe = fitted(estimator=LinearSVC())
    assert not hasattr(probe, "predict_proba")
    assert probe.score(embedded(seed=9)) > 0.9
    with pytest.raises(ValueError, match="CalibratedClassifierCV"):
        probe.annotate(embedded())


@pytest.fixture(scope="module")
def encoder():
    from pynapple_nuclr.checkpoints import Encoder

    return Encoder(LITTLE, name="little").eval()


@pytest.fixture(scope="module")
def plain():
    """Twelve units that are not embedded, half of them fast."""
    rng = np.random.default_rng(0)
    trains = {i: nap.Ts(np.sort(rng.uniform(0, 20, 40 + 400 * (i % 2)))) for i in range(12)}
    units = nap.TsGroup(trains, time_support=nap.IntervalSet(0, 20))
    units.set_info({"kind": ["slow", "fast"] * 6, "depth": np.arange(12.0)})
    return units


def test_groups_without_vectors_are_embedded_by_the_probes_own_encoder(encoder, plain):
    from pynapple_nuclr.checkpoints import Encoder

    units = embed(plain, encoder, progress=False)
    probe = Probe("kind", n_shuffles=1).fit(units, verbose=False)
    assert probe.encoder_ == encoder.identity
    by_hand = probe.annotate(units)
    for found in (probe.annotate(plain), probe.annotate(plain, encoder=encoder)):
        assert found.metadata_columns == by_hand.metadata_columns
        assert found["predicted_kind"].tolist() == by_hand["predicted_kind"].tolist()
    assert "nuclr_0" not in plain.metadata_columns
    other = Encoder(LITTLE, name="other").eval()
    with pytest.raises(ValueError, match=f"{other.identity}.*{encoder.identity}"):
        probe.annotate(plain, encoder=other)
    with pytest.raises(ValueError, match=f"{other.identity}.*{encoder.identity}"):
        probe.annotate(units, encoder=other)
    on_arrays = Probe("kind", n_shuffles=1).fit(
        embeddings(units).values, ["slow", "fast"] * 6, verbose=False
    )
    with pytest.raises(ValueError, match="encoder="):
        on_arrays.annotate(plain)
    with pytest.raises(ValueError, match=f"{other.identity}.*{encoder.identity}"):
        on_arrays.annotate(units, encoder=other)
    assert on_arrays.annotate(plain, encoder=encoder)["predicted_kind"].isin(["slow", "fast"]).all()
    assert on_arrays.annotate(units, encoder=encoder)["predicted_kind"].isin(["slow", "fast"]).all()


def test_the_embedding_in_annotate_can_be_steered(encoder, plain, capfd):
    units = embed(plain, encoder, progress=False)
    probe = Probe("kind", n_shuffles=1).fit(units, verbose=False)
    capfd.readouterr()
    trials = nap.IntervalSet(np.arange(0, 20, 1.0), np.arange(0, 20, 1.0) + 0.5)
    with pytest.raises(ValueError, match='gaps="join"'):
        probe.annotate(plain, epochs=trials)
    found = probe.annotate(plain, epochs=trials, gaps="join", device="cpu", progress=False)
    assert capfd.readouterr().err == ""
    by_hand = embed(plain, encoder, epochs=trials, gaps="join", progress=False)
    np.testing.assert_array_equal(embeddings(found).values, embeddings(by_hand).values)
    with pytest.raises(ValueError, match="embedded already, so epochs, gaps would"):
        probe.annotate(units, epochs=trials, gaps="join")
    with pytest.raises(ValueError, match="threshhold"):
        probe.annotate(units, threshhold=0.9)
    with pytest.raises(ValueError, match="columns, prefix"):
        probe.annotate(plain, columns="summary", prefix="mine")
    assert "predicted_kind" in probe.annotate(units, progress=False).metadata_columns


def test_missing_features_are_noticed_before_anything_is_embedded(encoder, plain, monkeypatch):
    features = ["depth", "nuclr_n_windows"]
    probe = Probe("kind", features=features).fit(
        embed(plain, encoder, progress=False), verbose=False
    )
    assert len(probe.annotate(plain, progress=False)) == 12
    bare = plain[plain.index]
    bare.drop_info("depth")
    monkeypatch.setattr("pynapple_nuclr.embedding.embed", lambda *_, **__: pytest.fail("embedded"))
    with pytest.raises(ValueError, match="no metadata column 'depth'; it has: rate, kind"):
        probe.annotate(bare)


def test_labels_of_which_none_is_a_class_are_warned_of():
    probe = fitted()
    units, renamed = embedded(30, seed=1), embedded(30, seed=1)
    renamed.set_info(cell_type=np.where(np.arange(30) % 2, "", "excitatory"))
    none = r"none of the labels in 'cell_type' \('excitatory'\) is a class of the probe \("
    with pytest.warns(UserWarning, match=none):
        probe.annotate(renamed)
    with pytest.warns(UserWarning, match=none):
        assert probe.score(renamed) == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        probe.annotate(units)
        units.set_info(cell_type=[""] * 30)
        probe.annotate(units)
