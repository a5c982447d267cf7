"""Small groups as `embed` returns them, with vectors made by hand, and a probe fitted on one."""

from __future__ import annotations

import functools

import numpy as np
import pynapple as nap
import xarray as xr
from sklearn.naive_bayes import GaussianNB

from pynapple_nuclr.columns import add_columns, embeddings
from pynapple_nuclr.probes import Probe

TINY = "tiny@0a1b2c3d"
KINDS = ["PV", "SST", "VIP"]
DIM = 8
FAR = np.linspace(-30, 30, DIM)
"""Where a recording may lie whose embeddings are all displaced."""


def vectors_of(kinds, seed: int, separation: float) -> np.ndarray:
    centres = {kind: np.random.default_rng(i).normal(size=DIM) for i, kind in enumerate(KINDS)}
    rng = np.random.default_rng(seed)
    return np.stack([separation * centres[kind] + rng.normal(size=DIM) for kind in kinds])


def embedded(
    n=30,
    seed=0,
    *,
    separation=4.0,
    silent=(),
    shift=0.0,
    encoder=TINY,
    modality="spikes",
    **columns,
):
    """A group as `embed` returns it, with vectors that tell its cell types apart."""
    kinds = np.array([KINDS[i % 3] for i in range(n)])
    vectors = vectors_of(kinds, seed, separation) + shift
    vectors[list(silent)] = np.nan
    if modality == "spikes":
        support = nap.IntervalSet(0, 10)
        trains = {3 * i + 1: nap.Ts(np.array([1.0, 2.0 + i / n])) for i in range(n)}
        units = nap.TsGroup(trains, time_support=support)
    else:
        units = nap.TsdFrame(
            np.arange(20) / 2, np.ones((20, n)), columns=[f"cell{i}" for i in range(n)]
        )
    units.set_info({"cell_type": kinds, **columns})
    summary = {"nuclr_encoder": [encoder] * n, "nuclr_n_windows": np.isfinite(vectors[:, 0]) * 5}
    return add_columns(units, vectors=vectors, summary=summary)


def dataset(units) -> xr.Dataset:
    """The same as `encode` returns it."""
    vectors = embeddings(units)
    return xr.Dataset({"embedding": vectors}, attrs={"encoder": vectors.attrs["encoder"]})


@functools.cache
def fitted(**parameters) -> Probe:
    """A probe to predict with, never to change."""
    return Probe("cell_type", **parameters).fit(embedded(), verbose=False)


def quick(target="cell_type", **parameters) -> Probe:
    """A probe that is fitted in less time: it has one setting to choose from."""
    return Probe(target, **{"estimator": GaussianNB(), "n_shuffles": 1, **parameters})
