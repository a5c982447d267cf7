"""The report page: what it says, what it holds, what it refuses."""

from __future__ import annotations

import base64
import re

import numpy as np
import pynapple as nap
import pytest
import torch
from command_line import error_of, run, run_json
from embedded_groups import TINY, embedded, fitted
from report_pages import cautions_of, data_of, page_of, string_values

from pynapple_nuclr.checkpoints import Encoder
from pynapple_nuclr.columns import add_columns, embeddings, metadata_frame
from pynapple_nuclr.embedding import embed
from pynapple_nuclr.familiarity import record_training_data
from pynapple_nuclr.nwb.writing import write_units
from pynapple_nuclr.plotting import plot_unit
from pynapple_nuclr.plotting._embedding import plot_embedding
from pynapple_nuclr.reporting import report
from pynapple_nuclr.simulation import simulate


@pytest.fixture(scope="module")
def encoder(tiny_config):
    torch.manual_seed(0)
    return Encoder(tiny_config, name="small")


@pytest.fixture(scope="module")
def real(encoder):
    """Twenty units that an encoder at hand has embedded."""
    return embed(simulate("single", n_units=20, duration=60, seed=0), encoder, progress=False)


def decoded(text, bits=False):
    values = np.frombuffer(base64.b64decode(text), np.uint8)
    return np.unpackbits(values) if bits else values


def summarised(n=30, stability=0.9, windows=50, **options):
    units = embedded(n, **options)
    summary = {
        "nuclr_stability": np.full(n, stability),
        "nuclr_n_windows": np.full(n, windows),
        "nuclr_encoder": [TINY] * n,
    }
    return add_columns(units, summary=summary, vectors=np.array(embeddings(units)))


# What it says


def test_the_summary_counts_units_windows_and_labels(tmp_path):
    units = fitted().annotate(embedded(30, silent=[0, 4]))
    words = string_values(page_of(units, tmp_path, name="mouse 3, day 1"))
    assert "mouse 3, day 1" in words
    assert f"Embedded by {TINY} from spikes." in words
    assert "Units 30 2 silent units" in words
    assert "Recorded 10 s 1 epoch" in words
    assert "Windows 5 a unit, median" in words
    assert "Predicted cell type Label Units Share Confidence" in words
    counts = units["predicted_cell_type"].value_counts()
    for label, count in counts.items():
        assert f"{label} {count} {count / 30:.0%}" in words


def test_labels_of_the_file_are_shown_without_a_probe(tmp_path):
    page = page_of(embedded(30), tmp_path, target="cell_type")
    assert "cell type, as in the file Label Units Share PV 10 33%" in string_values(page)
    data = data_of(page)
    assert not data["predicted"] and data["confidence"] is None and data["given"] is None


def test_without_labels_there_is_none_of_them(tmp_path):
    page = page_of(embedded(30), tmp_path)
    assert data_of(page)["labels"] is None
    assert "Label Units Share" not in string_values(page)


def test_labels_look_as_in_figures_and_differ_in_shape(tmp_path):
    names = np.array([f"type {i % 20}" for i in range(60)])
    units = embedded(60, kind=names)
    classes = data_of(page_of(units, tmp_path, target="kind"))["classes"]
    assert [one["name"] for one in classes] == [f"type {i}" for i in range(20)]
    assert len({(one["colour"], one["marker"]) for one in classes}) == 20
    assert len({one["marker"] for one in classes[:8]}) == 8  # colour is never the only sign
    ax = plot_embedding(units, "kind")
    colours = [handle.get_color() for handle in ax.get_legend().legend_handles]
    assert [one["colour"] for one in classes] == colours


def test_nothing_is_marked_where_nothing_deviates(tmp_path, encoder):
    units = simulate("single", n_units=20, duration=60, seed=0)
    knowing = record_training_data(encoder, units)
    units = embed(units, knowing, progress=False)
    n = len(units)
    units.set_info({"nuclr_stability": np.full(n, 0.9), "nuclr_n_windows": np.full(n, 50)})
    page = page_of(units, tmp_path, encoder=knowing)
    assert cautions_of(page) == []
    assert "Nothing unusual was found" in string_values(page)
    assert "Familiarity" in string_values(page)


