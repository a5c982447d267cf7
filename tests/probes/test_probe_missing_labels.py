"""Texts that are no label to a probe."""

from __future__ import annotations

import numpy as np
import pytest
from embedded_groups import embedded, quick

from pynapple_nuclr.columns import MISSING_LABELS
from pynapple_nuclr.probes import Probe


def with_labels(*texts):
    """A recording of 30 units, the first of which have these labels."""
    units = embedded(30)
    labels = units["cell_type"].to_numpy().astype(object)
    labels[: len(texts)] = texts
    units.set_info(cell_type=labels)
    return units


@pytest.mark.parametrize("texts", [[t, t.upper(), t.title()] for t in MISSING_LABELS])
def test_texts_that_are_no_label_are_left_out_and_counted(texts):
    with pytest.warns(UserWarning, match="left out 3 units without a label in 'cell_type'"):
        probe = quick().fit(with_labels(*texts), verbose=False)
    assert probe.n_units_ == 27
    assert probe.classes_.tolist() == ["PV", "SST", "VIP"]


@pytest.mark.parametrize("array", [True, False])
def test_the_warning_counts_each_text(array):
    units = with_labels("unknown", "N/A", "unknown", None)
    y = units["cell_type"].to_numpy() if array else None
    with pytest.warns(UserWarning, match=r"left out 4 .*\('unknown': 2, 'N/A': 1\)"):
        assert quick().fit(units, y, verbose=False).n_units_ == 26


def test_the_list_is_a_parameter():
    units = with_labels("unknown", "unknown", "MUA", "mua")
    with pytest.warns(UserWarning, match="left out 2 units"):
        probe = quick(missing_labels=["MUA"]).fit(units, verbose=False)
    assert "unknown" in probe.classes_
    with pytest.raises(TypeError, match="expected several"):
        Probe("cell_type", missing_labels="MUA").fit(units)


@pytest.mark.parametrize("missing", ["", "unknown", None])
def test_one_class_against_nothing_says_to_label_the_others(missing):
    units = embedded(30)
    labels = np.array(["PV"] * 10 + [missing] * 20, dtype=object)
    message = 'one class, PV.*label the 20 other units too, for example "other"'
    with pytest.warns(UserWarning), pytest.raises(ValueError, match=message):
        quick().fit(units, labels)


@pytest.mark.parametrize("array", [True, False])
def test_blanks_around_a_label_make_no_other_class(array):
    units = with_labels("PV ", " SST", "VIP")
    y = units["cell_type"].to_numpy() if array else None
    probe = quick().fit(units, y, verbose=False)
    assert probe.classes_.tolist() == ["PV", "SST", "VIP"]
    with pytest.warns(UserWarning, match="learned from"):
        assert probe.score(units, y) == 1


def test_labels_that_differ_in_case_only_are_reported():
    units = with_labels("pv", "SST", "VIP", "pv", "Sst", "VIP", "PV", "Sst")
    message = "differ only in case .*: 'PV', 'SST', 'Sst', 'pv'; write them alike"
    with pytest.warns(UserWarning, match=message) as caught:
        probe = quick().fit(units, verbose=False)
    assert len(probe.classes_) == 5
    assert {one.filename for one in caught} == {__file__}
