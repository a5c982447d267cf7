"""The embedding map: every unit in its place, every class distinct, nothing overlapping."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pynapple as nap
import pytest
from matplotlib.colors import to_hex, to_rgb

from pynapple_nuclr.columns import add_columns
from pynapple_nuclr.plotting import plot_embedding
from pynapple_nuclr.plotting.style import COLOURS, PALE


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def population(n_classes=3, each=8, silent=0, dim=6, seed=0, **metadata):
    """Return an embedded group of well separated classes."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(n_classes), each)
    vectors = 3 * rng.normal(size=(n_classes, dim))[labels] + rng.normal(size=(len(labels), dim))
    vectors[:silent] = np.nan
    trains = {i: nap.Ts([0.1, 0.5]) for i in range(len(labels))}
    names = np.array([f"type {i}" for i in labels], dtype=object)
    units = nap.TsGroup(
        trains,
        time_support=nap.IntervalSet(0, 1),
        metadata={"cell_type": names, **metadata},
    )
    return add_columns(units, vectors=vectors, summary={"nuclr_encoder": ["t@0"] * len(labels)})


def drawn(ax):
    """Return the points drawn, all collections together."""
    return np.concatenate([np.asarray(collection.get_offsets()) for collection in ax.collections])


def legend_texts(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_principal_components_keep_distances_and_say_their_share():
    units = population(dim=2)
    ax = plot_embedding(units)
    vectors = np.column_stack([units["nuclr_0"], units["nuclr_1"]])
    points = drawn(ax)
    for i, j in ((0, 1), (3, 20), (9, 17)):
        expected = np.linalg.norm(vectors[i] - vectors[j])
        assert np.linalg.norm(points[i] - points[j]) == pytest.approx(expected)
    shares = [
        float(axis.get_label_text().split("(")[1].split()[0]) for axis in (ax.xaxis, ax.yaxis)
    ]
    assert sum(shares) == pytest.approx(100, abs=1)
    assert shares[0] >= shares[1]


def test_one_dimensional_vectors_can_be_drawn():
    units = nap.TsGroup({i: nap.Ts([0.1, 0.5]) for i in range(4)})
    vectors = [[1.0], [2.0], [3.0], [5.0]]
    units = add_columns(units, vectors=vectors, summary={"nuclr_encoder": ["t@0"] * 4})
    assert plot_embedding(units).get_xlabel() == "PC 1 (100 % of variance)"


def test_silent_units_are_left_out_and_counted():
    ax = plot_embedding(population(silent=5), "cell_type")
    assert len(drawn(ax)) == 24 - 5
    assert ax.get_title(loc="left") == "19 units, 5 without an embedding not shown"
    assert legend_texts(ax)[0] == "type 0 (3)"


def test_classes_are_in_natural_order_and_counted():
    ax = plot_embedding(population(n_classes=12, each=3), "cell_type")
    assert legend_texts(ax) == [f"type {i} (3)" for i in range(12)]


def test_more_classes_than_colours_are_distinguished_by_markers():
    ax = plot_embedding(population(n_classes=20, each=3), "cell_type")
    looks = set()
    for collection in ax.collections:
        shape = collection.get_paths()[0].vertices.round(3).tobytes()
        looks.add((to_hex(collection.get_facecolor()[0]), shape))
    assert len(looks) == 20
    assert len({colour for colour, _ in looks}) == 8


@pytest.mark.parametrize("n_classes", [2, 20])
def test_the_legend_is_beside_the_axes_and_within_the_figure(n_classes):
    ax = plot_embedding(population(n_classes=n_classes, each=3), "cell_type")
    ax.figure.canvas.draw()
    legend = ax.get_legend().get_window_extent()
    assert legend.x0 >= ax.get_window_extent().x1
    figure = ax.figure.bbox
    assert legend.x1 <= figure.x1 and legend.y0 >= 0 and legend.y1 <= figure.y1


def test_missing_and_unknown_labels_are_grey():
    labels = np.array(["PV", "", "nan", "unknown"] * 6, dtype=object)
    ax = plot_embedding(population(state=labels), "state")
    assert legend_texts(ax) == ["PV (6)", "no label (12)", "unknown (6)"]
    for collection in ax.collections:
        red, green, blue, _ = collection.get_facecolor()[0]
        is_grey = red == green == blue
        assert is_grey == (not collection.get_label().startswith("PV"))


def test_numbers_get_a_colour_bar():
    depth = np.arange(24.0)
    depth[:2] = np.nan
    ax = plot_embedding(population(depth=depth), "depth")
    bar = ax.collections[-1].colorbar
    assert bar.ax.get_ylabel() == "depth (grey: 2 missing)"
    assert (bar.vmin, bar.vmax) == (2, 23)
    bar = plot_embedding(population(), "rate").collections[-1].colorbar
    assert bar.ax.get_ylabel() == "firing rate (Hz)"
    assert len(drawn(ax)) == 24


def test_numbers_that_are_all_missing_are_said():
    ax = plot_embedding(population(depth=np.full(24, np.nan)), "depth")
    assert legend_texts(ax) == ["missing (24)"]
    assert len(drawn(ax)) == 24


def test_true_and_false_are_classes():
    ax = plot_embedding(population(tagged=np.arange(24) % 3 == 0), "tagged")
    assert legend_texts(ax) == ["False (16)", "True (8)"]


def test_tsne_separates_what_is_apart_and_repeats_itself():
    units = population(n_classes=3, each=12)
    ax = plot_embedding(units, "cell_type", method="tsne")
    assert ax.get_xlabel() == "t-SNE 1"
    centres = [np.asarray(c.get_offsets()).mean(axis=0) for c in ax.collections]
    spread = max(np.asarray(c.get_offsets()).std(axis=0).max() for c in ax.collections)
    assert min(np.linalg.norm(a - b) for i, a in enumerate(centres) for b in centres[:i]) > spread
    np.testing.assert_array_equal(drawn(plot_embedding(units, method="tsne")).shape, (36, 2))
    again = plot_embedding(units, "cell_type", method="tsne")
    np.testing.assert_array_equal(drawn(again), drawn(ax))


def test_umap_that_is_not_installed_says_what_to_do(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "umap", None)
    with pytest.raises(ImportError, match=r"pip install umap-learn.*tsne"):
        plot_embedding(population(), method="umap")


def test_given_axes_are_used_and_input_is_unchanged():
    units = population()
    before = units.metadata.copy()
    _, axes = plt.subplots(1, 2)
    assert plot_embedding(units, "cell_type", ax=axes[1]) is axes[1]
    assert not axes[0].collections
    pd.testing.assert_frame_equal(units.metadata, before)


def test_calcium_traces_are_drawn_too():
    frame = nap.TsdFrame(np.arange(5.0), np.ones((5, 4)), metadata={"region": list("abab")})
    vectors = np.random.default_rng(0).normal(size=(4, 3))
    frame = add_columns(frame, vectors=vectors, summary={"nuclr_encoder": ["t@0"] * 4})
    assert legend_texts(plot_embedding(frame, "region")) == ["a (2)", "b (2)"]


def oklab(colours, vision):
    """Return colours as seen, in a space where distances are those of perception (Ottosson)."""
    rgb = np.array([to_rgb(one) for one in colours])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.array(vision).T, 0, 1)
    cones = [[0.4122, 0.5363, 0.0514], [0.2119, 0.6807, 0.1074], [0.0883, 0.2817, 0.63]]
    axes = [[0.2105, 0.7936, -0.0041], [1.978, -2.4286, 0.4506], [0.0259, 0.7828, -0.8087]]
    return np.cbrt(seen @ np.array(cones).T) @ np.array(axes).T


