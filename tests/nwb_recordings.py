"""Recordings to write as NWB, embeddings made by hand, and files as other software writes them."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pynapple as nap
import pynwb

from pynapple_nuclr.columns import lay_out

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
    return lay_out(
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
        session_start_time=datetime(2020, 1, 1, tzinfo=UTC),
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
