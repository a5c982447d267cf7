"""The two encoders, the augmentation of their inputs, and the loss that compares them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from torch import Tensor, nn
from torch.nn import functional as F

_IMAGES = 0.5  # probability of each augmentation of an image
_BLUR = 2.0  # lags, s.d. of the smoothing
_SHIFT = 3  # lags, largest shift of a row
_SCALING = 0.1  # largest relative change of an image's amplitude
_PEPPER = 0.05  # fraction of an image's pixels that are set to zero
_WAVEFORMS = 0.3  # probability that a waveform is given noise
_NOISE = 0.1  # s.d. of noise, over the maximum of the image or the s.d. of the waveform
_DROPOUT = 0.2  # in the encoder of images
_AT_ONCE = 1024  # units that are encoded at a time


def image_encoder(rates: int, lags: int, dim: int) -> nn.Sequential:
    """Return two convolutions and a perceptron: (units, rates, lags) → (units, dim)."""
    width = 16 * -(-rates // 4) * -(-lags // 4)
    return nn.Sequential(
        nn.Unflatten(1, (1, rates)),
        *_convolution(1, 8),
        *_convolution(8, 16),
        nn.Flatten(),
        nn.Linear(width, dim),
        nn.BatchNorm1d(dim),
        nn.GELU(),
        nn.Dropout(_DROPOUT),
        nn.Linear(dim, dim),
    )


def _convolution(channels: int, filters: int) -> list[nn.Module]:
    """Return a convolution that halves rates and lags."""
    return [
        nn.Conv2d(channels, filters, (3, 5), padding="same"),
        nn.BatchNorm2d(filters),
        nn.GELU(),
        nn.Dropout(_DROPOUT),
        nn.AvgPool2d(2, ceil_mode=True),
    ]


def waveform_encoder(samples: int, dim: int) -> nn.Sequential:
    """Return a perceptron of two hidden layers: (units, samples) → (units, dim)."""
    return nn.Sequential(
        nn.Linear(samples, 2 * dim),
        nn.GELU(),
        nn.Dropout(0.1),
        nn.Linear(2 * dim, dim),
        nn.GELU(),
        nn.Dropout(0.1),
        nn.LayerNorm(dim),
        nn.Linear(dim, dim),
    )


class ViewEncoders(nn.Module):
    """An encoder and a projector for each of two views of a unit, or the same for both.

    Without `samples` of a waveform both views are images (rates, lags). A representation has width
    `dim`; what is compared has width `projection`.
    """

    def __init__(
        self, rates: int, lags: int, samples: int | None, dim: int, projection: int
    ) -> None:
        super().__init__()
        self.image = image_encoder(rates, lags, dim)
        self.project_image = nn.Linear(dim, projection)
        self.partner = waveform_encoder(samples, dim) if samples else self.image
        self.project_partner = nn.Linear(dim, projection) if samples else self.project_image

    def forward(self, images: Tensor, partners: Tensor) -> tuple[Tensor, Tensor]:
        """Return the projections (units, projection) of images and of their partners."""
        one = self.project_image(self.image(images))
        return one, self.project_partner(self.partner(partners))


def similarities(one: Tensor, two: Tensor, temperature: float) -> Tensor:
    """Return the cosines between all vectors (units, dim) of both, over the temperature."""
    return F.normalize(one, dim=1) @ F.normalize(two, dim=1).T / temperature


def matching_loss(logits: Tensor) -> Tensor:
    """Return the symmetric InfoNCE: the cross-entropy of finding each unit's partner, both ways."""
    own = torch.arange(len(logits))
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


def matching_accuracy(logits: Tensor) -> float:
    """Return how often a unit's most similar partner is its own, mean of both ways."""
    own = torch.arange(len(logits))
    found = [(logits.argmax(dim=axis) == own).float().mean() for axis in (0, 1)]
    return float(sum(found) / 2)


def augment_images(images: Tensor) -> Tensor:
    """Augment images (units, rates, lags) of firing rates at random, as published.

    They are smoothed along the lags, every row is shifted (what leaves it at one end enters at the
    other), they are scaled, given noise and cut at 0, and pixels are set to zero; each of these is
    done or not for each unit.
    """
    n, rates, lags = images.shape

    def sometimes(changed: Tensor, unchanged: Tensor) -> Tensor:
        return torch.where(torch.rand(n, 1, 1) < _IMAGES, changed, unchanged)

    blur = torch.from_numpy(gaussian_filter1d(np.eye(lags, dtype=np.float32), _BLUR, axis=1))
    images = sometimes(images @ blur, images)
    shifted = torch.arange(lags) - torch.randint(-_SHIFT, _SHIFT + 1, (n, rates, 1))
    images = sometimes(images.gather(2, shifted % lags), images)
    images = sometimes(images * (1 + _SCALING * (2 * torch.rand(n, 1, 1) - 1)), images)
    noise = _NOISE * images.amax((1, 2), keepdim=True) * torch.randn_like(images)
    images = sometimes((images + noise).clamp(min=0), images)
    return sometimes(images * (torch.rand_like(images) > _PEPPER), images)


def augment_waveforms(waveforms: Tensor) -> Tensor:
    """Give some waveforms (units, samples) noise; scale all to a peak of 1. As published."""
    noise = _NOISE * waveforms.std(1, keepdim=True, correction=0) * torch.randn_like(waveforms)
    noisy = waveforms + noise * (torch.rand(len(waveforms), 1) < _WAVEFORMS)
    return noisy / noisy.abs().amax(1, keepdim=True)


def run_in_pieces(network: nn.Module, values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Apply a network to arrays (units, …), some units at a time."""
    pieces = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32)).split(_AT_ONCE)
    with torch.no_grad():
        return torch.cat([network(piece) for piece in pieces]).numpy()
