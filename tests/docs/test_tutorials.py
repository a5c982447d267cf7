"""The tutorials: every cell runs as printed, and the numbers agree with the text."""

import ast
import contextlib
import io
import re
import time
import warnings
from functools import partialmethod
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

import pynapple_nuclr as nap_nuclr

FOLDER = Path(__file__).parents[2] / "tutorials"
REGISTRY = Path(nap_nuclr.__file__).parent / "downloads" / "registry.json"
PAGES = sorted(path.stem for path in FOLDER.glob("*.md"))
QUICK = ("first_embedding",)
SECONDS = 60 * 2  # of processor time: a minute on two cores


def text_of(page):
    return (FOLDER / f"{page}.md").read_text(encoding="utf-8")


def cells_of(page):
    return re.findall(r"```\{code-cell\} ipython3\n(.*?)```", text_of(page), flags=re.DOTALL)


def test_all_tutorials_exist():
    expected = "first_embedding your_own_probe regions fine_tuning calcium_and_worms "
    expected += "after_the_labels compare_systems scaling_up"
    assert set(expected.split()) <= set(PAGES)


@pytest.mark.parametrize("page", PAGES)
def test_the_first_cell_is_the_switch_and_states_the_download(page):
    first, *others = cells_of(page)
    assert re.match(r"real = False  # True: download .*(\d MB|size not known here)", first)
    used = "\n".join(others)
    names = re.findall(r'fetch\("(\w+)"', used)
    assert "if real:" in used and names
    registry = REGISTRY.read_text(encoding="utf-8")
    for name in names:
        assert f'"{name}": {{' in registry
    for megabytes in re.findall(r"(\d+) MB", first):
        assert f'"megabytes": {megabytes},' in registry


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_existing_pages(page):
    for target in re.findall(r"\]\(([^)#:]+)[^)]*\)", text_of(page)):
        assert (FOLDER / target).exists(), target


@pytest.mark.parametrize("page", PAGES)
def test_cells_show_no_bars_and_import_what_they_need(page):
    tree = ast.parse("\n".join(cells_of(page)))
    imported = {
        (alias.asname or alias.name).split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
    }
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert imported <= used, imported - used


def run(page, monkeypatch, folder):
    """Run all cells in one namespace; return it and the printed text."""
    monkeypatch.chdir(folder)
    names, printed = {"__name__": "tutorial"}, io.StringIO()
    with warnings.catch_warnings(), contextlib.redirect_stdout(printed):
        warnings.simplefilter("error", UserWarning)
        for cell in cells_of(page):
            exec(compile(cell, f"{page}.md", "exec"), names)
    plt.close("all")
    assert "Traceback" not in printed.getvalue() and "Warning" not in printed.getvalue()
    return names, printed.getvalue()


@pytest.mark.filterwarnings("ignore")  # the encoder is hardly trained
def test_after_the_labels_runs_on_small_recordings(monkeypatch, tmp_path):
    simulate, pretrain = nap_nuclr.simulate, nap_nuclr.pretrain

    def small(*args, **options):
        return simulate(*args, **options | {"n_units": 30, "duration": 90})

    def quick(*args, **options):
        return pretrain(*args, **options | {"steps": 1})

    monkeypatch.setattr(nap_nuclr, "simulate", small)
    monkeypatch.setattr(nap_nuclr, "pretrain", quick)
    # The probe is at chance after one step: its labels are written if forced.
    annotate = nap_nuclr.Probe.annotate
    monkeypatch.setattr(nap_nuclr.Probe, "annotate", partialmethod(annotate, force=True))
    monkeypatch.chdir(tmp_path)
    names = {}
    for cell in cells_of("after_the_labels"):
        exec(cell, names)
    plt.close("all")
    curves = names["curves"]
    assert curves.sizes["unit"] == 30 and np.isfinite(curves).any()
    assert sum(len(group) for group in names["types"].values()) == 30


@pytest.mark.parametrize(
    "page", [one if one in QUICK else pytest.param(one, marks=pytest.mark.slow) for one in PAGES]
)
def test_a_tutorial_runs_in_time_and_agrees_with_its_text(page, monkeypatch, tmp_path):
    start = time.process_time()
    names, printed = run(page, monkeypatch, tmp_path)
    assert time.process_time() - start < SECONDS
    CHECKS[page](names, printed)


