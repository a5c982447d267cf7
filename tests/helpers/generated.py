"""Recordings that hypothesis makes up, odd in every way in which recordings are odd."""

import warnings

import joblib
import numpy as np
import pandas as pd
import pynapple as nap
from hypothesis import strategies as st
from tally import counts

MOMENTS = [0.0, 3.3, -50.0, 1e6]
"""Seconds at which recordings begin; the clock of a rig may have run for days."""
FAR_MOMENTS = [-1e7, 1e8, 1.7e9]
"""Times of day since 1970 and the like: floats that far lie nanoseconds or more apart."""
POPULATIONS = [1, 2, 3, 5, 12, 40, 300]
BIN = 0.02


@st.composite
def spike_recordings(draw, units=POPULATIONS, moments=(*MOMENTS, *FAR_MOMENTS)):
    """A TsGroup: units that are silent, fire once, twice at a time or on edges; any metadata."""
    counts["recordings generated"] += 1
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    support = draw(epochs(moments))
    n_units = draw(st.sampled_from(units))
    ids = draw(
        st.sampled_from([np.arange(n_units), rng.permutation(n_units * 3 + 7)[:n_units] - 5])
    )
    trains = {int(unit): nap.Ts(_train(rng, support), time_support=support) for unit in ids}
    group = nap.TsGroup(trains, time_support=support)
    _describe(group, draw(metadata(n_units)))
    return group


@st.composite
def calcium_recordings(draw, units=POPULATIONS, moments=(*MOMENTS, *FAR_MOMENTS)):
    """A TsdFrame: frames dropped, ROIs constant or silent, ids of any kind, any metadata."""
    counts["recordings generated"] += 1
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n_units, n_frames = draw(st.sampled_from(units)), draw(st.sampled_from([2, 30, 120, 300]))
    rate = draw(st.sampled_from([5.0, 10.0, 10.05, 33.0]))
    frames = np.arange(n_frames) + rng.uniform(-0.05, 0.05, n_frames)
    start = draw(st.sampled_from(moments))
    times = (
        start + np.delete(frames, rng.permutation(n_frames - 2)[: draw(st.integers(0, 5))]) / rate
    )
    traces = rng.normal(1, 1, (len(times), n_units))
    for unit in rng.permutation(n_units)[: draw(st.integers(0, 2))]:
        traces[:, unit] = draw(st.sampled_from([0.0, 7.0, -1.0]))
    ids = draw(
        st.sampled_from(
            [
                np.arange(n_units),
                rng.permutation(3 * n_units) - 2,
                [f"roi {unit}" for unit in rng.permutation(n_units)],
                rng.permutation(n_units) + 0.5,
            ]
        )
    )
    cuts = start + np.linspace(0, n_frames / rate, draw(st.integers(1, 4)))
    support = _epochs(cuts[:-1] + 0.25, cuts[1:]) if len(cuts) > 1 else None
    frame = nap.TsdFrame(
        t=times,
        d=traces.astype(draw(st.sampled_from(["f8", "f4", "f2"]))),
        columns=ids[:n_units],
        time_support=support,
    )
    _describe(frame, draw(metadata(n_units)))
    return frame


@st.composite
def epochs(draw, moments=tuple(MOMENTS)):
    """An IntervalSet: tiny, touching and overlapping epochs, which pynapple cuts or merges."""
    moment, bounds = draw(st.sampled_from(moments)), []
    for _ in range(draw(st.integers(1, 6))):
        length = draw(st.sampled_from([1e-6, 0.05, 0.2, 0.4, 0.8, 1.7, 3.0]))
        bounds.append((moment, moment + length))
        moment += length + draw(st.sampled_from([-0.1, 0.0, 0.01, 0.5, 2.0]))
    return _epochs(*np.array(bounds).T)


@st.composite
def metadata(draw, n_units):
    """Metadata of some of the kinds that people give (name → values), names like ours included."""
    kinds = {
        "words": np.resize(["PV", "SST", "a long name"], n_units),
        "gaps": np.resize(np.array(["PV", None, "nan", ""], dtype=object), n_units),
        "depth": np.resize([120.5, np.nan], n_units),
        "half": np.arange(n_units, dtype="f2"),
        "small": np.arange(n_units).astype("i1"),
        "large": np.arange(n_units, dtype="u8") + np.uint64(2**63),
        "good": np.resize([True, False], n_units),
        "mixed": np.resize(np.array([1, "a", None, 2.5], dtype=object), n_units),
        "kind": pd.Categorical(np.resize(["a", "b"], n_units)),
        "born": pd.to_datetime(np.resize(["2020-01-01", None], n_units)),
        "zone": pd.to_datetime(np.resize(["2020-01-01"], n_units)).tz_localize("Europe/Oslo"),
        "lag": pd.to_timedelta(np.arange(n_units), unit="s"),
        "whole": pd.array([None, *range(1, n_units)], dtype="Int64"),
        "truth": pd.array(([True, None] * n_units)[:n_units], dtype="boolean"),
        "text": pd.array((["a", None] * n_units)[:n_units], dtype="string"),
        "place": np.arange(3.0 * n_units).reshape(n_units, 3),
        "phase": np.arange(n_units) * 1j,
        "unit": np.arange(n_units),
        "stability": np.arange(n_units),
        "feature": np.arange(n_units),
        "nuclr_0": np.arange(n_units, dtype=float),
        "nuclr_encoder": np.resize(["another"], n_units),
        "nuclr_x": np.arange(n_units),
        "other_0": np.arange(n_units),
        "predicted_word": np.resize(["PV"], n_units),
    }
    return {
        name: kinds[name] for name in draw(st.lists(st.sampled_from(sorted(kinds)), max_size=6))
    }


def fingerprint(units):
    """Return a hash of everything in a pynapple object."""
    spikes = isinstance(units, nap.TsGroup)
    data = [units[unit].t for unit in units.index] if spikes else [units.t, units.values]
    ids = units.index if spikes else units.columns
    return joblib.hash((list(ids), units.time_support.values, data, dict(units._metadata)))


def _train(rng, support):
    """Draw spike times of one unit."""
    low, high = support.values.min(), support.values.max()
    uniform = np.sort(rng.uniform(low, high, rng.integers(1, 80)))
    edges = np.concatenate([support.values.ravel(), low + BIN * rng.integers(0, 200, 20)])
    kinds = [[], uniform[:1], uniform, np.repeat(uniform, 2), np.sort(edges)]
    return np.asarray(kinds[rng.choice(len(kinds), p=[0.15, 0.1, 0.35, 0.15, 0.25])])


def _epochs(starts, ends):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what pynapple corrects
        return nap.IntervalSet(starts, ends)


def _describe(units, columns):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that are no attributes
        units.set_info(columns)
