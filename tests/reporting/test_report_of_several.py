"""Pages in memory, and pages of several recordings."""

import re
from html import unescape

import pytest
from command_line import run_json
from embedded_groups import embedded, fitted
from report_pages import string_values

from pynapple_nuclr.nwb.writing import write_units
from pynapple_nuclr.reporting import report


def test_a_notebook_shows_the_page_of_what_is_in_memory(tmp_path):
    page = report(embedded(30))
    assert "recording in memory" in string_values(page.read_text(encoding="utf-8"))
    named = report(embedded(30), tmp_path / "day1.html").read_text(encoding="utf-8")
    assert '<h1 dir="auto">day1</h1>' in named
    shown = page._repr_html_()
    assert shown.startswith("<iframe") and unescape(shown).count("<h1") == 1
    assert "<h1" not in shown  # within srcdoc all is escaped


def test_several_recordings_get_a_page_each_and_one_of_all(tmp_path):
    probe = fitted()
    one, other = (probe.annotate(embedded(n, animal=[a] * n)) for n, a in ((30, "m1"), (12, "m2")))
    page = report({"day <1>": one, "day 2": other}, tmp_path / "all.html")
    text = page.read_text(encoding="utf-8")
    words = string_values(text)
    pages = re.findall(r'href="([^"]*\.html)"', text)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["all.html", *pages])
    assert "day 2" in string_values((tmp_path / pages[1]).read_text(encoding="utf-8"))
    assert "<1>" not in text and "42 units" in words
    counts = other["predicted_cell_type"].value_counts()
    assert f"m2 12 {counts['PV']} {counts['SST']} {counts['VIP']}" in words
    assert f"macro F1 {probe.cv_score_:.2f} by unit" in words
    assert "All: How this recording compares with the training data is not known" in words
    with pytest.raises(FileExistsError):
        report([one, other], tmp_path / "all.html")
    with pytest.raises(ValueError, match="name='x' is of one recording"):
        report([one, other], tmp_path / "b.html", name="x")


def test_the_page_says_which_recordings_are_the_same(tmp_path):
    recordings = {"a": embedded(12), "b": embedded(30), "copy of a": embedded(12)}
    words = string_values(report(recordings, tmp_path / "all.html").read_text(encoding="utf-8"))
    assert words.count("hold the same units") == 1
    assert "copy of a and a hold the same units: they are counted twice" in words


def test_a_probe_labels_what_a_file_does_not(tmp_path):
    write_units(embedded(30), tmp_path / "day1.nwb")
    fitted().save(tmp_path / "types.skops")
    run_json("report", tmp_path / "day1.nwb", "--probe", tmp_path / "types.skops")
    words = string_values((tmp_path / "day1_report.html").read_text(encoding="utf-8"))
    assert "Predicted cell type Label Units" in words and " day1 " in words


def test_the_command_writes_a_page_of_several(tmp_path):
    for name, n in (("a", 12), ("b", 28)):
        write_units(embedded(n), tmp_path / f"{name}.nwb")
    out = tmp_path / "both.html"
    about = run_json("report", tmp_path / "a.nwb", tmp_path / "b.nwb", "-o", out)
    assert about["units"] == 40
    assert 'href="both_a.html"' in out.read_text(encoding="utf-8")
