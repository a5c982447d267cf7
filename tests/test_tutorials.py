"""The tutorials run as they are printed, with little training."""

import functools
import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

import pynapple_nuclr as nap_nuclr

TUTORIALS = sorted((Path(__file__).parents[1] / "tutorials").glob("*.md"))


def cells_of(page):
    text = page.read_text(encoding="utf-8")
    return re.findall(r"```\{code-cell\} ipython3\n(.*?)```", text, flags=re.DOTALL)


@pytest.mark.filterwarnings("ignore")  # of encoders that have hardly been trained
@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_a_tutorial_runs(page, monkeypatch, tmp_path):
    simulate, pretrain = nap_nuclr.simulate, nap_nuclr.pretrain

    def small(*args, **how):
        return simulate(*args, **how | {"n_units": 30, "duration": 90})

    def quick(*args, max_minutes=None, **how):
        return pretrain(*args, **how, steps=1, progress=False)

    monkeypatch.setattr(nap_nuclr, "simulate", small)
    monkeypatch.setattr(nap_nuclr, "pretrain", quick)
    monkeypatch.setattr(nap_nuclr, "embed", functools.partial(nap_nuclr.embed, progress=False))
    monkeypatch.chdir(tmp_path)
    names = {}
    for cell in cells_of(page):
        exec(cell, names)
    plt.close("all")
    if page.stem == "after_the_labels":
        curves = names["curves"]
        assert curves.sizes["unit"] == 30 and np.isfinite(curves).any()
        assert sum(len(group) for group in names["types"].values()) == 30
