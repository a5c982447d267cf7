"""What a probe reads of a unit: its embedding, its statistics, or both."""

from __future__ import annotations

import inspect
import warnings

import numpy as np
import pynapple as nap
import pytest
from embedded_groups import DIM, dataset, embedded

from pynapple_nuclr.columns import embeddings
from pynapple_nuclr.embedding import embed
from pynapple_nuclr.features import unit_statistics
from pynapple_nuclr.probes import Probe, annotation, load_probe
from pynapple_nuclr.probes.default_estimator import default_estimator


def regular_and_irregular(n=24, seed=0, *, separation=0.0, with_embedding=True):
    """Units that their firing tells apart, with vectors that do not (by default)."""
    rng = np.random.default_rng(seed)
    trains = {
        i: nap.Ts(np.arange(0.001 * i, 20, 0.2) if i % 2 else np.sort(rng.uniform(0, 20, 100)))
        for i in range(n)
    }
    kinds = np.array(["irregular", "regular"])[np.arange(n) % 2]
    units = nap.TsGroup(trains, time_support=nap.IntervalSet(0, 20), metadata={"firing": kinds})
    if not with_embedding:
        return units
    vectors = rng.normal(size=(n, DIM)) + separation * (np.arange(n) % 2)[:, None]
    columns = {f"nuclr_{i}": column for i, column in enumerate(vectors.T)}
    units.set_info({"nuclr_encoder": ["tiny@0a1b2c3d"] * n, **columns})
    return units


def test_auto_takes_what_predicts_best():
    by_firing = Probe("firing").fit(regular_and_irregular(), verbose=False)
    assert by_firing.inputs_ in ("statistics", "both")
    assert by_firing.cv_inputs_["statistics"] > 0.9 > by_firing.cv_inputs_["embedding"]
    by_vectors = Probe("cell_type").fit(embedded(), verbose=False)
    assert by_vectors.inputs_ == "embedding"
    assert by_vectors.cv_inputs_["embedding"] > by_vectors.cv_inputs_["statistics"]


def test_regularisation_is_chosen_by_the_folds():
    """Strong where many columns say little each; weak where few columns separate many classes."""
    rng = np.random.default_rng(0)
    few = np.tile(["a", "b"], 30)
    many = np.repeat([f"class {i}" for i in range(30)], 8)
    weak = rng.normal(size=(60, 300)) + 0.12 * np.where(few == "a", 1, -1)[:, None]
    clear = rng.normal(size=(30, 4))[np.repeat(np.arange(30), 8)] + 0.15 * rng.normal(size=(240, 4))
    chosen = []
    for x, labels in ((weak, few), (clear, many)):
        probe = Probe("kind", n_shuffles=1).fit(x, labels, verbose=False)
        chosen.append(probe.estimator_[-1].C)
        usual = Probe("kind", estimator=default_estimator(), n_shuffles=1)
        usual.fit(x, labels, verbose=False)
        assert probe.cv_inputs_["embedding"] >= usual.cv_score_
        assert f"C={chosen[-1]:g}" in probe._repr_html_()
    assert chosen[0] < 1 < chosen[1]


def test_each_fold_chooses_without_what_it_leaves_out():
    """On noise, the best of several is above chance by choice alone; the score must not be."""
    scores, best = [], []
    for seed in range(8):
        units = embedded(60, seed=seed, separation=0.0)
        probe = Probe("cell_type", n_shuffles=1, calibrate=False).fit(units, verbose=False)
        scores.append(probe.cv_score_)
        best.append(max(probe.cv_inputs_.values()))
    assert np.mean(scores) < np.mean(best)
    assert np.mean(scores) < 0.4  # chance 0.33


def test_a_probe_on_statistics_needs_no_embedding(tmp_path):
    units = regular_and_irregular(with_embedding=False)
    probe = Probe("firing", inputs="statistics").fit(units, verbose=False)
    assert (probe.inputs_, probe.encoder_) == ("statistics", "unit_statistics")
    assert probe.n_features_in_ == unit_statistics(units).shape[1]
    probe.save(tmp_path / "firing.skops")
    other = regular_and_irregular(seed=1, with_embedding=False)
    annotated = load_probe(tmp_path / "firing.skops").annotate(other)
    assert (annotated["predicted_firing"] == other["firing"]).mean() > 0.9
    assert not [c for c in annotated.metadata_columns if c.startswith("nuclr")]


def test_epochs_are_those_of_the_statistics():
    units = regular_and_irregular(with_embedding=False)
    probe = Probe("firing", inputs="statistics").fit(units, verbose=False)
    early = nap.IntervalSet(0, 8)
    of_epochs = probe.annotate(units, epochs=early)["predicted_firing_confidence"]
    of_part = probe.annotate(units.restrict(early))["predicted_firing_confidence"]
    np.testing.assert_array_equal(of_epochs, of_part)
    assert (of_epochs != probe.annotate(units)["predicted_firing_confidence"]).any()
    probe.annotate(units, gaps="join", progress=False)  # of embed: nothing is embedded
    with pytest.raises(TypeError, match="no option epoch"):
        probe.annotate(units, epoch=early)
    own = {"units", "encoder", "columns", "prefix"}  # of annotate, or set by the probe
    assert set(inspect.signature(embed).parameters) - own == annotation._OPTIONS


