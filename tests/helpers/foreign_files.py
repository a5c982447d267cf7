"""NWB files as other people's software writes them, made with pynwb."""

from __future__ import annotations

import warnings
from datetime import datetime, timezone

import numpy as np
import pynwb
from pynwb import ophys


def session() -> pynwb.NWBFile:
    return pynwb.NWBFile("x", "x", datetime(2020, 1, 1, tzinfo=timezone.utc))


def write(nwbfile, path):
    with pynwb.NWBHDF5IO(path, "w") as io:
        io.write(nwbfile)
    return path


def trains(n=4, duration=20.0, seed=0):
    """Spike times of units at 5 to 20 Hz."""
    rng = np.random.default_rng(seed)
    rates = np.linspace(5, 20, n)
    return [np.sort(rng.uniform(0, duration, int(rate * duration))) for rate in rates]


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


def add_electrodes(nwbfile, locations=("CA1", "CA1", "CA3", "CA3")):
    """A probe of which each shank lies at one place."""
    device = nwbfile.create_device("probe")
    recordings = {
        place: nwbfile.create_electrode_group(place, "a shank", place, device)
        for place in dict.fromkeys(locations)
    }
    for i, place in enumerate(locations):
        nwbfile.add_electrode(x=0.0, y=20.0 * i, location=place, group=recordings[place])
    return recordings


def neurosuite_file(path):
    """As pynapple's released test files of sorted units: electrode recordings, no observed time."""
    nwbfile = session()
    recordings = add_electrodes(nwbfile, ["adn", "adn", "ca1", "ca1"])
    nwbfile.add_unit_column("location", "the anatomical location of this unit")
    nwbfile.add_unit_column("group", "the group of the unit")
    for i, times in enumerate(trains()):
        place = "adn" if i < 3 else "ca1"
        more = {"electrode_group": recordings[place], "location": place, "group": int(i == 3)}
        nwbfile.add_unit(id=i, spike_times=times, **more)
    nwbfile.create_processing_module("behavior", "x").add(
        pynwb.TimeSeries(name="ry", data=np.zeros(100), unit="rad", rate=10.0)
    )
    nwbfile.add_epoch(start_time=0.0, stop_time=20.0, tags=["wake"])
    return write(nwbfile, path)


def neuroconv_file(path):
    """Ragged electrodes and waveforms, names beside the ids, missing values, silent units."""
    nwbfile = session()
    add_electrodes(nwbfile)
    for name in ("unit_name", "quality", "rate", "is_good", "depth (um)"):
        nwbfile.add_unit_column(name, name)
    nwbfile.add_unit_column("spike_amplitudes", "one each spike", index=True)
    silent = np.array([])
    electrodes = [[0], [0, 1], [1, 2], [2, 3], [3]]
    for i, times in enumerate([*trains(), silent]):
        nwbfile.add_unit(
            id=[12, 4, 30, 7, 9][i],
            spike_times=times,
            electrodes=electrodes[i],
            waveform_mean=np.zeros((30, 4)),
            unit_name=f"#{i}",
            quality="" if i == 1 else "good",
            rate=np.nan if i == 2 else float(i),
            is_good=i != 1,
            **{"depth (um)": 10.0 * i},
            spike_amplitudes=np.ones(max(1, len(times))),
        )
    nwbfile.add_trial(start_time=0.0, stop_time=10.0)
    nwbfile.add_trial(start_time=10.5, stop_time=np.nan)
    return write(nwbfile, path)


def roi_table(
    nwbfile,
    n_rois,
    *,
    name="PlaneSegmentation",
    columns=None,
    ids=None,
    place="V1",
    module="ophys",
    indicator="GCaMP6f",
):
    """A plane of ROIs with masks (ragged), and columns with a value or a row of values each."""
    if module not in nwbfile.processing:
        nwbfile.create_processing_module(module, "x").add(ophys.ImageSegmentation())
    module = nwbfile.processing[module]
    channel = ophys.OpticalChannel(name="green", description="x", emission_lambda=500.0)
    plane = nwbfile.create_imaging_plane(
        name=f"plane {len(nwbfile.imaging_planes)} of {name}",
        optical_channel=channel,
        description="x",
        device=nwbfile.devices.get("scope") or nwbfile.create_device("scope"),
        excitation_lambda=600.0,
        indicator=indicator,
        location=place,
    )
    table = module["ImageSegmentation"].create_plane_segmentation(
        name=name, description="x", imaging_plane=plane
    )
    for column in columns or {}:
        table.add_column(column, column)
    for i in range(n_rois):
        values = {column: values[i] for column, values in (columns or {}).items()}
        own_id = {} if ids is None else {"id": int(ids[i])}
        table.add_roi(pixel_mask=[(i, j, 1.0) for j in range(i + 1)], **values, **own_id)
    return table


def add_traces(nwbfile, table, data, *, rows=None, container="DfOverF", module="ophys", **series):
    """Traces (frames, ROIs) of rows of a ROI table, in a container of its class or its name."""
    kind = ophys.DfOverF if container == "DfOverF" else ophys.Fluorescence
    module = nwbfile.processing[module]
    if container not in module.data_interfaces:
        module.add(kind(name=container))
    rows = range(data.shape[-1]) if rows is None else rows
    region = table.create_roi_table_region("x", region=list(rows))
    options = {"name": "RoiResponseSeries", "unit": "n.a.", **series}
    if "timestamps" not in options:
        options.setdefault("rate", 10.0)
    return module[container].create_roi_response_series(data=data, rois=region, **options)


def calcium(n_frames=300, n_rois=6, seed=0):
    """Positive traces that vary slowly (frames, ROIs)."""
    rng = np.random.default_rng(seed)
    steps = rng.normal(size=(n_frames, n_rois)).cumsum(axis=0)
    return (np.abs(steps) + rng.random((n_frames, n_rois))).astype(np.float32)
