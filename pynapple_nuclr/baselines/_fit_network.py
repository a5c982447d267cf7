"""The one training loop of the baselines: steps, checks on held-out data, the weights to keep."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn
    from torch.optim import Optimizer


@dataclass(frozen=True)
class FitPlan:
    """How a network is trained."""

    title: str  # Of the progress bar
    steps: int  # Most steps
    check_every: int  # Steps between two checks; the last step is always checked
    # Steps in which the learning rate rises to its full value, after which it falls as a cosine to
    # 0. Default: 0, a constant learning rate
    warm_up: float = 0.0
    # Largest norm of the gradient of each group of parameters. Default: no limit
    clip: float = math.inf
    # Memory of a running mean of the weights, at each step; the mean is checked and kept. Default:
    # 0, the weights themselves
    average: float = 0.0
    keep_best: bool = False  # Keep the weights of the lowest ``held_out_loss``, not the last
    # Checks without a lower ``held_out_loss``, after which the training stops
    patience: int | None = None


def fit_network(
    network: nn.Module,
    optimizers: Sequence[Optimizer],
    next_loss: Callable[[], Tensor],
    check: Callable[[nn.Module], dict[str, float]],
    plan: FitPlan,
    *,
    progress: bool = False,
) -> list[dict[str, float]]:
    """Train a network in place, and return the course of it.

    Parameters
    ----------
    network : Module
        What is trained, and whose weights are kept. Afterwards in evaluation mode.
    optimizers : sequence of Optimizer
        Of the network's parameters, and of others that are learned with them.
    next_loss : callable
        Draws the next batch and returns its loss.
    check : callable
        Takes the network (or its running mean) in evaluation mode, and returns what is measured on
        held-out data; ``held_out_loss`` decides about the weights.
    plan : FitPlan
        How.
    progress : bool
        Show a progress bar.

    Returns
    -------
    list of dict
        Of each check ``step``, ``seconds``, ``loss`` (mean since the check before), and what
        `check` returned.
    """
    checked = _averaged(network, plan.average) if plan.average else network
    schedules = [LambdaLR(one, lambda step: _rate(step, plan)) for one in optimizers]
    best, losses, history = _Best(), [], []
    began = time.perf_counter()
    network.train()
    for step in tqdm(range(1, plan.steps + 1), plan.title, unit="step", disable=not progress):
        losses.append(_step(next_loss, optimizers, schedules, plan.clip))
        if isinstance(checked, AveragedModel):
            checked.update_parameters(network)
        if step % plan.check_every and step != plan.steps:
            continue
        entry = {"step": step, "seconds": time.perf_counter() - began}
        history.append(entry | {"loss": float(np.mean(losses))} | _check(checked, check))
        losses = []
        network.train()
        # Without held-out data, or where the best is not asked for, the last weights are kept.
        score = history[-1].get("held_out_loss", -step) if plan.keep_best else -step
        best.see(score, checked.module if isinstance(checked, AveragedModel) else checked)
        if best.since == plan.patience:
            break
    network.load_state_dict(best.weights)
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


class _Best:
    """The weights with the lowest score so far, and how many scores ago that was."""

    def __init__(self) -> None:
        self.score, self.since = math.inf, 0
        self.weights: dict[str, Any] = {}

    def see(self, score: float, network: nn.Module) -> None:
        self.since += 1
        if score < self.score or not self.weights:
            self.score, self.since = score, 0
            self.weights = copy.deepcopy(network.state_dict())


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
            _clip(optimizer, clip)
        optimizer.step()
        schedule.step()
    return float(loss.item())


def _clip(optimizer: Optimizer, largest: float) -> None:
    """Limit the gradient of each group; sparse ones, of rows that were drawn, stay as they are."""
    for group in optimizer.param_groups:
        dense = [one for one in group["params"] if one.grad is None or not one.grad.is_sparse]
        torch.nn.utils.clip_grad_norm_(dense, largest)


def _rate(step: int, plan: FitPlan) -> float:
    """Return the share of the learning rate at a step: linear warm-up, then cosine to 0."""
    if not plan.warm_up:
        return 1.0
    cosine = (1 + math.cos(math.pi * step / plan.steps)) / 2
    return min((step + 1) / plan.warm_up, 1.0) * cosine


def _averaged(network: nn.Module, memory: float) -> AveragedModel:
    return AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(memory))


@torch.no_grad()
def _check(network: nn.Module, check: Callable[[nn.Module], dict[str, float]]) -> dict[str, float]:
    network.eval()
    return check(network)
