"""Fewer windows: in an even order, up to a limit or until the embedding is known."""

import logging

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pynapple_nuclr as nap_nuclr
from pynapple_nuclr import Encoder, EncoderConfig
from pynapple_nuclr.anytime import even_order


@pytest.fixture(scope="module")
def units():
    return nap_nuclr.simulate("single", n_units=20, duration=400, seed=0)


@pytest.fixture(scope="module")
def encoder():
    return Encoder(EncoderConfig(dim=32, heads=2, head_dim=16)).eval()


@given(st.integers(1, 300), st.data())
def test_the_first_windows_lie_evenly(n, data):
    order = even_order(n)
    assert sorted(order) == list(range(n))
    first = data.draw(st.integers(1, n))
    edges = np.concatenate([[-1], np.sort(order[:first]), [n]])
    assert np.diff(edges).max() <= 2 * n / first + 2


def test_some_windows_give_the_mean_over_these(units, encoder, caplog):
    whole = nap_nuclr.encode(units, encoder, windows=True, progress=False)
    some = nap_nuclr.encode(units, encoder, windows=True, max_windows=8, progress=False)
    assert some.attrs["windows"] == 8 and some.attrs["windows_skipped"] == 32
    assert "read 8 windows, skipped 32" in caplog.text
    assert list(np.diff(some["start"])) == [50.0] * 7
    expected = whole["window_embedding"].values[2::5].mean(axis=0)
    np.testing.assert_allclose(some["embedding"], expected, atol=1e-6)
    assert whole.attrs["windows_skipped"] == 0


def test_a_tolerance_is_kept(units, encoder):
    whole = nap_nuclr.encode(units, encoder, progress=False)
    skipped = []
    for tolerance in (0.05, 0.2, 1.0):
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


def test_limits_hold_for_every_population(units, encoder, caplog):
    caplog.set_level(logging.WARNING)
    units.set_info(probe=["A", "B"] * 10)
    dataset = nap_nuclr.encode(
        units, encoder, by="probe", windows=True, max_windows=4, progress=False
    )
    assert dataset["window_embedding"].shape == (4, 20, 32)
    assert caplog.text.count("skipped 36") == 2


@pytest.mark.parametrize("limit", [{"max_windows": 0}, {"max_seconds": -1}, {"tolerance": 0}])
def test_a_limit_that_is_not_positive_is_refused(units, encoder, limit):
    with pytest.raises(ValueError, match="expected a positive number"):
        nap_nuclr.embed(units, encoder, **limit)
