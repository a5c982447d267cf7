"""The one training loop of the baselines: steps, checks on held-out data, the weights to keep."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm


@dataclass(frozen=True)
class FitPlan:
    """How a network is trained."""

    title: str  # of the progress bar
    steps: int  # at most
    check_every: int  # steps between two checks; the last step is always checked
    warm_up: float = 0.0  # steps until the full learning rate, then a cosine to 0; 0: constant
    restart_every: int = 0  # steps of a cosine to 0, after which the full learning rate is back
    clip: float = math.inf  # largest norm of the gradient of each group of parameters
    average: float = 0.0  # memory of a running mean of the weights, which is checked and kept
    keep_best: bool = False  # the weights of the lowest ``held_out_loss``, not the last
    patience: int | None = None  # checks without a lower ``held_out_loss`` before it stops


def fit_network(
    network: nn.Module,
    optimizers: Sequence[Optimizer],
    next_loss: Callable[[], Tensor],
    check: Callable[[nn.Module], dict[str, float]],
    plan: FitPlan,
    *,
    progress: bool = False,
) -> list[dict[str, float]]:
    """Train a network in place; return ``step``, ``seconds``, ``loss`` and `check()` of each check.

    `next_loss` draws a batch and returns its loss; `check` takes the network (or its running mean)
    in evaluation mode and measures it on held-out data, where ``held_out_loss`` decides about the
    weights. The network is left in evaluation mode.
    """
    checked = network
    if plan.average:
        checked = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(plan.average))
    schedules = [LambdaLR(one, lambda step: _rate(step, plan)) for one in optimizers]
    best_score, best_weights, checks_since = math.inf, dict[str, Any](), 0
    losses, history = list[float](), list[dict[str, float]]()
    began = time.perf_counter()
    network.train()
    for step in tqdm(range(1, plan.steps + 1), plan.title, unit="step", disable=not progress):
        losses.append(_step(next_loss, optimizers, schedules, plan.clip))
        if isinstance(checked, AveragedModel):
            checked.update_parameters(network)
        if step % plan.check_every and step != plan.steps:
            continue
        entry = {"step": step, "seconds": time.perf_counter() - began}
        checked.eval()
        with torch.no_grad():
            history.append(entry | {"loss": float(np.mean(losses))} | check(checked))
        losses = []
        network.train()
        # Without held-out data, or where the best is not asked for, the last weights are kept.
        score = history[-1].get("held_out_loss", -step) if plan.keep_best else -step
        checks_since += 1
        if score < best_score or not best_weights:
            kept = checked.module if isinstance(checked, AveragedModel) else checked
            best_score, best_weights, checks_since = score, copy.deepcopy(kept.state_dict()), 0
        if checks_since == plan.patience:
            break
    network.load_state_dict(best_weights)
    network.eval()
    return history


def shuffled_batches(
    items: NDArray[np.int64], size: int, rng: np.random.Generator
) -> Iterator[NDArray[np.int64]]:
    """Yield batches of items without end; each item comes once in every round."""
    queue = items[:0]
    while True:
        while len(queue) < size:
            queue = np.concatenate([queue, rng.permutation(items)])
        yield queue[:size]
        queue = queue[size:]


@contextmanager
def torch_seed(seed: int) -> Iterator[None]:
    """Seed torch's own generator, and restore the state that the caller left it in."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def _step(
    next_loss: Callable[[], Tensor],
    optimizers: Sequence[Optimizer],
    schedules: Sequence[LambdaLR],
    clip: float,
) -> float:
    """Take one step, and return its loss."""
    loss = next_loss()
    for optimizer in optimizers:
        optimizer.zero_grad()
    loss.backward()
    for optimizer, schedule in zip(optimizers, schedules, strict=True):
        if math.isfinite(clip):
            for group in optimizer.param_groups:
                # A sparse gradient is of a few rows: left as it is.
                dense = [p for p in group["params"] if p.grad is None or not p.grad.is_sparse]
                torch.nn.utils.clip_grad_norm_(dense, clip)
        optimizer.step()
        schedule.step()
    return float(loss.item())


def _rate(step: int, plan: FitPlan) -> float:
    """Return the share of the learning rate at a step."""
    if plan.restart_every:
        return (1 + math.cos(math.pi * (step % plan.restart_every) / plan.restart_every)) / 2
    if not plan.warm_up:
        return 1.0
    cosine = (1 + math.cos(math.pi * step / plan.steps)) / 2
    return min((step + 1) / plan.warm_up, 1.0) * cosine