@pytest.mark.parametrize(
    ("units", "options", "expected"),
    [
        (lambda: summarised(stability=0.52), {}, "the median stability is 0.52"),
        (lambda: summarised(windows=4), {}, "30 of 30 units have fewer than 10 windows"),
        (lambda: summarised(silent=[3]), {}, "1 of 30 units has no embedding"),
        (lambda: summarised(9), {}, "Only 9 embedded units"),
        (
            lambda: summarised(probe=["a", "b"] * 15),
            {},
            "belong to 2 populations (probe), perhaps embedded together",
        ),
        (
            lambda: summarised(day=[1, 2, 3] * 10),
            {"by": "day"},
            "belong to 3 populations (day), embedded apart",
        ),
        (lambda: summarised(), {}, "training data is not known: its encoder was not found"),
        (
            lambda: fitted().annotate(summarised(), threshold=1.0),
            {},
            "units have the label “unknown”",
        ),
    ],
)
def test_it_warns_in_plain_words(units, options, expected, tmp_path):
    found = cautions_of(page_of(units(), tmp_path, **options))
    assert sum(expected in one for one in found) == 1, found


def test_it_says_that_an_encoder_is_a_demonstration(encoder, tmp_path):
    knowing = record_training_data(encoder, simulate("single", n_units=20, duration=60, seed=0))
    units = embed(simulate("single", n_units=20, duration=60, seed=1), knowing, progress=False)
    for what, said in (("A demonstration: little data.", 1), ("Trained on much.", 0)):
        knowing.card["what_it_is"] = what
        found = cautions_of(page_of(units, tmp_path, encoder=knowing))
        assert found.count(what) == said


def test_labels_that_the_probe_may_have_learned_from_are_no_test(tmp_path):
    units = fitted().annotate(summarised())
    units.drop_info("predicted_cell_type_training")  # as of a probe fitted on arrays
    for labels, said in (("pyramidal", 1), ("", 0)):
        units.set_info(cell_type=np.full(30, labels))
        found = cautions_of(page_of(units, tmp_path, target="cell_type"))
        assert sum("30 of 30 units have a label in the file" in one for one in found) == said


def test_it_warns_of_what_is_unlike_the_training(encoder, tmp_path):
    knowing = record_training_data(encoder, simulate("single", n_units=20, duration=60, seed=0))
    rng = np.random.default_rng(0)
    fast = {i: nap.Ts(np.sort(rng.uniform(0, 30, 6000))) for i in range(20)}
    units = nap.TsGroup(fast, time_support=nap.IntervalSet(0, 30))
    with pytest.warns(UserWarning, match="unlike the data"):
        units = embed(units, knowing, progress=False)
    found = cautions_of(page_of(units, tmp_path, encoder=knowing))
    assert found[0].startswith("This recording is unlike those that the encoder was trained on")
    assert "in training" in found[0]


def test_the_encoders_card_is_there_if_the_encoder_is(real, encoder, tmp_path):
    words = string_values(page_of(real, tmp_path))  # found by its signature
    assert "Licence not stated" in words and "For research; not for any clinical" in words
    assert f"hash: {encoder.identity.partition('@')[2]}" in words
    assert "was not found" in string_values(page_of(embedded(30), tmp_path))


# What it holds


def test_neighbours_are_those_of_the_unit_card(tmp_path):
    units = embedded(30, silent=[2])
    data = data_of(page_of(units, tmp_path, neighbours=4))
    for row in (0, 13):
        found = [data["ids"][one] for one, _ in data["neighbours"][row]]
        panel = plot_unit(units, units.index[row], neighbours=4)["neighbours"]
        assert found == [label.get_text() for label in panel.get_yticklabels()]
        bars = [round(bar.get_width(), 3) for bar in panel.patches]
        assert [similarity for _, similarity in data["neighbours"][row]] == pytest.approx(bars)
    assert data["neighbours"][2] == [] and data["points"][2] is None


def test_probabilities_are_under_their_labels(tmp_path):
    units = fitted().annotate(embedded(30, silent=[1]), probabilities=True)
    probabilities = data_of(page_of(units, tmp_path))["probabilities"]
    assert probabilities["classes"] == ["PV", "SST", "VIP"]
    assert probabilities["values"][1] == [None] * 3
    expected = metadata_frame(units)["predicted_cell_type_p_SST"].to_numpy()
    assert probabilities["values"][5][1] == pytest.approx(expected[5], rel=1e-3)


