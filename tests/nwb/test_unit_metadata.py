"""Regions, texts, probes and animals of units, as laboratories write them."""

from __future__ import annotations

import h5py
import numpy as np
import pynapple as nap
import pynwb
import pytest
from foreign_files import add_electrodes, quietly, session, trains, units_file, write

import pynapple_nuclr as nap_nuclr
from pynapple_nuclr.nwb.opening import open_nwb
from pynapple_nuclr.nwb.units import read_units, units_and_report
from pynapple_nuclr.nwb.writing import write_units


def read_units_and_report(path):
    with open_nwb(path) as file:
        return units_and_report(file)


# --- brain regions -------------------------------------------------------------------------------

REGIONS = {
    # own column, electrodes of each unit, locations of the electrodes, of the group → region
    "before a vague group": (
        {},
        [[0], [1]],
        ["CA1", "VISp"],
        "unknown",
        ["CA1", "VISp"],
    ),
    "most common": ({}, [[0, 1, 2], [2, 3, 1]], ["CA1", "CA3", "CA1", "CA3"], "x", ["CA1", "CA3"]),
    "vague electrodes": ({}, [[0, 1, 2], [3]], ["?", "CA3", "N/A", "none"], "HPC", ["CA3", "HPC"]),
    "own first": (
        {"brain_area": ["DG", "unknown"]},
        [[0], [1]],
        ["CA1", "CA3"],
        "x",
        ["DG", "CA3"],
    ),
    "CellExplorer": (
        {"brainRegion": ["DG", ""], "maxChannel": [10, 11]},
        None,
        ["CA1", "CA3"],
        "x",
        ["DG", "CA3"],
    ),
    "Mesoscale Activity Project": (
        {"anno_name": ["ALM", ""]},
        [[0], [1]],
        ['{"brain_area": "left ALM"}', "CA3"],
        "x",
        ["ALM", "CA3"],
    ),
    "IBL": (
        {"cosmos": ["HPF", "CTX"], "Beryl": ["CA1", "root"]},
        None,
        ["CA3", "VISp"],
        "unknown",
        ["CA1", "CTX"],
    ),
    "IBL, largest amplitude": (
        {"maximum_amplitude_channel": [11, 10]},
        None,
        ["CA1", "VISl"],
        "unknown",
        ["VISl", "CA1"],
    ),
    "name of a region": (
        {"brain_region_name": ["Field CA1", ""]},
        [[0], [1]],
        ["CA3", "DG"],
        "x",
        ["Field CA1", "DG"],
    ),
    "acronym": ({"acronym": ["DG", ""]}, [[], [0, 1]], ["CA1", "CA1"], "x", ["DG", "CA1"]),
    "peak channel": (
        {"peak_channel_id": [12, 10]},
        [[0, 1, 2], [0, 1, 2]],
        ["CA1", "CA1", "VISp"],
        "x",
        ["VISp", "CA1"],
    ),
    "peak channel without electrodes": (
        {"peak_channel_id": [11, 10]},
        None,
        ["CA1", "VISl"],
        "unknown",
        ["VISl", "CA1"],
    ),
}


@pytest.mark.parametrize("name", REGIONS)
def test_region_of_a_unit(tmp_path, name):
    own, electrodes, locations, of_group, expected = REGIONS[name]
    nwbfile = session()
    group = nwbfile.create_electrode_group("A", "x", of_group, nwbfile.create_device("d"))
    for i, place in enumerate(locations):
        nwbfile.add_electrode(id=10 + i, location=place, group=group)
    for column in own:
        nwbfile.add_unit_column(column, column)
    for i, times in enumerate(trains(2)):
        more = {column: values[i] for column, values in own.items()}
        if electrodes is not None:
            more |= {"electrodes": electrodes[i], "electrode_group": group}
        nwbfile.add_unit(spike_times=times, **more)
    units, report = read_units_and_report(write(nwbfile, tmp_path / "x.nwb"))
    assert units["location"].tolist() == expected
    assert report.region is not None


