"""Figures of predictions: every unit counted once, numbers as computed otherwise."""

from __future__ import annotations

import warnings

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pynapple as nap
import pytest
from scipy.stats import norm
from sklearn.metrics import f1_score

import pynapple_nuclr as nap_nuclr
from pynapple_nuclr.columns import add_columns
from pynapple_nuclr.plotting import plot_confidence, plot_confusion, plot_depth

CLASSES = ["L2", "L4", "L10"]


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def population(n=60, seed=0, **more):
    """Return units with labels, predictions, probabilities and depths."""
    rng = np.random.default_rng(seed)
    labels = np.array(CLASSES, dtype=object)[np.arange(n) % 3]
    probabilities = rng.dirichlet(np.ones(3), size=n)
    predictions = np.array(CLASSES, dtype=object)[probabilities.argmax(axis=1)]
    columns = {"layer": labels, "rel_y": rng.uniform(0, 3000, n), **more}
    units = nap.TsGroup({i: nap.Ts([0.1, 0.5]) for i in range(n)}, metadata=columns)
    predicted = {
        "predicted_layer": predictions,
        "predicted_layer_confidence": probabilities.max(axis=1),
    }
    return add_columns(units, predicted=predicted), probabilities


def changed(units, **columns):
    """Return the same units with other metadata."""
    columns = {name: units[name] for name in units.metadata_columns[1:]} | columns
    return nap.TsGroup(
        {i: units[i] for i in units.index},
        time_support=units.time_support,
        metadata={name: np.asarray(values) for name, values in columns.items()},
    )


def cells(ax):
    """Return the numbers in the cells of a matrix."""
    texts = {tuple(text.get_position()): int(text.get_text()) for text in ax.texts}
    shape = ax.images[0].get_array().shape
    return np.array([[texts[j, i] for j in range(shape[1])] for i in range(shape[0])])


def names(labels):
    return [label.get_text() for label in labels]


def test_confusion_counts_every_pair_and_shades_its_share_of_the_row():
    units, _ = population()
    ax = plot_confusion(units, "layer")
    true, predictions = np.asarray(units["layer"]), np.asarray(units["predicted_layer"])
    expected = pd.crosstab(pd.Series(true), pd.Series(predictions)).loc[CLASSES, CLASSES].to_numpy()
    np.testing.assert_array_equal(cells(ax), expected)
    np.testing.assert_allclose(ax.images[0].get_array(), expected / 20)
    assert names(ax.get_yticklabels()) == ["L2 (20)", "L4 (20)", "L10 (20)"]
    assert names(ax.get_xticklabels()) == CLASSES
    f1 = f1_score(true.astype(str), predictions.astype(str), average="macro")
    accuracy = np.mean(true == predictions)
    expected = f"macro F1 {f1:.2f}, accuracy {accuracy:.2f}\n60 units"
    assert ax.get_title(loc="left") == expected


def test_confusion_counts_what_is_unknown_and_what_has_no_label():
    units, _ = population()
    predictions = np.asarray(units["predicted_layer"], dtype=object).copy()
    labels = np.asarray(units["layer"], dtype=object).copy()
    predictions[:6], labels[-6:-1], labels[-1], predictions[10] = "unknown", "nan", "unknown", ""
    ax = plot_confusion(changed(units, layer=labels, predicted_layer=predictions), "layer")
    assert names(ax.get_xticklabels()) == [*CLASSES, "unknown"]
    np.testing.assert_array_equal(cells(ax)[:, -1], [2, 2, 2])
    assert cells(ax).sum() == 60 - 6 - 1
    kept = np.r_[0:10, 11:54]
    f1 = f1_score(
        labels[kept].astype(str), predictions[kept].astype(str), labels=CLASSES, average="macro"
    )
    title = ax.get_title(loc="left").replace("\n", ", ")
    assert title == (
        f"macro F1 {f1:.2f}, accuracy {np.mean(labels[kept] == predictions[kept]):.2f}, 53 units, "
        "6 of them called unknown, 6 without a label not shown, 1 without a prediction not shown"
    )


@pytest.mark.parametrize("plot", [plot_confusion, plot_confidence])
def test_texts_that_are_no_label_are_no_true_class(plot):
    units, _ = population()
    expected = plot(units[units.index >= 4], "layer").get_title(loc="left").splitlines()[0]
    texts = np.asarray(units["layer"], dtype=object)
    texts[:4] = ["Unknown", "n/a", "root", " "]
    shown = plot(changed(units, layer=texts), "layer").get_title(loc="left")
    assert shown.splitlines() == [expected, "56 units, 4 without a label not shown"]
    own = ["L4", "L5", "L6", "root"] * 15  # a probe whose missing_labels are others
    learned = changed(units, layer=own, predicted_layer=own)
    assert "without a label" not in plot(learned, "layer").get_title(loc="left")


