"""The data that NEMO learns from, and its training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from pynapple_nuclr.baselines._fit_network import FitPlan, fit_network
from pynapple_nuclr.baselines.nemo.autocorrelograms import (
    PARTS,
    LagCounts,
    images,
    lag_counts,
    pool,
)
from pynapple_nuclr.baselines.nemo.networks import (
    ViewEncoders,
    augment_images,
    augment_waveforms,
    matching_accuracy,
    matching_loss,
    similarities,
)
from pynapple_nuclr.columns.waveforms import read_waveforms

if TYPE_CHECKING:
    import pynapple as nap
    from numpy.typing import NDArray

    from pynapple_nuclr.baselines.nemo._nemo import Nemo
    from pynapple_nuclr.baselines.nemo.autocorrelograms import Layout

    Array = NDArray[np.float32]
    Indices = NDArray[np.int64]

_FEWEST = 8  # units, below which there is nothing to compare
_HELD_OUT = 5  # one unit in so many is held out …
_FEWEST_HELD_OUT, _MOST_HELD_OUT = 5, 500  # … but none if it would be fewer, and never more
_CHECKS = 20  # at least
_MOST_STEPS = 50  # between two checks
_RESTART = 20  # passes over the units, after which the learning rate is back
_PATIENCE = 200  # steps without a lower loss before the training ends, or two restarts


@dataclass(frozen=True)
class Material:
    """The units to learn from, of all recordings, in an order that their data alone decide."""

    counts: LagCounts  # what their images are made of
    waveforms: Array | None  # (units, samples); None if no unit of any recording has one
    mean: Array  # (rates, lags): mean image
    scale: float  # s.d. of all pixels around it
    whole: Array  # (units, rates, lags): images of the whole recordings

    def views(
        self, units: Indices, rng: np.random.Generator, *, augment: bool
    ) -> tuple[Tensor, Tensor]:
        """Return two views of units: image and waveform, or images of two random halves."""
        if self.waveforms is not None:
            waveforms = torch.from_numpy(self.waveforms[units])
            partner = augment_waveforms(waveforms) if augment else waveforms
            return self._image(self.whole[units], augment), partner
        counts = pool([self.counts], [units])
        half = np.argsort(rng.random(counts.spikes.shape), axis=1) < PARTS // 2
        one, two = (self._image(images(counts, parts), augment) for parts in (half, ~half))
        return one, two

    def _image(self, rates: Array, augment: bool) -> Tensor:
        """Standardise images (units, rates, lags); augmentations are made for rates, so before."""
        shown = torch.from_numpy(rates)
        shown = augment_images(shown) if augment else shown
        return (shown - torch.from_numpy(self.mean)) / self.scale


def collect_material(
    recordings: Mapping[str, nap.TsGroup], layout: Layout, waveform: str | None
) -> Material:
    """Collect the units that can be learned from: active, and with a waveform if any has one."""
    names = sorted(recordings)  # neither the order of recordings nor that of units may matter
    counts = [lag_counts(recordings[name], layout, name=name) for name in names]
    waveforms = {
        name: found
        for name in names
        if waveform and (found := read_waveforms(recordings[name], waveform, name=name)) is not None
    }
    chosen = []
    for name, counted in zip(names, counts, strict=True):
        usable = counted.active
        if waveforms:
            own = waveforms.get(name, np.full((len(usable), 1), np.nan))
            usable = usable & np.isfinite(own).all(axis=1)
        in_order = np.argsort(counted.order)
        chosen.append(in_order[usable[in_order]])
    pooled = pool(counts, chosen)
    if pooled.n_units < _FEWEST:
        raise ValueError(
            f"recordings {', '.join(map(repr, names))} have {pooled.n_units} units with "
            f"{'spikes and a waveform' if waveforms else 'spikes'}; expected at least {_FEWEST}"
        )
    whole = images(pooled)
    mean = whole.mean(axis=0)
    return Material(
        counts=pooled,
        waveforms=_join(waveforms, dict(zip(names, chosen, strict=True))),
        mean=mean,
        scale=max(float((whole - mean).std()), 1e-6),
        whole=whole,
    )


def _join(waveforms: Mapping[str, Array], chosen: Mapping[str, Indices]) -> Array | None:
    """Lay the waveforms of the chosen units of all recordings one after the other."""
    if not waveforms:
        return None
    lengths = {name: found.shape[1] for name, found in waveforms.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(
            f"recordings differ in the number of samples of their waveforms: {lengths}; expected "
            "the same number in all, at the same sampling rate"
        )
    return np.concatenate([found[chosen[name]] for name, found in waveforms.items()])


def train(
    networks: ViewEncoders,
    material: Material,
    settings: Nemo,
    rng: np.random.Generator,
    *,
    progress: bool,
) -> list[dict[str, float]]:
    """Train networks in place, keep those of the best check, and return the history.

    A fifth of the units are held out; the best check is that of the lowest loss among them, and
    training ends when it falls no more.
    """
    units = rng.permutation(material.counts.n_units)
    n_held_out = min(len(units) // _HELD_OUT, _MOST_HELD_OUT)
    n_held_out *= n_held_out >= _FEWEST_HELD_OUT
    held_out, units = units[:n_held_out], units[n_held_out:]
    to_check = material.views(held_out, rng, augment=False)

    def next_loss() -> Tensor:
        chosen = rng.permutation(units)[: settings.batch_size]
        one, two = networks(*material.views(chosen, rng, augment=True))
        return matching_loss(similarities(one, two, settings.temperature))

    def check(_: nn.Module) -> dict[str, float]:
        if not n_held_out:
            return {}
        one, two = networks(*to_check)
        logits = similarities(one, two, settings.temperature)
        return {
            "held_out_loss": float(matching_loss(logits)),
            "held_out_accuracy": matching_accuracy(logits),
        }

    check_every = max(1, min(settings.steps // _CHECKS, _MOST_STEPS))
    restart_every = _RESTART * -(-len(units) // settings.batch_size)
    plan = FitPlan(
        "nemo",
        settings.steps,
        check_every,
        restart_every=restart_every,
        keep_best=True,
        patience=-(-max(_PATIENCE, 2 * restart_every) // check_every),
    )
    optimizer = torch.optim.Adam(networks.parameters(), lr=settings.learning_rate)
    return fit_network(networks, [optimizer], next_loss, check, plan, progress=progress)
