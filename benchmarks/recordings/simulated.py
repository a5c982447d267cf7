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
