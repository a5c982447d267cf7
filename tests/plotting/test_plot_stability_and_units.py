"""Stability, similarity, the card of a unit: what is drawn is what the columns say."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pynapple as nap
import pytest
from matplotlib.colors import to_hex
from matplotlib.text import Text

from pynapple_nuclr.columns import add_columns
from pynapple_nuclr.plotting import plot_embedding, plot_similarity, plot_stability, plot_unit
from pynapple_nuclr.plotting.style import class_style, spread_out

CLASSES = ["PV", "SST", "VIP"]


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def population(n=30, silent=0, seed=0, order=None, duration=60.0, **metadata):
    """Return an embedded group with stabilities and predictions."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    vectors = 3 * rng.normal(size=(3, 5))[labels] + rng.normal(size=(n, 5)) + 10
    trains = [np.sort(rng.uniform(0, duration, 20 + 10 * i)) for i in range(n)]
    windows, stability = rng.integers(2, 7, n), rng.uniform(0.5, 1, n)
    probabilities = rng.dirichlet(np.ones(3), n)
    for i in range(silent):
        trains[i], windows[i] = np.empty(0), 0
        vectors[i] = stability[i] = probabilities[i] = np.nan
    predictions = np.array(CLASSES)[np.nan_to_num(probabilities).argmax(axis=1)].astype(object)
    predictions[:silent] = "unknown"
    order = np.arange(n) if order is None else order
    names = {"cell_type": np.array(CLASSES, dtype=object)[labels], "id": np.arange(n)}
    units = nap.TsGroup(
        {i: nap.Ts(trains[one]) for i, one in enumerate(order)},
        time_support=nap.IntervalSet(0, duration),
        metadata={name: values[order] for name, values in (names | metadata).items()},
    )
    predicted = {
        "predicted_cell_type": predictions,
        "predicted_cell_type_confidence": probabilities.max(1),
    }
    predicted |= {
        f"predicted_cell_type_p_{name}": probabilities[:, i] for i, name in enumerate(CLASSES)
    }
    return add_columns(
        units,
        vectors=vectors[order],
        predicted={name: values[order] for name, values in predicted.items()},
        summary={
            "nuclr_stability": stability[order],
            "nuclr_n_windows": windows[order],
            "nuclr_encoder": ["t@0"] * n,
        },
    )


def cosines(units):
    """Return the similarities of all pairs, computed pair by pair."""
    vectors = np.column_stack([units[f"nuclr_{i}"] for i in range(5)])
    vectors = vectors - np.nanmean(vectors, axis=0)
    lengths = np.linalg.norm(vectors, axis=1)
    return vectors @ vectors.T / np.outer(lengths, lengths)


def names(labels):
    return [label.get_text() for label in labels]


def points_of(ax):
    return np.concatenate([np.asarray(one.get_offsets()) for one in ax.collections])


def test_stability_is_drawn_against_rate_on_a_logarithmic_axis():
    units = population(silent=4)
    ax = plot_stability(units)
    expected = np.column_stack([units["rate"], units["nuclr_stability"]])[4:]
    np.testing.assert_allclose(points_of(ax), expected)
    assert ax.get_xscale() == "log" and ax.get_xlabel() == "firing rate (Hz)"
    drawn = ax.collections[0]
    np.testing.assert_array_equal(drawn.get_array(), units["nuclr_n_windows"][4:])
    assert drawn.colorbar.ax.get_ylabel() == "windows"
    median = np.median(units["nuclr_stability"][4:])
    title = ax.get_title(loc="left").replace("\n", ", ")
    assert title == f"26 units, median stability {median:.2f}, 4 without a stability not shown"


def test_stability_by_label_and_against_another_column():
    units = population()
    ax = plot_stability(units, "cell_type", against="id")
    assert names(ax.get_legend().get_texts()) == ["PV (10)", "SST (10)", "VIP (10)"]
    assert ax.get_xscale() == "linear"  # the first is 0
    assert ax.get_xlabel() == "id"


def test_stability_of_traces_is_drawn_against_how_much_they_vary():
    """All ROIs are in equally many windows, which would be a vertical line of points."""
    frame = nap.TsdFrame(np.arange(4.0), np.outer([0, 2, 0, 2], [1, 3, 2]))
    summary = {
        "nuclr_stability": [0.6, 0.7, 0.8],
        "nuclr_n_windows": [3, 3, 3],
        "nuclr_encoder": ["t@0"] * 3,
    }
    frame = add_columns(frame, vectors=np.eye(3), summary=summary)
    ax = plot_stability(frame)
    assert ax.get_xlabel() == "s.d. of the trace"
    np.testing.assert_allclose(points_of(ax), [[1, 0.6], [3, 0.7], [2, 0.8]])
    assert len(ax.figure.axes) == 1  # no colour bar of a constant
    against = plot_stability(frame, against="nuclr_n_windows")
    np.testing.assert_allclose(points_of(against), [[3, 0.6], [3, 0.7], [3, 0.8]])


