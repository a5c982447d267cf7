"""NWB files: which units are read, and the time in which they were observed."""

from __future__ import annotations

import sys
from datetime import datetime, timezone

import h5py
import numpy as np
import pynapple as nap
import pynwb
import pytest
from foreign_files import quietly, trains, units_file
from nwb_recordings import TRIALS, foreign_file, make_units

from pynapple_nuclr.nwb.stored_embeddings import describe_nwb, read_embedding
from pynapple_nuclr.nwb.units import read_units
from pynapple_nuclr.nwb.writing import write_units


def packed(path, number):
    """Return a file whose spike times are said to be packed with a filter, and are not."""
    with h5py.File(foreign_file(path), "r+") as file:
        old = file["units/spike_times"]
        attributes, shape = dict(old.attrs), old.shape
        layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        layout.set_chunk(shape)
        layout.set_filter(number, h5py.h5z.FLAG_OPTIONAL, (3,))
        del file["units/spike_times"]
        kind, space = h5py.h5t.IEEE_F64LE, h5py.h5s.create_simple(shape)
        new = h5py.h5d.create(file["units"].id, b"spike_times", kind, space, layout)
        new.write_direct_chunk((0,), b"x" * 300)
        file["units/spike_times"].attrs.update(attributes)
        file["units/spike_times_index"].attrs["target"] = file["units/spike_times"].ref
    return path


def test_a_filter_that_hdf5_lacks_is_named(tmp_path):
    """As in files packed with Zstandard: HDF5 says only that it found no plugin for it."""
    path = packed(tmp_path / "day1.nwb", 33_000)  # of a number that nobody has registered
    with pytest.raises(ValueError, match=r"day1\.nwb cannot be read here: units/spike_times") as e:
        read_units(path)
    assert "filter 33000" in str(e.value) and "pip install hdf5plugin" in str(e.value)
    with pytest.raises(OSError, match=r"day2\.nwb as NWB; it may be damaged.*filter"):
        read_units(packed(tmp_path / "day2.nwb", h5py.h5z.FILTER_DEFLATE))


