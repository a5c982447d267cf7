"""Metadata columns that give labels away are not shown to systems; those of features are."""

import numpy as np
import pytest
from evaluation_systems import KINDS, Counting, mice, recording
from leaks import PROTOCOLS, TINY, evaluate
from tally import counts

import pynapple_nuclr as nap_nuclr
from pynapple_nuclr import Encoder
from pynapple_nuclr.evaluation.task import read_task


def test_no_column_from_which_labels_can_be_read_reaches_a_system():
    codes = {"PV": 7, "SST": 3, "VIP": 5}
    recordings = mice(3)
    for units in recordings.values():
        labels = units["cell_type"].to_numpy()
        units.set_info(
            copied=labels,
            number=np.array([codes[one] for one in labels]),
            layer=np.array([f"{one} {i % 2}" for i, one in enumerate(labels)]),
            predicted_cell_type_confidence=np.ones(30),
            depth=np.array([100.0 * codes[one] for one in labels]) + np.arange(30),
            side=np.tile(["left", "right"], 15),
            waveform=np.ones((30, 4)),
        )
    task = read_task(recordings, "cell_type")
    received = {one for units in task.units.values() for one in units.metadata_columns}
    assert received == {"rate", "animal", "depth", "side", "waveform"}
    assert "copied" in recordings["day_0"].metadata_columns  # the caller's own are as they were
    # An animal that has one label only reveals it.
    one_each = {f"day_{i}": recording(i, animal=f"m{i}", kinds=KINDS[i:][:1]) for i in range(3)}
    assert read_task(one_each, "cell_type").hidden == {"cell_type", "animal"}
    counts["leaks planted and kept out"] += 5


def test_a_column_that_says_the_label_in_some_units_only_is_still_one():
    units = recording()
    labels = units["cell_type"].to_numpy().astype(object)
    note = np.where(np.arange(30) % 2, labels, "")
    units["cell_type"] = np.where(np.arange(30) < 24, labels, "")
    units.set_info(note=note.astype(str))
    assert read_task(units, "cell_type").hidden == {"cell_type", "note"}


NUMBER = {"PV": 1, "SST": 2, "VIP": 3}
"""A number for each cell type."""

TELLING = {
    "is_pv": lambda y, i: y == "PV",
    "is_sst": lambda y, i: (y == "SST").astype(int),
    "is_vip": lambda y, i: (y == "VIP").astype(float),
    "tag": lambda y, i: np.where(y == "PV", "PV+", "none"),
    "tag_or_nothing": lambda y, i: np.where(y == "PV", "PV+", ""),
    "one_hot": lambda y, i: np.stack([y == kind for kind in KINDS], axis=1).astype(float),
    "one_hot_of_some": lambda y, i: np.stack([y == kind for kind in KINDS[1:]], axis=1),
    "one_hot_of_subtypes": lambda y, i: np.eye(9)[
        [3 * NUMBER[one] - 3 + k // 3 % 3 for one, k in zip(y, i, strict=True)]
    ],
    "bit": lambda y, i: [NUMBER[one] & 1 for one in y],
    "subtype": lambda y, i: [100 * NUMBER[one] + k // 3 % 3 for one, k in zip(y, i, strict=True)],
    "code_of_most": lambda y, i: [
        np.nan if k == 4 else NUMBER[one] for one, k in zip(y, i, strict=True)
    ],
}

FEATURES = {
    "depth": lambda y, i: [
        20.0 * (10 * NUMBER[one] + k // 3 % 3) for one, k in zip(y, i, strict=True)
    ],
    "width": lambda y, i: [0.1 * NUMBER[one] + 0.001 * k for one, k in zip(y, i, strict=True)],
    "n_spikes": lambda y, i: [100 * NUMBER[one] + k for one, k in zip(y, i, strict=True)],
    "channel": lambda y, i: i // 4,
    "good": lambda y, i: i % 2 == 0,
    "tagged": lambda y, i: (y == "PV") & (i < 20),
    "hemisphere": lambda y, i: np.where(i % 2, "left", "right"),
    "waveform": lambda y, i: np.stack([np.sin(i), np.cos(i)], axis=1),
    "position": lambda y, i: np.stack([i % 2, i // 4], axis=1),
    "coordinates": lambda y, i: np.stack([[NUMBER[k] / 2 for k in y], i // 3 % 3], axis=1),
    "constant": lambda y, i: np.ones((len(i), 4)),
}


def with_column(make):
    recordings = mice(3)
    for number, units in enumerate(recordings.values()):
        rows = 30 * number + np.arange(30)
        units.set_info(column=np.asarray(make(units["cell_type"].to_numpy(), rows)))
    return recordings


@pytest.mark.parametrize("column", TELLING)
def test_a_column_that_says_a_class_in_other_words_is_hidden(column):
    assert "column" in read_task(with_column(TELLING[column]), "cell_type").hidden
    counts["leaks planted and kept out"] += 1


@pytest.mark.parametrize("column", FEATURES)
def test_a_column_that_merely_goes_with_the_classes_is_a_feature(column):
    assert "column" not in read_task(with_column(FEATURES[column]), "cell_type").hidden


def test_the_way_past_it_a_measurement_in_whole_numbers_is_given_as_floats():
    recordings = with_column(TELLING["subtype"])
    for units in recordings.values():
        units.set_info(column=units["column"].to_numpy().astype(float))
    assert "column" not in read_task(recordings, "cell_type").hidden


def test_embeddings_that_are_already_there_are_not_shown():
    """Their encoder may have seen what is tested, and its card is not at hand."""
    encoder = Encoder(TINY)
    recordings = {n: nap_nuclr.embed(u, encoder, progress=False) for n, u in mice(3).items()}
    for units in recordings.values():
        units.set_info(layer_0=np.arange(30.0))
    task = read_task(recordings, "cell_type")
    received = {one for units in task.units.values() for one in units.metadata_columns}
    assert received == {"rate", "animal", "layer_0"}

    class Columns(Counting):
        def embed(self, recordings):
            return {name: nap_nuclr.embeddings(units).values for name, units in recordings.items()}

    with pytest.raises(ValueError, match="has no columns nuclr_0"):
        evaluate(recordings, PROTOCOLS[2], [Columns()])
    counts["leaks planted and kept out"] += 1
