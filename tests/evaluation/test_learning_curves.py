"""Label efficiency and data scaling; tables and figures of all results."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from evaluation_systems import Counting, KnowsWhatItSaw, RemembersLabels, mice, truth_of

from pynapple_nuclr.evaluation import (
    data_scaling,
    evaluate,
    label_efficiency,
    plot_confusion,
    plot_data_scaling,
    plot_label_efficiency,
    plot_scores,
    scores_table,
)


@pytest.fixture(scope="module")
def efficiency():
    return label_efficiency(
        mice(3, n=60, separation=0.8),
        "cell_type",
        [0.02, 0.1, 1.0],
        [Counting()],
        n_draws=4,
        progress=False,
    )


@pytest.fixture(scope="module")
def scaling():
    recordings = mice(4)
    KnowsWhatItSaw.truth = truth_of(recordings)
    systems = [Counting(), KnowsWhatItSaw()]
    return data_scaling(recordings, "cell_type", systems, n_orders=2, progress=False)


@pytest.fixture(scope="module")
def table():
    protocols = ["transductive", "inductive_zero_shot"]
    options = {"standardize": ["none", "recording"], "seeds": 2, "n_shuffles": 2, "progress": False}
    return evaluate(mice(2), "cell_type", protocols, [Counting(), RemembersLabels()], **options)


@pytest.fixture(autouse=True)
def no_open_figures():
    yield
    plt.close("all")


def test_more_labels_tell_more(efficiency):
    mean = efficiency["macro_f1"].mean(["seed", "draw", "standardize"])
    counting = mean.sel(system="counting").values
    assert (np.diff(counting) > 0).all()
    assert counting[0] < 0.85 < counting[-1]
    assert (mean.sel(system="shuffled labels") < 0.45).all()
    assert "prior: most common label" in efficiency["system"]


def test_fractions_are_of_every_class_and_at_least_one_unit(efficiency):
    shown = efficiency["n_labels"].isel(seed=0, draw=0).values
    # 144 of 180 units train, 48 of each of 3 classes.
    np.testing.assert_array_equal(shown, [3, 15, 144])
    all_labels = efficiency["macro_f1"].sel(fraction=1.0, system="counting")
    assert float(all_labels.std()) == 0.0
    whole = evaluate(
        mice(3, n=60, separation=0.8), "cell_type", systems=[Counting()], progress=False
    )
    assert float(all_labels.mean()) == whole["macro_f1"].sel(system="counting").item()


def test_smaller_fractions_are_among_larger_ones():
    RemembersLabels.shown.clear()
    fractions, folds = [0.1, 0.4, 1.0], 2
    systems = [RemembersLabels()]
    label_efficiency(
        mice(2),
        "cell_type",
        fractions,
        systems,
        n_folds=folds,
        n_draws=1,
        n_shuffles=0,
        progress=False,
    )
    shown = [set(one) for one in RemembersLabels.shown]
    assert [len(one) for one in shown] == [3, 3, 12, 12, 30, 30]
    for fold in range(folds):
        assert shown[fold] < shown[fold + folds] < shown[fold + 2 * folds]


@pytest.mark.parametrize("protocol", ["transductive_zero_shot", "inductive_zero_shot"])
def test_label_efficiency_of_left_out_animals(protocol):
    curve = label_efficiency(
        mice(2),
        "cell_type",
        [0.2, 1],
        [Counting()],
        protocol,
        n_draws=2,
        n_shuffles=0,
        progress=False,
    )
    assert curve["fold"].values.tolist() == ["m0", "m1"]
    assert (curve["macro_f1"].sel(system="counting") > 0.5).all()
    assert curve["macro_f1"].sel(system="prior: most common label").isnull().all()


def test_wrong_fractions_and_numbers():
    recordings = mice(3)
    for fractions in ([], [0.0, 1.0], [50, 100]):
        with pytest.raises(ValueError, match="fractions="):
            label_efficiency(recordings, "cell_type", fractions, [Counting()])
    for numbers in ([0], [3]):
        with pytest.raises(
            ValueError, match="one of 3 animals left out, expected some from 1 to 2"
        ):
            data_scaling(recordings, "cell_type", [Counting()], n_animals=numbers)
    with pytest.raises(ValueError, match="labels='none'"):
        data_scaling(recordings, "cell_type", [Counting()], labels="none")
    with pytest.raises(ValueError, match="n_draws=0"):
        label_efficiency(recordings, "cell_type", systems=[Counting()], n_draws=0)


def test_systems_see_so_many_animals_and_never_the_one_left_out(scaling):
    Counting.fits.clear()
    recordings = mice(4) | {"again": mice(1, n=24)["day_0"]}  # a second day of m0
    options = {"n_orders": 3, "n_shuffles": 0, "progress": False}
    curve = data_scaling(recordings, "cell_type", [Counting()], None, [1, 3], **options)
    assert curve["n_animals"].values.tolist() == [1, 3]
    sizes = [len({name[-1] if name != "again" else "0" for name in n}) for n, _, _ in Counting.fits]
    assert sorted(set(sizes)) == [1, 3]
    assert len(Counting.fits) == len({tuple(names) for names, _, _ in Counting.fits})
    assert all(("day_0" in names) == ("again" in names) for names, _, _ in Counting.fits)
    assert sizes.count(3) == 4
    # It predicts what it was trained on, which the animal left out never was.
    remembered = scaling["macro_f1_fold"].sel(system="remembers its training")
    assert (remembered < 0.34).all()
    assert (scaling["macro_f1"].sel(system="counting") > 0.9).all()
    assert not any(row.startswith("prior") for row in scaling["system"].values)


def test_the_labels_of_data_scaling():
    recordings = mice(4, separation=0.7)
    options = {"n_orders": 2, "n_shuffles": 0, "progress": False}
    all_labels = data_scaling(recordings, "cell_type", [Counting()], **options)
    same_labels = data_scaling(recordings, "cell_type", [Counting()], labels="same", **options)
    one, other = (
        d["macro_f1"].sel(system="counting", n_animals=1) for d in (all_labels, same_labels)
    )
    assert float(one.std()) == 0.0  # these vectors do not depend on the fit
    assert float(other.std()) > 0.0
    most = [d["macro_f1"].sel(system="counting", n_animals=3) for d in (all_labels, same_labels)]
    np.testing.assert_array_equal(*most)
    RemembersLabels.shown.clear()
    data_scaling(recordings, "cell_type", [RemembersLabels()], **options)
    assert {len(one) for one in RemembersLabels.shown} == {30, 60, 90}


# tables


def test_the_table_of_scores(table):
    found = scores_table(table)
    assert found.index.names == ["protocol", "standardize", "system"]
    mean = table["macro_f1"].sel(system="counting", protocol="transductive", standardize="none")
    expected = f"{mean.mean():.3f} ± {mean.std(ddof=1):.3f}"
    assert found.loc[("transductive", "none", "counting"), "macro F1"] == expected
    prior = found.loc[("inductive_zero_shot", "recording", "prior: most common label")]
    assert set(prior) == {"–", "– (needs test labels)"}  # the reason stands in the main score
    assert prior["macro F1"] == "– (needs test labels)"
    by_animal = table["macro_f1_fold"].sel(
        system="counting", protocol="inductive_zero_shot", standardize="none", fold=["m0", "m1"]
    )
    by_animal = by_animal.mean("seed")
    expected = f"{by_animal.mean():.2f} ± {by_animal.std(ddof=1):.2f}"
    short = table.nuclr.table(["macro_f1_fold", "seconds"], digits=2)
    row = ("inductive_zero_shot", "none", "counting")
    assert short.loc[row, "by fold or animal"] == expected
    assert short.columns.tolist() == ["by fold or animal", "seconds"]
    with pytest.raises(ValueError, match="no score 'f1'.*macro_f1"):
        scores_table(table, ["f1"])


def test_tables_of_one_run_and_as_markdown(table):
    one = table.isel(seed=[0]).sel(protocol=["transductive"], standardize=["none"])
    found = scores_table(one, ["macro_f1", "top1"])
    assert found.index.name == "system"
    assert (
        found.loc["counting", "macro F1"] == f"{one['macro_f1'].sel(system='counting').item():.3f}"
    )
    lines = scores_table(one, ["macro_f1", "top1"], markdown=True).splitlines()
    assert lines[:2] == ["| system | macro F1 | top 1 |", "|---|---|---|"]
    assert len(lines) == 2 + one.sizes["system"]


def test_tables_of_curves(efficiency, scaling):
    found = efficiency.nuclr.table()
    assert found.columns.tolist() == ["0.02 of labels", "0.1 of labels", "1 of labels"]
    assert found.loc["counting", "1 of labels"].endswith("± 0.000")
    found = scaling.nuclr.table(["macro_f1", "top1"])
    assert found.columns.tolist()[:2] == ["macro F1, animals: 1", "macro F1, animals: 2"]
    assert len(found.columns) == 6


@pytest.mark.parametrize("kind", ["table", "efficiency", "scaling"])
def test_a_result_shows_its_whole_table(kind, request):
    dataset = request.getfixturevalue(kind)
    whole = scores_table(dataset)
    with pd.option_context("display.max_columns", 1, "display.max_rows", 2, "display.width", 40):
        text, html = repr(dataset.nuclr), dataset.nuclr._repr_html_()
    lines = text.splitlines()
    assert lines[0].startswith(f"cell_type: {dataset.attrs['n_units']} units")
    assert "..." not in text and "..." not in html
    assert all(title in lines[1] for title in whole.columns)
    assert len(lines) == len(whole) + 3  # title, names of columns and of the index
    assert html.count("<tr") == len(whole) + 2
    assert all(f"<th>{title}</th>" in html for title in whole.columns)


def test_another_dataset_has_no_scores():
    other = xr.Dataset({"x": ("time", [1.0])})
    assert "not a result of evaluate" in repr(other.nuclr)
    assert "not a result of evaluate" in other.nuclr._repr_html_()


# figures


def test_every_result_has_its_figure(table, efficiency, scaling):
    ax = table.nuclr.plot()
    assert [tick.get_text() for tick in ax.get_yticklabels()] == table["system"].values.tolist()
    marks = {c.get_label() for c in ax.collections if not c.get_label().startswith("_")}
    protocols = ("transductive", "inductive zero shot")
    assert marks == {one + how for one in protocols for how in ("", ", standardised")}
    ax = plot_scores(efficiency)
    assert ax.get_xscale() == "log"
    line = next(one for one in ax.lines if one.get_label() == "counting")
    mean = efficiency["macro_f1"].sel(system="counting").mean(["seed", "draw", "standardize"])
    np.testing.assert_allclose(line.get_ydata(), mean)
    ax = scaling.nuclr.plot("top1")
    assert ax.get_ylabel() == "top1"
    assert [one.get_label() for one in ax.lines] == scaling["system"].values.tolist()


def test_figures_draw_where_they_are_asked_to(table, efficiency, scaling):
    figure, axes = plt.subplots(2, 2)
    assert plot_scores(table, "macro_f1_fold", ax=axes[0, 0]) is axes[0, 0]
    assert plot_label_efficiency(efficiency, ax=axes[0, 1]) is axes[0, 1]
    assert plot_data_scaling(scaling, ax=axes[1, 0]) is axes[1, 0]
    assert plot_confusion(table, ax=axes[1, 1]) is axes[1, 1]
    assert plt.get_fignums() == [figure.number]


def test_names_of_systems_can_be_read_on_a_dark_figure(table):
    with plt.style.context("dark_background"):
        labels = table.nuclr.plot().get_yticklabels()
    colours = {label.get_text(): label.get_color() for label in labels}
    assert colours["counting"] == "white"


def test_the_figure_of_a_confusion(table):
    ax = table.nuclr.plot_confusion("counting", protocol="inductive_zero_shot")
    counts = table["confusion"].sel(
        system="counting", protocol="inductive_zero_shot", standardize="none"
    )
    texts = [text.get_text() for text in ax.texts]
    assert texts[0] == f"{counts.mean('seed')[0, 0]:.0f}"
    assert len(texts) == 9
    with pytest.raises(ValueError, match="system='oracle'.*'counting'"):
        plot_confusion(table, "oracle")


def test_figures_refuse_what_they_cannot_draw(table, efficiency):
    with pytest.raises(ValueError, match="no score 'f1'"):
        plot_scores(table, "f1")
    for name in ("predicted", "confusion", "confidence", "n", "seconds"):
        with pytest.raises(ValueError, match=f"no score '{name}'; there are macro_f1"):
            plot_scores(table, name)
    with pytest.raises(ValueError, match="'n_animals'"):
        plot_data_scaling(efficiency)
