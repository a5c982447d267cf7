"""Brain regions of units that refer to more electrodes than those near them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from foreign_files import (
    add_traces,
    calcium,
    quietly,
    roi_table,
    session,
    trains,
    units_file,
    write,
)

from pynapple_nuclr import read_traces
from pynapple_nuclr.nwb.units import read_units

PROBE = ["CA1", "CA1", "CA1", "CA3", "VISp", "VISp"]
RIGHT = ["CA1", "CA3", "VISp", "VISp"]
NEAREST = [1, 3, 4, 5]  # electrode of each unit, within its probe


def recorded(path, n_probes=1, *, waveforms=None, places=PROBE, of_group="unknown", **columns):
    """Four units a probe, each of which refers to all electrodes of its probe."""
    nwbfile = session()
    for name in columns:
        nwbfile.add_unit_column(name, name)
    for probe in range(n_probes):
        device = nwbfile.create_device(f"probe{probe}")
        group = nwbfile.create_electrode_group(f"probe{probe}", "x", of_group, device)
        for place in places if probe == 0 else ["TH"] * len(places):
            nwbfile.add_electrode(location=place, group=group)
    for i, times in enumerate(trains(4 * n_probes)):
        first = len(places) * (i // 4)
        more = {name: values[i] for name, values in columns.items()}
        if waveforms is not None:
            more["waveform_mean"] = waveforms[i]
        electrodes = list(range(first, first + len(places)))
        nwbfile.add_unit(spike_times=times, electrodes=electrodes, **more)
    return write(nwbfile, path)


def mean_waveforms(channels, n_channels):
    """Mean waveforms (units, samples, channels), largest at one channel of each unit."""
    waveforms = np.random.default_rng(0).uniform(-1, 1, (len(channels), 30, n_channels))
    for waveform, channel in zip(waveforms, channels, strict=True):
        waveform[10, channel] = -50
    return waveforms


def test_a_unit_of_all_electrodes_lies_where_its_waveform_is_largest(tmp_path):
    """NeuroConv writes sorting analyzers so."""
    path = recorded(tmp_path / "x.nwb", waveforms=mean_waveforms(NEAREST, 6))
    units, said = quietly(read_units, path)
    assert units["location"].tolist() == RIGHT and not said


@pytest.mark.parametrize("name", ["extremum_channel_index", "peak_channel"])
def test_a_unit_of_all_electrodes_lies_at_its_peak_channel(tmp_path, name):
    path = recorded(tmp_path / "x.nwb", 2, **{name: [*NEAREST, 0, 5, 1, 2]})
    units, said = quietly(read_units, path)
    assert units["location"].tolist() == [*RIGHT, *["TH"] * 4] and not said


@pytest.mark.parametrize("waveforms", ["none", "silent", "of other channels", "transposed"])
@pytest.mark.parametrize(("of_group", "region"), [("unknown", ""), ("CA", "CA")])
def test_units_of_all_electrodes_are_not_where_most_of_them_lie(
    tmp_path, waveforms, of_group, region
):
    made = {
        "none": None,
        "silent": np.zeros((4, 30, 6)),
        "of other channels": mean_waveforms(NEAREST, 7),
        "transposed": mean_waveforms(NEAREST, 6).transpose(0, 2, 1),
    }[waveforms]
    path = recorded(tmp_path / "x.nwb", waveforms=made, of_group=of_group)
    units, said = quietly(read_units, path)
    assert units["location"].tolist() == [region] * 4
    assert any(
        "4 of 4 units refer to all electrodes of their group, which lie in" in s for s in said
    )


def test_all_electrodes_in_one_region_say_it(tmp_path):
    path = recorded(tmp_path / "x.nwb", places=["CA1", "unknown", "CA1"])
    units, said = quietly(read_units, path)
    assert units["location"].tolist() == ["CA1"] * 4 and not said


def test_a_region_of_the_unit_itself_needs_no_electrodes(tmp_path):
    path = recorded(tmp_path / "x.nwb", brain_area=RIGHT)
    units, said = quietly(read_units, path)
    assert units["location"].tolist() == RIGHT and not said


def test_of_several_references_the_one_named_electrodes_counts(tmp_path):
    nwbfile = session()
    group = nwbfile.create_electrode_group("A", "x", "unknown", nwbfile.create_device("d"))
    for place in PROBE:
        nwbfile.add_electrode(location=place, group=group)
    for electrode, times in zip(NEAREST, trains(4), strict=True):
        nwbfile.add_unit(spike_times=times, electrodes=[electrode])
    around = {"data": [0, 1, 2, 3] * 4, "index": [4, 8, 12, 16], "table": nwbfile.electrodes}
    nwbfile.units.add_column("neighbours", "electrodes around", **around)
    assert read_units(write(nwbfile, tmp_path / "x.nwb"))["location"].tolist() == RIGHT


def test_places_in_json_are_the_regions_they_name(tmp_path):
    """As of the Mesoscale Activity Project, DANDI:000363."""
    places = [
        json.dumps({"skull_reference": "Bregma", "ap_location": "2500.0", **more})
        for more in ({"brain_regions": "left ALM"}, {"brain_area": "left ALM"}, {})
    ]
    path = recorded(tmp_path / "x.nwb", places=places, anno_name=["Layer 5", "", "", "{no JSON"])
    assert read_units(path)["location"].tolist() == ["Layer 5", "left ALM", "left ALM", "{no JSON"]
    path = recorded(tmp_path / "y.nwb", places=["unknown"] * 3, of_group=places[0])
    assert set(read_units(path)["location"]) == {"left ALM"}


@pytest.mark.parametrize(
    ("places", "right"),
    [(["CA1"] * 3, "CA1"), (["CA1", "CA1", "CA3"], ""), (["CA1", "CA1", "unknown"], "")],
)
def test_units_of_no_electrode_lie_where_all_electrodes_are(tmp_path, places, right):
    """As NeuroConv writes a sorting beside a recording: no unit refers to an electrode."""

    def change(nwbfile):
        group = nwbfile.create_electrode_group("A", "x", "unknown", nwbfile.create_device("d"))
        for place in places:
            nwbfile.add_electrode(location=place, group=group)

    units = read_units(units_file(tmp_path / "x.nwb", change=change))
    assert set(units["location"]) == {right}


PLACES = {
    "area: VISp,depth: 175": "VISp",  # Allen Visual Behavior
    "{'area': 'VISp', 'depth': '20'}": "VISp",
    "Structure: VISp Depth: 150": "VISp",
    "Region: primary visual area; side: left": "primary visual area",
    "AP: -2.5, ML: 1.5": "AP: -2.5, ML: 1.5",
    "VISp: layer 4": "VISp: layer 4",
    "{'depth': 20}": "",
    "{area: VISp}": "{area: VISp}",
}


@pytest.mark.parametrize("place", PLACES)
def test_of_a_text_of_several_fields_the_region_is_read(tmp_path, place):
    path = recorded(tmp_path / "x.nwb", places=["unknown"] * 3, of_group=place)
    assert set(read_units(path)["location"]) == {PLACES[place]}
    nwbfile = session()
    add_traces(nwbfile, roi_table(nwbfile, 2, place=place), calcium(100, 2))
    traces = read_traces(write(nwbfile, tmp_path / "y.nwb"))
    assert set(traces["location"]) == {PLACES[place]}
