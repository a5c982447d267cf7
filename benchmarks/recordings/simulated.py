"""Simulated recordings that several benchmarks share."""

from __future__ import annotations

from typing import Any

import numpy as np
import pynapple as nap

from pynapple_nuclr import simulate


def two_probes(
    recordings: int = 3, **how: Any
) -> tuple[dict[str, nap.TsGroup], dict[str, nap.TsGroup]]:
    """Simulate recordings of two probes whose populations do not know of each other.

    Parameters
    ----------
    recordings : int
        How many.
    **how
        Passed on to `simulate` (world "context").

    Returns
    -------
    (dict, dict)
        The probes of every recording one by one, and both as one population.
    """
    how = {"n_units": 60, "duration": 300, "seed": 2025} | how
    animals = list(simulate("context", animals=2 * recordings, **how).values())
    apart, together = {}, {}
    for number, pair in enumerate(zip(animals[::2], animals[1::2], strict=True)):
        trains = [one[unit] for one in pair for unit in one.index]
        types = np.concatenate([one["cell_type"] for one in pair])
        animal = [f"animal{number}"] * len(types)
        together[f"day{number}"] = nap.TsGroup(
            dict(enumerate(trains)),
            time_support=pair[0].time_support,
            metadata={"cell_type": types, "animal": animal},
        )
        for probe, one in zip("AB", pair, strict=True):
            apart[f"day{number} probe {probe}"] = one
            one.set_info(animal=[f"animal{number}"] * len(one))
    return apart, together


def tuned_session(
    seed: int, *, strength: float = 0.7, units: int = 36, trials: int = 120, length: float = 0.5
) -> tuple[nap.TsGroup, nap.IntervalSet]:
    """Simulate units that prefer left or right, or neither; their mean rates have one law.

    Returned are the units (metadata `tuning`) and the trials (metadata `side`, `effort`).
    """
    rng = np.random.default_rng((seed, 99))
    starts = np.arange(trials) * 2.0
    epochs = nap.IntervalSet(starts, starts + length)
    side = rng.permutation(np.repeat([-1, 1], trials // 2))
    tuning = rng.permutation(np.repeat(["left", "none", "right"], units // 3))
    prefers = {"left": -strength, "none": 0.0, "right": strength}
    trains = {}
    for unit, kind in enumerate(tuning):
        expected = 8 * length * np.exp(0.25 * rng.standard_normal()) * (1 + prefers[kind] * side)
        spikes = rng.poisson(expected)
        times = np.repeat(starts, spikes) + rng.uniform(0, length, spikes.sum())
        trains[unit] = nap.Ts(np.sort(times), time_support=epochs)
    shown = {
        "side": np.where(side > 0, "right", "left"),
        "effort": side + rng.normal(0, 0.5, trials),
    }
    behaviour = nap.IntervalSet(starts, starts + length, metadata=shown)
    return nap.TsGroup(trains, time_support=epochs, metadata={"tuning": tuning}), behaviour


_INTERVALS = {"clustered": 0.5, "loose": 0.75, "random": 1.0, "even": 1.5, "regular": 2.5}


def renewal(seed: int, *, units: int = 90, seconds: float = 60.0) -> nap.TsGroup:
    """Simulate five kinds of renewal process whose mean rates have one law (around 8 Hz).

    Intervals are gamma variates of shapes 0.5 to 2.5 (metadata `cell_type`).
    """
    rng = np.random.default_rng((seed, 98))
    kinds = rng.permutation(np.resize(list(_INTERVALS), units))
    trains = {}
    for unit, kind in enumerate(kinds):
        rate, shape = 8 * np.exp(0.3 * rng.standard_normal()), _INTERVALS[kind]
        n = int(3 * rate * seconds) + 50
        times = np.cumsum(rng.gamma(shape, 1 / (rate * shape), n))
        trains[unit] = nap.Ts(times[times < seconds])
    return nap.TsGroup(
        trains, time_support=nap.IntervalSet(0, seconds), metadata={"cell_type": kinds}
    )


def with_waveforms(seed: int, *, units: int = 90, seconds: float = 120.0) -> nap.TsGroup:
    """Simulate `renewal` with waveforms: each kind has its own width, blurred by noise.

    Firing and waveform both show the kind, as the premise of NEMO is; neither shows it alone.
    """
    group = renewal(seed, units=units, seconds=seconds)
    rng = np.random.default_rng((seed, 97))
    kinds = list(_INTERVALS)
    rank = np.array([kinds.index(kind) for kind in group["cell_type"]])[:, None]
    time = np.arange(40) - 12
    width = 4.0 + 1.5 * rank + rng.normal(0, 0.6, (units, 1))
    shape = 0.5 * np.exp(-(((time - 2 * width) / width) ** 2)) - np.exp(-((time / 3) ** 2))
    waveform = (shape + 0.1 * rng.standard_normal(shape.shape)) * rng.uniform(20, 200, (units, 1))
    group.set_info(waveform=list(waveform))
    return group
