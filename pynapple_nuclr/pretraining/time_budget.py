"""What fits into the minutes of a training: the cost of a step, and sizes that allow enough."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

import lightning.pytorch as pl
import numpy as np
import torch

from pynapple_nuclr.pretraining.step_threads import StepThreads
from pynapple_nuclr.pretraining.training_module import ContrastiveTraining
from pynapple_nuclr.pretraining.view_batches import PairBatch
from pynapple_nuclr.windows import ViewPair, ViewPosition, ViewSampler

ENOUGH_STEPS = 200
FEW_STEPS = 50
_SHARE_OF_STEPS = 0.8  # of the time that is left; the rest is for checks and saving
_MARGIN = 1.25  # on the seconds of a step: the optimizer, and checks between steps
_MEASURED_UNITS = 48  # of a view, at most: the measurement itself has to be short
_WARMUP_UNITS = 16
_MEASURED_SHARE = 0.02  # of the time, after which nothing is measured twice
_PAIRS_TRIED = 50
_UNITS = (256, 192, 128, 96)  # sizes of views to try before batches become smaller,
_FEWER_UNITS = (64, 48, 32)  # and after


@dataclass(frozen=True)
class Sizes:
    """What the cost of a step depends on."""

    batch_size: int  # pairs of views
    max_units: int | None  # of a view


@dataclass(frozen=True)
class StepCost:
    """Seconds of a step as measured: proportional to the units of its views."""

    seconds_a_unit: float  # of one view
    units: np.ndarray  # (pairs,): units of a view, mean of each pair of an epoch, all of them

    def seconds(self, sizes: Sizes) -> float:
        """Return the seconds of a step."""
        units = np.minimum(self.units, sizes.max_units or np.inf)
        return float(2 * sizes.batch_size * units.mean() * self.seconds_a_unit)


def fit_into_time(
    module: ContrastiveTraining,
    sampler: ViewSampler,
    trainer: pl.Trainer,
    threads: StepThreads,
    sizes: Sizes,
    free: Collection[str],
) -> tuple[Sizes, float]:
    """Choose the threads, and sizes with which enough steps fit into the time; and how many do.

    Before the first step of a training with a time limit. `free` are the names of those `sizes`
    that may become smaller.
    """
    threads.measure()
    cost = measure_cost(module, sampler, trainer)
    schedule = module.schedule
    schedule.lap()
    if cost is None or schedule.seconds is None:
        return sizes, np.inf
    seconds = max((schedule.seconds - schedule.spent) * _SHARE_OF_STEPS, 0.0)
    wanted = min(schedule.steps or ENOUGH_STEPS, ENOUGH_STEPS)
    chosen = choose_sizes(cost, sizes, free, seconds, sampler.settings.min_units, wanted)
    return chosen, seconds / cost.seconds(chosen)


def describe_choice(stated: Sizes, chosen: Sizes) -> str:
    """Return which sizes were chosen, and why."""
    changed = {
        name: value for name, value in vars(chosen).items() if value != getattr(stated, name)
    }
    named = " and ".join(f"{name}={value}" for name, value in changed.items())
    return f"{named}, chosen so that more steps fit into the time; give your own to change this"


def measure_cost(
    module: ContrastiveTraining, sampler: ViewSampler, trainer: pl.Trainer
) -> StepCost | None:
    """Time a pair of views, forward and backward; None if none of the first has enough units."""
    begun = time.monotonic()
    positions = sampler.plan(0)
    pair, reading = _draw(sampler, positions[:_PAIRS_TRIED])
    if pair is None:
        return None
    module.to(trainer.strategy.root_device).train()
    limit = _MEASURED_SHARE * (module.schedule.seconds or np.inf)
    _time_pair(module, _cut(pair, _WARMUP_UNITS), trainer)  # the first call of all takes longer
    pair = _cut(pair, _MEASURED_UNITS)
    seconds = _time_pair(module, pair, trainer)
    if time.monotonic() - begun < limit:
        seconds = min(seconds, _time_pair(module, pair, trainer))
    module.zero_grad(set_to_none=True)
    module.cpu()
    n_units = np.array([sampler.readers[index].recording.n_units for index, *_ in positions])
    return StepCost(
        (seconds + reading) / (len(pair.ids1) + len(pair.ids2)),
        n_units * np.mean(sampler.settings.units_kept),
    )


def choose_sizes(
    cost: StepCost, stated: Sizes, free: Collection[str], seconds: float, least: int, steps: int
) -> Sizes:
    """Return sizes with which enough `steps` fit into `seconds`, or the smallest ones.

    `free` are the names of those `stated` that may become smaller; views keep more units than
    `least`.
    """
    chosen = stated
    for sizes in _smaller(stated, float(cost.units.max()), free):
        if sizes.max_units is not None and sizes != stated and sizes.max_units <= 2 * least:
            continue
        chosen = sizes
        if seconds / (_MARGIN * cost.seconds(sizes)) >= steps:
            break
    return chosen


def _smaller(stated: Sizes, largest: float, free: Collection[str]) -> Iterator[Sizes]:
    """Yield sizes in the order in which they are tried: smaller views, batches, views again."""
    sizes = stated
    yield sizes
    if "max_units" in free:
        for units in (units for units in _UNITS if units < largest):
            yield (sizes := replace(sizes, max_units=units))
    while "batch_size" in free and sizes.batch_size > 1:
        yield (sizes := replace(sizes, batch_size=sizes.batch_size // 2))
    if "max_units" in free:
        for units in (units for units in _FEWER_UNITS if units < largest):
            yield (sizes := replace(sizes, max_units=units))


def _draw(sampler: ViewSampler, positions: list[ViewPosition]) -> tuple[ViewPair | None, float]:
    """Return a pair with units in both views, and the seconds that it took to read it."""
    rng = np.random.default_rng(sampler.seed)
    for position in positions:
        begun = time.monotonic()
        pair = sampler.pair(position, rng)
        if pair is not None and np.isin(pair.ids1, pair.ids2).sum() > 1:
            return pair, time.monotonic() - begun
    return None, 0.0


def _cut(pair: ViewPair, units: int) -> ViewPair:
    """Return so many units at most, those that are in both views."""
    ids, in1, in2 = np.intersect1d(pair.ids1, pair.ids2, return_indices=True)
    in1, in2, ids = in1[:units], in2[:units], ids[:units]
    return ViewPair(pair.patches1[in1], pair.patches2[in2], ids, ids)


def _time_pair(module: ContrastiveTraining, pair: ViewPair, trainer: pl.Trainer) -> float:
    """Return the seconds of a pair, forward and backward."""
    device = trainer.strategy.root_device
    low = "bf16" in str(trainer.precision)
    begun = time.monotonic()
    with torch.autocast(device.type, torch.bfloat16, enabled=low):
        loss = module._loss(PairBatch([pair], (0, 0), []))
    loss.backward()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.monotonic() - begun
