"""Small populations and the smallest encoder, for tests of training."""

import numpy as np
import pynapple as nap

from pynapple_nuclr import EncoderConfig

TINY = EncoderConfig(
    dim=16,
    heads=2,
    head_dim=8,
    temporal_layers=1,
    spatiotemporal_layers=1,
    patch_duration=0.5,
    window_duration=2.0,
    dropout=0.1,
)


def population(n_units=24, seconds=120, seed=0, support=None, quiet_until=0.0):
    """Poisson units of different rates, easy to distinguish, silent until `quiet_until` (s)."""
    rng = np.random.default_rng(seed)
    rates = np.geomspace(1, 40, n_units)
    trains = {
        i: nap.Ts(np.sort(rng.uniform(quiet_until, seconds, rng.poisson(rate * seconds))))
        for i, rate in enumerate(rates)
    }
    return nap.TsGroup(trains, time_support=support or nap.IntervalSet(0, seconds))
