"""Calcium frames that are not evenly spaced: activity at a known time lies in the right window."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pynapple as nap
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pynapple_nuclr import EncoderConfig, population_tensor
from pynapple_nuclr.windows.frame_times import frame_periods, runs_of_frames

RATE = 5.0  # of the encoder: a patch of 4 frames lasts 0.8 s
MARK = (100.0, 120.0)


def config(**changes):
    return EncoderConfig(modality="calcium", frame_rate=RATE, window_frames=8, **changes)


def frames_of(kind, rng, rate):
    """Return the times of frames over 200 s, or what is left of it."""
    times = np.arange(0, 200, 1 / rate)
    if kind == "dropped":
        return times[rng.random(len(times)) > rng.uniform(0.02, 0.3)]
    if kind == "changed":
        change, other = rng.uniform(20, 180), rate * rng.uniform(0.25, 4)
        return np.r_[times[times < change], np.arange(change, 200, 1 / other)]
    if kind == "gap":
        start, length = rng.uniform(5, 70), rng.uniform(5, 25)
        return times[(times < start) | (times > start + length)]
    if kind == "jitter":
        return np.sort(times + rng.uniform(-0.4, 0.4, len(times)) / rate)
    return times + np.cumsum(rng.uniform(0, 0.02, len(times))) / rate  # a clock that drifts


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(["dropped", "changed", "gap", "jitter", "drift"]),
    rate=st.sampled_from([4.0, RATE, 7.5, 15.0, 20.0, 30.0, 60.0]),
    signal=st.sampled_from(["dff", "events"]),
    gaps=st.sampled_from(["split", "join"]),
    seed=st.integers(0, 2**16),
)
def test_activity_at_a_known_time_is_read_at_that_time(kind, rate, signal, gaps, seed):
    rng = np.random.default_rng(seed)
    times = frames_of(kind, rng, rate)
    data = np.full((len(times), 3), 0.0 if signal == "events" else 1e-4)
    data[(times >= MARK[0]) & (times < MARK[1])] = 1.0
    tensor = population_tensor(nap.TsdFrame(t=times, d=data), config(signal=signal, gaps=gaps))
    starts = tensor.start.values
    active = starts[(tensor.values > 0.01).any(axis=(1, 3))]
    slack = 1 / RATE + 3 / rate  # one new frame, and the interpolation over dropped ones
    assert MARK[0] - 0.8 - slack <= active.min() and active.max() <= MARK[1] + slack
    if kind != "dropped":  # many in a row end an epoch, and what is left of it is unused
        assert active.min() <= MARK[0] + slack + 2.4 and active.max() >= MARK[1] - slack - 3.2
    inside = (starts >= MARK[0] + slack) & (starts + 0.8 <= MARK[1] - slack)
    if signal == "dff":
        np.testing.assert_allclose(tensor.values.transpose(0, 2, 1, 3)[inside], 1, rtol=1e-5)


@pytest.mark.parametrize(
    ("times", "epochs"),
    [
        (np.r_[0:60:0.1, 90:150:0.1], [(0, 60), (90, 150)]),  # a pause
        (np.r_[0:60:0.1, 61:120:0.1], [(0, 60), (61, 120)]),  # 10 frames
        (np.r_[0:60:0.1, 60.2:120:0.1], [(0, 120)]),  # 3 frames, and 1 of the encoder
        (np.r_[0:60:0.5, 61.0:120:0.5], [(0, 120)]),  # 3 frame periods
        (np.r_[0:60:0.5, 61.1:120:0.5], [(0, 60), (61.1, 120)]),  # and more
    ],
)
def test_an_interruption_ends_an_epoch(times, epochs):
    tensor = population_tensor(nap.TsdFrame(t=times, d=np.ones((len(times), 2))), config())
    for patches in tensor.start.values:
        assert any(start - 1e-6 <= patches[0] <= end for start, end in epochs)
        assert any(patches[0] >= start - 1e-6 and patches[-1] < end for start, end in epochs)
    covered = sum(int((end - start) / 1.6) for start, end in epochs)
    assert abs(tensor.sizes["window"] - covered) <= len(epochs)


def test_the_longest_interval_can_be_chosen():
    times = np.r_[0:60:0.5, 70:130:0.5]
    frame = nap.TsdFrame(t=times, d=np.ones((len(times), 2)))
    assert population_tensor(frame, config()).sizes["window"] == 2 * 37
    assert population_tensor(frame, config(max_gap=25.0)).sizes["window"] == 81
    with pytest.raises(ValueError, match=r"config\.max_gap is 0\.5"):
        config(max_gap=0.5)


def test_gaps_of_the_time_support_are_gaps():
    frame = nap.TsdFrame(
        t=np.arange(0, 100, 0.2),
        d=np.ones((500, 2)),
        time_support=nap.IntervalSet([0, 60], [40, 100]),
    )
    starts = population_tensor(frame, config()).start.values
    assert not ((starts > 40) & (starts < 60)).any()


@pytest.mark.parametrize("rates", [(15, 60), (60, 15), (5, 30, 10), (30, 4)])
def test_a_changed_rate_is_no_interruption(rates):
    parts = [k * 50 + np.arange(0, 50, 1 / rate) for k, rate in enumerate(rates)]
    times = np.concatenate(parts)
    assert runs_of_frames(times) == [(0, len(times))]
    periods = frame_periods(times)
    for part, rate in zip(parts, rates, strict=True):
        inside = (times[:-1] >= part[0]) & (times[:-1] < part[-1])
        np.testing.assert_allclose(periods[inside], 1 / rate, rtol=1e-6)


@pytest.mark.parametrize("rate", [4.9, 5.0, 20.0])
def test_events_are_neither_lost_nor_counted_twice(rate):
    rng = np.random.default_rng(0)
    times = (np.arange(int(160 * rate)) + rng.uniform(-0.3, 0.3, int(160 * rate))) / rate
    events = (rng.random((len(times), 4)) < 0.05) * 1.0
    tensor = population_tensor(nap.TsdFrame(t=times, d=events), config(signal="events"))
    read = tensor.values.sum(axis=(0, 2, 3)) * tensor.attrs["scale"]
    until = times[0] + tensor.sizes["window"] * 1.6
    np.testing.assert_allclose(read, events[times < until].sum(axis=0), atol=1.01)


@pytest.mark.parametrize(("scale", "said"), [(1.0, False), (1e3, True), (1e6, True)])
def test_times_in_milliseconds_are_said_before_frames_are_made(monkeypatch, scale, said):
    frame = nap.TsdFrame(t=np.arange(600) / 20 * scale, d=np.ones((600, 2)))
    monkeypatch.setattr("pynapple_nuclr.windows.trace_patches._place", None)
    with (
        pytest.warns(UserWarning, match="look like milliseconds") if said else nullcontext(),
        pytest.raises(TypeError, match="NoneType"),
    ):
        population_tensor(frame, config())
