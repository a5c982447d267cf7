"""The system: spikes and waveforms in, one vector per unit out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pynapple as nap
from numpy.typing import NDArray

from pynapple_nuclr.baselines._fit_network import torch_seed
from pynapple_nuclr.baselines.base import EmbeddingSystem, Recordings, System
from pynapple_nuclr.baselines.nemo.autocorrelograms import Layout, images, lag_counts, longest_lag
from pynapple_nuclr.baselines.nemo.contrastive_training import collect_material, train
from pynapple_nuclr.baselines.nemo.networks import ViewEncoders, run_in_pieces
from pynapple_nuclr.columns.waveforms import read_waveforms
from pynapple_nuclr.user_warnings import warn_user

Array = NDArray[np.float32]


@dataclass
class Nemo(EmbeddingSystem):
    """NEMO: two descriptions of a unit, trained to recognise each other.

    One encoder reads the image of a unit's autocorrelogram, resolved by how fast the unit fires
    at the time (rows: quantiles of the instantaneous rate; columns: lags in log steps). Another
    reads its mean waveform. They are trained so that, among the units of a batch, each image finds
    its own waveform and the reverse (symmetric InfoNCE between projections, fixed temperature).
    A unit's embedding joins the outputs of the two encoders, before the projectors. Only units
    with a waveform are learned from, if any has one.

    Where no unit has a waveform the image has no partner, and this is not NEMO: the row is called
    "autocorrelogram only". The image learns from itself: the two views are images of two random
    halves of the recording's time, drawn again at every step. The embedding is then that of the
    image encoder alone.

    Parameters
    ----------
    waveform : str or None
        Name of the metadata column that holds a mean waveform for each unit, an array (samples,)
        or (samples, channels): `waveform` itself or ``{waveform}_mean``; or the start of numbered
        columns, one a sample (``waveform_0``, ``waveform_1``, …). None: do not use waveforms.
    dim : int
        Width of a representation; an embedding has one, or two with waveforms.
    projection : int
        Width of the projections that are compared.
    temperature : float
        Of the loss.
    rate_bins, lag_bins : int
        Rows and columns of an image.
    max_lag : float
        Longest lag in seconds; where half of the median epoch is shorter, that.
    steps, batch_size : int
        Most steps of training (it ends when the held-out loss falls no more), and units in each.
    learning_rate : float
        Of Adam with warm restarts.

    Attributes
    ----------
    layout_ : Layout
        Rows and columns of the images, in seconds.
    networks_ : ViewEncoders
        The encoders and projectors.
    samples_ : int or None
        Samples of a waveform; None if it was trained without.

    Notes
    -----
    What is as published, and what is not (hence the row's name): see the page "NEMO" of the
    documentation. Epochs are cut into blocks (20 times the longest lag at most) and no pair of
    spikes spans two of them. Instantaneous rates leave out the spike itself, and what their window
    (250 ms, or the longest lag if shorter) loses at the edge of a block.

    References
    ----------
    Yu et al., "In vivo cell-type and brain region classification via multimodal contrastive
    learning", ICLR 2025, doi:10.1101/2024.11.05.622159. Autocorrelograms by instantaneous rate:
    Beau et al. 2025, doi:10.1016/j.cell.2025.01.041. Learning from two views of one thing: Chen et
    al. 2020 (SimCLR), arXiv:2002.05709.

    Examples
    --------
    >>> import pynapple_nuclr as nap_nuclr
    >>> from pynapple_nuclr.baselines.nemo import Nemo
    >>> units = nap_nuclr.simulate("single", n_units=12, duration=30, seed=0)
    >>> nemo = Nemo(dim=16, projection=16, steps=3).fit({"a": units})
    >>> nemo.embed({"b": units[[3, 4, 8]]})["b"].shape
    (3, 16)
    """

    name: ClassVar[str] = "nemo-style"
    modalities: ClassVar[tuple[str, ...]] = ("spikes",)

    waveform: str | None = "waveform"
    dim: int = 200
    projection: int = 512
    temperature: float = 0.5
    rate_bins: int = 10
    lag_bins: int = 101
    max_lag: float = 1.0
    steps: int = 3000
    batch_size: int = 1024
    learning_rate: float = 5e-4

    def __post_init__(self) -> None:
        sizes = ("dim", "projection", "rate_bins", "steps")
        for name in (*sizes, "temperature", "max_lag", "learning_rate"):
            if not getattr(self, name) > 0:
                raise ValueError(f"Nemo: {name} is {getattr(self, name)}; expected more than 0")
        for name in ("lag_bins", "batch_size"):
            if getattr(self, name) < 2:
                raise ValueError(f"Nemo: {name} is {getattr(self, name)}; expected at least 2")

    def candidates(self) -> list[System]:
        """Return this one, and one of a sharper loss (or of the paper's, if this one is)."""
        return [self, replace(self, temperature=0.1 if self.temperature > 0.1 else 0.5)]

    def row_name(self, recordings: Recordings) -> str:
        """Return the name of its row: without a waveform this is not NEMO."""
        read = (read_waveforms(units, self.waveform or "") for units in recordings.values())
        found = self.waveform is not None and any(one is not None for one in read)
        return self.name if found else "autocorrelogram only"

    def fit(self, recordings: Recordings, *, seed: int = 0, progress: bool = False) -> Nemo:
        """Learn from recordings without labels; see `EmbeddingSystem.fit`.

        Raises
        ------
        TypeError, ValueError
            If a recording holds calcium; if fewer than 8 units have spikes (and, if any has one, a
            waveform); if a waveform column holds something else, or lengths differ.
        """
        spikes = self.check_recordings(recordings)
        self.layout_ = Layout(longest_lag(spikes, self.max_lag), self.rate_bins, self.lag_bins)
        material = collect_material(spikes, self.layout_, self.waveform)
        self.mean_, self.scale_ = material.mean, material.scale
        self.samples_ = None if material.waveforms is None else material.waveforms.shape[1]
        with torch_seed(int(np.random.default_rng((seed, 0)).integers(2**31))):
            self.networks_ = ViewEncoders(
                self.rate_bins, self.lag_bins, self.samples_, self.dim, self.projection
            )
            rng = np.random.default_rng((seed, 1))
            self.history_ = train(self.networks_, material, self, rng, progress=progress)
        if material.waveforms is not None:
            self.absent_ = run_in_pieces(self.networks_.partner, material.waveforms).mean(axis=0)
        return self

    def embed(self, recordings: Recordings) -> dict[str, NDArray[np.float64]]:
        """Encode the units of recordings, known or new; see `EmbeddingSystem.embed`.

        With waveforms, a unit that has none gets the mean representation of those that have, and
        a warning states how many did.

        Raises
        ------
        TypeError, ValueError
            If it has not been trained, a recording holds calcium, or its waveforms differ in
            length from those of the training.
        """
        if not hasattr(self, "networks_"):
            raise ValueError("this Nemo has learned nothing yet; call fit(recordings) first")
        embedded = {}  # no comprehension: before Python 3.12 it is a frame of its own in warnings
        for name, group in self.check_recordings(recordings).items():
            embedded[name] = self._embed(name, group)
        return embedded

    def _embed(self, name: str, group: nap.TsGroup) -> NDArray[np.float64]:
        counts = lag_counts(group, self.layout_, name=name)
        standardised = (images(counts) - self.mean_) / self.scale_
        parts = [run_in_pieces(self.networks_.image, standardised)]
        if self.samples_ is not None:
            parts.append(self._describe_waveforms(name, group, counts.active))
        vectors = np.concatenate(parts, axis=1).astype(np.float64)
        vectors[~counts.active] = np.nan
        return vectors

    def _describe_waveforms(
        self, name: str, group: nap.TsGroup, active: NDArray[np.bool_]
    ) -> Array:
        waveforms = read_waveforms(group, self.waveform or "", name=name)
        if waveforms is None:
            waveforms = np.full((len(active), self.samples_ or 0), np.nan, np.float32)
        if waveforms.shape[1] != self.samples_:
            raise ValueError(
                f"recording {name!r} has waveforms of {waveforms.shape[1]} samples; this Nemo was "
                f"trained on {self.samples_}: resample them to the same rate and length"
            )
        absent = np.asarray(np.isnan(waveforms).any(axis=1))
        if (absent & active).any():
            warn_user(
                f"recording {name!r}: {(absent & active).sum()} of {active.sum()} active units "
                "have no waveform, and get the mean representation of those that have"
            )
        read = run_in_pieces(self.networks_.partner, np.nan_to_num(waveforms))
        return np.where(absent[:, None], self.absent_, read)