PEAKS = {
    # peaks, what is known of each unit, ids or a column of the electrodes → regions, is it used
    "within the probe": ([2, 5, 0, 5], "group", None, ["A", "A", "B", "C"], True),
    "within the probe, from 1": ([2, 6, 1, 6], "group", None, ["A", "A", "B", "C"], True),
    "from 0 or 1, where both agree": ([1, 1, 2, 5], "group", None, ["A", "A", "B", "C"], True),
    "from 0 or 1, where they do not": ([1, 1, 3, 5], "group", None, ["A", "A", "", "C"], True),
    "by a column": ([1, 6, 3, 6], "group", [6, 5, 4, 3, 2, 1] * 2, ["A", "A", "C", "B"], True),
    "within the probe of electrodes": (
        [2, 5, 0, 5],
        "electrodes",
        None,
        ["A", "A", "B", "C"],
        True,
    ),
    "in the whole table": ([2, 5, 6, 11], "group", None, ["A", "A", "B", "C"], True),
    "ids as of Allen": ([902, 905, 906, 911], None, 900, ["A", "A", "B", "C"], True),
    "ids as of Allen, one absent": ([902, 905, 906, -1], None, 900, ["A", "A", "B", ""], True),
    "in the whole table, larger than a probe": ([2, 5, 6, 11], None, 0, ["A", "A", "B", "C"], True),
    "nothing to compare with": ([2, 5, 0, 5], None, None, [""] * 4, False),
    "not in the group": ([2, 5, 0, 50], "group", None, [""] * 4, False),
}


