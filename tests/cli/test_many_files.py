"""The command line on many files: patterns, outputs, bad files, Ctrl-C, scripts."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pynapple as nap
import pytest
import torch
from command_line import error_lines, error_of, run, run_json
from nwb_recordings import imaging_file, make_units
from range_server import serving

from pynapple_nuclr.batch.plan import plan_outputs
from pynapple_nuclr.checkpoints import Encoder, load_encoder, save_encoder
from pynapple_nuclr.columns import embeddings
from pynapple_nuclr.config import EncoderConfig
from pynapple_nuclr.embedding import embed
from pynapple_nuclr.nwb.stored_embeddings import describe_nwb, read_embedding
from pynapple_nuclr.nwb.units import read_units
from pynapple_nuclr.nwb.writing import write_units


@pytest.fixture(scope="module")
def encoder(tiny_config, tmp_path_factory):
    torch.manual_seed(0)
    return save_encoder(Encoder(tiny_config, name="tiny"), tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A folder of three recordings; the second unit of each is silent."""
    folder = tmp_path_factory.mktemp("written")
    for seed, name in enumerate("abc"):
        units = make_units(ids=(2, 5, 9, 11), seed=seed)
        units.set_info(probe=["p0", "p0", "p1", "p1"])
        write_units(units, folder / f"{name}.nwb")
    return folder


@pytest.fixture
def data(written, tmp_path):
    return Path(shutil.copytree(written, tmp_path / "data"))


pytestmark = pytest.mark.filterwarnings("ignore:1 of 4 units have no spike")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_pattern_embeds_every_file_beside_itself(data, encoder):
    result = run("embed", data / "*.nwb", "--encoder", encoder)
    assert result.exit_code == 0, result.output
    assert names(data) == sorted(f"{n}{end}.nwb" for n in "abc" for end in ("", "_nuclr"))
    assert result.stdout.count("3 units embedded, 1 silent") == 3
    assert f"note: {data / 'b.nwb'}: 1 of 4 units" in result.stderr
    expected = embed(read_units(data / "b.nwb"), load_encoder(encoder), progress=False)
    back = read_embedding(data / "b_nuclr.nwb")
    np.testing.assert_array_equal(embeddings(back).values, embeddings(expected).values)

    again = run("embed", data / "*.nwb", "--encoder", encoder)  # not its own outputs
    assert again.stdout.count("skipped") == 3


def test_a_pattern_that_the_shell_expands_reads_no_neuron_twice(data, encoder, tmp_path):
    assert run("embed", data / "*.nwb", "--encoder", encoder).exit_code == 0
    every = sorted(data.iterdir())  # a.nwb, a_nuclr.nwb, …
    result = run("embed", *every, "--encoder", encoder, "--overwrite")
    assert result.exit_code == 0, result.output
    assert result.stdout.count("written to") == 3
    assert "note: left out" in result.stderr and "a_nuclr.nwb" in result.stderr
    alone = run("embed", data / "a_nuclr.nwb", "-o", tmp_path, "--encoder", encoder)
    assert "left out" not in alone.stderr and alone.exit_code == 0


def test_a_pattern_that_starts_with_a_point(data, encoder, monkeypatch):
    monkeypatch.chdir(data)
    for _ in range(2):
        assert run("embed", "./*.nwb", "--encoder", encoder, "--overwrite").exit_code == 0
    assert len(names(data)) == 6


def test_what_cannot_be_written_is_refused_before_any_work(data, tmp_path, monkeypatch):
    monkeypatch.setattr("pynapple_nuclr.embedding.embed", lambda *_, **__: pytest.fail("embedded"))
    source = data / "a.nwb"
    with_itself = run("embed", source, "-o", source, "--raw", "drop", "--overwrite")
    assert "would leave" in error_of(with_itself)
    monkeypatch.setattr("os.access", lambda path, mode: mode != os.W_OK)
    assert "nothing may be written to" in error_of(run("embed", source, "-o", tmp_path / "x.nwb"))
    assert "nothing may be written to" in error_of(run("embed", source, "-o", tmp_path / "x.csv"))


def test_one_window_has_no_stability(tmp_path, tiny_config, encoder):
    support = nap.IntervalSet(0, 1.5 * tiny_config.window_duration)
    path = write_units(make_units(support=support), tmp_path / "short.nwb")
    result = run("embed", path, "--encoder", encoder)
    assert "nan" not in result.stdout


def test_one_bad_file_does_not_stop_the_others(data, encoder, tmp_path):
    (data / "b.nwb").write_text("text")
    out = tmp_path / "made" / "deep"
    result = run("embed", data / "*.nwb", "missing.nwb", "-o", out, "--encoder", encoder)
    first, *bad = error_lines(result)
    assert first == "error: 2 of 4 files failed:"
    assert "b.nwb: " in bad[0] and "no NWB file" in bad[0]
    assert bad[1].startswith("  missing.nwb: there is no file")
    assert names(out) == ["a_nuclr.nwb", "c_nuclr.nwb"]
    assert result.stdout.count("written to") == 2