@pytest.mark.parametrize(
    "vision",
    [  # Machado, Oliveira & Fernandes 2009
        np.eye(3),
        [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
        [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
        [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
    ],
    ids=["trichromat", "protanope", "deuteranope", "tritanope"],
)
def test_colours_are_distinguished_with_any_vision(vision):
    seen = oklab([*COLOURS, PALE], vision)
    apart = np.linalg.norm(seen[:, None] - seen, axis=-1)
    assert apart[np.triu_indices(len(seen), 1)].min() > 0.07


def test_faulty_input_is_named():
    units = population()
    units.set_info({"layer2": np.arange(24)})
    with pytest.raises(ValueError, match="color_by='layer' is not a metadata column") as refused:
        plot_embedding(units, "layer")
    assert str(refused.value).endswith("there are rate, nuclr_encoder, cell_type, layer2")
    with pytest.raises(ValueError, match=r"method='mds'; expected 'pca', 'tsne' or 'umap'"):
        plot_embedding(units, method="mds")
    with pytest.raises(ValueError, match="needs at least 3"):
        plot_embedding(population(silent=22))
    with pytest.raises(ValueError, match="embed it first"):
        plot_embedding(nap.TsGroup({0: nap.Ts([0.1, 0.5])}))


def _by_rate(n=40):
    """Units whose first value is the log of their rate, and whose second is not."""
    rng = np.random.default_rng(0)
    spikes = np.geomspace(5, 500, n).astype(int)
    units = nap.TsGroup(
        {i: nap.Ts(np.linspace(0.1, 99, k)) for i, k in enumerate(spikes)},
        time_support=nap.IntervalSet(0, 100),
    )
    vectors = np.column_stack([3 * np.log(spikes), rng.permutation(n) / n, np.zeros(n)])
    return add_columns(units, vectors=vectors, summary={"nuclr_encoder": ["tiny@0a1b2c3d"] * n})


def test_an_axis_that_follows_the_firing_rate_says_so():
    ax = plot_embedding(_by_rate())
    assert ax.get_xlabel() == "PC 1, 100 %, follows firing rate"
    assert ax.get_ylabel() == "PC 2 (0 % of variance)"


def test_the_firing_rate_can_be_removed():
    units = _by_rate()
    ax = plot_embedding(units, remove="rate")
    assert "firing rate removed" in ax.get_title(loc="left")
    assert ax.get_xlabel() == "PC 1 (100 % of variance)"  # of the value that is independent of rate
    x = ax.collections[0].get_offsets()[:, 0]
    assert abs(np.corrcoef(x, np.log(units["rate"]))[0, 1]) < 1e-6
    with pytest.raises(ValueError, match="remove='depth'; expected 'rate' or None"):
        plot_embedding(units, remove="depth")


def test_the_firing_rate_of_traces_cannot_be_removed():
    traces = nap.TsdFrame(t=np.arange(10) / 10, d=np.ones((10, 4)))
    traces = add_columns(
        traces,
        vectors=np.random.default_rng(0).normal(size=(4, 3)),
        summary={"nuclr_encoder": ["tiny@0a1b2c3d"] * 4},
    )
    with pytest.raises(ValueError, match="needs a metadata column 'rate'"):
        plot_embedding(traces, remove="rate")
