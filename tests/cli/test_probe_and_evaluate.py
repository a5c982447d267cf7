"""`nap-nuclr probe` and `nap-nuclr evaluate`: what they say is what the functions give."""

from __future__ import annotations

import shutil
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pynwb
import pytest
import torch
from command_line import error_lines, error_of, run, run_json
from embedded_groups import quick
from evaluation_systems import recording

from pynapple_nuclr.baselines import Nuclr, Poyo
from pynapple_nuclr.checkpoints import Encoder, load_encoder, save_encoder
from pynapple_nuclr.cli.evaluate_command import _behaviour, _system
from pynapple_nuclr.embedding import embed
from pynapple_nuclr.evaluation import evaluate
from pynapple_nuclr.nwb.stored_embeddings import read_embedding
from pynapple_nuclr.nwb.units import read_units
from pynapple_nuclr.nwb.writing import write_nwb, write_units
from pynapple_nuclr.probes import Probe, load_probe

MICE = ("m0", "m1", "m2")


@pytest.fixture(scope="module")
def encoder(tiny_config, tmp_path_factory):
    torch.manual_seed(0)
    return save_encoder(Encoder(tiny_config, name="tiny"), tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Three mice whose cell types differ in their number of spikes."""
    folder = tmp_path_factory.mktemp("data")
    for seed, mouse in enumerate(MICE):
        write_units(recording(seed=seed, n=24, animal=mouse), folder / f"{mouse}.nwb")
    return folder


@pytest.fixture(scope="module")
def embedded(data, encoder, tmp_path_factory):
    """The same, embedded."""
    folder, model = tmp_path_factory.mktemp("embedded"), load_encoder(encoder)
    for mouse in MICE:
        source = data / f"{mouse}.nwb"
        units = embed(read_units(source), model, progress=False)
        write_nwb(units, source, folder / f"{mouse}.nwb")
    return folder


@pytest.fixture(scope="module")
def probe(embedded, tmp_path_factory):
    path = tmp_path_factory.mktemp("probe") / "types.skops"
    files = [embedded / "*.nwb", "--target", "cell_type", "--inputs", "embedding"]
    result = run("probe", "fit", *files, "-o", path)
    assert result.exit_code == 0, result.output
    return path


def test_fit_learns_what_the_function_learns(embedded, probe, tmp_path):
    recordings = {mouse: read_embedding(embedded / f"{mouse}.nwb") for mouse in MICE}
    expected = Probe("cell_type", inputs="embedding").fit(recordings, verbose=False)
    fitted = load_probe(probe)
    assert (fitted.cv_score_, fitted.cv_group_) == (expected.cv_score_, "animal")
    np.testing.assert_array_equal(
        fitted.predict_proba(recordings["m0"]), expected.predict_proba(recordings["m0"])
    )
    out = tmp_path / "again.skops"
    expected = Probe("cell_type").fit(recordings, verbose=False)
    about = run_json("probe", "fit", embedded / "*.nwb", "--target", "cell_type", "-o", out)
    assert about["macro_f1"] == expected.cv_score_ and about["chance"] == expected.cv_chance_
    assert about["inputs"] == expected.inputs_
    assert about["classes"] == ["PV", "SST", "VIP"]
    assert about["recordings"] == list(MICE) and about["left_out"] == "animal"
    assert about["calibration_ece"] == expected.cv_calibration_["ece"]


def test_fit_passes_its_options_on_and_embeds_where_asked(data, encoder, tmp_path):
    out = tmp_path / "p.skops"
    options = ["--classifier", "lda", "--no-calibrate", "--standardize", "recording"]
    options += ["--feature", "rate", "--animals", "animal", "--encoder", encoder, "--no-progress"]
    result = run("probe", "fit", data / "*.nwb", "--target", "cell_type", "-o", out, *options)
    assert result.exit_code == 0, result.output
    assert "macro F1" in result.stdout and "PV, SST, VIP" in result.stdout
    fitted = load_probe(out)
    assert (fitted.calibrate, fitted.standardize, fitted.features) == (False, "recording", ["rate"])
    assert fitted.estimator_[-1].__class__.__name__ == "LinearDiscriminantAnalysis"
    assert fitted.encoder_ == load_encoder(encoder).identity
    assert "exists" in error_of(
        run("probe", "fit", data / "*.nwb", "--target", "cell_type", "-o", out)
    )


def test_fit_names_what_is_wrong(embedded, tmp_path):
    fit = ["probe", "fit", embedded / "*.nwb"]
    odd = run(*fit, "--target", "layer", "-o", tmp_path / "p.skops")
    assert "layer" in error_of(odd)
    pickled = run(*fit, "--target", "cell_type", "-o", tmp_path / "p.pkl")
    assert "ends in .skops" in error_of(pickled)
    assert run(*fit, "-o", tmp_path / "p.skops").exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_target_is_refused_before_the_work(data, encoder, tmp_path, monkeypatch):
    def no_work(*_, **__):
        raise AssertionError("embedded for nothing")

    monkeypatch.setattr("pynapple_nuclr.embedding.embed", no_work)
    options = ("--target", "celltype", "--encoder", encoder, "-o", tmp_path / "p.skops")
    error = error_of(run("probe", "fit", data / "m0.nwb", *options))
    assert "m0.nwb has no metadata column 'celltype'; it has" in error
    assert "cell_type" in error


def test_annotate_writes_what_the_function_gives(embedded, probe, tmp_path):
    out = tmp_path / "out"
    result = run("probe", "annotate", embedded / "*.nwb", "--probe", probe, "-o", out)
    assert result.exit_code == 0, result.output
    units = read_embedding(embedded / "m1.nwb")
    expected = load_probe(probe).annotate(units)["predicted_cell_type"]
    back = read_embedding(out / "m1_nuclr.nwb")
    assert list(back["predicted_cell_type"]) == list(expected)
    counts = ", ".join(f"{k} {n}" for k, n in expected.value_counts(sort=True).items())
    assert sorted(counts.split(", ")) == sorted(
        result.stdout.splitlines()[3].split(": ")[1].split(" (")[0].split(", ")
    )


def test_random_labels_are_said_to_be_at_chance(embedded, tmp_path):
    rng = np.random.default_rng(1)
    for mouse in MICE:
        units = read_embedding(embedded / f"{mouse}.nwb")
        units.set_info(kind=rng.permutation(["VIP", "SST"] * 12))
        write_units(units, tmp_path / f"{mouse}.nwb")
    fit = ["probe", "fit", tmp_path / "m*.nwb", "--target", "kind", "-o", tmp_path / "k.skops"]
    fit = run(*fit, "--inputs", "embedding")
    assert "note: 'kind': the probe is not above chance: macro F1" in fit.stderr
    assert "no: annotate writes 'unknown'" in fit.stdout
    annotate = ["probe", "annotate", tmp_path / "m0.nwb", "--probe", tmp_path / "k.skops"]
    said = run(*annotate)
    assert "probe of kind: macro F1" in said.stdout and ": not above chance" in said.stdout
    assert "m0.nwb: unknown 24 " in said.stdout and "all units are called 'unknown'" in said.stderr
    assert set(read_embedding(tmp_path / "m0_nuclr.nwb")["predicted_kind"]) == {"unknown"}


def test_annotate_embeds_what_is_not_embedded(data, encoder, probe, tmp_path):
    out = tmp_path / "m0.csv"
    options = ["--encoder", encoder, "--threshold", 0.5, "--probabilities", "--no-progress"]
    annotate = ["probe", "annotate", data / "m0.nwb", "--probe", probe, "-o", out]
    (about,) = run_json(*annotate, *options)
    table = pd.read_csv(out)
    assert about["labels"] == table["predicted_cell_type"].value_counts().to_dict()
    assert about["encoder"] == load_encoder(encoder).identity
    assert about["units"] == 24
    sure = table["predicted_cell_type_confidence"] >= 2 / 3  # halfway from a third to 1
    assert (sure == (table["predicted_cell_type"] != "unknown")).all()
    probabilities = table.filter(regex="^predicted_cell_type_p_")
    assert probabilities.shape == (24, 3)


def test_a_probe_on_statistics_needs_no_embedding(data, tmp_path):
    recordings = [read_units(data / f"{name}.nwb") for name in ("m0", "m1")]
    fitted = Probe("cell_type", inputs="statistics").fit(recordings, verbose=False)
    fitted.save(tmp_path / "p.skops")
    options = ["--probe", tmp_path / "p.skops", "-o", tmp_path / "m2.csv", "--no-progress"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # it may be at chance
        (about,) = run_json("probe", "annotate", data / "m2.nwb", *options)
    assert (about["units"], about["encoder"]) == (24, "")
    assert "predicted_cell_type" in pd.read_csv(tmp_path / "m2.csv")


def test_neurons_are_chosen_and_the_log_names_options(data, tmp_path, caplog):
    options = ["--probe", "waveform-type", "--only", "cell_type=PV", "-o", tmp_path / "m0.csv"]
    (about,) = run_json("probe", "annotate", data / "m0.nwb", *options)
    assert about["units"] == len(pd.read_csv(tmp_path / "m0.csv")) == 8
    limited = run("report", data / "m0.nwb", "--max-windows", 1, "-o", tmp_path / "p.html")
    assert "note: m0: read 1 windows, skipped" in limited.stderr


def test_the_bundled_probe_is_found_by_its_name(data, tmp_path):
    misspelt = run("probe", "annotate", data / "m0.nwb", "--probe", "waveform_type")
    assert "a bundled one (waveform-type)" in error_of(misspelt)
    options = ["--probe", "waveform-type", "-o", tmp_path / "m0.csv", "--no-progress"]
    (about,) = run_json("probe", "annotate", data / "m0.nwb", *options)
    assert set(about["labels"]) <= {"broad", "narrow", "unknown"}
    about = run_json("info", "waveform-type")["probe"]
    assert about["classes"] == "broad, narrow" and about["inputs"] == "statistics of single units"


def test_annotate_goes_on_past_a_bad_file(embedded, probe, tmp_path):
    (tmp_path / "bad.nwb").write_text("text")
    out = tmp_path / "out"
    files = [embedded / "m0.nwb", tmp_path / "bad.nwb", embedded / "m2.nwb"]
    result = run("probe", "annotate", *files, "--probe", probe, "-o", out)
    first, bad = error_lines(result)
    assert first == "error: 1 of 3 files failed:" and "bad.nwb" in bad
    assert sorted(path.name for path in out.iterdir()) == ["m0_nuclr.nwb", "m2_nuclr.nwb"]
    missing = run("probe", "annotate", *files, "--probe", tmp_path / "no.skops")
    assert "there is no file" in error_of(missing)


def test_the_prefix_of_a_probe_is_kept(data, encoder, tmp_path):
    model = load_encoder(encoder)
    recordings = [embed(read_units(data / "m0.nwb"), model, prefix="mine", progress=False)]
    quick(prefix="mine", inputs="embedding").fit(recordings, verbose=False).save(
        tmp_path / "p.skops"
    )
    options = ["--probe", tmp_path / "p.skops", "--encoder", encoder, "-o", tmp_path]
    (about,) = run_json("probe", "annotate", data / "m1.nwb", *options, "--no-progress")
    assert about["encoder"] == model.identity
    about = run_json("info", about["output"])
    assert about["embeddings"]["mine"]["probe"] == "p.skops"
    assert about["scores"]["predicted_cell_type"].startswith("macro F1 ")


def test_info_about_a_probe(probe):
    about = run_json("info", probe)["probe"]
    assert about["target"] == "cell_type" and about["units"] == 72
    assert "PV, SST, VIP" in run("info", probe).stdout
    fitted = load_probe(probe)
    assert about["encoder"] == fitted.encoder_
    assert about["macro F1"] == f"{fitted.cv_score_:.2f} by animal"
    assert about["chance"] == f"{fitted.cv_chance_:.2f} ± {fitted.cv_chance_sd_:.2f}"
    assert about["above chance"] == "yes" and about["needs columns"] == "none"
    assert about["inputs"] == "embedding"


def test_info_about_a_probe_loads_nothing_heavy(probe, tmp_path):
    code = (
        f"import sys; from pynapple_nuclr.cli import app\n"
        f"try: app(['info', {str(probe)!r}])\n"
        "except SystemExit: pass\n"
        "print('LOADED', *({'torch', 'sklearn', 'skops', 'pynapple'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.rsplit("LOADED", 1)[1].split() == []
    (tmp_path / "bad.skops").write_text("text")
    assert "a probe that Probe.save wrote" in error_of(run("info", tmp_path / "bad.skops"))
    assert "there is no file" in error_of(run("info", tmp_path / "no.skops"))


def test_annotate_opens_its_file_once(embedded, probe, tmp_path, monkeypatch):
    opened = []

    class Counted(pynwb.NWBHDF5IO):
        def __init__(self, path=None, mode="r", *arguments, **options):
            opened.append(str(path))
            super().__init__(path, mode, *arguments, **options)

    monkeypatch.setattr(pynwb, "NWBHDF5IO", Counted)
    source = str(embedded / "m0.nwb")
    result = run("probe", "annotate", source, "--probe", probe, "-o", tmp_path / "out.nwb")
    assert result.exit_code == 0, result.output
    assert opened.count(source) == 1
    opened.clear()
    assert run("info", source).exit_code == 0
    assert opened == [source]


def test_annotate_leaves_a_result_of_embed_as_it_is(embedded, probe, tmp_path):
    path = tmp_path / "m0_nuclr.nwb"
    shutil.copy(embedded / "m0.nwb", path)
    annotate = ["probe", "annotate", path, "--probe", probe]
    (about,) = run_json(*annotate)
    assert about["output"] == str(tmp_path / "m0_annotated_nuclr.nwb")
    assert "predicted_cell_type" not in read_embedding(path).metadata_columns
    fitted = load_probe(probe)
    assert (
        f"probe of cell_type: macro F1 {fitted.cv_score_:.2f} by animal, chance"
        in run(*annotate, "-o", tmp_path / "again.nwb").stdout
    )
    error = error_of(run(*annotate, "-o", path))
    assert "would replace it; --output names another file, and --overwrite" in error
    assert run(*annotate, "--overwrite").exit_code == 0
    back = read_embedding(path)
    assert {"predicted_cell_type", "nuclr_0"} <= set(back.metadata_columns)


def test_what_was_embedded_once_is_not_embedded_again(data, encoder, tmp_path, monkeypatch):
    fit = ["probe", "fit", data / "*.nwb", "--target", "cell_type", "--encoder", encoder]
    fit += ["--cache", tmp_path / "cache", "--max-windows", 3, "--classifier", "lda"]
    first = run_json(*fit, "-o", tmp_path / "first.skops")
    (entry, *_) = sorted((tmp_path / "cache").iterdir())
    assert len(list((tmp_path / "cache").iterdir())) == 3

    calls = []

    def counted(units, *arguments, **options):
        calls.append(options)
        return embed(units, *arguments, **options)

    monkeypatch.setattr("pynapple_nuclr.embedding.embed", counted)
    second = run_json(*fit, "-o", tmp_path / "second.skops")
    assert not calls
    for name in ("macro_f1", "encoder", "units", "classes"):
        assert first[name] == second[name]
    entry.write_bytes(entry.read_bytes()[:1000])  # damaged: made again
    run_json(*fit, "-o", tmp_path / "third.skops")
    assert len(calls) == 1
    run_json(*fit, "--gaps", "join", "-o", tmp_path / "fourth.skops")  # other options
    assert len(calls) == 4


def test_evaluate_gives_the_scores_of_the_function(data, encoder, tmp_path):
    out = tmp_path / "scores.csv"
    options = ["--systems", "statistics", "--systems", encoder, "--n-shuffles", 1, "--n-folds", 3]
    options += ["--protocol", "transductive", "--protocol", "inductive_zero_shot", "-o", out]
    options += ["--animals", "animal", "--no-progress"]
    command = ["evaluate", data / "*.nwb", "--target", "cell_type", *options]
    about = run_json(*command)
    recordings = {mouse: read_units(data / f"{mouse}.nwb") for mouse in MICE}
    expected = evaluate(
        recordings,
        "cell_type",
        ["transductive", "inductive_zero_shot"],
        ["statistics"],
        n_folds=3,
        n_shuffles=1,
        progress=False,
    )
    for row in about["scores"]:
        if row["system"] == "statistics":
            place = {key: row[key] for key in ("system", "protocol", "standardize", "seed")}
            assert row["macro_f1"] == float(expected["macro_f1"].sel(place))
    systems = {row["system"] for row in about["scores"]}
    assert {"statistics", encoder.name, "shuffled labels"} <= systems
    assert isinstance(about["warnings"], list)
    table = pd.read_csv(out)
    assert len(table) == len(about["scores"])
    assert "exists" in error_of(run(*command))
    shown = run(*command, "--overwrite")
    assert "macro F1" in shown.stdout and "shuffled labels" in shown.stdout


def test_evaluate_embeds_by_the_options(data, encoder):
    units = {mouse: read_units(data / f"{mouse}.nwb") for mouse in MICE}
    command = ["evaluate", data / "*.nwb", "--target", "cell_type", "--n-shuffles", 1]
    command += ["--n-folds", 2, "--max-windows", 1, "--no-progress"]
    system = Nuclr(encoder, embedding={"max_windows": 1})
    options = {"n_folds": 2, "n_shuffles": 1, "progress": False}
    expected = evaluate(units, "cell_type", systems=[system], **options)
    (ours,) = (
        row
        for row in run_json(*command, "--systems", encoder)["scores"]
        if row["system"] == encoder.name
    )
    assert ours["macro_f1"] == expected["macro_f1"].sel(system="nuclr").item()
    rows = {row["system"] for row in run_json(*command)["scores"]}
    assert {"nuclr", "statistics"} <= rows  # also where no system is named
    assert "max_windows" in error_of(run(*command[:-3], "--max-windows", 0, "--no-progress"))


def test_evaluate_names_what_is_wrong(data):
    evaluated = ["evaluate", data / "*.nwb", "--no-progress"]
    assert "layer" in error_of(run(*evaluated, "--target", "layer"))
    odd = run(*evaluated, "--target", "cell_type", "--systems", "oracle")
    assert "'oracle' is unknown" in error_of(odd)
    nowhere = run(*evaluated, "--target", "cell_type", "--systems", "none/here")
    assert "there is no folder none/here" in error_of(nowhere)
    assert "protocol" in error_of(run(*evaluated, "--target", "cell_type", "--protocol", "magic"))


def test_poyo_decodes_the_trials_that_are_named(data, tmp_path):
    path = tmp_path / "m0.nwb"
    shutil.copy(data / "m0.nwb", path)
    with pynwb.NWBHDF5IO(path, "a") as io:
        file = io.read()
        file.add_trial_column("side", "where it went")
        for start, side in ((0, "left"), (10, "right")):
            file.add_trial(start_time=float(start), stop_time=start + 1.0, side=side)
        io.write(file)
    shown = _behaviour("trials", {"m0": str(path)})
    assert np.asarray(shown["m0"]["side"]).tolist() == ["left", "right"]
    assert isinstance(poyo := _system("poyo", {}, shown, {}), Poyo) and poyo.behaviour is shown
    asked = ["--target", "cell_type", "--systems", "Poyo", "--behaviour", "runs"]
    assert "has no 'runs' for --behaviour" in error_of(run("evaluate", path, *asked))
