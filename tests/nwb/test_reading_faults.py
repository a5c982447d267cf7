"""NWB files of units as laboratories write them, which were once read wrongly in silence."""

from __future__ import annotations

import re
import sys
import types
import warnings

import h5py
import numpy as np
import pynapple as nap
import pynwb
import pytest
from foreign_files import add_electrodes, session, trains, write
from nwb_recordings import embedded

import pynapple_nuclr as nap_nuclr
from pynapple_nuclr.nwb.opening import open_nwb, resolve_address
from pynapple_nuclr.nwb.stored_embeddings import describe_nwb, read_embedding, report_nwb
from pynapple_nuclr.nwb.units import read_recording, read_units, read_units_and_report
from pynapple_nuclr.nwb.writing import write_nwb, write_units


def quietly(function, *args, **kwargs):
    """Return the result and the texts of the warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = function(*args, **kwargs)
    return result, [str(one.message) for one in caught if one.category is UserWarning]


def units_file(path, times=None, *, change=None, **columns):
    """Units with columns of one value each, and what `change` adds to the file."""
    nwbfile = session()
    for name in columns:
        if name != "obs_intervals":
            nwbfile.add_unit_column(name, name)
    times = trains() if times is None else times
    for i, one in enumerate(times):
        nwbfile.add_unit(spike_times=one, **{name: col[i] for name, col in columns.items()})
    if change is not None:
        change(nwbfile)
    return write(nwbfile, path)


# --- brain regions ------------------------------------------------------------------------------

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


# --- observed time ------------------------------------------------------------------------------

ALL = [[0.0, 20.0]]
OBSERVED = {
    # shift of the spikes, factor, intervals of each unit → which spikes are kept, what is said
    "shifted by much": (50, 1, [ALL] * 4, lambda t, _: t > -1, "another clock"),
    "in milliseconds": (0, 1000, [ALL] * 4, lambda t, _: t > -1, "another clock"),
    "some seconds more": (0, 1, [[[0.0, 19.0]]] * 4, lambda t, _: t <= 19, "left out"),
    "two without": (
        0,
        1,
        [[[0.0, 10.0]], [[0.0, 10.0]], [], []],
        lambda t, i: (t <= 10) | (i > 1),
        "keep all",
    ),
    "one without, others between": (
        0,
        1,
        [[[0.0, 5.0], [9.0, 20.0]]] * 3 + [[]],
        lambda t, i: (t <= 5) | (t >= 9) | (i == 3),
        "1 of 4 units have no obs_intervals",
    ),
}


@pytest.mark.parametrize("name", OBSERVED)
def test_spikes_outside_of_the_observed_time(tmp_path, name):
    shift, factor, intervals, kept, words = OBSERVED[name]
    times = [one * factor + shift for one in trains()]
    path = units_file(
        tmp_path / "x.nwb", times, obs_intervals=[np.reshape(one, (-1, 2)) for one in intervals]
    )
    units, said = quietly(read_units, path)
    for i, one in enumerate(times):
        np.testing.assert_allclose(units[i].t, one[kept(one, i)], atol=1e-9)
    share = re.search(r"(\d+) of (\d+) spikes \(([\d.]+)%\)", " ".join(said))
    assert share and float(share[3]) > 0
    assert any(words in one for one in said)


INVALID = {
    "one": ([(5.0, 8.0)], [[0, 5], [8, 20]]),
    "two, overlapping": ([(5.0, 8.0), (7.0, 9.0)], [[0, 5], [9, 20]]),
    "at the start": ([(0.0, 4.0)], [[4, 20]]),
    "without an end": ([(15.0, np.nan)], [[0, 15]]),
}


@pytest.mark.parametrize("tags", [False, True])
@pytest.mark.parametrize("name", INVALID)
def test_invalid_times_are_not_observed(tmp_path, name, tags):
    rows, expected = INVALID[name]

    def change(nwbfile):
        for start, stop in rows:
            more = {"tags": ["artefact"]} if tags else {}
            nwbfile.add_invalid_time_interval(start_time=start, stop_time=stop, **more)

    path = units_file(tmp_path / "x.nwb", change=change, obs_intervals=[ALL] * 4)
    units, said = quietly(read_units, path)
    np.testing.assert_allclose(units.time_support.values, expected)
    assert sum("invalid_times" in one for one in said) == 1
    for one in units.values():
        assert all(((one.t >= start) & (one.t <= end)).any() for start, end in expected)


def test_only_invalid_time_is_refused(tmp_path):
    def change(nwbfile):
        nwbfile.add_invalid_time_interval(start_time=-1.0, stop_time=99.0)

    with pytest.raises(ValueError, match=r"x\.nwb: its invalid_times cover all"):
        read_units(units_file(tmp_path / "x.nwb", change=change))


# --- clocks -------------------------------------------------------------------------------------

PARTS = {
    "twice from 0": [(0, 20), (0, 20)],
    "three times": [(0, 20), (0, 20), (0, 20)],
    "shorter, then longer": [(0, 8), (0, 20)],
    "back into the middle": [(0, 20), (10, 30)],
}


def parts_of(ranges, n=4):
    rng = np.random.default_rng(1)
    return [[np.sort(rng.uniform(*one, 200)) for one in ranges] for _ in range(n)]


@pytest.mark.parametrize("name", PARTS)
def test_a_clock_that_starts_again(tmp_path, name):
    parts = parts_of(PARTS[name])
    path = units_file(tmp_path / "x.nwb", [np.concatenate(one) for one in parts])
    for read in (read_units, read_recording, nap_nuclr.read_units):
        with pytest.raises(
            ValueError, match=r'x\.nwb: the clock starts again.* s, then .*clock="r'
        ):
            read(path)
    units, said = quietly(read_units, path, clock="restart")
    assert sum("one after the other" in one for one in said) == 1
    assert len(units.time_support) == len(PARTS[name])
    for i, one in enumerate(parts):
        starts = np.searchsorted(units[i].t, units.time_support.start)
        found = np.split(units[i].t, starts[1:])
        for k, part in enumerate(one):
            np.testing.assert_allclose(np.diff(found[k]), np.diff(part), atol=1e-8)


def test_units_that_do_not_show_the_parts_are_said(tmp_path):
    times = [np.concatenate(one) for one in parts_of([(0, 20), (0, 20)])]
    path = units_file(tmp_path / "x.nwb", [*times, np.arange(30) / 2.0, np.empty(0)])
    units, said = quietly(read_units, path, clock="restart")
    assert len(units[4]) == 0 and any("unit 4" in one and "30 spikes" in one for one in said)


@pytest.mark.parametrize("far", [1, 2, 150])
def test_spikes_that_changed_places_are_sorted(tmp_path, far):
    times = trains()
    mixed = [one.copy() for one in times]
    mixed[3][[10, 10 + far]] = mixed[3][[10 + far, 10]]
    units, said = quietly(read_units, units_file(tmp_path / "x.nwb", mixed))
    assert len(said) == 1 and "1 of 4 units are not in order" in said[0]
    np.testing.assert_allclose(units[3].t, times[3], atol=1e-9)


def test_an_unknown_clock_is_refused(tmp_path):
    with pytest.raises(ValueError, match="clock is 'again'; expected 'continuous' or 'restart'"):
        read_units(units_file(tmp_path / "x.nwb"), clock="again")


# --- tables -------------------------------------------------------------------------------------


def sorted_elsewhere(nwbfile, place, name="sorted", seed=0):
    table = pynwb.misc.Units(name=name, description="x")
    for times in trains(3, seed=seed):
        table.add_unit(spike_times=times)
    if place == "scratch":
        nwbfile.add_scratch(table)
    elif place == "analysis":
        nwbfile.add_analysis(table)
    else:
        module = nwbfile.processing.get(place) or nwbfile.create_processing_module(place, "x")
        module.add(table)


@pytest.mark.parametrize("place", ["ecephys", "spikes", "scratch", "analysis"])
def test_a_table_of_units_elsewhere_is_read_and_written(tmp_path, place):
    nwbfile = session()
    sorted_elsewhere(nwbfile, place)
    path = write(nwbfile, tmp_path / "x.nwb")
    units = read_units(path)
    np.testing.assert_allclose(units[2].t, trains(3)[2], atol=1e-9)
    for raw in ("copy", "drop"):
        output = write_nwb(embedded(units), path, tmp_path / f"{raw}.nwb", raw=raw)
        with h5py.File(output) as file:
            where = f"processing/{place}" if place not in ("scratch", "analysis") else place
            assert "nuclr_embedding" in file[f"{where}/sorted"] and "units" not in file
        np.testing.assert_array_equal(
            read_embedding(output)["nuclr_1"], embedded(units)["nuclr_1"].astype(np.float32)
        )


def test_of_several_tables_of_units_one_is_named(tmp_path):
    nwbfile = session()
    for i, (place, name) in enumerate([("ecephys", "a"), ("ecephys", "b"), ("scratch", "c")]):
        sorted_elsewhere(nwbfile, place, name, seed=i)
    path = write(nwbfile, tmp_path / "x.nwb")
    with pytest.raises(ValueError, match=r"3 tables of units: 'processing/ecephys/a', .*table="):
        read_units(path)
    with pytest.raises(ValueError, match=r"no table of units .*'d'; it has 'processing/ecephys/a'"):
        read_units(path, table="d")
    for table in ("b", "processing/ecephys/b"):
        units = read_units(path, table=table)
        np.testing.assert_allclose(units[1].t, trains(3, seed=1)[1], atol=1e-9)
    output = write_nwb(embedded(units), path, tmp_path / "y.nwb")
    with h5py.File(output) as file:
        assert "nuclr_embedding" in file["processing/ecephys/b"]
        assert "nuclr_embedding" not in file["processing/ecephys/a"]


def test_units_are_preferred_to_other_tables_and_it_is_said(tmp_path):
    path = units_file(tmp_path / "x.nwb", change=lambda one: sorted_elsewhere(one, "scratch"))
    units, said = quietly(read_units, path)
    assert len(units) == 4 and any("there are also scratch/sorted" in one for one in said)
    assert len(read_units(path, table="sorted")) == 3


# --- texts and numbers --------------------------------------------------------------------------


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


@pytest.mark.parametrize("wrong", [[np.nan], [np.inf, -np.inf], [np.nan] * 50])
def test_spike_times_that_are_no_numbers(tmp_path, wrong):
    times = [one.copy() for one in trains()]
    times[2][: len(wrong)] = wrong
    units, said = quietly(read_units, units_file(tmp_path / "x.nwb", times))
    assert any(f"{len(wrong)} of " in one and "unit 2" in one for one in said)
    np.testing.assert_allclose(units[2].t, trains()[2][len(wrong) :], atol=1e-9)


# --- probes and animals -------------------------------------------------------------------------


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


# --- trials -------------------------------------------------------------------------------------

NO_TRIALS = {
    "relative to each": [(0.0, 4.0)] * 40,
    "relative, of any length": [(-1.0, 3.0 + i % 3) for i in range(40)],
    "relative to a cue": [(0.1 * (7 * i % 5), 4.0) for i in range(40)],
    "of no length": [(float(i), float(i)) for i in range(40)],
    "all at 0": [(0.0, 0.0)] * 40,
    "without an end": [(float(i), np.nan) for i in range(40)],
    "reversed": [(i + 1.0, float(i)) for i in range(40)],
    "of another clock": [(5000.0 + i, 5000.5 + i) for i in range(40)],
}


@pytest.mark.parametrize("name", NO_TRIALS)
def test_trials_that_are_not_in_the_time_of_the_session(tmp_path, name):
    def change(nwbfile):
        for start, stop in NO_TRIALS[name]:
            nwbfile.add_trial(start_time=start, stop_time=stop)

    path = units_file(tmp_path / "x.nwb", change=change)
    first = "{:g} to {:g}".format(*NO_TRIALS[name][0])
    for read in (read_units, read_recording):
        with pytest.raises(
            ValueError, match=rf"x\.nwb.*'trials' begin with {first}.*expected start"
        ):
            read(path, epochs="trials")


def test_trials_on_several_levels_are_read(tmp_path):
    def change(nwbfile):
        for start, stop in [(0.0, 20.0), (0.0, 10.0), (10.0, 20.0), (0.0, 5.0), (5.0, 10.0)]:
            nwbfile.add_epoch(start_time=start, stop_time=stop)

    path = units_file(tmp_path / "x.nwb", change=change, obs_intervals=[ALL] * 4)
    np.testing.assert_allclose(read_units(path, epochs="epochs").time_support.values, ALL)


# --- addresses ----------------------------------------------------------------------------------


def test_addresses_on_s3():
    expected = "https://bucket.s3.amazonaws.com/a/b%20c.nwb"
    assert resolve_address("s3://bucket/a/b c.nwb") == expected
    assert resolve_address("s3://my.data/a.nwb") == "https://s3.amazonaws.com/my.data/a.nwb"
    assert resolve_address("https://x.org/a.nwb") == "https://x.org/a.nwb"
    with pytest.raises(ValueError, match="expected s3://BUCKET/PATH"):
        read_units("s3://bucket")


@pytest.mark.parametrize(
    "address",
    [
        "dandi:000006/sub-1/x.nwb",
        "dandi://dandi/000006/sub-1/x.nwb",
        "dandi:6@0.2/sub-1/x.nwb",
    ],
)
def test_addresses_of_dandi(monkeypatch, address):
    monkeypatch.setitem(sys.modules, "dandi", None)
    with pytest.raises(ImportError, match="pip install dandi"):
        read_units(address)
    asked = []

    class Client:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        @classmethod
        def for_dandi_instance(cls, name):
            asked.append(name)
            return cls()

        def get_dandiset(self, *which):
            asked.extend(which)
            return self

        def get_asset_by_path(self, path):
            asked.append(path)
            return self

        def get_content_url(self, **_):
            return "https://dandiarchive.s3.amazonaws.com/blobs/x"

    modules = {
        "dandi": types.ModuleType("dandi"),
        "dandi.dandiapi": types.SimpleNamespace(DandiAPIClient=Client),
        "dandi.exceptions": types.SimpleNamespace(NotFoundError=KeyError),
    }
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    assert resolve_address(address) == "https://dandiarchive.s3.amazonaws.com/blobs/x"
    is_old = "@" in address
    which = ("6", "0.2") if is_old else ("000006", None)
    assert asked == ["dandi", *which, "sub-1/x.nwb"]
    with pytest.raises(ValueError, match="expected dandi:DANDISET/PATH"):
        read_units("dandi:sub-1")


# --- what was read ------------------------------------------------------------------------------


def test_what_was_read_is_printed(tmp_path, capsys):
    times = [one.copy() for one in trains()]
    times[0][0] = np.nan
    path = units_file(tmp_path / "x.nwb", times, location=["CA1"] * 4, obs_intervals=[ALL] * 4)
    with pytest.warns(UserWarning, match="1 of 1000 spike times"):
        read_units(path, verbose=True)
    shown = capsys.readouterr().out
    for text in ("table 'units'", "20 s in 1 epoch", "obs_intervals", "units: location", "NaN"):
        assert text in shown
    report, _ = quietly(report_nwb, path)
    assert report.n_read == 4 and report.to_dict()["time_support"] == ALL


def test_one_opening_serves_several_functions(tmp_path, monkeypatch):
    path = write_units(
        embedded(nap.TsGroup(dict(enumerate(map(nap.Ts, trains()))))), tmp_path / "x.nwb"
    )
    opened = []
    original = pynwb.NWBHDF5IO.__init__

    def count(self, *args, **kwargs):
        opened.append(args)
        original(self, *args, **kwargs)

    monkeypatch.setattr(pynwb.NWBHDF5IO, "__init__", count)
    with open_nwb(path) as file:
        assert describe_nwb(file)["units"] == 4
        units = read_embedding(file)
        assert len(read_units(file)) == len(read_recording(file)) == 4
        assert len(opened) == 1
        write_nwb(units, file, tmp_path / "y.nwb")
    assert len(opened) == 2  # the new file


@pytest.mark.parametrize("place", ["session_description", "units@description"])
def test_texts_that_pynwb_cannot_decode_are_named(tmp_path, place):
    path = units_file(tmp_path / "x.nwb")
    with h5py.File(path, "r+") as file:
        name, _, attribute = place.partition("@")
        if attribute:
            file[name].attrs[attribute] = np.bytes_(b"caf\xe9")
        else:
            del file[name]
            file.create_dataset(name, data=b"caf\xe9", dtype=h5py.string_dtype("utf-8"))
    with pytest.raises(ValueError, match=rf"x\.nwb cannot be read by pynwb: .*{place}.*latin-1"):
        read_units(path)
