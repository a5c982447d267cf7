"""The examples of the five-minute start run as they are printed, on smaller recordings."""

import functools
import re
import warnings
from pathlib import Path

import matplotlib.pyplot as plt

import pynapple_nuclr as nap_nuclr

DOCS = Path(__file__).parents[1] / "docs"
START = DOCS / "index.md"


def blocks_of(page):
    return re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)


def test_the_example_of_an_evaluation_runs(capsys):
    (block,) = blocks_of(DOCS / "evaluation.md")
    exec(block, {})
    plt.close("all")
    assert "shuffled labels" in capsys.readouterr().out


def test_the_five_minute_start_runs(tmp_path, monkeypatch):
    small = functools.partial(nap_nuclr.simulate, n_units=40, duration=120)
    quick = functools.partial(nap_nuclr.pretrain, steps=1, progress=False)
    monkeypatch.setattr(nap_nuclr, "simulate", small)
    monkeypatch.setattr(nap_nuclr, "pretrain", quick)
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


def test_the_page_of_files_runs(tmp_path, monkeypatch):
    names = {"nap_nuclr": nap_nuclr}
    monkeypatch.chdir(tmp_path)
    units = nap_nuclr.simulate("context", n_units=20, duration=60, seed=0)
    units.set_info(probe=["A", "B"] * 10)
    nap_nuclr.write_units(units, "session.nwb")
    quick = functools.partial(nap_nuclr.embed, progress=False)
    monkeypatch.setattr(nap_nuclr, "embed", quick)
    here = [block for block in blocks_of(DOCS / "files.md") if runs_here(block)]
    assert len(here) >= 3
    for block in here:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # short recordings are unlike those of the training
            exec(block, names)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "session.csv",
        "session.nwb",
        "session.parquet",
        "session_nuclr.nwb",
    ]


def runs_here(block):
    """Leave out what needs a network, a sorting or an imaging file: other tests have them."""
    return not re.search(r"https://|spikeinterface|imaging|encoder\.", block)
