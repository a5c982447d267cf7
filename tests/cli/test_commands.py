"""The command line: what it writes, and how it fails."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pynapple as nap
import pynwb
import pytest
import torch
from command_line import error_of, run, run_json

from pynapple_nuclr.checkpoints import Encoder, load_encoder, save_encoder
from pynapple_nuclr.cli.commands import as_options
from pynapple_nuclr.columns import embeddings
from pynapple_nuclr.demo import run_demo
from pynapple_nuclr.embedding import embed
from pynapple_nuclr.nwb.stored_embeddings import describe_nwb, read_embedding
from pynapple_nuclr.nwb.writing import write_units


@pytest.fixture(scope="module")
def units():
    """Thirty Poisson units for a minute, one of them silent."""
    rng = np.random.default_rng(0)
    epochs = nap.IntervalSet(0, 60)
    trains = {i: nap.Ts(np.sort(rng.uniform(0, 60, 300))) for i in range(30)}
    trains[4] = nap.Ts(np.array([]))
    return nap.TsGroup(trains, time_support=epochs, metadata={"depth": np.arange(30.0)})


@pytest.fixture(scope="module")
def encoder(tiny_config, tmp_path_factory):
    """Return the folder of a small encoder with random weights."""
    torch.manual_seed(0)
    return save_encoder(Encoder(tiny_config, name="tiny"), tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def recording(units, tmp_path):
    return write_units(units, tmp_path / "session.nwb")


def test_embed_writes_what_the_function_gives(units, recording, encoder, tmp_path):
    out = tmp_path / "out.nwb"
    result = run("embed", recording, "-o", out, "--encoder", encoder, "--no-progress")
    assert result.exit_code == 0, result.output
    expected = embed(units, load_encoder(encoder), progress=False)
    back = read_embedding(out)
    np.testing.assert_array_equal(embeddings(back).values, embeddings(expected).values)
    np.testing.assert_array_equal(back["nuclr_stability"], expected["nuclr_stability"])
    assert "29 units embedded by tiny@" in result.stdout
    assert "1 silent" in result.stdout
    assert str(out) in result.stdout.replace("\n", "")
    assert "note: 1 of 30 units" in result.stderr  # the warning, on one line
    assert describe_nwb(out)["embeddings"]["nuclr"]["gaps"] == "split"


@pytest.mark.parametrize("command", ["info", "embed", "report"])
def test_what_a_reader_warns_of_is_shown(units, encoder, tmp_path, command):
    path = write_units(units, tmp_path / "x.nwb")
    with h5py.File(path, "r+") as file:
        file["units/spike_times"][7] = np.nan
    options = {
        "info": [],
        "embed": ["-o", tmp_path / "y.csv"],
        "report": ["-o", tmp_path / "y.html"],
    }
    more = [] if command == "info" else ["--encoder", encoder]
    result = run(command, path, *options[command], *more)
    assert result.exit_code == 0, result.output
    assert f"note: {path}: 1 of 8700 spike times are NaN or infinite" in result.stderr


def test_embed_writes_beside_the_recording_by_default(recording, encoder):
    assert run("embed", recording, "--encoder", encoder, "--no-progress").exit_code == 0
    beside = recording.with_name("session_nuclr.nwb")
    assert "nuclr" in describe_nwb(beside)["embeddings"]
    again = run("embed", recording, "--encoder", encoder, "--no-progress")
    assert "session_nuclr.nwb exists; choose another name, or --overwrite" in error_of(again)
    replaced = run("embed", recording, "--encoder", encoder, "--no-progress", "--overwrite")
    assert replaced.exit_code == 0


def test_embed_writes_a_table(recording, encoder, tmp_path):
    out = tmp_path / "out.csv"
    result = run("embed", recording, "-o", out, "--encoder", encoder, "--no-progress")
    assert result.exit_code == 0, result.output
    table = pd.read_csv(out, index_col="unit")
    assert list(table["depth"]) == list(range(30))
    assert table.loc[4, "nuclr_n_windows"] == 0
    assert table.filter(regex=r"^nuclr_\d+$").shape == (30, 32)


def test_trials_are_embedded_across_gaps(units, encoder, tmp_path):
    starts = np.arange(0, 58, 2.0)
    trials = units.restrict(nap.IntervalSet(starts, starts + 1.0))
    path = write_units(trials, tmp_path / "trials.nwb")
    split = run("embed", path, "--encoder", encoder, "--no-progress")
    assert "--gaps join" in error_of(split)
    joined = run("embed", path, "--encoder", encoder, "--gaps", "join", "--no-progress")
    assert joined.exit_code == 0, joined.output
    out = tmp_path / "trials_nuclr.nwb"
    assert describe_nwb(out)["embeddings"]["nuclr"]["gaps"] == "join"
    assert nap.load_file(out)["units"]["nuclr_n_windows"][0] == 2  # 29 patches, 10 a window


@pytest.mark.parametrize("suffix", [".nwb", ".csv"])
def test_embed_looks_at_its_output_before_it_computes(recording, encoder, tmp_path, suffix):
    (tmp_path / f"old{suffix}").write_text("old")
    result = run("embed", recording, "-o", tmp_path / f"old{suffix}", "--encoder", encoder)
    assert "exists" in error_of(result)
    assert (tmp_path / f"old{suffix}").read_text() == "old"


def test_embed_names_what_is_wrong(recording, encoder, tmp_path):
    assert "there is no file" in error_of(run("embed", tmp_path / "missing.nwb"))
    assert "ends in .nwb" in error_of(run("embed", recording, "-o", tmp_path / "out.mat"))
    (tmp_path / "text.nwb").write_text("text")
    assert "no NWB file" in error_of(run("embed", tmp_path / "text.nwb"))
    assert "no encoder" in error_of(run("embed", recording, "--encoder", tmp_path / "no"))
    unknown = run("embed", recording, "--encoder", encoder, "--epochs", "trials")
    assert "no intervals 'trials'" in error_of(unknown)
    assert run("embed", recording, "--gaps", "bridge").exit_code == 2


def test_pretrain_writes_an_encoder_that_embeds(recording, tmp_path):
    out = tmp_path / "mine"
    options = ["--dim", 8, "--window-duration", 5, "--batch-size", 2, "--no-progress"]
    result = run("pretrain", recording, "-o", out, "--steps", 2, *options)
    assert result.exit_code == 0, result.output
    encoder = load_encoder(out)
    assert (encoder.config.dim, encoder.config.patches) == (8, 5)
    assert encoder.config.interval_bins == 16  # as without sizes
    assert encoder.card["training"]["steps"] == 2
    assert encoder.identity in result.stdout
    embedded = run("embed", recording, "--encoder", out, "--no-progress")
    assert encoder.identity in embedded.stdout


def test_pretrain_fits_what_is_not_given_to_the_recordings(units, tmp_path):
    starts = np.arange(0, 58, 2.0)
    trials = units.restrict(nap.IntervalSet(starts, starts + 1.6))
    path = write_units(trials, tmp_path / "trials.nwb")
    out = tmp_path / "mine"
    options = ["--dim", 8, "--batch-size", 2, "--no-progress"]
    result = run("pretrain", path, "-o", out, "--steps", 1, *options)
    assert result.exit_code == 0, result.output
    config = load_encoder(out).config
    assert (config.dim, config.gaps, config.patch_duration) == (8, "join", 0.5)


def test_pretrain_tunes_an_encoder_on_files_of_the_same_name(recording, units, encoder, tmp_path):
    (tmp_path / "day2").mkdir()
    other = write_units(units, tmp_path / "day2" / "session.nwb")
    out = tmp_path / "tuned"
    options = ["--init", encoder, "--steps", 1, "--batch-size", 2, "--no-progress"]
    result = run("pretrain", recording, other, "-o", out, *options)
    assert result.exit_code == 0, result.output
    card = load_encoder(out).card
    assert card["fine_tuned_from"] == load_encoder(encoder).identity
    assert card["training"]["recordings"] == 2


def test_pretrain_names_what_is_wrong(recording, tmp_path):
    assert "there is no file" in error_of(run("pretrain", tmp_path / "x.nwb", "-o", tmp_path))
    odd = run("pretrain", recording, "-o", tmp_path / "e", "--patch-duration", 0.33)
    assert "whole multiple" in error_of(odd)
    assert run("pretrain", recording).exit_code == 2  # --out is missing
    sizes = ["--dim", 8, "--window-duration", 5]
    both = run("pretrain", recording, "-o", tmp_path / "e", "--init", "any", *sizes)
    assert "--init keeps the sizes of its encoder" in error_of(both)
    assert "--dim, --window-duration" in error_of(both)


def test_advice_names_options_of_the_command_line():
    assert as_options("fine-tune (pretrain with init=)") == "fine-tune (pretrain with --init)"
    assert as_options("raw='link' is small; epochs= says when") == (
        "--raw link is small; --epochs says when"
    )
    assert as_options("only='wave=wide'; expected x") == "--only wave=wide; expected x"
    assert as_options('by="probe"') == "--by probe"


def test_errors_from_below_are_one_line_too(recording, encoder, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("CUDA error:\nout of memory")

    monkeypatch.setattr("pynapple_nuclr.embedding.embed", fail)
    failed = run("embed", recording, "--encoder", encoder)
    assert error_of(failed) == "error: CUDA error: out of memory"


def test_info_about_an_encoder(encoder):
    result = run("info", encoder)
    assert result.exit_code == 0
    assert load_encoder(encoder).identity in result.stdout
    assert "spatiotemporal_layers: 1" in result.stdout
    assert torch.__version__.split("+")[0] in result.stdout
    assert 'embed(units, "rats")' in run("info").stdout  # the default one


def test_info_about_a_file(recording, encoder):
    before = run("info", recording)
    assert before.exit_code == 0
    assert "60.0 s, epochs: 1" in before.stdout
    assert "no: nap-nuclr embed" in before.stdout
    spaced = recording.rename(recording.with_name("my session.nwb"))
    about = " ".join(run("info", spaced).stdout.split())
    assert "my session.nwb'" in about.split("no: nap-nuclr embed '")[1]  # as a shell reads it
    spaced.rename(recording)
    run("embed", recording, "--encoder", encoder, "--no-progress")
    after = run("info", recording.with_name("session_nuclr.nwb"))
    assert load_encoder(encoder).identity in after.stdout
    assert "no encoder" in error_of(run("info", "nowhere"))


@pytest.mark.filterwarnings("ignore:.*the probe is not above chance")  # with so few units
@pytest.mark.filterwarnings("ignore:.*trains next to nothing")  # in so few seconds
def test_demo_goes_the_whole_way(encoder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    options = {"encoder": encoder, "n_units": 40, "duration": 60.0, "progress": False}
    scores = run_demo("out", minutes=0, **options)
    assert list(scores) == ["embedding", "unit_statistics", "chance"]
    assert all(0 <= score <= 1 for score in scores.values())
    units = read_embedding("out/session_nuclr.nwb")
    assert (units["predicted_cell_type_training"] == 0).sum() == 20  # the half it has not seen
    assert set(units["cell_type"]) == {"follower", "opponent", "soloist"}
    assert pynwb.validate(path="out/session_nuclr.nwb", use_cached_namespaces=False) == []
    assert "training units of the probe" in Path("out/report.html").read_text(encoding="utf-8")
    assert Path("out/embedding_map.png").read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr().out
    for line in ("predicted_cell_type", "unit statistics", "chance", "out/session_nuclr.nwb"):
        assert line in printed
    assert "look at it: open out/report.html" in printed and "next: your own file" in printed
    assert str(tmp_path) not in printed  # paths are relative


@pytest.mark.slow  # trains; the test before does all but that
@pytest.mark.filterwarnings("ignore:.*not above chance:UserWarning")  # 20 units teach little
def test_demo_again_replaces_its_files(encoder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = {"encoder": encoder, "n_units": 40, "duration": 60.0, "progress": False}
    scores = run_demo("out", minutes=0, **options)
    tuned = run_demo("out", minutes=0.1, **options)
    assert tuned["unit_statistics"] == scores["unit_statistics"]
    signed = set(read_embedding("out/session_nuclr.nwb")["nuclr_encoder"])
    assert load_encoder(encoder).identity not in signed


def test_info_warns_of_times_that_are_not_in_seconds(units, tmp_path):
    samples = nap.TsGroup(
        {i: nap.Ts(np.round(units[i].t * 30_000)) for i in units.index if len(units[i])},
        time_support=nap.IntervalSet(0, 60 * 30_000),
    )
    result = run("info", write_units(samples, tmp_path / "samples.nwb"))
    assert result.exit_code == 0
    assert "note: recording 'samples' lasts 500.0 hours" in result.stderr
    assert "note:" not in run("info", write_units(units, tmp_path / "seconds.nwb")).stderr


def test_info_for_scripts(recording, encoder):
    about = run_json("info", encoder)
    assert about["encoder"] == load_encoder(encoder).identity
    assert about["config"]["dim"] == 32 and "torch" in about["versions"]
    about = run_json("info", recording)
    assert (about["units"], about["embeddings"]) == (30, {})
    assert about["observed"] == {"seconds": 60.0, "epochs": 1}


def test_pretrain_for_scripts(recording, tmp_path):
    options = ["--dim", 8, "--window-duration", 5, "--batch-size", 2, "--steps", 1]
    options.append("--no-progress")
    about = run_json("pretrain", recording, "-o", tmp_path / "mine", *options)
    assert about["encoder"] == load_encoder(tmp_path / "mine").identity
    assert about["training"]["steps"] == 1