def test_similarity_is_the_cosine_from_the_mean_in_blocks_of_labels():
    units = population(silent=3)
    ax = plot_similarity(units, "cell_type")
    drawn, pairs = np.asarray(ax.images[0].get_array()), cosines(units)
    labels, at = np.asarray(units["cell_type"])[3:], 0
    for name in CLASSES:
        block = drawn[at : at + 9, at : at + 9]
        mine = pairs[3:, 3:][np.ix_(labels == name, labels == name)]
        np.testing.assert_allclose(np.sort(block, axis=None), np.sort(mine, axis=None), atol=1e-12)
        at += 9
    np.testing.assert_allclose(np.diag(drawn), 1)
    assert [text.get_text() for text in ax.texts] == ["PV (9)", "SST (9)", "VIP (9)"]
    lines = sorted({float(line.get_xdata()[0]) for line in ax.lines if line.get_xdata()[0] > 1})
    assert lines == [9, 18]
    title = ax.get_title(loc="left").replace("\n", ", ")
    assert title == "27 units by cell_type, 3 without an embedding not shown"


def test_bands_have_the_colours_of_the_map():
    units = population()
    drawn = plot_embedding(units, "cell_type")
    of_map = {one.get_label()[:-5]: to_hex(one.get_facecolor()[0]) for one in drawn.collections}
    ax = plot_similarity(units, "cell_type")
    bands = [to_hex(one.get_facecolor()) for one in ax.patches[::2]]
    assert bands == [of_map[name] for name in CLASSES]


def test_similar_units_are_side_by_side():
    units = population(60)
    ax = plot_similarity(units)
    neighbours = np.diag(np.asarray(ax.images[0].get_array()), 1)
    given = np.diag(cosines(units), 1)
    assert neighbours.mean() > 0.7 > 0.3 > given.mean()
    assert not ax.texts


def test_units_without_a_label_are_blocks_of_their_own():
    labels = np.array(["PV", "unknown", ""] * 10, dtype=object)
    ax = plot_similarity(population(state=labels), "state")
    assert [text.get_text() for text in ax.texts] == ["PV (10)", "unknown (10)", "no label (10)"]


@pytest.mark.parametrize("n_classes", [2, 20])
def test_names_of_blocks_do_not_overlap_and_stay_within_the_figure(n_classes):
    labels = [f"Glutamatergic layer {i % n_classes}" for i in range(60)]
    labels[20:] = [labels[0]] * 40  # many small blocks beside a large one
    ax = plot_similarity(population(60, label=np.array(labels, dtype=object)), "label")
    ax.figure.canvas.draw()
    # Of the texts alone, without the lines that lead to them.
    boxes = sorted((Text.get_window_extent(text) for text in ax.texts), key=lambda box: box.y0)
    assert len(boxes) == n_classes
    # Ascenders and descenders may touch by a dot.
    assert all(low.y1 <= high.y0 + 1.5 for low, high in zip(boxes, boxes[1:], strict=False))
    whole = ax.figure.bbox
    assert min(box.x0 for box in boxes) >= 0 and boxes[0].y0 >= 0 and boxes[-1].y1 <= whole.y1


def test_places_are_spread_out_in_order_and_between_the_ends():
    placed = spread_out([1.0, 1.1, 1.2, 9.9, 10.0], 1.0, 0.0, 10.0)
    assert np.diff(placed).min() >= 1 - 1e-9
    assert placed[0] >= 0 and placed[-1] <= 10
    assert spread_out([2.0, 5.0], 1.0, 0.0, 10.0) == [2.0, 5.0]


def test_the_card_lists_the_nearest_units_and_their_labels():
    units = population(silent=2)
    panels = plot_unit(units, 7, neighbours=4)
    similarity = cosines(units)[7]
    similarity[7] = np.nan
    nearest = np.argsort(np.where(np.isnan(similarity), np.inf, -similarity))[:4]
    ax = panels["neighbours"]
    assert names(ax.get_yticklabels()) == [f"{i} {CLASSES[i % 3]}" for i in nearest]
    widths = [bar.get_width() for bar in ax.patches]
    np.testing.assert_allclose(widths, similarity[nearest])
    colours = [to_hex(bar.get_facecolor()) for bar in ax.patches]  # less their alpha
    assert colours == [class_style(i % 3)[0].lower() for i in nearest]