def test_confusion_of_classes_that_only_one_side_has():
    units, _ = population(6)
    units = changed(units, layer=["L2"] * 6, predicted_layer=["L2", "L2", "L2", "L4", "L4", "L2"])
    ax = plot_confusion(units, "layer")
    np.testing.assert_array_equal(cells(ax), [[4, 2], [0, 0]])
    # L4, which no unit is, counts in macro F1: F1 of L2 is 0.8.
    assert ax.get_title(loc="left").startswith("macro F1 0.40, accuracy 0.67")


def test_labels_that_are_numbers_meet_predictions_that_are_strings():
    units, _ = population(6)
    units = changed(units, layer=[2, 2, 10, 10, 10, 2], predicted_layer=list("22") + ["10"] * 4)
    ax = plot_confusion(units, "layer")
    np.testing.assert_array_equal(cells(ax), [[2, 1], [0, 3]])


@pytest.mark.parametrize("n_classes", [2, 12, 20])
def test_a_confusion_of_long_names_fits_into_its_figure(n_classes):
    texts = [f"Glutamatergic layer {i % n_classes} intratelencephalic" for i in range(60)]
    units, _ = population()
    ax = plot_confusion(changed(units, layer=texts, predicted_layer=texts), "layer")
    ax.figure.canvas.draw()
    inside, whole = ax.get_tightbbox(), ax.figure.bbox
    assert inside.x0 >= 0 and inside.y0 >= 0
    assert inside.x1 <= whole.x1 and inside.y1 <= whole.y1
    boxes = [label.get_window_extent() for label in ax.get_xticklabels()]
    assert all(left.x1 <= right.x0 for left, right in zip(boxes, boxes[1:], strict=False))


def test_confidence_agrees_with_the_report():
    units, probabilities = population(200)
    probabilities[:60:3], probabilities[1:60:3], probabilities[2:60:3] = (
        [0.6, 0.4, 0.0],  # at the edge of a bin
        [0.61, 0.39, 0.0],
        [1.0, 0.0, 0.0],
    )
    predictions = np.array(CLASSES, dtype=object)[probabilities.argmax(axis=1)]
    units = changed(
        units, predicted_layer=predictions, predicted_layer_confidence=probabilities.max(axis=1)
    )
    report = nap_nuclr.confidence_report(units["layer"], probabilities, CLASSES)
    full = report.isel(bin=report["bin_units"].values > 0)
    expected = np.column_stack([full["bin_confidence"], full["bin_accuracy"]])
    title = f"ECE {float(report['ece']):.3f}\n200 units"
    for ax in (plot_confidence(units, "layer"), plot_confidence(report)):
        points = ax.containers[0].lines[0]
        np.testing.assert_allclose(np.column_stack(points.get_data()), expected)
        assert ax.get_title(loc="left") == title
        counts = [text.get_text() for text in ax.texts if text.get_text() != "units"]
        assert counts == [str(int(n)) for n in full["bin_units"]]


def test_counts_of_neighbouring_bins_do_not_touch():
    units, _ = population()
    sure = np.where(np.arange(60) < 50, 0.66, 0.67)
    ax = plot_confidence(changed(units, predicted_layer_confidence=sure), "layer")
    ax.figure.canvas.draw()
    left, right = (text.get_window_extent() for text in ax.texts if text.get_text() != "units")
    assert left.x1 < right.x0


def test_intervals_are_wilsons():
    units, _ = population()
    n, right = 60, 45
    predictions = np.array(units["layer"], dtype=object)
    predictions[right:] = "L99"
    units = changed(units, predicted_layer=predictions, predicted_layer_confidence=np.full(n, 0.7))
    ax = plot_confidence(units, "layer")
    (segment,) = ax.containers[0].lines[2][0].get_segments()
    z, p = norm.ppf(0.975), right / n
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    np.testing.assert_allclose(segment[:, 1], [centre - half, centre + half])
    assert ax.get_title(loc="left").startswith("ECE 0.050")


def test_confidence_counts_who_is_left_out():
    units, _ = population()
    predictions = np.asarray(units["predicted_layer"], dtype=object).copy()
    labels = np.asarray(units["layer"], dtype=object).copy()
    sure = np.asarray(units["predicted_layer_confidence"]).copy()
    predictions[:4], sure[:2], labels[-3:] = "unknown", np.nan, ""
    units = changed(
        units, layer=labels, predicted_layer=predictions, predicted_layer_confidence=sure
    )
    title = plot_confidence(units, "layer").get_title(loc="left").replace("\n", ", ")
    expected = "53 units, 3 without a label not shown, 4 without a prediction not shown"
    assert title.split(", ", 1)[1] == expected


def depth_points(ax):
    return np.concatenate([np.asarray(one.get_offsets()) for one in ax.collections])