def test_filters_of_hdf5plugin_are_used_where_it_is_installed(tmp_path, monkeypatch):
    (tmp_path / "hdf5plugin.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "hdf5plugin", raising=False)
    read_units(foreign_file(tmp_path / "day1.nwb"))
    assert "hdf5plugin" in sys.modules
    monkeypatch.delitem(sys.modules, "hdf5plugin")


def test_epochs_by_name_and_as_intervals(tmp_path):
    path = write_units(make_units(support=TRIALS), tmp_path / "trials.nwb")
    first = read_units(path, epochs=nap.IntervalSet(0, 12))
    np.testing.assert_array_equal(first.time_support.values, TRIALS.values[:3])
    named = read_units(path, epochs="epochs")
    np.testing.assert_array_equal(named.time_support.values, TRIALS.values)
    with pytest.raises(ValueError, match=r"no intervals 'trials'; it has epochs"):
        read_units(path, epochs="trials")


def test_support_of_a_foreign_file(tmp_path):
    plain = read_units(foreign_file(tmp_path / "plain.nwb"))
    np.testing.assert_allclose(plain.time_support.values, [[0, 5.7]])
    trials = read_units(tmp_path / "plain.nwb", epochs="trials")
    np.testing.assert_allclose(trials.time_support.values, [[0, 1], [1.5, 2]])
    shared = [[[0.0, 2.5], [3.0, 6.0]]] * 3
    path = foreign_file(tmp_path / "common.nwb", shared)
    with pytest.warns(UserWarning, match="3 of 60 spikes"):  # in the gap
        common = read_units(path)
    np.testing.assert_allclose(common.time_support.values, shared[0])


def test_units_that_were_observed_at_different_times(tmp_path):
    different = [[[0.0, 6.0]], [[0.0, 2.0], [3.0, 5.0]], [[1.0, 6.0]]]
    path = foreign_file(tmp_path / "different.nwb", different)
    with pytest.warns(UserWarning, match=r"different\.nwb: units have 3 .*all share is used, 3 s"):
        common = read_units(path)
    np.testing.assert_allclose(common.time_support.values, [[1, 2], [3, 5]])
    apart = [[[0.0, 2.0]], [[3.0, 5.0]], [[0.0, 2.0]]]
    path = foreign_file(tmp_path / "apart.nwb", apart)
    with pytest.warns(UserWarning, match=r"2 different .*share no time.*epochs=") as said:
        plain = read_units(path)
    outside, different = (str(one.message) for one in said)
    assert "lie outside of their unit's obs_intervals" in outside and "2 different" in different
    np.testing.assert_allclose(plain.time_support.values, [[0, 5.7]])


def test_files_that_hold_no_units(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"missing\.nwb"):
        read_units(tmp_path / "missing.nwb")
    (tmp_path / "text.nwb").write_text("not HDF5")
    with pytest.raises(ValueError, match=r"text\.nwb is no NWB file"):
        read_units(tmp_path / "text.nwb")
    empty = pynwb.NWBFile("x", "x", datetime(2020, 1, 1, tzinfo=timezone.utc))
    with pynwb.NWBHDF5IO(tmp_path / "empty.nwb", "w") as io:
        io.write(empty)
    for function in (read_units, read_embedding, describe_nwb):
        with pytest.raises(ValueError, match=r"empty\.nwb has no units table.*write_units"):
            function(tmp_path / "empty.nwb")


def test_units_with_one_spike_each_are_read_where_pynapple_finds_no_time_support(tmp_path):
    support = nap.IntervalSet(0, 1)
    once = {unit: nap.Ts([0.5], time_support=support) for unit in range(2)}
    path = write_units(nap.TsGroup(once, time_support=support), tmp_path / "once.nwb")
    units = read_units(path)
    assert [len(units[unit]) for unit in units.index] == [1, 1]
    np.testing.assert_array_equal(units.time_support.values, support.values)
    with h5py.File(path, "r+") as file:
        file["units"].attrs["colnames"] = ["spike_times"]
        del file["units/obs_intervals"], file["units/obs_intervals_index"]
    with pytest.raises(ValueError, match=r"once\.nwb does not say when its 2 units were observed"):
        read_units(path)


def test_reading_an_embedding_that_is_not_there(tmp_path):
    source = write_units(make_units(), tmp_path / "day1.nwb")
    with pytest.raises(ValueError, match="no column 'nuclr_embedding'.*write_nwb"):
        read_embedding(source)
    assert describe_nwb(source)["embeddings"] == {}


COARSE = {
    # spike times as they are stored → is it said
    "in full": (lambda times: times, False),
    "of milliseconds": (lambda times: times.round(3), False),
    "of frames": (lambda times: (times * 30).round() / 30, True),
    "of frames of a clock": (lambda times: 1e-9 * times + (times * 30).round() / 30, True),
    "of bins": (lambda times: times.round(2), True),
    "float32": (lambda times: (times + 3600).astype(np.float32), False),
    "float32 of a clock of Unix": (lambda times: (times * 30 + 1.6e9).astype(np.float32), True),
}


@pytest.mark.parametrize("case", COARSE)
def test_times_that_are_no_times_of_spikes(tmp_path, case):
    """Events of deconvolved traces, counts in bins, and times that lost their digits."""
    stored, is_said = COARSE[case]
    path = units_file(tmp_path / "x.nwb", [stored(one) for one in trains(6)])
    units, said = quietly(read_units, path)
    assert len(units) == 6
    assert len(said) == sum("no two spike times of 6 units" in one for one in said) == is_said


def test_a_few_spikes_on_a_grid_are_not_warned_of(tmp_path):
    grid = [np.arange(100.0)] * 6
    assert not quietly(read_units, units_file(tmp_path / "x.nwb", grid))[1]