def test_labels_that_are_only_predicted_have_an_asterisk():
    labels = np.array(CLASSES * 10, dtype=object)
    labels[::2] = ""
    units = population(cell_type=labels)
    panels = plot_unit(units, 7, neighbours=29)
    for text in names(panels["neighbours"].get_yticklabels()):
        i, label = text.split()
        known = int(i) % 2 == 1
        assert label == (labels[int(i)] if known else units["predicted_cell_type"][int(i)] + "*")


def test_the_card_shows_the_probability_of_each_class():
    units = population()
    ax = plot_unit(units, 5)["prediction"]
    probabilities = {name: units[f"predicted_cell_type_p_{name}"][5] for name in CLASSES}
    ranked = sorted(CLASSES, key=lambda name: -probabilities[name])
    assert names(ax.get_yticklabels()) == [f"{probabilities[one]:.2f} {one}" for one in ranked]
    np.testing.assert_allclose(
        [bar.get_width() for bar in ax.patches], sorted(probabilities.values())[::-1]
    )
    headline = ax.figure.get_suptitle()
    rate, sure = units["rate"][5], units["predicted_cell_type_confidence"][5]
    assert headline.startswith(f"unit 5   {rate:.3g} Hz   stability")
    assert headline.endswith(f"cell_type VIP   predicted {ranked[0]} ({sure:.2f})")


def test_a_card_of_many_long_names_fits_into_its_figure():
    long = [f"Glutamatergic layer {i} intratelencephalic" for i in range(12)]
    units = population(36, cell_type=np.array(long * 3, dtype=object))
    probabilities = {
        f"predicted_cell_type_p_{one.replace(' ', '_')}": np.full(36, 1 / 12) for one in long
    }
    units = add_columns(units, predicted=probabilities)
    panels = plot_unit(units, 30)
    panels["raster"].figure.canvas.draw()
    whole = panels["raster"].figure.bbox
    for name in ("neighbours", "prediction"):
        ax = panels[name]
        boxes = [text.get_window_extent() for text in ax.get_yticklabels()]
        assert min(box.x0 for box in boxes) >= ax.bbox.x0
        assert max(box.x1 for box in boxes) <= whole.x1
        assert all(low.y1 <= high.y0 + 1.5 for high, low in zip(boxes, boxes[1:], strict=False))
    assert "5 more classes" in panels["prediction"].get_xlabel()


def test_the_card_shows_spikes_in_windows_that_are_spread_over_the_session():
    units = population(duration=400.0)
    ax = plot_unit(units, 9)["raster"]
    rows = [np.sort(one.get_positions()) for one in ax.collections]
    assert len(rows) == 20
    starts = 10 * np.round(np.linspace(0, 39, 20))
    times = units[9].times()
    for start, row in zip(starts, rows, strict=True):
        expected = times[(times >= start) & (times < start + 10)] - start
        np.testing.assert_allclose(row, expected)
    assert ax.get_title(loc="left") == f"{sum(map(len, rows))} spikes in 20 excerpts"


def test_the_card_shows_the_autocorrelogram():
    rng = np.random.default_rng(0)
    times = np.sort(
        np.concatenate([start + np.array([0, 0.005]) for start in rng.uniform(0, 60, 300)])
    )
    units = nap.TsGroup({3: nap.Ts(times), 4: nap.Ts([1.0, 2.0])}, nap.IntervalSet(0, 61))
    units = add_columns(units, vectors=np.eye(2), summary={"nuclr_encoder": ["t@0"] * 2})
    panels = plot_unit(units, 3)
    assert list(panels) == ["raster", "autocorrelogram", "neighbours"]
    bars = {
        round(bar.get_x() + bar.get_width() / 2): bar.get_height()
        for bar in panels["autocorrelogram"].patches
    }
    assert max(bars, key=bars.get) in (-5, 5)  # ms: each spike has a follower
    lags = (times[:, None] - times).ravel() * 1000
    rate = len(times) / 61 / 1000
    for lag in (-5, 5, 20):
        count = ((lags > lag - 0.5) & (lags < lag + 0.5)).sum()
        assert bars[lag] == pytest.approx(count / len(times) / rate, rel=0.05)


def test_the_card_of_chosen_epochs():
    units = population(duration=60.0)
    panels = plot_unit(units, 9, epochs=nap.IntervalSet([5, 40], [12, 45]))
    lengths = [max(one.get_positions()) for one in panels["raster"].collections]
    assert len(lengths) == 2 and lengths[0] <= 7 and lengths[1] <= 5
    with pytest.raises(ValueError, match="outside the time support, 0 to 60 s"):
        plot_unit(units, 9, epochs=nap.IntervalSet(100, 110))


