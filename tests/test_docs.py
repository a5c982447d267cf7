"""The examples of the five-minute start run as they are printed, on smaller recordings."""

import functools
import re
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
