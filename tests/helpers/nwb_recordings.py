"""Recordings to write as NWB, embeddings made by hand, and files as other software writes them."""

from __future__ import annotations

from datetime import datetime, timezone

import numpy as np
import pynapple as nap
import pynwb

from pynapple_nuclr.columns import add_columns

DIM = 16
TRIALS = nap.IntervalSet(np.arange(0, 50, 5.0), np.arange(0, 50, 5.0) + 0.4)


def make_units(ids=(2, 5, 9, 11), support=None, seed=0):
    """Return units of which the second is silent, with one column of each kind."""
    rng = np.random.default_rng(seed)
    support = nap.IntervalSet(0, 50) if support is None else support
    trains = {unit: nap.Ts(np.sort(rng.uniform(0, 50, 400))) for unit in ids}
    trains[ids[1]] = nap.Ts(np.array([]))
    metadata = {
        "cell_type": ["PV", "", "SST", "é"][: len(ids)],
        "depth": np.linspace(100, 400, len(ids)),
        "shank": np.arange(len(ids)),
    }
    return nap.TsGroup(trains, time_support=support, metadata=metadata)


def embedded(units, *, seed=0, labels=True, prefix="nuclr", encoder="tiny@0a1b2c3d"):
    """Lay out an embedding as `embed` does, the second unit silent."""
    rng = np.random.default_rng(seed)
    n = len(units)
    vectors = rng.normal(size=(n, DIM)).astype(np.float32)
    stability = rng.uniform(0.5, 1, n)
    windows = np.full(n, 5)
    vectors[1], stability[1], windows[1] = np.nan, np.nan, 0
    predicted = {
        "predicted_cell_type": np.array(["PV", "unknown", "SST", "PV"][:n]),
        "predicted_cell_type_confidence": np.array([0.9, np.nan, 0.6, 0.7][:n]),
    }
    summary = {"stability": stability, "n_windows": windows, "encoder": np.repeat(encoder, n)}
    return add_columns(
        units,
        predicted=predicted if labels else None,
        summary={f"{prefix}_{name}": values for name, values in summary.items()},
        vectors=vectors,
        prefix=prefix,
    )


def foreign_file(path, obs_intervals=None):
    """Write a file as other software does: row by row, with its own columns and tables."""
    nwbfile = pynwb.NWBFile(
        session_description="x",
        identifier="x",
        session_start_time=datetime(2020, 1, 1, tzinfo=timezone.utc),
        notes="kept",
    )
    nwbfile.add_unit_column("quality", "sorting quality")
    nwbfile.add_unit_column("template", "2-D column")
    for i, unit in enumerate([7, 3, 20]):
        intervals = None if obs_intervals is None else obs_intervals[i]
        more = {} if intervals is None else {"obs_intervals": intervals}
        times = np.arange(20) * (i + 1) * 0.1
        nwbfile.add_unit(id=unit, spike_times=times, quality="good", template=np.full(4, i), **more)
    nwbfile.add_trial(start_time=0.0, stop_time=1.0)
    nwbfile.add_trial(start_time=1.5, stop_time=2.0)
    with pynwb.NWBHDF5IO(path, "w") as io:
        io.write(nwbfile)
    return path


def session_file(path, units, *, raw_samples=20_000):
    """Write a session as laboratories do: a probe, raw data, LFP, trials that refer to them."""
    nwbfile = _new_file("Detection task.")
    device = nwbfile.create_device("probe", description="Neuropixels 1.0")
    group = nwbfile.create_electrode_group(
        "shank0", description="Only shank.", location="CA1", device=device
    )
    for channel in range(4):
        nwbfile.add_electrode(location="CA1", group=group, rel_x=0.0, rel_y=20.0 * channel)
    region = nwbfile.create_electrode_table_region([0, 1, 2, 3], "All channels.")
    raw = pynwb.ecephys.ElectricalSeries(
        name="raw",
        description="Voltage.",
        data=np.random.default_rng(0).integers(-99, 99, (raw_samples, 4), dtype=np.int16),
        electrodes=region,
        rate=30_000.0,
        conversion=1e-6,
    )
    nwbfile.add_acquisition(raw)
    module = nwbfile.create_processing_module("ecephys", "Filtered data.")
    lfp = pynwb.ecephys.ElectricalSeries(
        name="lfp",
        description="Low-pass filtered.",
        data=np.zeros((100, 4), dtype=np.float32),
        electrodes=nwbfile.create_electrode_table_region([0, 1, 2, 3], "All channels."),
        rate=1000.0,
    )
    module.add(pynwb.ecephys.LFP(electrical_series=lfp))
    nwbfile.add_trial_column("correct", "Whether the animal chose well.")
    for start in (0.0, 10.0):
        nwbfile.add_trial(start_time=start, stop_time=start + 5, correct=True, timeseries=[raw])
    for name in units.metadata_columns:
        if name != "rate":
            nwbfile.add_unit_column(name, f"{name} of the unit.")
    for unit in units.index:
        nwbfile.add_unit(
            id=int(unit),
            spike_times=units[unit].t,
            obs_intervals=units.time_support.values,
            electrodes=[0, 2],
            waveform_mean=np.full((30, 4), float(unit)),
            **{name: units[name][unit] for name in units.metadata_columns if name != "rate"},
        )
    with pynwb.NWBHDF5IO(path, "w") as io:
        io.write(nwbfile)
    return path