def test_depth_shows_each_unit_at_its_depth_in_its_probe():
    units, _ = population(probe=np.array(["a", "b"], dtype=object)[np.arange(60) % 2])
    ax = plot_depth(units, "predicted_layer", by="probe")
    points = depth_points(ax)
    np.testing.assert_allclose(np.sort(points[:, 1]), np.sort(units["rel_y"]))
    in_b = np.isin(points[:, 1], np.asarray(units["rel_y"])[1::2])
    np.testing.assert_array_equal(np.round(points[:, 0]), in_b)
    assert names(ax.get_xticklabels()) == ["a\n(30)", "b\n(30)"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("probe (units)", "rel_y (µm, upward)")
    assert not ax.yaxis_inverted()


def test_depth_lists_labels_from_the_top_down():
    layers = ["L10"] * 20 + ["L2"] * 20 + ["L4"] * 20
    units, _ = population()
    units = changed(units, layer=layers, rel_y=np.arange(60.0), depth=np.arange(60.0))
    upward = plot_depth(units, "layer", depth="rel_y")
    assert names(upward.get_legend().get_texts()) == ["L4 (20)", "L2 (20)", "L10 (20)"]
    downward = plot_depth(units, "layer")
    assert downward.yaxis_inverted() and downward.get_ylabel() == "depth (µm, downward)"
    assert names(downward.get_legend().get_texts()) == ["L10 (20)", "L2 (20)", "L4 (20)"]
    of_phy = plot_depth(changed(units, ch=np.arange(60)), "layer")  # phy counts from the tip
    assert not of_phy.yaxis_inverted() and of_phy.get_ylabel() == "depth (µm, upward)"


def test_depth_draws_sure_units_larger_and_counts_those_without():
    units, _ = population()
    depth = np.asarray(units["rel_y"]).copy()
    depth[:5] = np.nan
    ax = plot_depth(changed(units, rel_y=depth), "predicted_layer")
    assert ax.get_title(loc="left").replace("\n", ", ") == "55 units, 5 without a rel_y not shown"
    sizes = np.concatenate([one.get_sizes() for one in ax.collections])
    sure = pd.Series(units["predicted_layer_confidence"].to_numpy()[5:], index=depth[5:])
    expected = np.argsort(sure.loc[depth_points(ax)[:, 1]].to_numpy())
    np.testing.assert_array_equal(np.argsort(sizes), expected)
    assert names(ax.get_legend().get_texts())[-2:] == ["confidence 0.5", "confidence 1"]


def test_units_of_one_depth_do_not_cover_each_other():
    units, _ = population(8)
    ax = plot_depth(changed(units, rel_y=[100.0] * 8), "layer")
    assert len(np.unique(depth_points(ax)[:, 0].round(6))) == 8


def test_numbers_along_depth_get_a_colour_bar():
    units, _ = population(snr=np.arange(60.0))
    bar = plot_depth(units, "snr").collections[0].colorbar
    assert (bar.ax.get_ylabel(), bar.vmin, bar.vmax) == ("snr", 0, 59)


@pytest.mark.parametrize(
    "draw",
    [
        lambda units: sorted(map(tuple, cells(plot_confusion(units, "layer")))),
        lambda units: plot_confidence(units, "layer").containers[0].lines[0].get_data(),
        lambda units: sorted(map(tuple, depth_points(plot_depth(units, "predicted_layer")))),
    ],
)
def test_the_order_of_units_does_not_matter_and_the_input_stays(draw):
    units, _ = population()
    before = units.metadata.copy()
    drawn = draw(units)
    pd.testing.assert_frame_equal(units.metadata, before)
    order = np.random.default_rng(1).permutation(60)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a TsGroup sorts its ids: so they have to change
        other = nap.TsGroup(
            {i: units[int(order[i])] for i in range(60)},
            metadata=before.drop(columns="rate").iloc[order].reset_index(drop=True),
        )
    np.testing.assert_allclose(np.asarray(drawn), np.asarray(draw(other)))


@pytest.mark.parametrize("plot", [plot_confusion, plot_confidence])
def test_given_axes_are_used(plot):
    units, _ = population()
    _, axes = plt.subplots(1, 2)
    assert plot(units, "layer", ax=axes[0]) is axes[0]
    assert plot_depth(units, "layer", ax=axes[1]) is axes[1]
    assert len(plt.get_fignums()) == 1


@pytest.mark.parametrize(
    "plot",
    [
        lambda units: plot_confusion(units, "layer").figure,
        lambda units: plot_depth(units, "layer", by="layer").figure,
        lambda units: nap_nuclr.plot_embedding(units, "layer").figure,
        lambda units: nap_nuclr.plot_similarity(units, "layer").figure,
        lambda units: nap_nuclr.plot_unit(units, 0, "layer")["prediction"].figure,
    ],
)
def test_dollars_in_labels_make_no_formula(plot):
    label = "a$b^$"  # as a formula: an error
    units = changed(population()[0], layer=[label, "L4"] * 30, predicted_layer=[label, "L4"] * 30)
    summary = {"nuclr_encoder": ["tiny@0a1b2c3d"] * 60}
    vectors = np.random.default_rng(0).normal(size=(60, 4))
    figure = plot(add_columns(units, vectors=vectors, summary=summary))
    figure.canvas.draw()
    written = [text._preprocess_math(text.get_text()) for text in figure.findobj(plt.Text)]
    assert any(label in text and not is_math for text, is_math in written)


def test_what_a_probe_writes_is_drawn():
    units = nap_nuclr.simulate("single", n_units=30, duration=20, silent=0.1)
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(30, 4))
    vectors[~(units["rate"].to_numpy() > 0)] = np.nan
    units = add_columns(units, vectors=vectors, summary={"nuclr_encoder": ["t@0"] * 30})
    with pytest.warns(UserWarning, match="silent"):
        probe = nap_nuclr.Probe("cell_type").fit(units, verbose=False)
    units = probe.annotate(units)
    title = plot_confusion(units, "cell_type").get_title(loc="left")
    assert "30 units" in title and "3 of them called unknown" in title
    assert "27 units" in plot_confidence(units, "cell_type").get_title(loc="left")