def test_a_second_call_skips_what_is_done(data, encoder):
    command = ["embed", data / "*.nwb", "--encoder", encoder]
    assert run(*command).exit_code == 0
    (data / "b_nuclr.nwb").unlink()
    a, b, c = run_json(*command)
    assert (a["skipped"], b["skipped"], c["skipped"]) == (True, False, True)
    assert a["units"] == b["units"] == 4 and a["output"] == str(data / "a_nuclr.nwb")
    again = run(*command)
    assert again.stdout.count("skipped") == 3 and "--overwrite" in again.stdout
    assert "exists" in run("embed", data / "a.nwb", "--encoder", encoder).stderr  # one: an error


def test_an_odd_error_does_not_stop_the_others_either(data, encoder, monkeypatch):
    def odd(units, *arguments, **options):
        if (data / "a_nuclr.nwb").exists() and not (data / "c_nuclr.nwb").exists():
            (data / "c_nuclr.nwb").touch()  # the next one passes
            raise KeyError("odd")
        return embed(units, *arguments, **options)

    monkeypatch.setattr("pynapple_nuclr.embedding.embed", odd)
    result = run("embed", data / "*.nwb", "--encoder", encoder, "--overwrite")
    assert error_lines(result) == [
        "error: 1 of 3 files failed:",
        f"  {data / 'b.nwb'}: KeyError: 'odd'",
    ]
    (data / "c_nuclr.nwb").unlink()
    alone = run("embed", data / "b.nwb", "--encoder", encoder)  # the traceback is of use
    assert isinstance(alone.exception, KeyError)


def test_one_bar_over_the_files(data, encoder, monkeypatch):
    monkeypatch.setenv("TTY_COMPATIBLE", "1")  # rich takes it for a terminal
    command = ["embed", data / "*.nwb", "--encoder", encoder, "--overwrite"]
    shown = run(*command)
    assert "3/3" in shown.stderr and "embedding:" not in shown.stderr
    notes = [line for line in shown.stderr.splitlines() if "note: " in line]
    assert len(notes) == 3
    assert not any("━" in line for line in notes), notes  # not across the bar
    assert "3/3" not in run(*command, "--no-progress").stderr
    alone = run("embed", data / "a.nwb", "-o", data / "x.nwb", "--encoder", encoder)
    assert "embedding:" in alone.stderr and "1/1" not in alone.stderr


def test_json_is_one_document(data, encoder):
    (data / "b.nwb").write_text("text")
    good, bad, _ = run_json("embed", data / "*.nwb", "--encoder", encoder, exit_code=1)
    identity = load_encoder(encoder).identity
    assert good["file"] == str(data / "a.nwb")
    assert good["output"] == str(data / "a_nuclr.nwb")
    assert (good["units"], good["silent"], good["encoder"]) == (4, 1, identity)
    assert 0 <= good["stability"] <= 1
    assert good["error"] is None and "1 of 4 units" in good["warnings"][0]
    assert "no NWB file" in bad["error"]
    assert bad["units"] is bad["output"] is bad["encoder"] is None
    assert list(bad) == list(good)
    (alone,) = run_json("embed", data / "c.nwb", "-o", data / "x.csv", "--encoder", encoder)
    assert alone["output"] == str(data / "x.csv")


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_tables_of_many_files(data, encoder, tmp_path, kind):
    out = tmp_path / "out"
    result = run("embed", data / "*.nwb", "-o", out, "--format", kind, "--encoder", encoder)
    assert result.exit_code == 0, result.output
    assert names(out) == [f"{name}_nuclr.{kind}" for name in "abc"]
    table = getattr(pd, f"read_{kind}")(out / f"b_nuclr.{kind}")
    assert table["unit"].tolist() == [2, 5, 9, 11]
    assert table.filter(regex=r"^nuclr_\d+$").shape == (4, 32)


def test_options_reach_the_functions(data, encoder, tmp_path):
    out = tmp_path / "out.nwb"
    options = ["--by", "probe", "--raw", "drop", "--precision", "bfloat16", "--device", "cpu"]
    result = run("embed", data / "a.nwb", "-o", out, "--encoder", encoder, *options)
    assert result.exit_code == 0, result.output
    expected = embed(
        read_units(data / "a.nwb"),
        load_encoder(encoder),
        by="probe",
        precision="bfloat16",
        device="cpu",
        progress=False,
    )
    np.testing.assert_array_equal(embeddings(read_embedding(out)), embeddings(expected))
    wrong = run(
        "embed", data / "a.nwb", "-o", data / "x.nwb", "--by", "shank_", "--encoder", encoder
    )
    assert "shank_" in error_of(wrong)


def test_a_limit_of_time_is_passed_on(data, encoder):
    (report,) = run_json(
        "embed", data / "a.nwb", "--encoder", encoder, "--max-seconds", "1e-9", "--json"
    )
    assert report["error"] is None
    assert int(read_embedding(report["output"])["nuclr_n_windows"].max()) == 1