def test_the_card_of_trials_shows_more_of_them():
    starts = np.arange(0, 200, 2.0)
    units = nap.TsGroup(
        {i: nap.Ts(np.sort(np.r_[starts + 0.1, starts + 0.3])) for i in range(2)},
        time_support=nap.IntervalSet(starts, starts + 0.4),
    )
    units = add_columns(units, vectors=np.eye(2), summary={"nuclr_encoder": ["t@0"] * 2})
    ax = plot_unit(units, 0)["raster"]
    assert len(ax.collections) == 60
    for row in ax.collections:  # every trial begins at its own zero
        np.testing.assert_allclose(row.get_positions(), [0.1, 0.3])
    assert ax.get_xlim() == pytest.approx((0, 0.4))


def test_the_card_of_a_silent_unit_says_so():
    panels = plot_unit(population(silent=2), 0)
    assert panels["raster"].get_title(loc="left") == "no spikes"
    said = [panels[name].texts[0].get_text() for name in list(panels)[1:]]
    assert said == ["too few spikes", "no embedding", "no probabilities"]
    assert panels["raster"].figure.get_suptitle().endswith("predicted unknown")


def test_the_card_of_a_trace():
    times, rng = np.arange(0, 30, 0.1), np.random.default_rng(0)
    traces = rng.normal(size=(300, 3))
    support = nap.IntervalSet([0, 20], [10, 29.95])
    frame = nap.TsdFrame(times, traces, time_support=support, columns=["a", "b", "c"])
    frame = add_columns(frame, vectors=np.eye(3), summary={"nuclr_encoder": ["t@0"] * 3})
    panels = plot_unit(frame, "b")
    lines = panels["trace"].lines
    assert len(lines) == 2  # none crosses the gap
    drawn = np.concatenate([line.get_ydata() for line in lines])
    np.testing.assert_array_equal(drawn, frame.loc["b"].values)
    assert names(panels["neighbours"].get_yticklabels()) == ["a", "c"]


def test_the_card_is_drawn_into_a_given_figure():
    figure = plt.figure()
    panels = plot_unit(population(), 3, figure=figure)
    assert all(ax.figure is figure for ax in panels.values())
    left, _ = plt.figure().subfigures(1, 2)
    assert plot_unit(population(), 3, figure=left)["raster"].figure is left


def card_numbers(units, one):
    at = int(np.flatnonzero(np.asarray(units["id"]) == one)[0])
    panels = plot_unit(units, units.index[at])
    bars = [
        bar.get_width() for name in ("neighbours", "prediction") for bar in panels[name].patches
    ]
    return bars + [bar.get_height() for bar in panels["autocorrelogram"].patches]


@pytest.mark.parametrize(
    "draw",
    [
        lambda units: sorted(map(tuple, points_of(plot_stability(units)))),
        lambda units: plot_similarity(units, "cell_type").images[0].get_array(),
        lambda units: plot_similarity(units).images[0].get_array(),
        lambda units: card_numbers(units, 11),
    ],
)
def test_the_order_of_units_does_not_matter_and_the_input_stays(draw):
    units = population()
    before = units.metadata.copy()
    drawn = np.asarray(draw(units))
    pd.testing.assert_frame_equal(units.metadata, before)
    other = population(order=np.random.default_rng(3).permutation(30))
    np.testing.assert_allclose(np.asarray(draw(other)), drawn, atol=1e-12)


def test_given_axes_are_used():
    _, axes = plt.subplots(1, 2)
    assert plot_stability(population(), ax=axes[0]) is axes[0]
    assert plot_similarity(population(), "cell_type", ax=axes[1]) is axes[1]
    assert len(plt.get_fignums()) == 1


def test_faulty_input_is_named():
    bare = nap.TsGroup({i: nap.Ts([0.1, 0.5]) for i in range(4)})
    for draw in (plot_stability, plot_similarity, lambda units: plot_unit(units, 0)):
        with pytest.raises(ValueError, match="embed"):
            draw(bare)
    units = population()
    with pytest.raises(
        ValueError, match="color_by='area' is not a metadata column; there are rate"
    ):
        plot_stability(units, "area")
    with pytest.raises(ValueError, match="against='cell_type' holds no numbers"):
        plot_stability(units, against="cell_type")
    with pytest.raises(ValueError, match="none of 30 units has a nuclr_stability and a rate"):
        plot_stability(population(silent=30))
    with pytest.raises(ValueError, match="order_by='area' is not a metadata column"):
        plot_similarity(units, "area")
    with pytest.raises(ValueError, match="2 of 30 units have an embedding.* at least 3"):
        plot_similarity(population(silent=28))
    with pytest.raises(
        ValueError, match="unit=99 is not one of the 30 units: 0, 1, 2, 3, 4 and 25"
    ):
        plot_unit(units, 99)
    with pytest.raises(ValueError, match="target='area' is neither a metadata column nor"):
        plot_unit(units, 0, "area")
    with pytest.raises(ValueError, match="neighbours=0; expected at least 1"):
        plot_unit(units, 0, neighbours=0)