def test_traces_are_drawn_too():
    frame = nap.TsdFrame(np.arange(5.0), np.ones((5, 4)), metadata={"layer": list("abab")})
    predicted = {"predicted_layer": list("abbb"), "predicted_layer_confidence": [0.6] * 4}
    frame = add_columns(frame, predicted=predicted)
    np.testing.assert_array_equal(cells(plot_confusion(frame, "layer")), [[1, 1], [0, 2]])
    assert plot_confidence(frame, "layer").get_title(loc="left") == "ECE 0.150\n4 units"


def test_faulty_input_is_named():
    units, _ = population()
    for plot in (plot_confusion, plot_confidence):
        with pytest.raises(
            ValueError, match="target='area' is not a metadata column; there are rate"
        ):
            plot(units, "area")
    units.set_info(area=["x"] * 60)
    for plot in (plot_confusion, plot_confidence):
        with pytest.raises(ValueError, match=r"'predicted_area'; write it with a probe"):
            plot(units, "area")
        with pytest.raises(ValueError, match="none of 60 units"):
            plot(changed(units, layer=[""] * 60), "layer")
    with pytest.raises(TypeError, match="target is missing"):
        plot_confidence(units)
    with pytest.raises(ValueError, match="0 to 3; expected probabilities, 0 to 1"):
        sure = np.r_[0.0, np.full(59, 3.0)]
        plot_confidence(changed(units, predicted_layer_confidence=sure), "layer")
    with pytest.raises(ValueError, match="a Dataset without bin_confidence, .* confidence_report"):
        plot_confidence(nap_nuclr.confidence_report(["a"], [[1.0]], ["a"])[["ece"]])
    bare = nap.TsGroup({0: nap.Ts([0.1, 0.5])}, metadata={"layer": ["a"], "predicted_layer": ["a"]})
    with pytest.raises(ValueError, match="no column 'predicted_layer_confidence'"):
        plot_confidence(bare, "layer")


def test_faulty_depths_are_named():
    units, _ = population()
    with pytest.raises(ValueError, match="color_by='area' is not a metadata column"):
        plot_depth(units, "area")
    with pytest.raises(ValueError, match=r"depth='layer' holds no numbers \('L2', …\).*rel_y"):
        plot_depth(units, "layer", depth="layer")
    with pytest.raises(ValueError, match="by='probe' is not a metadata column"):
        plot_depth(units, "layer", by="probe")
    with pytest.raises(ValueError, match="depth='rel_y' is missing for all of 60 units"):
        plot_depth(changed(units, rel_y=np.full(60, np.nan)), "layer")
    bare = nap.TsGroup({0: nap.Ts([0.1, 0.5])}, metadata={"layer": ["a"]})
    with pytest.raises(ValueError, match="no column of depths.* name yours with depth="):
        plot_depth(bare, "layer")


def test_figures_say_which_units_the_probe_learned_from():
    units, _ = population()
    for learned, note in (
        (np.arange(60) < 25, "25 are training units: no measure of it"),
        (np.ones(60), "training units of the probe: no measure of it"),
        (np.zeros(60), ""),
    ):
        units["predicted_layer_training"] = learned
        for draw in (plot_confusion, plot_confidence):
            title = draw(units, "layer").get_title(loc="left").replace("\n", ", ")
            assert ("training" in title) == bool(note)
            assert note in title
