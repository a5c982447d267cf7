"""The examples of the README and the guide run as printed, on smaller recordings."""

import functools
import re
import shlex
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
from typer.main import get_command
from typer.testing import CliRunner

import pynapple_nuclr as nap_nuclr
from pynapple_nuclr.cli import app

DOCS = Path(__file__).parents[2] / "docs"
START = DOCS / "quickstart.md"
README = DOCS.parent / "README.md"


def blocks_of(page):
    return re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.mark.filterwarnings("ignore")  # short recordings are unlike those of the training
def test_the_readme_runs(tmp_path, monkeypatch, capsys):
    mice = nap_nuclr.simulate("single", n_units=30, duration=60, animals=3, seed=0)
    a, b, c = mice.values()
    names = {"nap_nuclr": nap_nuclr, "units": a, "labelled_mice": mice}
    names |= {"mouse_a": a, "mouse_b": b, "units_a": a, "units_b": b}
    quiet = {
        "embed": {"progress": False},
        "pretrain": {"steps": 1, "progress": False},
        "evaluate": {"systems": ["statistics"], "progress": False},
    }
    for name, less in quiet.items():
        monkeypatch.setattr(nap_nuclr, name, functools.partial(getattr(nap_nuclr, name), **less))
    monkeypatch.chdir(tmp_path)
    nap_nuclr.write_units(c, "session.nwb")
    for block in blocks_of(README):
        exec(block, names)
    plt.close("all")
    assert "nuclr_0" in names["units"].metadata_columns
    assert "cell_type: macro F1" in capsys.readouterr().out
    assert {"map.png", "session_nuclr.nwb", "encoder"} <= {path.name for path in tmp_path.iterdir()}


def test_the_commands_of_the_readme_exist():
    text = README.read_text(encoding="utf-8")
    shown = re.findall(r"^```(\w*)\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    lines = "".join(block for language, block in shown if not language).splitlines()
    make = {line.removeprefix("make ") for line in lines if line.startswith("make ")}
    rules = re.findall(
        r"^(\w[\w-]*):", (README.parent / "Makefile").read_text(), flags=re.MULTILINE
    )
    assert {"demo", "test", "docs"} <= make <= set(rules)
    known = set(get_command(app).commands)
    ours = {line.split()[1] for line in lines if line.startswith("nap-nuclr ")}
    assert ours and ours <= known


def test_the_example_of_an_evaluation_runs(capsys):
    (block,) = blocks_of(DOCS / "evaluation.md")
    exec(block, {})
    plt.close("all")
    assert "shuffled labels" in capsys.readouterr().out


def test_the_quickstart_runs(tmp_path, monkeypatch):
    small = functools.partial(nap_nuclr.simulate, n_units=40, duration=120)
    quick = functools.partial(nap_nuclr.pretrain, steps=1, progress=False)
    monkeypatch.setattr(nap_nuclr, "simulate", small)
    monkeypatch.setattr(nap_nuclr, "pretrain", quick)
    monkeypatch.setattr(nap_nuclr, "read_traces", print)  # folders have tests of their own
    monkeypatch.chdir(tmp_path)
    recording = small("context", seed=0)
    nap_nuclr.write_units(recording, "session.nwb")
    names = {"a": recording, "b": small("context", seed=1)}
    blocks = blocks_of(START)
    assert len(blocks) >= 6
    for block in blocks:
        exec(block, names)
    plt.close("all")
    assert "predicted_cell_type" in names["unknown"].metadata.columns
    assert nap_nuclr.embeddings(names["units"]).shape == (40, names["encoder"].config.dim)
    assert names["encoder"].card["fine_tuned_from"] == nap_nuclr.load_encoder().identity
    run_the_commands_of(START)
    assert (tmp_path / "session_report.html").is_file()


def run_the_commands_of(page):
    """Run the commands that a page shows, in their order, on what its code has written."""
    text = page.read_text(encoding="utf-8")
    lines = re.findall(r"^nap-nuclr .+$", text, flags=re.MULTILINE)
    assert lines
    for line in lines:
        result = CliRunner().invoke(app, shlex.split(line, comments=True)[1:])
        assert result.exit_code == 0, f"{line}: {result.output}"


def test_the_page_of_files_runs(tmp_path, monkeypatch):
    names = {"nap_nuclr": nap_nuclr}
    monkeypatch.chdir(tmp_path)
    units = nap_nuclr.simulate("context", n_units=20, duration=60, seed=0)
    units.set_info(probe=["A", "B"] * 10)
    nap_nuclr.write_units(units, "session.nwb")
    quick = functools.partial(nap_nuclr.embed, progress=False)
    monkeypatch.setattr(nap_nuclr, "embed", quick)
    local = [block for block in blocks_of(DOCS / "files.md") if runs_locally(block)]
    assert len(local) >= 3
    for block in local:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # short recordings are unlike those of the training
            exec(block, names)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "session.csv",
        "session.nwb",
        "session.parquet",
        "session_nuclr.nwb",
    ]


def runs_locally(block):
    """Return whether a block needs no network, sorting or imaging file (others test those)."""
    return not re.search(r"https://|spikeinterface|imaging|suite2p|encoder\.", block)
