"""A units table for a new NWB file."""

from __future__ import annotations

import numpy as np
import pynapple as nap
import pynwb
from hdmf.common import VectorData, VectorIndex
from pynwb import H5DataIO
from pynwb.misc import Units

from pynapple_nuclr.nwb.table_columns import Columns, scatter_rows


def build_table(units: nap.TsGroup, columns: Columns) -> pynwb.misc.Units:
    """Build a units table from spike trains, their time support and further columns."""
    n_units = len(units)
    trains = [np.asarray(units[unit].t, dtype=np.float64) for unit in units.index]
    support = np.asarray(units.time_support.values, dtype=np.float64)
    # Hundreds of trials, the same for each of a thousand units: compressed.
    repeated = H5DataIO(np.tile(support, (n_units, 1)), compression="gzip")
    spikes = VectorData(
        name="spike_times", description="Spike times, in seconds", data=np.concatenate(trains)
    )
    intervals = VectorData(
        name="obs_intervals", description="When the unit was observed, in seconds", data=repeated
    )
    spike_ends = np.cumsum([len(train) for train in trains])
    interval_ends = len(support) * np.arange(1, n_units + 1)
    rows = np.arange(n_units)
    further = [
        VectorData(name=name, description=description, data=scatter_rows(values, rows, n_units))
        for name, (values, description) in columns.items()
    ]
    return Units(
        name="units",
        description="Sorted units.",
        id=[int(unit) for unit in units.index],
        columns=[
            spikes,
            VectorIndex(name="spike_times_index", data=spike_ends, target=spikes),
            intervals,
            VectorIndex(name="obs_intervals_index", data=interval_ends, target=intervals),
            *further,
        ],
        colnames=["spike_times", "obs_intervals", *columns],
    )