def test_rasters_and_autocorrelograms_are_those_of_the_spikes(real, tmp_path):
    activity = data_of(page_of(real, tmp_path))["activity"]
    expected = nap.compute_autocorrelogram(real, 1, 50, norm=False, time_units="ms")
    for row, unit in enumerate(real.index):
        rates = decoded(activity["autocorrelograms"][row]) / 255 * activity["peaks"][row]
        assert rates == pytest.approx(
            expected[unit].to_numpy()[-50:], abs=activity["peaks"][row] / 200
        )
        raster = decoded(activity["rasters"][row], bits=True).reshape(len(activity["starts"]), -1)
        assert activity["starts"] == [0, 10, 20, 30, 40, 50]
        filled = np.unique((real[unit].t / 10 * activity["columns"]).astype(int))
        assert raster.ravel().nonzero()[0] == pytest.approx(filled)


def test_many_spikes_give_nearly_the_autocorrelogram_of_all(tmp_path):
    rng = np.random.default_rng(0)
    intervals = rng.gamma(4, 0.0025, 60_000)  # 100 Hz, with a dip
    units = nap.TsGroup({i: nap.Ts(np.cumsum(intervals)) for i in range(3)})
    units = add_columns(units, vectors=np.eye(3), summary={"nuclr_encoder": [TINY] * 3})
    activity = data_of(page_of(units, tmp_path))["activity"]
    rates = decoded(activity["autocorrelograms"][0]) / 255 * activity["peaks"][0]
    whole = nap.compute_autocorrelogram(units, 1, 50, norm=False, time_units="ms")
    assert np.corrcoef(rates, whole[0].to_numpy()[-50:])[0, 1] > 0.97
    assert np.median(rates) == pytest.approx(100, rel=0.1)


def test_traces_keep_their_extremes(tmp_path):
    frames = np.random.default_rng(0).normal(size=(5000, 4))
    frames[1234, 2] = 50.0
    units = nap.TsdFrame(np.arange(5000) / 10, frames, columns=["a", "b", "c", "d"])
    units = add_columns(units, vectors=np.eye(4), summary={"nuclr_encoder": [TINY] * 4})
    activity = data_of(page_of(units, tmp_path))["activity"]
    ends = decoded(activity["traces"][2]).reshape(-1, 2)
    assert len(ends) == activity["columns"] == 400
    assert ends[:, 1].argmax() == 1234 // 12.5 and ends.max() == 255
    assert activity["highest"][2] == 50.0


def test_the_order_of_the_units_changes_no_card(real, tmp_path):
    def cards(units):
        data = data_of(page_of(units, tmp_path))
        return {
            unit: (
                [(data["ids"][one], value) for one, value in data["neighbours"][i]],
                data["activity"]["rasters"][i],
                data["stability"][i],
            )
            for i, unit in enumerate(data["ids"])
        }

    assert cards(real) == cards(real[list(real.index[::-1])])


def test_missing_numbers_are_null_and_the_group_stays_as_it_was(tmp_path):
    units = fitted().annotate(embedded(30, silent=[0]))
    before = metadata_frame(units).copy()
    data = data_of(page_of(units, tmp_path))
    assert data["confidence"][0] is None
    assert metadata_frame(units).equals(before)


def test_two_units_have_no_map_but_a_page(tmp_path):
    data = page_of(embedded(30, silent=range(28)), tmp_path)
    assert "A map needs at least 3 units." in string_values(data)
    assert set(map(str, data_of(data)["points"])) == {"None"}


def test_a_thousand_units_make_a_small_page(tmp_path):
    rng = np.random.default_rng(0)
    trains = {i: nap.Ts(np.sort(rng.uniform(0, 600, 1500))) for i in range(1000)}
    units = nap.TsGroup(trains, time_support=nap.IntervalSet(0, 600))
    summary = {"nuclr_encoder": [TINY] * 1000, "nuclr_n_windows": np.full(1000, 60)}
    vectors = rng.normal(size=(1000, 64))
    units = add_columns(units, vectors=vectors, summary=summary)
    units.set_info(cell_type=np.array(["PV", "SST", "VIP", "Pyr"])[np.arange(1000) % 4])
    path = report(units, tmp_path / "large.html", target="cell_type")
    assert path.stat().st_size < 5e6
    assert len(data_of(path.read_text(encoding="utf-8"))["ids"]) == 1000