def imaging_file(path, roi_ids=(4, 1, 9), *, planes=("left",), frames=300):
    """Write two-photon sessions: a movie, ROIs with masks, raw and ΔF/F traces."""
    nwbfile = _new_file("Running in the dark.")
    device = nwbfile.create_device("microscope", description="Two-photon.")
    module = nwbfile.create_processing_module("ophys", "Optical physiology.")
    segmentation, fluorescence = pynwb.ophys.ImageSegmentation(), pynwb.ophys.Fluorescence()
    dff = pynwb.ophys.DfOverF()
    for container in (segmentation, fluorescence, dff):
        module.add(container)
    for seed, plane in enumerate(planes):
        rng = np.random.default_rng(seed)
        imaging_plane = nwbfile.create_imaging_plane(
            name=f"plane_{plane}",
            optical_channel=pynwb.ophys.OpticalChannel(
                name="green", description="GCaMP.", emission_lambda=510.0
            ),
            description="Layer 2/3.",
            device=device,
            excitation_lambda=920.0,
            indicator="GCaMP6f",
            location="V1",
        )
        movie = pynwb.ophys.TwoPhotonSeries(
            name=f"movie_{plane}",
            description="Frames.",
            data=rng.integers(0, 99, (frames, 32, 32), dtype=np.uint16),
            imaging_plane=imaging_plane,
            rate=30.0,
            unit="a.u.",
        )
        nwbfile.add_acquisition(movie)
        table = segmentation.create_plane_segmentation(
            name=f"rois_{plane}",
            description="Cells.",
            imaging_plane=imaging_plane,
            reference_images=movie,
        )
        for roi in roi_ids:
            table.add_roi(id=roi, image_mask=rng.uniform(size=(32, 32)))
        traces = rng.uniform(1, 2, (frames, len(roi_ids))).astype(np.float32)
        region = table.create_roi_table_region("All cells.", region=list(range(len(roi_ids))))
        first = fluorescence.create_roi_response_series(
            name=f"traces_{plane}",
            description="Fluorescence.",
            data=traces,
            rois=region,
            unit="a.u.",
            timestamps=np.arange(frames) / 30.0,
        )
        dff.create_roi_response_series(
            name=f"dff_{plane}",
            description="Relative to the baseline.",
            data=traces - 1,
            rois=table.create_roi_table_region("All cells.", region=list(range(len(roi_ids)))),
            unit="n.a.",
            timestamps=first,
        )
    with pynwb.NWBHDF5IO(path, "w") as io:
        io.write(nwbfile)
    return path


def embedded_traces(roi_ids=(4, 1, 9), *, table="rois_left", frames=300, seed=0):
    """Lay out an embedding of traces, as `embed` returns it for those of `imaging_file`."""
    rng = np.random.default_rng(seed)
    traces = nap.TsdFrame(
        np.arange(frames) / 30.0, rng.uniform(1, 2, (frames, len(roi_ids))), columns=list(roi_ids)
    )
    traces.set_info(roi_table=[table] * len(roi_ids))
    n = len(roi_ids)
    return add_columns(
        traces,
        predicted={"predicted_cell_type": ["PV", "SST", "PV"][:n]},
        summary={"nuclr_n_windows": [3] * n, "nuclr_encoder": ["tiny@0a1b2c3d"] * n},
        vectors=rng.normal(size=(n, DIM)).astype(np.float32),
    )


def _new_file(description):
    return pynwb.NWBFile(
        session_description=description,
        identifier="7d6a2e3c-5a0f-4c86-b1a4-6d3f0b4c2e11",
        session_start_time=datetime(2020, 1, 1, 9, tzinfo=timezone.utc),
        experimenter=["Cajal, Santiago"],
        experiment_description="Neurons and their types.",
        institution="A university",
        lab="A laboratory",
        keywords=["neurons"],
        subject=pynwb.file.Subject(
            subject_id="m1",
            species="Mus musculus",
            sex="F",
            age="P90D",
            description="A mouse.",
        ),
    )
