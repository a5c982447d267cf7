"""Fewer windows: in an even order, up to a limit or until the embedding is known."""

import logging

import numpy as np
import pynapple as nap
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import pynapple_nuclr as nap_nuclr
from pynapple_nuclr import Encoder, EncoderConfig
from pynapple_nuclr.embedding._budget import golden_ratio_order


@pytest.fixture(scope="module")
def units():
    return nap_nuclr.simulate("single", n_units=20, duration=400, seed=0)


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    return Encoder(EncoderConfig(dim=32, heads=2, head_dim=16)).eval()


@given(st.integers(1, 300), st.data())
def test_the_first_windows_lie_evenly(n, data):
    order = golden_ratio_order(n)
    assert sorted(order) == list(range(n))
    first = data.draw(st.integers(1, n))
    edges = np.concatenate([[-1], np.sort(order[:first]), [n]])
    assert np.diff(edges).max() <= 2 * n / first + 2


def test_some_windows_give_the_mean_over_these(units, encoder, caplog):
    whole = nap_nuclr.encode(units, encoder, return_windows=True, progress=False)
    some = nap_nuclr.encode(units, encoder, return_windows=True, max_windows=8, progress=False)
    assert some.attrs["windows"] == 8 and some.attrs["windows_skipped"] == 32
    assert "read 8 windows, skipped 32" in caplog.text
    assert list(np.diff(some["start"])) == [50.0] * 7
    expected = whole["window_embedding"].values[2::5].mean(axis=0)
    np.testing.assert_allclose(some["embedding"], expected, atol=1e-6)
    assert whole.attrs["windows_skipped"] == 0


def test_a_tolerance_is_kept(units, encoder):
    whole = nap_nuclr.encode(units, encoder, progress=False)
    skipped = []
    for tolerance in (0.05, 0.3, 3.0):
        some = nap_nuclr.encode(units, encoder, tolerance=tolerance, progress=False)
        skipped.append(some.attrs["windows_skipped"])
        centred = [one["embedding"] - one["embedding"].mean("unit") for one in (whole, some)]
        lengths = [np.sqrt((one**2).sum("feature")) for one in centred]
        cosine = (centred[0] * centred[1]).sum("feature") / (lengths[0] * lengths[1])
        angle = np.arccos(np.clip(cosine.values, -1, 1))
        assert np.median(angle) < 1.5 * tolerance
    assert skipped == sorted(skipped) and skipped[-1] > 0
    assert nap_nuclr.encode(units, encoder, tolerance=1e-9, progress=False).attrs["windows"] == 40


def test_a_limit_of_time_leaves_at_least_one_window(units, encoder):
    some = nap_nuclr.embed(units, encoder, max_seconds=1e-9, progress=False)
    assert int(np.max(some["nuclr_n_windows"])) == 1
    assert np.isnan(some["nuclr_stability"]).all()


def test_long_work_without_a_bar_says_how_long(units, encoder, caplog, monkeypatch):
    nap_nuclr.embed(units, encoder, progress=False)
    assert "about" not in caplog.text
    monkeypatch.setattr("pynapple_nuclr.embedding._encode._LONG", -1.0)
    nap_nuclr.embed(units, encoder, progress=False, name="day 1", max_population=5)
    assert caplog.text.count("day 1: about 1 min for 40 windows; max_windows") == 1


def test_limits_hold_for_every_population(units, encoder, caplog):
    caplog.set_level(logging.WARNING)
    units.set_info(probe=["A", "B"] * 10)
    dataset = nap_nuclr.encode(
        units, encoder, by="probe", return_windows=True, max_windows=4, progress=False
    )
    assert dataset["window_embedding"].shape == (4, 20, 32)
    assert caplog.text.count("skipped 36") == 2


@pytest.mark.parametrize(
    "limit",
    [
        {"max_windows": 0},
        {"max_windows": 2.5},
        {"max_windows": np.inf},
        {"max_windows": "some"},
        {"max_seconds": -1},
        {"max_seconds": np.nan},
        {"tolerance": 0},
        {"tolerance": "little"},
    ],
)
def test_a_limit_that_is_none_is_refused(units, encoder, limit):
    with pytest.raises((TypeError, ValueError), match="expected a (positive|whole) number"):
        nap_nuclr.embed(units, encoder, **limit)


def test_a_large_population_is_split_differently_in_every_window(units, encoder):
    whole = nap_nuclr.encode(units, encoder, return_windows=True, progress=False)
    split = nap_nuclr.encode(units, encoder, return_windows=True, max_population=7, progress=False)
    assert (split["n_windows"].values == whole["n_windows"].values).all()
    assert not np.allclose(split["embedding"], whole["embedding"], atol=1e-4)
    # Other contexts in other windows: the mean over them comes nearer to the whole than one does.
    away = abs(split["window_embedding"] - whole["window_embedding"]).mean()
    assert abs(split["embedding"] - whole["embedding"]).mean() < away / 2
    without = Encoder(EncoderConfig(dim=32, heads=2, head_dim=16, spatiotemporal_layers=0)).eval()
    alone, also = (
        nap_nuclr.encode(units, without, max_population=n, progress=False)["embedding"]
        for n in (7, None)
    )
    np.testing.assert_allclose(alone, also, atol=1e-5)


def test_contexts_do_not_depend_on_the_order_of_units(units, encoder):
    order = np.random.default_rng(0).permutation(units.index)
    shuffled = nap.TsGroup(
        {i: units[unit] for i, unit in enumerate(order)}, time_support=units.time_support
    )
    first, second = (
        nap_nuclr.encode(one, encoder, max_population=6, progress=False)["embedding"].values
        for one in (units, shuffled)
    )
    np.testing.assert_allclose(second, first[order], atol=1e-5)


def test_stability_of_some_windows_is_nearly_that_of_all(units, encoder, monkeypatch):
    whole = nap_nuclr.encode(units, encoder, progress=False)
    monkeypatch.setattr("pynapple_nuclr.embedding._encode._KEPT_VALUES", 1)
    some = nap_nuclr.encode(units, encoder, progress=False)
    np.testing.assert_allclose(some["embedding"], whole["embedding"])
    assert abs(some["stability"] - whole["stability"]).max() < 0.1
    assert not np.allclose(some["stability"], whole["stability"], atol=1e-6)
