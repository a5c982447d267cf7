"""Ragged columns and rows of other tables, where a file does not write them as NWB has it."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from foreign_files import (
    add_electrodes,
    add_traces,
    calcium,
    quietly,
    roi_table,
    session,
    trains,
    units_file,
    write,
)

from pynapple_nuclr import read_traces, read_units, write_nwb


def changed(path, column, values, index=None, **columns):
    """Units of which a ragged column holds other values, or its index other places."""
    units_file(path, **columns)
    with h5py.File(path, "r+") as file:
        for name, new in ((f"units/{column}", values), (f"units/{column}_index", index)):
            if new is not None:
                attributes = dict(file[name].attrs)
                del file[name]
                file[name] = new
                file[name].attrs.update(attributes)
        if f"{column}_index" in file["units"]:
            target = file[f"units/{column}"].ref
            file[f"units/{column}_index"].attrs["target"] = target
    return path


@pytest.mark.parametrize("starts", [[0, 100, 300, 600], [0, 0, 0, 0]])
def test_an_index_of_where_rows_start_is_refused(tmp_path, starts):
    """Every unit would have the spikes of the one before it."""
    path = changed(tmp_path / "x.nwb", "spike_times", None, np.array(starts))
    rest = 1000 - starts[-1]
    with pytest.raises(
        ValueError, match=rf"x\.nwb: the rows of 'spike_times' .* {rest} of its 1000"
    ):
        read_units(path)


def test_spikes_of_no_unit_are_counted(tmp_path):
    times = np.concatenate([*trains(), np.zeros(24)])
    path = changed(tmp_path / "x.nwb", "spike_times", times)
    with pytest.warns(UserWarning, match=r"x\.nwb: .*so 24 of its 1024 values are in no row"):
        units = read_units(path)
    assert [len(units[i]) for i in range(4)] == [100, 200, 300, 400]


def test_one_observed_interval_a_unit_needs_no_index(tmp_path):
    whole = [[[0.0, 10.0]]] * 4
    path = units_file(tmp_path / "x.nwb", obs_intervals=whole)
    with h5py.File(path, "r+") as file:
        del file["units/obs_intervals_index"]
    with pytest.warns(UserWarning, match=r"spikes .* outside of their unit's obs_intervals"):
        units = read_units(path)
    np.testing.assert_array_equal(units.time_support.values, [[0, 10]])


def test_spike_times_with_one_value_in_each_row_are_read(tmp_path):
    """As MATLAB and the files of Kilosort hold them: (spikes, 1)."""
    times, ends = np.concatenate(trains())[:, None], np.array([100, 300, 600, 1000])[:, None]
    path = changed(tmp_path / "x.nwb", "spike_times", times, ends)
    units = read_units(path)
    for i, train in enumerate(trains()):
        np.testing.assert_allclose(units[i].t, train, atol=1e-9)
    units["predicted_type"] = list("abcd")
    again = read_units(write_nwb(units, path, tmp_path / "y.nwb"))
    assert again["predicted_type"].tolist() == list("abcd")


@pytest.mark.filterwarnings("ignore:DynamicTableRegion values")  # hdmf's own
@pytest.mark.parametrize(("rows", "is_said"), [([1, 2, 3, 4], True), ([0, 2, 3, 4], False)])
def test_rows_that_matlab_counts_from_1(tmp_path, rows, is_said):
    """Which electrode or ROI is meant is not certain, so it is said."""
    nwbfile = session()
    add_electrodes(nwbfile)
    for i, times in enumerate(trains()):
        nwbfile.add_unit(spike_times=times, electrodes=[i])
    add_traces(nwbfile, roi_table(nwbfile, 4), calcium(100, 4))
    path = write(nwbfile, tmp_path / "x.nwb")
    with h5py.File(path, "r+") as file:
        file["units/electrodes"][:] = rows
        file["processing/ophys/DfOverF/RoiResponseSeries/rois"][:] = rows
    hint = "If the file counts rows from 1, as MATLAB does, all of them are one row off"
    _, said = quietly(read_units, path)
    assert any("1 of 4 rows in the column 'electrodes'" in one for one in said)
    assert any(hint in one for one in said) is is_said
    with pytest.raises(ValueError, match=r"x\.nwb.* refers to rows . to 4") as error:
        read_traces(path)
    assert (hint in str(error.value)) is is_said
