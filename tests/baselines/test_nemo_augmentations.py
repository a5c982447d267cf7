"""NEMO's augmentations, which are those of the published code."""

import numpy as np
import pytest
import torch

import pynapple_nuclr as nap_nuclr
from pynapple_nuclr.baselines.nemo import Nemo, contrastive_training
from pynapple_nuclr.baselines.nemo.networks import augment_images, augment_waveforms


def augmented(images, seed=0):
    torch.manual_seed(seed)
    return augment_images(images)


def test_images_are_augmented_in_proportion_to_their_own_rates():
    made = torch.rand(30, 10, 101) ** 4
    factors = torch.logspace(-4, 1, 30)[:, None, None]
    np.testing.assert_allclose(augmented(made * factors) / factors, augmented(made), atol=1e-4)
    assert augmented(made).min() == 0  # no rate is below 0
    assert not augmented(0 * made).any()


def test_noise_is_a_tenth_of_the_maximum_and_given_to_half_of_the_units():
    flat = torch.ones(1000, 10, 101)  # neither smoothed nor shifted rows differ
    out = augmented(flat).flatten(1)
    untouched = ((out - 1).abs() < 1e-4).all(1)
    assert untouched.float().mean() == pytest.approx(1 / 8, abs=0.04)  # scaled, noise, pixels
    spread = torch.stack([one[one > 0.3].std() for one in out])  # without the pixels set to zero
    noisy = spread > 0.01
    assert noisy.float().mean() == pytest.approx(1 / 2, abs=0.05)
    assert spread[noisy].mean() == pytest.approx(0.1, abs=0.005)
    emptied = (out == 0).float().mean(1)
    assert emptied[emptied > 0].mean() == pytest.approx(0.05, abs=0.005)
    assert (emptied > 0).float().mean() == pytest.approx(1 / 2, abs=0.05)


def test_rows_are_shifted_apart_by_up_to_three_lags_and_none_is_lost():
    made = torch.zeros(1000, 10, 101)
    made[:, :, 0] = 1
    out = augmented(made)
    sharp = (out > 0.85).sum((1, 2)) == 10  # not smoothed, no noise above, no pixel lost
    places = out[sharp].argmax(2)
    assert set(places.unique().tolist()) == {0, 1, 2, 3, 98, 99, 100}
    moved = (places != 0).any(1)
    assert moved.float().mean() == pytest.approx(1 / 2, abs=0.1)
    assert (places[moved].float().std(1) > 0).all()


def test_waveforms_get_noise_by_their_own_spread_and_keep_a_peak_of_one():
    torch.manual_seed(0)
    made = torch.sin(torch.linspace(0, 6.28, 41)).expand(2000, 41)
    made = made / made.abs().max()
    out = augment_waveforms(made)
    assert out.abs().amax(1).allclose(torch.ones(2000))
    changed = (out != made).any(1)
    assert changed.float().mean() == pytest.approx(0.3, abs=0.04)
    still = made.abs().argmin(1)[0]  # a sample of 0, which the scaling of the peak leaves
    assert out[changed][:, still].std() == pytest.approx(0.1 * float(made[0].std()), rel=0.15)


@pytest.mark.parametrize("waveform", ["waveform", None])
def test_rates_are_augmented_before_they_are_standardised(monkeypatch, waveform):
    units = nap_nuclr.simulate("single", n_units=20, duration=60, seed=0)
    units.set_info(waveform_0=np.ones(20), waveform_1=np.arange(20) / 20)
    seen = []

    def spy(images):
        seen.append(images)
        return augment_images(images)

    monkeypatch.setattr(contrastive_training, "augment_images", spy)
    Nemo(dim=8, projection=8, steps=2, waveform=waveform).fit({"a": units})
    assert len(seen) == (2 if waveform else 4)  # at every step one view, or both
    rate = units.rates.mean()
    assert all(one.min() >= 0 and rate / 2 < one.mean() < 2 * rate for one in seen)  # in Hz