def test_pretrain_splits_by_a_column(data, tmp_path):
    sizes = ["--dim", "32", "--window-duration", "2", "--steps", "1", "--by", "probe"]
    sizes.append("--no-progress")
    result = run("pretrain", data / "a.nwb", data / "b.nwb", "-o", tmp_path / "new", *sizes)
    # Two units a probe are too few to learn from, and it says so of each probe by name.
    assert result.exit_code == 1
    assert "a (probe p0)" in error_of(result)


def test_outputs_that_cannot_be_are_refused_before_any_work(data, tmp_path):
    both = [data / "a.nwb", data / "b.nwb"]
    assert "expected a folder" in error_of(run("embed", *both, "-o", tmp_path / "one.nwb"))
    assert "no file matches" in error_of(run("embed", data / "z*.nwb"))
    odd = run("embed", both[0], "-o", tmp_path / "one.nwb", "--format", "csv")
    assert "leave one of them out" in error_of(odd)
    table = run("embed", both[0], "--format", "csv", "--raw", "link")
    assert "--raw is about NWB files" in error_of(table)
    assert run("embed", both[0], "--raw", "keep").exit_code == 2
    assert names(data) == ["a.nwb", "b.nwb", "c.nwb"]


def test_files_of_the_same_name_keep_apart(tmp_path):
    sources = [str(tmp_path / day / "session.nwb") for day in ("day1", "day2")]
    planned = plan_outputs([*sources, "other.nwb"], tmp_path / "out", "csv")
    assert [path.name for path in planned.values()] == [
        "day1_session_nuclr.csv",
        "day2_session_nuclr.csv",
        "other_nuclr.csv",
    ]
    twice = [str(tmp_path / lab / "day1" / "session.nwb") for lab in ("x", "y")]
    with pytest.raises(ValueError, match="run them apart"):
        plan_outputs(twice, tmp_path / "out", None)


def test_results_get_names_that_say_what_they_are(tmp_path):
    (tmp_path / "z.zarr").mkdir()
    sources = [str(tmp_path / "z.zarr"), "a_nuclr.nwb", "https://archive.org/x/s.nwb?v=1"]
    planned = plan_outputs(sources, None, None)
    assert [str(path) for path in planned.values()] == [
        str(tmp_path / "z_nuclr.zarr"),
        "a_nuclr.nwb",
        "s_nuclr.nwb",
    ]


def test_ctrl_c_says_what_was_written(data, encoder, monkeypatch):
    def interrupted(units, *arguments, **options):
        if (data / "a_nuclr.nwb").exists():
            raise KeyboardInterrupt
        return embed(units, *arguments, **options)

    monkeypatch.setattr("pynapple_nuclr.embedding.embed", interrupted)
    result = run("embed", data / "*.nwb", "--encoder", encoder)
    assert result.exit_code == 130
    last = result.stderr.splitlines()[-1]
    assert last == f"interrupted at {data / 'b.nwb'}; written: {data / 'a_nuclr.nwb'}"
    assert names(data) == ["a.nwb", "a_nuclr.nwb", "b.nwb", "c.nwb"]
    alone = run("embed", data / "b.nwb", "--encoder", encoder)
    assert alone.exit_code == 130
    assert alone.stderr.splitlines()[-1].endswith("written: nothing")


def test_what_is_learnt_from_many_files_needs_them_all(data, tmp_path):
    (data / "b.nwb").write_text("text")
    for command in (
        ["pretrain", "-o", tmp_path / "mine"],
        ["evaluate", "--target", "cell_type"],
        ["probe", "fit", "--target", "cell_type", "-o", tmp_path / "p.skops"],
    ):
        first, bad = error_lines(run(*command, data / "*.nwb"))
        assert first == "error: 1 of 3 files failed:" and "no NWB file" in bad
    assert names(tmp_path) == ["data"]


def test_an_address_is_embedded_into_the_current_folder(data, encoder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving(data) as server:
        result = run("embed", f"{server.address}/a.nwb", "--encoder", encoder)
    assert result.exit_code == 0, result.output
    expected = embed(read_units(data / "a.nwb"), load_encoder(encoder), progress=False)
    back = read_embedding("a_nuclr.nwb")
    np.testing.assert_array_equal(embeddings(back).values, embeddings(expected).values)


def test_calcium_files_are_embedded_too(tmp_path):
    torch.manual_seed(0)
    config = EncoderConfig(
        modality="calcium", frame_rate=10.0, window_frames=16, dim=32, heads=2, head_dim=16
    )
    folder = save_encoder(Encoder(config, name="calcium"), tmp_path / "calcium")
    path = imaging_file(tmp_path / "mouse.nwb")
    result = run("embed", path, "--encoder", folder, "--no-progress")
    assert result.exit_code == 0, result.output
    assert "3 units embedded by calcium@" in result.stdout
    assert "nuclr" in describe_nwb(tmp_path / "mouse_nuclr.nwb")["embeddings"]
    back = read_embedding(tmp_path / "mouse_nuclr.nwb")
    assert isinstance(back, nap.TsdFrame) and embeddings(back).shape == (3, 32)
    about = run_json("info", path)
    assert (about["units"], about["observed"]["epochs"]) == (3, 1)
