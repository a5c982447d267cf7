"""NWB files of generated units: each spike is read in the right unit and epoch, or refused."""

from __future__ import annotations

import warnings

import numpy as np
import pynwb
import pytest
from foreign_files import session, write
from tally import counts

from pynapple_nuclr.nwb.units import read_units

FAST, SLOW = range(30), range(30, 1_100)


def maybe(rng, value, otherwise=None, chance=0.5):
    return value if rng.random() < chance else otherwise


def generate(rng):
    """Return a file, what its units hold, and the invalid times."""
    nwbfile = session()
    n_units, until = int(rng.integers(1, 7)), float(rng.uniform(20, 200))
    groups = [
        nwbfile.create_electrode_group(f"g{i}", "x", str(rng.choice(["CA1", "unknown", ""])), probe)
        for i, probe in enumerate(
            nwbfile.create_device(f"probe{i}") for i in range(rng.integers(0, 3))
        )
    ]
    for i in range(int(rng.integers(1, 6)) if groups else 0):
        place = str(rng.choice(["CA1", "CA3", "n/a"]))
        nwbfile.add_electrode(id=100 + i, location=place, group=groups[i % len(groups)])
    n_electrodes = len(nwbfile.electrodes.id) if groups else 0
    has_electrodes, has_group = n_electrodes and rng.random() < 0.6, groups and rng.random() < 0.5
    observed = rng.choice(["none", "same", "different", "some"])
    shared = np.array([[0.0, 0.4], [0.5, 1.0]]) * until
    texts = maybe(rng, [["PV", "", "é", "SST"][i % 4] for i in range(n_units)])
    bytes_ = maybe(rng, np.array([b"a", b"bc", b""])[rng.integers(0, 3, n_units)])
    numbers = maybe(rng, np.where(rng.random(n_units) < 0.3, np.nan, 1.5))
    columns = {"label": texts, "raw_label": bytes_, "depth": numbers}
    columns = {name: values for name, values in columns.items() if values is not None}
    is_root = rng.random() < 0.8
    table = nwbfile if is_root else pynwb.misc.Units(name="sorted", description="x")
    has_electrodes, has_group = has_electrodes and is_root, has_group and is_root
    for name in columns:
        (table.add_unit_column if is_root else table.add_column)(name, name)
    ids = rng.permutation(1000)[:n_units]
    spikes_of = {}
    for i, unit in enumerate(ids):
        times = np.sort(rng.uniform(0, until, int(rng.integers(0, 400))))
        if rng.random() < 0.1 and len(times) > 30:
            times[[10, 11]] = times[[11, 10]]
        if rng.random() < 0.1 and len(times):
            times[rng.integers(len(times))] = np.nan
        more = {name: values[i] for name, values in columns.items()}
        intervals = {"none": None, "same": shared, "different": shared + [[0, 0], [0, -i]]}.get(
            observed, shared if i % 2 else np.empty((0, 2))
        )
        if intervals is not None:
            more["obs_intervals"] = intervals
        if has_electrodes:
            size = int(rng.integers(i == 0, n_electrodes + 1))
            more["electrodes"] = rng.permutation(n_electrodes)[:size].tolist()
        if has_group:
            more["electrode_group"] = groups[i % len(groups)]
        table.add_unit(id=int(unit), spike_times=times, **more)
        known = intervals is not None and len(intervals)
        spikes_of[int(unit)] = (np.sort(times[np.isfinite(times)]), intervals if known else None)
    if not is_root:
        nwbfile.create_processing_module("ecephys", "x").add(table)
    invalid = maybe(rng, [(0.2 * until, 0.3 * until)], [], 0.3)
    for start, stop in invalid:
        nwbfile.add_invalid_time_interval(start_time=start, stop_time=stop)
    return (
        nwbfile,
        spikes_of,
        invalid,
        observed,
        columns,
        {unit: i for i, unit in enumerate(ids)},
    )


def within(times, intervals):
    return np.array([any(start <= t <= stop for start, stop in intervals) for t in times], bool)


def check(seed, folder):
    """Read one file; compare with what was written by the rules of the documentation."""
    nwbfile, spikes_of, invalid, observed, columns, rows = generate(np.random.default_rng(seed))
    path = write(nwbfile, folder / f"{seed}.nwb")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            units = read_units(path)
    except ValueError as error:
        assert path.name in str(error), error
        spikes = np.concatenate([times for times, _ in spikes_of.values()])
        assert len(np.unique(spikes)) < 2, error  # nothing else is refused
        counts["generated NWB files refused"] += 1
        return
    finally:
        path.unlink()
    assert units.index.tolist() == sorted(spikes_of)
    known = [one for _, one in spikes_of.values() if one is not None]
    common = known if observed == "different" else []
    for unit, (times, own) in spikes_of.items():
        kept = np.ones(len(times), bool)
        for intervals in [*common, *([own] if own is not None else [])]:
            kept &= within(times, intervals)
        for start, stop in invalid:
            kept &= ~((times > start) & (times < stop))
        np.testing.assert_allclose(units[unit].t, times[kept], atol=2e-9, err_msg=f"seed {seed}")
    for name, values in columns.items():
        for unit, found in zip(units.index, units.get_info(name), strict=True):
            value = values[rows[unit]]
            value = value.decode() if isinstance(value, bytes) else value
            assert found == value or (found != found and value != value), (seed, name)
    counts["generated NWB files read"] += 1


@pytest.mark.filterwarnings("ignore")
def test_generated_files(tmp_path):
    for seed in FAST:
        check(seed, tmp_path)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_thousand_generated_files(tmp_path):
    for seed in SLOW:
        check(seed, tmp_path)
