"""`encode` and `embed`: one line on a recording, and what they promise."""

import numpy as np
import pandas as pd
import pynapple as nap
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import pynapple_nuclr as nap_nuclr
from pynapple_nuclr import Encoder, EncoderConfig
from pynapple_nuclr.recording import as_recording
from pynapple_nuclr.stability import self_rank

CONFIG = EncoderConfig(dim=32, heads=2, head_dim=16, patch_duration=0.5, window_duration=2.0)


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    return Encoder(CONFIG, name="tiny").eval()


def snapshot(units):
    """Everything of a TsGroup that could be changed."""
    trains = {i: units[i].t.copy() for i in units.index}
    return trains, units.metadata.copy(), units.time_support.values.copy()


def assert_unchanged(units, before):
    trains, metadata, support = before
    assert list(units.index) == list(trains)
    for unit, train in trains.items():
        np.testing.assert_array_equal(units[unit].t, train)
    pd.testing.assert_frame_equal(units.metadata, metadata)
    np.testing.assert_array_equal(units.time_support.values, support)


def test_embed_keeps_ids_order_and_metadata_and_its_input(tiny_units, encoder):
    before = snapshot(tiny_units)
    embedded = nap_nuclr.embed(tiny_units, encoder, progress=False)
    assert_unchanged(tiny_units, before)
    assert isinstance(embedded, nap.TsGroup)
    assert list(embedded.index) == list(tiny_units.index)
    for column in tiny_units.metadata.columns:
        assert list(embedded[column]) == list(tiny_units[column])
    vectors = nap_nuclr.embeddings(embedded)
    dataset = nap_nuclr.encode(tiny_units, encoder, progress=False)
    np.testing.assert_array_equal(vectors.values, dataset["embedding"].values)
    assert set(embedded["nuclr_encoder"]) == {encoder.identity} == {dataset.attrs["encoder"]}
    assert list(embedded["nuclr_n_windows"]) == [30] * 12


def test_the_embedding_is_the_mean_over_windows_in_float64(tiny_units, encoder):
    dataset = nap_nuclr.encode(tiny_units, encoder, return_windows=True, progress=False)
    windows = dataset["window_embedding"].values
    expected = np.nanmean(windows.astype(np.float64), axis=0)
    np.testing.assert_allclose(dataset["embedding"], expected, atol=1e-6)
    # A window by itself, through the tensor that people look at.
    tensor = nap_nuclr.population_tensor(tiny_units, encoder.config)
    active = np.flatnonzero(tensor.values[3].any(axis=(1, 2)))
    with torch.no_grad():
        alone = encoder(torch.from_numpy(tensor.values[3][active]), [len(active)])
    np.testing.assert_allclose(windows[3][active], alone, atol=1e-5)
    assert dataset["start"].values[3] == 6.0


def test_copies_of_units_are_named_in_a_warning(tiny_units, encoder):
    trains = {unit: tiny_units[unit] for unit in tiny_units.index}
    copied = nap.TsGroup(
        trains | {50: trains[8], 51: trains[8]}, time_support=nap.IntervalSet(0, 60)
    )
    with pytest.warns(UserWarning, match=r"s: 2 of 14 units have the same activity .*\(50, 51\)"):
        nap_nuclr.embed(copied, encoder, progress=False, name="s")


def relabelled(units, order):
    """The same units in another order: unit i of the result is unit order[i] of `units`."""
    trains = {i: nap.Ts(units[units.index[j]].t) for i, j in enumerate(order)}
    return nap.TsGroup(trains, time_support=units.time_support)


@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 1000))
def test_shuffling_units_permutes_the_result_and_changes_nothing_else(seed, tiny_units, encoder):
    order = np.random.default_rng(seed).permutation(len(tiny_units))
    before = nap_nuclr.encode(tiny_units, encoder, progress=False)
    after = nap_nuclr.encode(relabelled(tiny_units, order), encoder, progress=False)
    for name in ("embedding", "stability", "n_windows"):
        np.testing.assert_allclose(after[name], before[name].values[order], atol=1e-5)


def test_a_silent_unit_changes_no_other_unit(tiny_units, encoder):
    trains = {int(i): nap.Ts(tiny_units[i].t) for i in tiny_units.index}
    trains[0] = nap.Ts(np.array([]))
    with_silent = nap.TsGroup(trains, time_support=tiny_units.time_support)
    before = nap_nuclr.encode(tiny_units, encoder, progress=False)
    with pytest.warns(UserWarning, match="1 of 13 units have no spike"):
        after = nap_nuclr.embed(with_silent, encoder, progress=False)
    np.testing.assert_allclose(
        nap_nuclr.embeddings(after).values[1:], before["embedding"], atol=1e-5
    )
    np.testing.assert_allclose(
        after["nuclr_stability"].to_numpy()[1:], before["stability"], atol=1e-5
    )
    assert after["nuclr_n_windows"][0] == 0
    assert np.isnan(nap_nuclr.embeddings(after).values[0]).all()
    assert np.isnan(after["nuclr_stability"][0])


def test_summary_writes_no_vectors(tiny_units, encoder):
    embedded = nap_nuclr.embed(tiny_units, encoder, columns="summary", progress=False)
    assert "nuclr_stability" in embedded.metadata.columns
    assert "nuclr_0" not in embedded.metadata.columns
    with pytest.raises(ValueError, match="'summary' left them out"):
        nap_nuclr.embeddings(embedded)