# Nothing from a file becomes HTML, and nothing is loaded

HOSTILE = "</script><script>alert(1)</script>\"'&"


def test_what_comes_from_files_is_text(tmp_path):
    labels = np.array([HOSTILE, "<img src=x onerror=alert(1)>", "日本語"] * 10, dtype=object)
    units = embedded(30, kind=labels, encoder="<b>@0a1b2c3d")
    page = page_of(units, tmp_path, target="kind", name=HOSTILE)
    assert page.count("<script") == 2 and page.count("</script") == 2
    assert "<img" not in page and "<b>" not in page
    assert set(data_of(page)["labels"]) == set(labels)
    assert HOSTILE in string_values(page)


def test_a_policy_forbids_all_but_its_own_style_and_script(tmp_path):
    page = page_of(embedded(30), tmp_path)
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy.startswith("default-src 'none'")
    assert not re.search(r"unsafe|https?:", policy)
    assert not re.search(r"\b(src|srcset|action|background)=", page)
    assert "@import" not in page and "url(" not in page


def test_units_that_are_not_embedded_are_embedded_first(encoder, tmp_path):
    units = simulate("single", n_units=20, duration=60, seed=0)
    report(units, tmp_path / "given.html", encoder=encoder, target="cell_type")
    of_embedded = embed(units, encoder, progress=False)
    report(of_embedded, tmp_path / "embedded.html", target="cell_type", name="given")
    given, expected = ((tmp_path / f"{one}.html").read_text() for one in ("given", "embedded"))
    assert given == expected
    with pytest.raises(ValueError, match="no columns other_0"):
        plot_embedding(units, "cell_type", prefix="other")


# What it refuses


def test_a_page_is_replaced_only_on_request_and_only_by_a_whole_one(tmp_path):
    units, path = embedded(30), tmp_path / "page.html"
    path.write_text("mine")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        report(units, path)
    with pytest.raises(ValueError, match="method='mds'"):
        report(units, path, method="mds", overwrite=True)
    assert path.read_text() == "mine"
    assert report(units, path, overwrite=True) == path
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert [one.name for one in tmp_path.iterdir()] == ["page.html"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "layer"}, "target='layer' is neither a metadata column nor predicted"),
        ({"target": "depth"}, "target='depth' has 70 labels .* at most 64"),
        ({"by": "layer"}, "by='layer' is not a metadata column"),
        ({"neighbours": 0}, "neighbours=0; expected at least 1"),
        ({"encoder": "spikes"}, f"encoder=.*but the units have vectors of {TINY}"),
    ],
)
def test_mistakes_are_named(options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        report(embedded(70, depth=np.arange(70.0)), tmp_path / "page.html", **options)


def test_a_page_ends_in_html(tmp_path):
    with pytest.raises(ValueError, match="ends in .html"):
        report(embedded(30), tmp_path / "page.pdf")


def test_labels_are_compared_by_autocorrelogram_and_depth(tmp_path):
    data = data_of(page_of(embedded(30, rel_y=np.arange(30.0)), tmp_path, target="cell_type"))
    assert data["depth"]["values"] == list(range(30)) and not data["depth"]["down"]
    assert data_of(page_of(embedded(30), tmp_path))["depth"] is None


# The command


def test_the_command_embeds_what_is_not_embedded(tmp_path, tiny_units):
    source = write_units(tiny_units, tmp_path / "day1.nwb")
    result = run("report", source, "--target", "cell_type", "--no-progress")
    assert result.exit_code == 0, result.output
    page = (tmp_path / "day1_report.html").read_text(encoding="utf-8")
    assert '<h1 dir="auto">day1</h1>' in page
    assert len(data_of(page)["ids"]) == 12
    assert "exists; choose another name, or --overwrite" in error_of(run("report", source))


def test_the_command_takes_an_embedded_file_as_it_is(tmp_path, real):
    source = write_units(real, tmp_path / "day1_nuclr.nwb")
    out = tmp_path / "page.html"
    summary = run_json("report", source, "-o", out)
    assert summary["output"] == str(out) and summary["units"] == 20
    data = data_of(out.read_text(encoding="utf-8"))
    assert data["stability"] == pytest.approx(real["nuclr_stability"].to_numpy(), rel=1e-3)