@pytest.mark.parametrize("inputs", ["statistics", "embedding"])
def test_training_units_are_known_by_their_activity(inputs, tmp_path):
    """A file may keep no time support, and another processor rounds vectors otherwise."""
    units = regular_and_irregular(separation=1.0)
    probe = Probe("firing", inputs=inputs).fit(units[list(range(16))], verbose=False)
    columns = {name: np.asarray(units[name]) for name in units.metadata_columns if name != "rate"}
    again = nap.TsGroup(dict(units.items()), time_support=nap.IntervalSet(-1, 30), metadata=columns)
    again.set_info({f"nuclr_{i}": columns[f"nuclr_{i}"] * (1 + 1e-7) for i in range(DIM)})
    probe.save(tmp_path / "firing.skops")
    found = load_probe(tmp_path / "firing.skops").annotate(again, force=True)
    np.testing.assert_array_equal(found["predicted_firing_training"], np.arange(24) < 16)


def test_both_joins_the_statistics_to_the_embedding():
    units = regular_and_irregular(separation=1.0)
    probe = Probe("firing", inputs="both").fit(units, verbose=False)
    x = np.column_stack([embeddings(units).values, unit_statistics(units)])
    np.testing.assert_allclose(
        probe.predict_proba(units),
        Probe("firing").fit(x, list(units["firing"]), verbose=False).predict_proba(x),
    )
    assert probe.encoder_ == "tiny@0a1b2c3d"
    with pytest.raises(ValueError, match=r"other@ffffffff.*tiny@0a1b2c3d"):
        probe.predict(embedded(encoder="other@ffffffff"))


def test_silent_units_have_no_statistics():
    units = regular_and_irregular(with_embedding=False)
    probe = Probe("firing", inputs="statistics").fit(units, verbose=False)
    silent = nap.TsGroup(
        {0: nap.Ts(np.arange(0.05, 20, 0.2)), 1: nap.Ts(np.empty(0))},
        time_support=nap.IntervalSet(0, 20),
    )
    annotated = probe.annotate(silent)
    assert annotated["predicted_firing"].tolist() == ["regular", "unknown"]


def test_results_of_encode_and_arrays_hold_no_activity():
    probe = Probe("cell_type").fit(dataset(embedded()), verbose=False)
    assert (probe.inputs_, list(probe.cv_inputs_)) == ("embedding", ["embedding"])
    with pytest.raises(TypeError, match="holds no activity"):
        Probe("cell_type", inputs="both").fit(dataset(embedded()))
    with pytest.raises(ValueError, match="inputs='vectors'"):
        Probe("cell_type", inputs="vectors").fit(embedded())


@pytest.mark.parametrize(("apart", "equal"), [(0.7, True), (1.5, False)])
def test_folds_choose_the_weights_of_the_classes(apart, equal, capsys):
    """A rare class that overlaps much needs equal weights; one that is apart does not."""
    y = np.tile([0] * 4 + [1], 120)
    x = (apart * y + np.random.default_rng(0).normal(size=600))[:, None]
    probe = Probe("kind").fit(x, np.where(y, "rare", "common"))
    shares = [0.5, 0.5] if equal else [0.8, 0.2]
    np.testing.assert_allclose(probe.class_shares_, shares)
    assert ("weighted by their frequency" in capsys.readouterr().out) != equal
    weights = probe.estimator_[-1].class_weight
    assert weights == ("balanced" if equal else None)
    given = Probe("kind", estimator=probe.estimator_).fit(x, y, verbose=False)
    np.testing.assert_allclose(given.class_shares_, [0.8, 0.2])


def test_calcium_has_statistics_too():
    units = embedded(modality="calcium")
    probe = Probe("cell_type", inputs="both").fit(units, verbose=False)
    assert probe.n_features_in_ == DIM + unit_statistics(units).shape[1]


def test_units_of_few_spikes_may_have_equal_statistics():
    one_spike = {i: nap.Ts([1.0 + i]) for i in range(4)}
    units = nap.TsGroup(one_spike, time_support=nap.IntervalSet(0, 20))
    units["firing"] = ["a", "b"] * 2
    with pytest.warns(UserWarning, match="not above chance"):
        Probe("firing", inputs="statistics").fit({"m1": units, "m2": units}, verbose=False)


@pytest.mark.slow  # single probes of random labels: test_scores.py
def test_random_labels_are_unknown():
    """Of 20 probes of random labels, at most one may pass for better than chance."""
    unknown = []
    for seed in range(20):
        units = regular_and_irregular(40, seed=seed)
        units["label"] = np.random.default_rng(seed).permutation(["VIP", "SST"] * 20)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            probe = Probe("label", calibrate=False).fit(units, verbose=False)
            unknown.append(probe.annotate(units)["predicted_label"] == "unknown")
    assert np.mean(unknown) >= 0.95