def test_trials_are_joined_in_one_line(steinmetz_session):
    with pytest.warns(UserWarning, match="no spike in any window"):
        embedded = nap_nuclr.embed(steinmetz_session, progress=False)
    assert embedded["nuclr_n_windows"].max() >= 10
    known = embedded["nuclr_n_windows"].to_numpy() > 0
    assert np.isfinite(nap_nuclr.embeddings(embedded).values[known]).all()
    np.testing.assert_array_equal(
        embedded.time_support.values, steinmetz_session.time_support.values
    )


def test_calcium_is_embedded_with_its_metadata():
    rng = np.random.default_rng(0)
    traces = nap.TsdFrame(
        t=np.arange(1500) / 10,
        d=rng.normal(size=(1500, 8)) + 2,
        columns=[f"cell{i}" for i in range(8)],
        metadata={"depth": np.arange(8)},
    )
    config = EncoderConfig(modality="calcium", window_frames=40, dim=32, heads=2, head_dim=16)
    torch.manual_seed(0)
    embedded = nap_nuclr.embed(traces, Encoder(config), progress=False)
    assert isinstance(embedded, nap.TsdFrame)
    assert list(embedded.columns) == list(traces.columns)
    np.testing.assert_array_equal(embedded.values, traces.values)
    assert list(embedded["depth"]) == list(range(8))
    assert np.isfinite(nap_nuclr.embeddings(embedded).values).all()
    dataset = nap_nuclr.encode(traces, Encoder(config), progress=False)
    assert dataset.attrs["scale"] > 0


def test_numbers_repeat_and_low_precision_is_recorded(tiny_units, encoder):
    first = nap_nuclr.encode(tiny_units, encoder, progress=False)
    again = nap_nuclr.encode(tiny_units, encoder, progress=False)
    np.testing.assert_array_equal(first["embedding"], again["embedding"])
    low = nap_nuclr.encode(tiny_units, encoder, precision="bfloat16", progress=False)
    assert (first.attrs["precision"], low.attrs["precision"]) == ("float32", "bfloat16")
    difference = np.abs(low["embedding"] - first["embedding"]).max()
    assert 0 < difference < 0.1


def test_stability_is_one_for_constant_and_half_for_random_embeddings():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(40, 60, 16)).astype(np.float32)
    identity = 20 * rng.normal(size=(1, 60, 16)).astype(np.float32)
    order = np.arange(60)
    np.testing.assert_allclose(self_rank(noise + identity, order), 1)
    chance = self_rank(noise, order)
    assert abs(chance.mean() - 0.5) < 0.02
    # What the whole recording does in a window is no identity.
    shared = 5 * rng.normal(size=(40, 1, 16)).astype(np.float32)
    assert abs(self_rank(noise + shared, order).mean() - 0.5) < 0.02


def test_stability_is_nan_below_two_windows_and_without_another_unit():
    vectors = np.random.default_rng(0).normal(size=(3, 4, 8)).astype(np.float32)
    vectors[1:, 0] = np.nan
    vectors[:, 1] = np.nan
    stability = self_rank(vectors, np.arange(4))
    assert np.isnan(stability[:2]).all() and np.isfinite(stability[2:]).all()
    assert np.isnan(self_rank(vectors[:, 2:3], np.zeros(1, int))).all()


def test_an_unusual_rate_alone_makes_no_unit_stable():
    rng = np.random.default_rng(0)
    log_rate = rng.normal(size=300)
    by_rate_alone = np.zeros((20, 300, 8), dtype=np.float32)
    by_rate_alone[:, :, 0] = log_rate + rng.normal(scale=0.3, size=(20, 300))
    by_rate_alone[:, :, 1] = rng.normal(scale=0.3, size=(20, 300))
    stability = self_rank(by_rate_alone, np.argsort(np.argsort(log_rate)))
    # Compared with all other units: 0.67 for the half with usual rates, 0.79 for the others.
    assert abs(stability.mean() - 0.5) < 0.05
    usual = np.abs(log_rate) < np.median(np.abs(log_rate))
    assert abs(stability[~usual].mean() - stability[usual].mean()) < 0.05


def test_stability_ignores_the_order_of_units():
    rng = np.random.default_rng(0)
    vectors = (rng.normal(size=(10, 500, 8)) + rng.normal(size=(1, 500, 8))).astype(np.float32)
    place, order = rng.permutation(500), rng.permutation(500)
    np.testing.assert_allclose(
        self_rank(vectors[:, order], place[order]),
        self_rank(vectors, place)[order],
        atol=1e-9,
    )


def test_units_with_as_many_spikes_are_sorted_by_when_they_fire():
    rng = np.random.default_rng(0)
    trains = [np.sort(rng.uniform(0, 50, 20)) for _ in range(300)]
    support = nap.IntervalSet(0, 50)
    order = rng.permutation(300)
    first, other = (
        as_recording(nap.TsGroup({i: nap.Ts(t) for i, t in enumerate(ts)}, time_support=support))
        for ts in (trains, [trains[i] for i in order])
    )
    np.testing.assert_array_equal(other.order(), first.order()[order])


def test_a_users_columns_are_never_read_as_ours(tiny_units, encoder):
    plain = nap_nuclr.embed(tiny_units, encoder, progress=False)
    trains = {int(i): tiny_units[i] for i in tiny_units.index}
    named = nap.TsGroup(trains, time_support=tiny_units.time_support)
    named.set_info(stability=np.zeros(12), n_windows=np.zeros(12), embedding=np.ones(12))
    embedded = nap_nuclr.embed(named, encoder, progress=False)
    for column in ("nuclr_stability", "nuclr_n_windows", "nuclr_0"):
        np.testing.assert_array_equal(embedded[column], plain[column])
    assert list(embedded["stability"]) == [0] * 12