@pytest.mark.parametrize("name", PEAKS)
def test_a_peak_channel_counts_in_the_table_or_in_its_probe(tmp_path, name):
    """Two probes of 6 electrodes: the first lies in A, the second with 3 each in B and C."""
    peaks, known, of_electrodes, expected, is_used = PEAKS[name]
    nwbfile = session()
    groups = [
        nwbfile.create_electrode_group(f"probe{i}", "x", "unknown", nwbfile.create_device(f"d{i}"))
        for i in range(2)
    ]
    first = of_electrodes if isinstance(of_electrodes, int) else 0
    for i, place in enumerate("AAAAAABBBCCC"):
        nwbfile.add_electrode(id=first + i, location=place, group=groups[i // 6])
    if isinstance(of_electrodes, list):
        nwbfile.electrodes.add_column("local_index", "of the probe", data=of_electrodes)
    nwbfile.add_unit_column("peak_channel", "of the largest waveform")
    for i, times in enumerate(trains(4)):
        own = {
            "group": {"electrode_group": groups[i // 2]},
            "electrodes": {"electrodes": list(range(6 * (i // 2), 6 * (i // 2) + 6))},
            None: {},
        }
        nwbfile.add_unit(spike_times=times, peak_channel=peaks[i], **own[known])
    path = write(nwbfile, tmp_path / "x.nwb")
    (units, report), said = quietly(read_units_and_report, path)
    assert units["location"].tolist() == expected and not said
    if is_used and min(peaks) >= 0:
        assert units["probe"].tolist() == ["d0", "d0", "d1", "d1"]
    assert any("column 'peak_channel' of the units" in one for one in report.left_out) != is_used


# --- texts and numbers ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "labels",
    [
        np.array([b"PV", b"SST"], dtype=object),
        np.array([b"PV", b"SST"], dtype="S3"),
        np.array([b"PV", "SST"], dtype=object),
        np.array([np.bytes_(b"PV"), np.bytes_(b"SST")], dtype=object),
    ],
    ids=["objects", "fixed length", "mixed", "numpy"],
)
def test_labels_that_are_bytes(tmp_path, labels):
    units = nap.TsGroup({i: nap.Ts(one) for i, one in enumerate(trains(2))})
    units["cell_type"] = labels
    assert read_units(write_units(units, tmp_path / "x.nwb"))["cell_type"].tolist() == ["PV", "SST"]


@pytest.mark.parametrize("length", [None, 5])
@pytest.mark.parametrize("column", ["units/label", "general/extracellular_ephys/electrodes/label"])
def test_texts_that_are_not_utf8(tmp_path, column, length):
    nwbfile = session()
    add_electrodes(nwbfile)
    nwbfile.electrodes.add_column("label", "x", data=list("abcd"))
    nwbfile.add_unit_column("label", "x")
    for i, times in enumerate(trains()):
        nwbfile.add_unit(spike_times=times, electrodes=[i], label="x")
    path = write(nwbfile, tmp_path / "x.nwb")
    values = ["caf\xe9".encode("latin-1"), b"ok", b"ok", b"ok"]
    with h5py.File(path, "r+") as file:
        attributes = dict(file[column].attrs)
        del file[column]
        file.create_dataset(column, data=values, dtype=h5py.string_dtype("utf-8", length))
        file[column].attrs.update(attributes)
    units, said = quietly(read_units, path)
    assert len(units) == 4
    if column == "units/label":
        assert units["label"].tolist() == ["café", "ok", "ok", "ok"]
        assert any("/units/label" in one and "Latin-1" in one for one in said)


def test_blanks_around_a_text_are_no_part_of_it(tmp_path):
    """MATLAB makes the texts of an array equally long with blanks."""
    nwbfile = session()
    groups = add_electrodes(nwbfile)
    nwbfile.add_electrode(x=0.0, y=80.0, location="CA3 ", group=groups["CA3"])
    texts = {
        "cell_type": np.array([b"PV  ", b"SST ", b"PV", b"    "]),
        "note": ["a b ", "", "\n", "c"],
    }
    for i, times in enumerate(trains()):
        nwbfile.add_unit(spike_times=times, electrodes=[i + 1])
    for name, values in texts.items():
        nwbfile.units.add_column(name, name, data=values)
    units = read_units(write(nwbfile, tmp_path / "x.nwb"))
    assert units["cell_type"].tolist() == ["PV", "SST", "PV", ""]
    assert units["note"].tolist() == ["a b", "", "", "c"]
    assert units["location"].tolist() == ["CA1", "CA3", "CA3", "CA3"]


def test_columns_with_one_value_in_each_row_are_read(tmp_path):
    """As MATLAB and the .npy files of ALF hold them: (units, 1)."""
    nwbfile = session()
    add_electrodes(nwbfile, ["CA1"] * 4)
    for i, times in enumerate(trains()):
        nwbfile.add_unit(spike_times=times, electrodes=[i])
    columns = {
        "region": np.array([["CA1"], ["CA1"], ["CA3"], [""]]),
        "depth": np.arange(4.0)[:, None],
        "is_good": np.array([[True], [False], [True], [True]]),
        "pair": np.zeros((4, 2)),
        "template": np.zeros((4, 30, 5)),
    }
    for name, values in columns.items():
        nwbfile.units.add_column(name, name, data=values)
    nwbfile.units.add_column("lengths", "ragged", data=[[1.0], [2.0], [3.0], [4.0]], index=True)
    path = write(nwbfile, tmp_path / "x.nwb")
    (units, report), said = quietly(read_units_and_report, path)
    assert not said and units["region"].tolist() == ["CA1", "CA1", "CA3", ""]
    assert units["location"].tolist() == ["CA1", "CA1", "CA3", "CA1"]
    assert units["depth"].tolist() == [0, 1, 2, 3]
    assert units["is_good"].tolist() == [True, False, True, True]
    assert not {"pair", "template", "lengths", "electrodes"} & set(units.metadata_columns)
    assert report.left_out == (
        "columns pair, template, lengths: not one number or text for each unit",
    )


@pytest.mark.parametrize("column", ["location", "group_name"])
def test_columns_of_electrodes_with_one_value_in_each_row_are_read(tmp_path, column):
    nwbfile = session()
    add_electrodes(nwbfile)
    for i, times in enumerate(trains()):
        nwbfile.add_unit(spike_times=times, electrodes=[i])
    path = write(nwbfile, tmp_path / "x.nwb")
    with h5py.File(path, "r+") as file:
        table = file["general/extracellular_ephys/electrodes"]
        attributes, values = dict(table[column].attrs), table[column][:]
        del table[column]
        table.create_dataset(column, data=values[:, None], dtype=h5py.string_dtype())
        table[column].attrs.update(attributes)
    units = read_units(path)
    assert units["location"].tolist() == ["CA1", "CA1", "CA3", "CA3"]
    assert units["electrode_group"].tolist() == ["CA1", "CA1", "CA3", "CA3"]


@pytest.mark.parametrize("wrong", [[np.nan], [np.inf, -np.inf], [np.nan] * 50])
def test_spike_times_that_are_no_numbers(tmp_path, wrong):
    times = [one.copy() for one in trains()]
    times[2][: len(wrong)] = wrong
    units, said = quietly(read_units, units_file(tmp_path / "x.nwb", times))
    assert any(f"{len(wrong)} of " in one and "unit 2" in one for one in said)
    np.testing.assert_allclose(units[2].t, trains()[2][len(wrong) :], atol=1e-9)


# --- probes and animals --------------------------------------------------------------------------


@pytest.mark.parametrize("known_by", ["electrode_group", "electrodes", "both"])
def test_probe_and_group_of_a_unit(tmp_path, known_by):
    nwbfile = session()
    groups = [
        nwbfile.create_electrode_group(f"shank{i}", "x", "HPC", nwbfile.create_device(f"probe{i}"))
        for i in range(2)
    ]
    for group in groups:
        nwbfile.add_electrode(location="CA1", group=group)
    for i, times in enumerate(trains(2)):
        more = {"electrodes": [i], "electrode_group": groups[i]}
        if known_by != "both":
            more = {known_by: more[known_by]}
        nwbfile.add_unit(spike_times=times, **more)
    path = write(nwbfile, tmp_path / "x.nwb")
    units, report = read_units_and_report(path)
    assert units["electrode_group"].tolist() == ["shank0", "shank1"]
    assert units["probe"].tolist() == ["probe0", "probe1"]
    assert report.probe == "electrode groups: device"
    again = read_units(write_units(units, tmp_path / "y.nwb"))
    assert again["electrode_group"].tolist() == ["shank0", "shank1"]


def test_electrodes_whose_group_has_another_name(tmp_path):
    """The column group_name should repeat the name of the group, and does not always."""
    nwbfile = session()
    add_electrodes(nwbfile)
    for i, times in enumerate(trains()):
        nwbfile.add_unit(spike_times=times, electrodes=[i])
    path = write(nwbfile, tmp_path / "x.nwb")
    with h5py.File(path, "r+") as file:
        file["general/extracellular_ephys/electrodes/group_name"][:] = ["tetrode 1"] * 4
    units = read_units(path)
    assert units["electrode_group"].tolist() == ["CA1", "CA1", "CA3", "CA3"]
    assert set(units["probe"]) == {"probe"}


def test_units_on_several_groups_say_so(tmp_path):
    nwbfile = session()
    add_electrodes(nwbfile)
    for times, electrodes in zip(trains(2), [[0, 1, 2], [3]], strict=True):
        nwbfile.add_unit(spike_times=times, electrodes=electrodes)
    units, said = quietly(read_units, write(nwbfile, tmp_path / "x.nwb"))
    assert units["electrode_group"].tolist() == ["CA1 + CA3", "CA3"]
    assert any("1 of 2 units have electrodes of several groups" in one for one in said)


@pytest.mark.parametrize(("subject", "there"), [("m1", True), ("unknown", False), (None, False)])
def test_the_subject_is_a_column(tmp_path, subject, there):
    def change(nwbfile):
        nwbfile.subject = pynwb.file.Subject(subject_id=subject, species="Mus musculus")

    units = read_units(units_file(tmp_path / "x.nwb", change=change))
    assert ("subject" in units.metadata_columns) is there
    assert not there or set(units["subject"]) == {"m1"}


@pytest.mark.parametrize(("column", "word"), [("quality", "noise"), ("ks2_label", "Noise")])
def test_units_that_the_file_calls_noise_are_read_with_a_warning(tmp_path, column, word):
    path = units_file(tmp_path / "x.nwb", trains(3), **{column: ["good", word, "good"]})
    with pytest.warns(UserWarning, match=f"1 of 3 units have {column} '{word}' and are read"):
        units = nap_nuclr.read_units(path)
    assert len(units) == 3 and len(units[units[column] != word]) == 2


@pytest.mark.parametrize(
    "word", ["mua", "MUA", "multi-unit", "multi", "artifact", "rejected", "hash"]
)
def test_units_that_are_not_single_are_read_with_a_warning(tmp_path, word):
    path = units_file(tmp_path / "x.nwb", trains(4), KSLabel=["good", word, "good", word])
    with pytest.warns(UserWarning, match=f"2 of 4 units have KSLabel '{word}' and are read"):
        assert len(nap_nuclr.read_units(path)) == 4
    units, said = quietly(nap_nuclr.read_recording, path, only="KSLabel=good")
    assert len(units) == 2 and not said


@pytest.mark.parametrize(
    ("description", "is_said"),
    [
        ("threshold crossings at -4.5 RMS, 96 channels", True),
        ("Threshold-crossing events of two arrays", True),
        ("Multi-unit activity of each channel; not spike-sorted", True),
        ("units that were not sorted", True),
        ("units sorted with Kilosort 2.5, curated by hand", False),
        ("Autogenerated by NWBFile", False),
    ],
)
def test_units_that_were_not_sorted_are_read_with_a_warning(tmp_path, description, is_said):
    nwbfile = session()
    nwbfile.units = pynwb.misc.Units(name="units", description=description)
    for times in trains(3):
        nwbfile.add_unit(spike_times=times)
    units, said = quietly(nap_nuclr.read_units, write(nwbfile, tmp_path / "x.nwb"))
    assert len(units) == 3 and len(said) == is_said
    assert not said or f"described as '{description}'" in said[0]


def test_several_labels_of_a_unit_become_one_text(tmp_path):
    """As Spyglass writes its curation: a list for each unit, which may be empty."""
    labels = [["noise", "reject"], [], ["accept"], ["mua"]]

    def change(nwbfile):
        nwbfile.add_unit_column("curation_label", "x", data=labels, index=True)
        nwbfile.add_unit_column("merge_groups", "x", data=[[""], ["3"], [""], ["1"]], index=True)

    units, said = quietly(nap_nuclr.read_units, units_file(tmp_path / "x.nwb", change=change))
    assert units["curation_label"].tolist() == ["noise, reject", "", "accept", "mua"]
    assert units["merge_groups"].tolist() == ["", "3", "", "1"]
    assert len(said) == 1 and "2 of 4 units have curation_label 'mua', 'noise, reject'" in said[0]
    without = said[0].split("leave them out: ")[1]
    assert len(eval(without, {"units": units})) == 2