def checks_first_embedding(names, printed):
    assert "read back, bit for bit: True" in printed
    assert "4 of 20 units have no spike in any window" in printed
    assert "look like milliseconds" in printed and "is unlike the data" in printed
    assert names["units"]["nuclr_stability"].median() > 0.75


def checks_your_own_probe(names, printed):
    labelled = names["labelled"]
    assert 0.3 < labelled.mean() < 1
    assert names["right"][labelled].mean() > names["all_right"].mean()
    assert list(names["new"].metadata_columns).count("predicted_cell_type") == 1
    coverage = names["report"]["coverage_accuracy"].values
    assert coverage[0] > coverage[-1]
    # The trap: neither label is related to the cells.
    scores, chance = names["scores"], names["chance"]
    for target in ("by_mouse", "by_lab"):
        assert scores[target, "units"] > chance[target, "units"] + 0.25
        assert scores[target, "labs"] < chance[target, "labs"] + 0.1
    assert scores["by_mouse", "mice"] < chance["by_mouse", "mice"] + 0.15
    assert scores["by_lab", "mice"] > chance["by_lab", "mice"] + 0.2
    score = names["result"]["macro_f1"].sel(protocol="transductive").squeeze()
    assert score.sel(system="prior: most common label") > score.sel(system="nuclr") - 0.05
    assert names["standardised"]["by_lab"] < 0.6
    assert names["standardised"]["cell_type"] > 0.9


def checks_regions(names, printed):
    right, labelled, types = names["right"], names["labelled"], names["cell_type"]
    assert names["probe"].cv_score_ > names["probe"].cv_chance_ + 0.2
    assert right[labelled].mean() > right.mean()
    confidence = names["confidence"]
    alone = types == "soloist"
    assert confidence[alone].mean() < confidence[~alone].mean() - 0.1
    assert right[alone].mean() < 0.8 < right[~alone].mean()
    assert not labelled[alone].all()
    pairs = names["pairs"].mean(axis=1)
    assert pairs.idxmax() > 0  # the shell after the core


def checks_fine_tuning(names, printed):
    scores = names["scores"]
    assert (scores["after"] > scores["before"]).all()
    assert (scores["after"] > 3 * scores["chance"]).all()
    assert names["probe_scores"]["after"] > names["probe_scores"]["before"] + 0.1
    assert "\nTrue\n" in printed  # resumed; no step was repeated
    assert f"fine-tuned from: {names['before'].identity}" in printed
    assert names["units"]["nuclr_encoder"].iloc[0] == names["after"].identity
    assert names["familiarity"] < 0.01


def checks_calcium_and_worms(names, printed):
    known = names["encoder"].card["training"]["best_held_out_reidentification"]
    assert known > 3 / 60
    score = names["result"]["macro_f1"].squeeze()
    assert score.sel(system="our encoder") > score.sel(system="each trace by itself") + 0.2
    traces = names["traces"]
    right = np.asarray(traces["predicted_cell_type"]) == np.asarray(traces["cell_type"])
    assert right.mean() > 0.6


def checks_after_the_labels(names, printed):
    assert names["right"].mean() > 0.8
    assert names["right"][names["sure"]].mean() >= names["right"].mean()
    rates = [np.mean(group["rate"]) for group in names["types"].values()]
    assert max(rates) < 1.4 * min(rates)  # rates do not separate the types


def checks_compare_systems(names, printed):
    score = {
        name: result["macro_f1"].sel(protocol="inductive_zero_shot").squeeze()
        for name, result in names["results"].items()
    }
    assert score["single"].sel(system="statistics") > 0.9
    assert score["context"].sel(system="our encoder") > 0.9
    chance = float(score["context"].sel(system="shuffled labels"))
    assert score["context"].sel(system="statistics") < chance + 0.12


def checks_scaling_up(names, printed):
    done = names["done"]
    assert (done["error"] != "").tolist() == [False] * 5 + [True]
    assert done["skipped"].tolist() == [True] * 3 + [False] * 3
    assert "5 sessions, 200 units" in printed
    assert np.median(names["cosine"]) > 0.95
    assert "2 recordings, 5 steps" in printed


CHECKS = {page: globals()[f"checks_{page}"] for page in PAGES}
