"""The tasks on real recordings, here on small simulated ones."""

from dataclasses import replace
from pathlib import Path

import fish_scaling
import numpy as np
import pynapple as nap
import pytest
import real_page
import real_recordings
import tuned_probe
from features import STANDARDIZED, STATISTICS, Features
from label_free import measures, reidentified
from real_recordings import Bench, run
from real_tasks import LABEL, TASKS, Populations, RealTask, _labelled, _within, _without_copies

import pynapple_nuclr as nap_nuclr
from pynapple_nuclr.baselines import EmbeddingSystem
from pynapple_nuclr.evaluation.results_cache import Store
from pynapple_nuclr.familiarity import record_training_data


@pytest.fixture(scope="module", autouse=True)
def fewer_choices():
    """One setting of the probe, so that the tests take seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tuned_probe, "SETTINGS", (tuned_probe.Setting(1.0, True),))
        yield


@pytest.fixture(scope="module")
def mice():
    return nap_nuclr.simulate("single", n_units=24, duration=20, animals=3)


@pytest.fixture(scope="module")
def encoder(tiny_config, mice):
    """An encoder that says it was trained on the first of three mice."""
    encoder = nap_nuclr.Encoder(tiny_config, name="tiny")
    encoder.card["training"] = {"recordings": 1}
    return record_training_data(encoder, dict([next(iter(mice.items()))]))


@pytest.fixture(scope="module")
def bench(tmp_path_factory, encoder):
    folder = tmp_path_factory.mktemp("kept")
    features = Features(folder / "features", max_windows=4)
    return Bench(Path("none"), features, folder, Store(folder / "rows"), {"tiny": [encoder]}, [0])


@pytest.fixture(scope="module")
def left_out(mice):
    labelled = {name: _labelled(one, one["cell_type"]) for name, one in mice.items()}
    itself = {name: name for name in mice}
    return RealTask("Mice", lambda _: Populations(labelled, itself, itself))


@pytest.fixture(scope="module")
def result(bench, left_out):
    return run(bench, left_out)[0]


ROWS = [
    "rate alone",
    "statistics",
    "statistics + the recording's mean statistics",
    "shuffled labels, statistics",
    "untrained network",
    "tiny",
    "statistics + tiny",
]


def test_all_rows_are_there_and_statistics_tell_simulated_types(result):
    assert list(result.rows) == ROWS  # no label of the animal is known: no priors
    assert result.rows["statistics"].macro_f1()[0] > 0.9
    assert result.rows["shuffled labels, statistics"].macro_f1()[0] < 0.7
    assert sum(result.chosen["statistics"].values()) == 3


def test_within_recordings_the_priors_are_there(bench, mice, monkeypatch):
    two = dict(list(mice.items())[:2])
    for name, one in two.items():
        one.set_info(subject=[name] * len(one))
    task = RealTask("Within mice", lambda _: _within(two, "cell_type", 8), within=8)
    result, populations = run(bench, task)
    priors = {"prior: most common label", "prior: correlated neighbours"}
    assert set(result.rows) == {*ROWS, *priors} - {ROWS[2]}  # the mean is that of all units
    assert set(result.rows["statistics"].of_each()) == set(two) == set(populations.recordings)
    monkeypatch.setattr(real_recordings, "evaluate", None)  # all rows are kept, priors too
    assert set(run(bench, task)[0].rows) == set(result.rows)


def test_what_was_predicted_is_not_predicted_again(bench, left_out, result, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("evaluated again")

    monkeypatch.setattr(real_recordings, "evaluate", refuse)
    again, _ = run(bench, left_out)
    assert again.chosen == result.chosen
    for row in ROWS:
        np.testing.assert_array_equal(again.rows[row].predicted, result.rows[row].predicted)


def test_animals_of_the_pretraining_are_told_from_those_held_out(left_out, result, mice):
    first, *others = mice
    assert result.seen["tiny"] == {first: True, **dict.fromkeys(others, False)}
    assert set(result.seen["untrained network"].values()) == {False}
    text = real_page.part(left_out, result, [{"features": "none"}], [0])
    assert f"seen in pretraining (unlabelled): {first}" in text
    assert f"held out: {', '.join(others)}" in text


def test_several_encoders_are_runs_of_one_row(bench, left_out, tiny_config):
    two = {"two": [nap_nuclr.Encoder(tiny_config) for _ in range(2)]}
    result, _ = run(replace(bench, encoders=two, seeds=[0, 1]), left_out)
    assert len(result.rows["two"].predicted) == len(result.rows["untrained network"].predicted) == 2
    assert len(result.rows["statistics"].predicted) == 1  # the folds are the same animals


def test_features_can_be_standardised_within_each_recording(bench, left_out, result):
    populations = left_out.read(bench.data)._replace(standardized=True)
    standardized, _ = run(bench, replace(left_out, read=lambda _: populations))
    last = [f"{row}, not standardised" for row in ("statistics", "tiny", "statistics + tiny")]
    assert list(standardized.rows) == [*(row for row in ROWS if row != ROWS[2]), *last]
    for row in last:
        before = result.rows[row.removesuffix(", not standardised")]
        np.testing.assert_array_equal(standardized.rows[row].predicted, before.predicted)
    for units in populations.recordings.values():
        values = bench.features.vectors(f"{STANDARDIZED}{STATISTICS}", units)
        np.testing.assert_allclose(values.mean(axis=0), 0, atol=1e-6)


def test_labels_are_the_only_column_of_a_task(mice):
    units = _labelled(next(iter(mice.values())), ["x"] * 24)
    assert set(units.metadata.columns) <= {LABEL, "rate"}


@pytest.fixture
def pages(tmp_path, monkeypatch):
    """Files in place of the page and the README."""
    readme = tmp_path / "README.md"
    readme.write_text("# Ours\n<!-- measured -->\nold\n<!-- end of measured -->\nMore\n")
    monkeypatch.setattr(real_page, "PAGE", tmp_path / "page.md")
    monkeypatch.setattr(real_page, "README", readme)
    return real_page.PAGE, readme


def test_the_page_replaces_the_part_of_a_task(pages, monkeypatch):
    monkeypatch.setattr(real_page, "IN_README", {})
    real_page.replace("a", "old")
    real_page.replace("b", "other")
    real_page.replace("a", r"new \1")
    text = pages[0].read_text(encoding="utf-8")
    assert text.startswith(real_page.TEMPLATE.read_text(encoding="utf-8").rstrip())
    assert "\nold\n" not in text
    assert text.index(r"new \1") < text.index("\nother\n")
    assert text.count("<!-- a -->") == 1


def test_the_readme_gets_the_scores_of_the_page(pages, left_out, result, monkeypatch):
    named = replace(result, rows=result.rows | {"bundled encoder": result.rows["tiny"]})
    named.rows["statistics + bundled encoder"] = result.rows["statistics + tiny"]
    monkeypatch.setattr(real_page, "IN_README", {"a": "mice: type", "b": "not measured"})
    real_page.replace("a", real_page.part(left_out, named, [{"features": "none"}], [0]))
    text = pages[1].read_text(encoding="utf-8")
    assert text.startswith("# Ours\n") and text.endswith("\nMore\n") and "old" not in text
    row = [cell.strip() for cell in text.split("\n")[4].split("|")]
    assert row[1:3] == ["mice: type", f"{result.rows['statistics'].macro_f1()[0]:.3f}"]
    assert row[3] == f"{result.rows['tiny'].macro_f1()[0]:.3f}"


def test_reidentification_among_units_of_like_rate():
    rng = np.random.default_rng(0)
    vectors, rate = rng.normal(size=(40, 8)), rng.normal(size=40)
    assert reidentified(vectors, vectors, rate) == 1
    only_rate = np.column_stack([rate, np.zeros(40)])
    assert reidentified(only_rate, only_rate, rate, 5) < 0.5  # its direction says only its sign
    unlike = rng.normal(size=(40, 8))
    assert reidentified(vectors, unlike, rate) < 0.2


def test_label_free_measures_are_of_statistics_and_every_encoder(bench, mice, encoder):
    rows = measures(bench.features, {"tiny": [encoder]}, mice)
    assert [row["features"] for row in rows] == ["statistics", "tiny"]
    assert float(rows[0]["finds itself"]) > 0.2


def test_copies_of_a_neuron_are_left_out():
    traces = np.random.default_rng(0).normal(size=(20, 4))
    traces[:, 2] = traces[:, 0]
    frame = nap.TsdFrame(t=np.arange(20.0), d=traces, metadata={"name": ["a", "b", "c", "d"]})
    assert list(_without_copies(frame)["name"]) == ["a", "b", "d"]


@pytest.fixture(scope="module")
def few_recordings(data_dir, tmp_path_factory):
    """The folder of the data with nine recordings of each source, at most."""
    folder = tmp_path_factory.mktemp("data")
    for source in (one for one in data_dir.iterdir() if one.is_dir()):
        (folder / source.name).mkdir()
        files = sorted(source.iterdir())
        for i in sorted({round(i) for i in np.linspace(0, len(files) - 1, 9)}):
            (folder / source.name / files[i].name).symlink_to(files[i])
    return folder


@pytest.mark.parametrize(
    "name", [pytest.param(one, marks=[pytest.mark.slow] * (one[0] == "h")) for one in sorted(TASKS)]
)
def test_every_task_has_labels_in_what_it_leaves_out(few_recordings, name):
    task = TASKS[name]
    populations = task.read(few_recordings)
    labels = [set(np.asarray(one[LABEL])) - {""} for one in populations.recordings.values()]
    assert len(set.union(*labels)) >= 2
    assert set(populations.individuals) == set(populations.recordings)
    assert bool(populations.left_out) != bool(task.within)
    if task.within:
        assert all(len(own) >= 2 for own in labels)


def test_fish_of_the_test_are_in_no_training_of_the_scaling_curve(tmp_path, monkeypatch):
    names = ["fish01", "fish02", "fish15"]
    simulated = nap_nuclr.simulate(
        "single", n_units=14, duration=300, animals=3, modality="calcium", frame_rate=1.0
    )
    fish = dict(zip(names, simulated.values(), strict=True))
    begin = nap_nuclr.simulate(
        "single", n_units=14, duration=300, seed=1, modality="calcium", frame_rate=1.0
    )
    monkeypatch.setattr(fish_scaling, "simulated_fluorescence", lambda: begin)
    monkeypatch.setattr(fish_scaling, "SIMULATED_PAIRS", 4)
    few = {
        "pretrained on 1 fish": fish_scaling.Row(1, 4),
        "pretrained on 2 fish": fish_scaling.Row(2, 4),
        "2 fish, no population attention": fish_scaling.Row(2, 4, "simulated_alone"),
    }
    monkeypatch.setattr(fish_scaling, "ROWS", few)
    fish_scaling.train(fish, list(few)[1:], [0], tmp_path)
    rows = fish_scaling.trained(fish, [0], tmp_path)
    assert list(rows) == ["simulated fluorescence alone", *list(few)[1:]]  # the first is missing
    features = Features(tmp_path / "features")
    for row, (encoder,) in rows.items():
        name = features.add(encoder)
        assert not features.seen(name, fish["fish15"])
        trained_on = next((int(word) for word in row.split() if word.isdigit()), 0)
        assert sum(features.seen(name, fish[one]) for one in names) == trained_on
    monkeypatch.setattr(fish_scaling, "ROWS", {"more": fish_scaling.Row(1, 8)})
    with pytest.raises(ValueError, match=r"first python benchmarks/fish_scaling\.py"):
        fish_scaling.trained(fish, [0], tmp_path / "empty")


class FirstSpike(EmbeddingSystem):
    """Trained, because it is centred on its recordings: the time of the first spike."""

    name = "first spike"

    def fit(self, recordings, *, seed=0, progress=False):
        self.fits_ = getattr(self, "fits_", 0) + 1
        self.known_ = set(recordings)
        return self

    def embed(self, recordings):
        assert set(recordings) <= self.known_
        return {
            name: np.array([[units[unit].t[0]] for unit in units.index])
            for name, units in recordings.items()
        }


def test_other_systems_are_trained_once_and_read_by_the_same_probe(tmp_path, mice):
    features = Features(tmp_path)
    name = features.train(FirstSpike(), mice, seed=0)
    for units in mice.values():
        again = features.vectors(name, units)
        np.testing.assert_array_equal(features.vectors(name, units), again)
        assert again.shape == (len(units), 1)
    assert features.train(FirstSpike(), mice, seed=1) != name
