"""Histograms of intervals beside the counts of a patch."""

from __future__ import annotations

import numpy as np
import pynapple as nap
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pynapple_nuclr as nap_nuclr
from pynapple_nuclr.config import EncoderConfig
from pynapple_nuclr.recording import as_recording
from pynapple_nuclr.windows import open_patch_reader
from pynapple_nuclr.windows.patch_readers import Thinning

CONFIG = EncoderConfig(window_duration=4.0, interval_bins=8)
EDGES = np.geomspace(0.001, 3.0, 9)


def by_hand(trains, starts):
    """One interval after the other, as the docstring says."""
    counted = np.zeros((len(trains), len(starts), 16))
    for unit, train in enumerate(trains):
        train = train[(train >= starts[0]) & (train < starts[-1] + 1)]
        for later, first_bin in ((1, 0), (2, 8), (3, 8), (4, 8), (6, 8)):
            for spike, other in zip(train, train[later:], strict=False):
                patch = np.searchsorted(starts, spike, side="right") - 1
                place = np.searchsorted(EDGES, other - spike, side="right") - 1
                counted[unit, patch, first_bin + np.clip(place, 0, 7)] += 1
    return np.log1p(counted)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000), st.integers(1, 4))
def test_every_interval_is_counted_in_the_patch_of_its_first_spike(seed, n_units):
    rng = np.random.default_rng(seed)
    trains = [np.sort(rng.uniform(0, 4, rng.integers(1, 60))) for _ in range(n_units)]
    group = nap.TsGroup(
        {i: nap.Ts(train) for i, train in enumerate(trains)}, time_support=nap.IntervalSet(0, 4)
    )
    reader = open_patch_reader(as_recording(group), CONFIG)
    starts = np.arange(4.0)
    patches = reader.read(starts)
    np.testing.assert_allclose(patches[..., 50:], by_hand(trains, starts), rtol=1e-6)
    plain = open_patch_reader(as_recording(group), EncoderConfig(window_duration=4.0))
    np.testing.assert_array_equal(patches[..., :50], plain.read(starts))
    some = rng.permutation(n_units)[: max(n_units - 1, 1)]
    np.testing.assert_array_equal(reader.read(starts, some), patches[some])


def test_no_interval_crosses_a_gap():
    epochs = nap.IntervalSet([0, 10], [2, 12])
    group = nap.TsGroup({0: nap.Ts([0.5, 1.9, 10.1, 11.0])}, time_support=epochs)
    reader = open_patch_reader(as_recording(group), CONFIG)
    first = np.expm1(reader.read(np.array([0.0, 1.0, 10.0, 11.0]))[0, :, 50:58])
    np.testing.assert_allclose(first.sum(axis=1), [1, 0, 1, 0], atol=1e-6)


def test_thinning_keeps_the_expected_part_of_the_spikes():
    trains = {i: nap.Ts(np.sort(np.random.default_rng(i).uniform(0, 4, 4000))) for i in range(2)}
    group = nap.TsGroup(trains, time_support=nap.IntervalSet(0, 4))
    reader = open_patch_reader(as_recording(group), CONFIG)
    thinning = Thinning(np.array([0.25, 1.0]), np.random.default_rng(0))
    thinned = reader.read(np.arange(4.0), thinning=thinning)[..., :50].sum(axis=(1, 2))
    assert thinned[1] == 4000
    assert 900 < thinned[0] < 1100


def test_fine_timing_that_counts_do_not_show_separates_units():
    """Two kinds of units of one rate: spikes alone, and pairs of spikes 3 ms apart."""
    rng = np.random.default_rng(0)
    trains, paired = {}, []
    for unit in range(40):
        times = rng.uniform(0, 60, 600 if unit % 2 else 300)
        if not unit % 2:
            times = np.concatenate([times, times + 0.003])
        trains[unit] = nap.Ts(np.sort(times[times < 60]))
        paired.append(unit % 2 == 0)
    group = nap.TsGroup(trains, time_support=nap.IntervalSet(0, 60))
    patches = open_patch_reader(as_recording(group), CONFIG).read(np.arange(4.0))
    short = np.expm1(patches[..., 51]).sum(axis=1)  # 2.7 to 7.4 ms
    assert short[paired].min() > short[~np.array(paired)].max()


def test_an_encoder_that_reads_intervals_embeds_and_is_saved(tmp_path):
    config = EncoderConfig(
        dim=8, heads=2, head_dim=4, temporal_layers=1, spatiotemporal_layers=1, interval_bins=4
    )
    assert config.features == 50 + 8
    assert EncoderConfig(interval_bins=0).signature() == EncoderConfig().signature()
    encoder = nap_nuclr.Encoder(config)
    units = nap_nuclr.simulate(n_units=12, duration=30, seed=0)
    units = units[0] if isinstance(units, tuple) else units
    embedded = nap_nuclr.embed(units, encoder, progress=False)
    nap_nuclr.save_encoder(encoder, tmp_path / "encoder")
    again = nap_nuclr.embed(units, str(tmp_path / "encoder"), progress=False)
    np.testing.assert_array_equal(
        nap_nuclr.embeddings(embedded).values, nap_nuclr.embeddings(again).values
    )


def test_the_number_of_bins_is_checked():
    with pytest.raises(ValueError, match="interval_bins is -1"):
        EncoderConfig(interval_bins=-1)
