"""The table of all systems: how a score is compared with that of the published code."""

import json

import pytest
import systems
from system_worlds import WORLDS
from systems import compared, elsewhere

SCORES = [{"macro_f1": score} for score in (0.70, 0.80, 0.90)]


@pytest.mark.parametrize(
    ("marks", "verdict"),
    [
        ([0.69, 0.79, 0.89], "0.790: at or above"),
        ([0.71, 0.81, 0.91], "0.810: **below**"),  # on every draw
        ([0.81, 0.81, 0.81], "0.810: below by less than two standard errors"),  # on another draw
    ],
)
def test_scores_are_compared_with_the_published_code_draw_by_draw(marks, verdict):
    assert compared(marks, SCORES) == verdict
    assert compared(marks, SCORES[:2], SCORES) == verdict  # not every seed was measured


def test_a_world_has_a_mark_for_each_seed():
    assert WORLDS["renewal"].marks([3, 4]) == [0.845, 0.845]
    waveforms = WORLDS["waveforms"]
    own = [waveforms.published_on[str(seed)] for seed in range(10)]
    assert waveforms.marks(range(10)) == own
    assert len(set(waveforms.marks([0, 1000]))) == 1  # on that draw it was not run


def test_the_page_names_rows_that_were_measured_on_another_machine(tmp_path, monkeypatch):
    monkeypatch.setattr(systems, "RUNS", tmp_path)
    for row, machine in (("lolcat-style", "one"), ("nemo-style", "two"), ("x", "two")):
        path = tmp_path / f"renewal, {row}, seed 0, 0.15 minutes.json"
        path.write_text(json.dumps({"machine": machine}))
    assert elsewhere("one") == " Rows of nemo-style and x: on two."
    assert elsewhere("two") == " Rows of lolcat-style: on one."
