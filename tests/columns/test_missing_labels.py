"""Which labels are none."""

from __future__ import annotations

import re

import numpy as np
import pytest

from pynapple_nuclr.columns import (
    MISSING_LABELS,
    as_texts,
    differ_in_case,
    is_missing_label,
    tidy_labels,
)
from pynapple_nuclr.probes import Probe


@pytest.mark.parametrize("text", MISSING_LABELS)
@pytest.mark.parametrize("write", [str, str.upper, str.title, lambda text: f" {text} ", str.encode])
def test_a_listed_text_is_no_label_in_any_spelling(text, write):
    assert is_missing_label([write(text), "PV"]).tolist() == [True, False]


def test_the_documentation_lists_them_all():
    documented = Probe.__doc__.split("missing_labels : ")[1].split("Default:")[1]
    listed = re.findall(r'"(.*?)"', documented.split("threshold :")[0])
    assert listed == list(MISSING_LABELS)


@pytest.mark.parametrize("value", [None, np.nan, np.float32("nan")])
def test_values_that_are_not_there_are_never_a_label(value):
    assert is_missing_label([value, 0], missing_labels=()).tolist() == [True, False]


@pytest.mark.parametrize("text", ["unclassified", "Unassigned", "unlabelled", "null", "<NA>", "-"])
def test_what_other_programs_write_for_no_label_is_none(text):
    assert is_missing_label([text]).all()


@pytest.mark.parametrize(
    "label", ["NA", "other", "PV", "non", "rooted", "unknown type", 0, False, b"SST", "L2/3"]
)
def test_other_labels_stay(label):
    assert not is_missing_label([label]).any()


def test_the_list_can_be_changed():
    labels = ["PV", "unknown", "MUA", "mua", None]
    assert is_missing_label(labels, ["MUA"]).tolist() == [False, False, True, True, True]
    assert as_texts(labels, ["MUA"]).tolist() == ["PV", "unknown", "", "", ""]
    with pytest.raises(TypeError, match=r"expected several: \['MUA'\]"):
        is_missing_label(labels, "MUA")


def test_blanks_around_a_text_make_no_other_label():
    labels = ["PV", "PV ", b" PV", "\tSST", 4, 4.5, True, None]
    assert tidy_labels(labels) == ["PV", "PV", "PV", "SST", 4, 4.5, True, None]
    assert as_texts(labels).tolist() == ["PV", "PV", "PV", "SST", "4", "4.5", "True", ""]


def test_names_that_differ_in_case_only_are_found():
    assert differ_in_case(["pv", "SST", "PV", "Pv", "vip", 4, None]) == ["PV", "Pv", "pv"]
    assert differ_in_case(["PV", "SST", "PV"]) == []
