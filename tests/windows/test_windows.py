"""Windows and patches: what is counted, where, and that nothing crosses a gap."""

import binning  # benchmarks/binning.py
import numpy as np
import pynapple as nap
import pytest
from generated import MOMENTS, spike_recordings
from hypothesis import given, settings
from hypothesis import strategies as st

from pynapple_nuclr.config import EncoderConfig
from pynapple_nuclr.recording import as_recording
from pynapple_nuclr.windows import (
    ViewSampler,
    ViewSettings,
    open_patch_reader,
    population_tensor,
    tile,
)

SMALL = EncoderConfig(patch_duration=0.2, window_duration=0.8)


# Small ones, at times at which pynapple's nanoseconds are exact; tests/test_properties.py has all.
few_units = spike_recordings(units=[1, 2, 5], moments=MOMENTS)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(units=few_units, seed=st.integers(0, 2**31))
def test_windows_hold_what_pynapple_counts(units, seed):
    """Spikes on an edge aside, of which pynapple itself puts one in either bin."""
    support = units.time_support
    trains = {i: units[i].t for i in units.index}
    for start in support.start:
        since = {i: (train - start) / 0.02 for i, train in trains.items()}
        trains = {i: trains[i][abs(x - x.round()) > 1e-5] for i, x in since.items()}
    units = nap.TsGroup({i: nap.Ts(t) for i, t in trains.items()}, time_support=support)
    if not sum(len(units[i]) for i in units.index):
        return
    source = open_patch_reader(as_recording(units), SMALL)
    for start, end in units.time_support.values:
        bins = int(round((end - start) / 0.2, 6)) * 10
        if not bins:
            continue
        epoch = nap.IntervalSet(start, end)
        counted = units.count(0.02, epoch).values[:bins].T.reshape(len(units), -1, 10)
        starts = start + np.arange(bins // 10) * 0.2
        np.testing.assert_array_equal(source.read(starts), counted)
        # In any order, some of the patches, of some of the units.
        rng = np.random.default_rng(seed)
        some = rng.permutation(len(starts))[: rng.integers(1, len(starts) + 1)]
        few = rng.permutation(len(units))[: rng.integers(1, len(units) + 1)]
        np.testing.assert_array_equal(source.read(starts[some], few), counted[few][:, some])


@settings(max_examples=30, deadline=None, derandomize=True)
@given(units=few_units, seed=st.integers(0, 2**31))
def test_the_order_of_units_does_not_matter(units, seed):
    if not sum(len(units[i]) for i in units.index):
        return
    mixed = np.random.default_rng(seed).permutation(len(units))
    # A TsGroup sorts by id: new ids put its units in another order.
    trains = {place: units[units.index[unit]] for place, unit in enumerate(mixed)}
    other = as_recording(nap.TsGroup(trains, time_support=units.time_support))
    recording = as_recording(units)
    ranks = np.unique(recording.activity(), return_counts=True)[1]
    if ranks.max() == 1:  # else units with as many spikes differ in nothing
        np.testing.assert_array_equal(other.order(), recording.order()[mixed])
    starts = units.time_support.values[:1, 0] + np.arange(3) * 0.2
    patches = open_patch_reader(recording, SMALL).read(starts)
    np.testing.assert_array_equal(open_patch_reader(other, SMALL).read(starts), patches[mixed])


@settings(max_examples=30, deadline=None, derandomize=True)
@given(units=few_units)
def test_a_recording_holds_every_spike_of_every_unit(units):
    if not sum(len(units[i]) for i in units.index):
        return
    recording = as_recording(units)
    for row, unit in enumerate(units.index):
        times, who = recording.trains(row, row + 1)
        np.testing.assert_array_equal(times, units[unit].t)
        assert (who == row).all()
        np.testing.assert_array_equal(np.sort(recording.times[recording.units == row]), times)
    low, high = np.sort(np.random.default_rng(0).uniform(*units.time_support.values[[0, -1], 1], 2))
    times, who = recording.between(low, high)
    for row, unit in enumerate(units.index):
        train = units[unit].t
        np.testing.assert_array_equal(
            np.sort(times[who == row]), train[(train >= low) & (train < high)]
        )


def test_the_index_is_small_beside_the_spikes():
    rng = np.random.default_rng(0)
    for n_units, n_spikes in ((200, 500), (2000, 3)):
        trains = {i: nap.Ts(np.sort(rng.uniform(0, 3600, n_spikes))) for i in range(n_units)}
        units = nap.TsGroup(trains, time_support=nap.IntervalSet(0, 3600))
        recording = as_recording(units)
        assert recording.offsets.nbytes < 0.4 * recording.times.nbytes


def test_windows_take_little_more_memory_than_the_spikes():
    found = binning.measure_memory("source", n_units=300, hours=0.5, rate=5.0)
    assert found["of_spikes"] <= 1.5


def test_bins_are_half_open_and_counted_from_the_epochs_start():
    spikes = nap.Ts([10.0, 10.02, 10.0399, 10.04, 10.19999, 10.2])
    units = nap.TsGroup({0: spikes}, time_support=nap.IntervalSet(10, 20))
    first = population_tensor(units, SMALL).values[0, 0]
    assert first[0].tolist() == [1, 2, 1, 0, 0, 0, 0, 0, 0, 1]
    assert first[1, 0] == 1


@pytest.mark.parametrize("start", [0.0, 1e6 + 0.1, 4e6 + 0.3, -1e8 - 0.3, 1.7e9, 1.7e9 + 0.3])
def test_a_spike_next_to_the_edge_of_two_windows_is_counted_once(start):
    """Far from 0 (1.7e9 s: since 1970) the end of a patch is not the float that begins the next."""
    edges = start + np.arange(0, 40, 0.2)
    near = edges[:, None] + np.arange(-3, 4) * np.spacing(edges)[:, None]
    near = near[(near >= start) & (near < edges[-1] + 0.1)]
    units = nap.TsGroup({0: nap.Ts(np.sort(near))}, time_support=nap.IntervalSet(start, start + 40))
    tensor = population_tensor(units, SMALL)
    assert tensor.sizes["window"] == 50
    assert int(tensor.sum()) == len(units[0]) > 1300


@pytest.mark.parametrize("start", [0.0, 1e8 + 0.3, 1.7e9 + 0.3])
def test_spikes_on_edges_are_in_the_bin_that_they_open_however_far_from_0(start):
    spikes = nap.Ts(start + np.arange(400) * 0.02)
    units = nap.TsGroup({0: spikes}, time_support=nap.IntervalSet(start, start + 8))
    assert (population_tensor(units, SMALL) == 1).all()


@pytest.mark.parametrize("start", [0.0, 1.7e9 + 0.3])
def test_epochs_that_rounding_shortens_keep_their_last_patch(start):
    """pynapple cuts a microsecond from an epoch that touches the next; floats are not exact."""
    spikes = nap.Ts(start + np.arange(0.05, 8, 0.1))
    starts = start + np.arange(10) * 0.8
    with pytest.warns(UserWarning, match="ends"):
        touching = nap.IntervalSet(starts, starts + 0.8)
    units = nap.TsGroup({0: spikes}, time_support=touching)
    assert population_tensor(units, SMALL).sizes["window"] == 10
    source = open_patch_reader(as_recording(units), SMALL)
    sampler = ViewSampler([source], ViewSettings(max_view_distance=None), "split")
    assert len(sampler.plan(0)) == 10


def test_split_and_join_differ_as_documented():
    rng = np.random.default_rng(0)
    spikes = nap.Ts(np.sort(rng.uniform(0, 10, 400)))
    trials = nap.IntervalSet(np.arange(10.0), np.arange(10.0) + 0.5)
    units = nap.TsGroup({0: spikes}, time_support=trials)
    with pytest.raises(ValueError, match='gaps="join"'):
        population_tensor(units, SMALL)
    joined = population_tensor(units, SMALL, gaps="join")
    assert joined.sizes == {"window": 5, "unit": 1, "patch": 4, "bin": 10}
    np.testing.assert_allclose(joined["start"][0], [0, 0.2, 1, 1.2])
    assert joined.attrs["unused_seconds"] == pytest.approx(1.0)


def test_epochs_choose_the_time():
    units = nap.TsGroup(
        {0: nap.Ts(np.arange(0.005, 20, 0.01))}, time_support=nap.IntervalSet(0, 20)
    )
    tensor = population_tensor(units, SMALL, epochs=nap.IntervalSet(3, 4))
    assert tensor.sizes["window"] == 1
    assert float(tensor["start"][0, 0]) == 3


def calcium(frames=600, rate=20.0, units=7, seed=0, jitter=0.0):
    rng = np.random.default_rng(seed)
    times = np.arange(frames) / rate + rng.uniform(-jitter, jitter, frames) / rate
    return nap.TsdFrame(t=6e5 + times, d=rng.normal(1, 1, (frames, units)))


def test_calcium_at_the_encoders_rate_is_only_scaled():
    config = EncoderConfig(modality="calcium", frame_rate=20.0, window_frames=16)
    units = calcium()
    tensor = population_tensor(units, config)
    scale = np.percentile(units.values.astype(np.float32), 99)
    assert tensor.attrs["scale"] == pytest.approx(scale)
    assert tensor.sizes == {"window": 37, "unit": 7, "patch": 4, "bin": 4}
    flat = tensor.values.transpose(0, 2, 3, 1).reshape(-1, 7)
    np.testing.assert_allclose(flat, units.values[: len(flat)] / scale, rtol=1e-5)


@pytest.mark.parametrize("rate", [5.0, 20.0, 33.0])
def test_traces_are_interpolated_to_the_encoders_rate(rate):
    """A slow sine reads the same whatever the rate it was recorded at."""
    times = np.arange(int(100 * rate)) / rate
    traces = 2 + np.sin(2 * np.pi * 0.1 * times)[:, None] * np.ones(3)
    config = EncoderConfig(modality="calcium", frame_rate=10.0, window_frames=16)
    tensor = population_tensor(nap.TsdFrame(t=times, d=traces), config)
    read = tensor.values[:, 0].reshape(-1) * tensor.attrs["scale"]
    expected = 2 + np.sin(2 * np.pi * 0.1 * np.arange(len(read)) / 10)
    np.testing.assert_allclose(read, expected, atol=0.02)
    assert tensor.attrs["unused_seconds"] < 1.7


@pytest.mark.parametrize("rate", [5.0, 20.0, 33.0])
def test_events_are_summed_into_the_encoders_bins(rate):
    rng = np.random.default_rng(1)
    events = (rng.random((2000, 4)) < 0.02) * rng.uniform(1, 2, (2000, 4))
    frame = nap.TsdFrame(t=np.arange(2000) / rate, d=events)
    config = EncoderConfig(modality="calcium", frame_rate=10.0, signal="events", window_frames=4)
    tensor = population_tensor(frame, config)
    read = tensor.values.sum(axis=(0, 2, 3)) * tensor.attrs["scale"]
    frames = round(tensor.sizes["window"] * 4 * rate / 10)
    np.testing.assert_allclose(read, events[:frames].sum(axis=0), rtol=0.02)


def test_jitter_of_the_clock_is_no_gap():
    config = EncoderConfig(modality="calcium", frame_rate=20.0, window_frames=16)
    even, uneven = calcium(), calcium(jitter=0.05)
    same = nap.TsdFrame(t=uneven.t, d=even.values)
    np.testing.assert_array_equal(
        population_tensor(even, config).values, population_tensor(same, config).values
    )


def spikes(duration, support, n_units=30, seed=0):
    rng = np.random.default_rng(seed)
    trains = {i: nap.Ts(np.sort(rng.uniform(0, duration, 2000))) for i in range(n_units)}
    return nap.TsGroup(trains, time_support=support)


@pytest.mark.parametrize("least", [0.0, 2.0])
def test_split_views_stay_in_an_epoch_at_an_allowed_distance(least):
    support = nap.IntervalSet([0, 40, 90], [30, 80, 90.9])
    source = open_patch_reader(as_recording(spikes(100, support)), SMALL)
    view = ViewSettings(max_view_distance=5.0, min_view_distance=least)
    sampler = ViewSampler([source], view, "split", seed=1)
    distances = []
    for epoch in range(3):
        places = sampler.plan(epoch)
        assert len(places) >= 80
        for _, first, second in places:
            distances.append(abs(second[0] - first[0]))
            for view_starts in (first, second):
                start, end = view_starts[0], view_starts[-1] + 0.2
                inside = (support.start <= start + 1e-5) & (end <= support.end + 1e-5)
                assert inside.any()
    assert max(distances) <= 5 + 1e-5
    assert min(distances) >= least - 1e-5
    assert np.ptp(distances) > 2


def test_joined_views_share_no_patch_and_lie_at_a_random_phase():
    trials = nap.IntervalSet(np.arange(0, 100, 1.0), np.arange(0, 100, 1.0) + 0.4)
    config = EncoderConfig(patch_duration=0.2, window_duration=0.8, gaps="join")
    source = open_patch_reader(as_recording(spikes(100, trials)), config)
    sampler = ViewSampler([source], ViewSettings(max_view_distance=3.0), "join", seed=1)
    phases = []
    for _, first, second in sampler.plan(0):
        phases.extend(np.concatenate((first, second)) % 1.0)
        assert (np.abs(first[:, None] - second[None, :]) > 0.2 - 1e-9).all()
    phases = np.array(phases)
    assert phases.min() >= -1e-9 and phases.max() <= 0.2 + 1e-9
    assert np.ptp(phases) > 0.15


def test_views_drop_units_and_repeat_with_the_seed():
    source = open_patch_reader(as_recording(spikes(60, nap.IntervalSet(0, 60))), SMALL)
    sampler = ViewSampler([source], ViewSettings(), "split", seed=3)
    place = sampler.plan(0)[0]
    pairs = [sampler.pair(place, np.random.default_rng(seed)) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(pairs[0].patches1, pairs[1].patches1)
    assert pairs[0].ids1.tolist() != pairs[2].ids1.tolist()
    for pair in pairs:
        assert 15 <= len(pair.ids1) <= 30
        tensor = source.read(place[1])
        np.testing.assert_array_equal(pair.patches1, tensor[pair.ids1])
    again = ViewSampler([source], ViewSettings(), "split", seed=3).plan(0)
    np.testing.assert_array_equal(again[0][1], place[1])


def poisson_reader(n_units=60):
    rng = np.random.default_rng(0)
    rates = rng.permutation(np.geomspace(4, 60, n_units))
    trains = {i: nap.Ts(np.sort(rng.uniform(0, 60, int(60 * r)))) for i, r in enumerate(rates)}
    group = nap.TsGroup(trains, time_support=nap.IntervalSet(0, 60))
    return open_patch_reader(as_recording(group), SMALL)


def test_views_keep_a_random_share_of_the_spikes_of_each_unit():
    reader = poisson_reader()
    settings = ViewSettings(spikes_kept=(0.3, 0.6), min_units=2)
    sampler = ViewSampler([reader], settings, "split", seed=2)
    position = sampler.plan(0)[0]
    first, again, other = (sampler.pair(position, np.random.default_rng(s)) for s in (0, 0, 1))
    np.testing.assert_array_equal(first.patches1, again.patches1)
    assert not np.array_equal(first.patches1[:5], other.patches1[:5])
    kept = total = 0
    for seed in range(40):
        pair = sampler.pair(position, np.random.default_rng(seed))
        for starts, patches, ids in zip(
            position[1:], (pair.patches1, pair.patches2), (pair.ids1, pair.ids2), strict=True
        ):
            whole = reader.read(starts)[ids]
            assert (patches <= whole).all() and (patches == patches.round()).all()
            assert patches.any(axis=(1, 2)).all()  # units without a spike left have left the view
            kept, total = kept + patches.sum(), total + whole.sum()
    assert kept / total == pytest.approx(0.45, abs=0.03)


def test_views_of_similar_rates_are_a_contiguous_part_in_order_of_rate():
    reader = poisson_reader(n_units=90)
    rank = np.argsort(np.argsort(reader.recording.counts.sum(axis=0), kind="stable"))
    settings = ViewSettings(rate_matched=1.0)
    sampler = ViewSampler([reader], settings, "split", seed=2)
    lowest = set()
    for position in sampler.plan(0)[:20]:
        pair = sampler.pair(position, np.random.default_rng(len(lowest)))
        ranks = rank[np.union1d(pair.ids1, pair.ids2)]
        assert np.ptp(ranks) < 30
        assert 12 <= len(pair.ids1) <= 30
        lowest.add(ranks.min())
    assert len(lowest) > 3
    sometimes = ViewSampler([reader], ViewSettings(rate_matched=0.5), "split", seed=2)
    pairs = [sometimes.pair(position, np.random.default_rng(s)) for s in range(40)]
    matched = sum(np.ptp(rank[pair.ids1]) < 30 for pair in pairs)
    assert 8 <= matched <= 32


def test_options_of_views_are_checked():
    for name, value in (("spikes_kept", (0.0, 1.0)), ("spikes_kept", (0.8, 0.5))):
        with pytest.raises(ValueError, match=name):
            ViewSettings(**{name: value})
    with pytest.raises(ValueError, match="rate_matched is 1.5"):
        ViewSettings(rate_matched=1.5)
    frames = nap.TsdFrame(t=np.arange(200) / 5, d=np.random.default_rng(0).random((200, 30)))
    config = EncoderConfig(modality="calcium", frame_rate=5.0, window_frames=40)
    reader = open_patch_reader(as_recording(frames), config)
    for name, value in (("spikes_kept", (0.5, 1.0)), ("rate_matched", 0.5)):
        with pytest.raises(ValueError, match=f"{name} is .*calcium traces"):
            ViewSampler([reader], ViewSettings(**{name: value}), "split")


def test_views_with_too_few_units_are_skipped():
    source = open_patch_reader(as_recording(spikes(60, nap.IntervalSet(0, 60), n_units=9)), SMALL)
    sampler = ViewSampler([source], ViewSettings(), "split")
    assert sampler.pair(sampler.plan(0)[0], np.random.default_rng(0)) is None


def test_tiling_of_real_trials_uses_both_halves(steinmetz_session):
    config = EncoderConfig(patch_duration=0.2, window_duration=2.0, gaps="join")
    tiling = tile(open_patch_reader(as_recording(steinmetz_session), config))
    trials = len(steinmetz_session.time_support)
    assert len(tiling.starts) == 2 * trials // 10
    phase = tiling.starts.ravel()[:, None] - steinmetz_session.time_support.start
    phase = np.where(phase < -1e-6, np.inf, phase).min(axis=1)
    assert set(np.round(phase, 3)) == {0.0, 0.2}
