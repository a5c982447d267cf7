"""Learning the vectors of units, with the network that decodes from them or with it frozen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from sklearn.metrics import r2_score
from torch import Tensor

from pynapple_nuclr.baselines._fit_network import FitPlan, fit_network, shuffled_batches
from pynapple_nuclr.baselines.poyo.spike_decoder import (
    SpikeDecoder,
    SpikeWindows,
    WindowBatch,
    read_batches,
)
from pynapple_nuclr.baselines.poyo.targets import MISSING, DecodingTask

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Places = NDArray[np.int64]

_DECAY = 0.01  # of the network's weights
_WARM_UP = 0.1  # fraction of the steps
_CLIP = 1.0
_TO_CHECK = 64  # held-out windows at a time


@dataclass(frozen=True)
class Course:
    """How vectors are learned."""

    # steps, batch_size: Steps, and windows in each
    steps: int
    batch_size: int
    max_spikes: int  # Most spikes that are read of a window
    # vector_rate, network_rate: Largest step size of the vectors and of the network; 0 freezes the
    # network
    vector_rate: float
    # Decay of the vectors, which pulls all units together (relative to the step size)
    vector_decay: float
    network_rate: float = 0.0
    holdout: float = 0.0  # Fraction of the windows that are never trained on
    # Consecutive windows that come from the same time: they are held out together
    readings: int = 1
    checks: int = 10  # How often the held-out windows are decoded


class VectorLearner:
    """Learn the vectors of the units and of the sessions, and the network unless it is frozen.

    `seed` is that of the windows held out and of all windows and spikes drawn; weights and dropout
    follow torch's own generator.
    """

    def __init__(
        self,
        network: SpikeDecoder,
        recordings: Sequence[SpikeWindows],
        course: Course,
        seed: int,
    ) -> None:
        self.network, self.recordings, self.course = network, list(recordings), course
        self.offsets = np.cumsum([0, *(read.n_units for read in self.recordings)])
        dim = network.unit.shape[0]
        self.units = torch.zeros(int(self.offsets[-1]), dim, requires_grad=True)
        self.sessions = torch.zeros(len(self.recordings), dim, requires_grad=True)
        self.rng = np.random.default_rng((seed, dim))
        self.training, self.held_out = self._split()

    def run(self, *, progress: bool = False) -> list[dict[str, float]]:
        """Learn, and return the course of it: step, seconds, loss, and how held-out windows do."""
        course = self.course
        windows = shuffled_batches(self.training, course.batch_size, self.rng)
        batches = self._batches(windows, self.rng)
        history = fit_network(
            self.network,
            [self._optimizer()],
            next_loss=lambda: self._loss(next(batches)),
            check=lambda _: self._check(),
            plan=FitPlan(
                "poyo",
                course.steps,
                max(course.steps // course.checks, 1),
                warm_up=_WARM_UP * course.steps,
                clip=_CLIP,
            ),
            progress=progress,
        )
        if course.network_rate > 0:
            self._centre()
        return history

    @torch.no_grad()
    def _centre(self) -> None:
        """Hand what all vectors have in common to the network: new ones, too, begin from there."""
        for vectors, common in (
            (self.units, self.network.unit),
            (self.sessions, self.network.session),
        ):
            mean = vectors.mean(dim=0)
            vectors.sub_(mean)
            common.add_(mean)

    def of_units(self) -> list[NDArray[np.float64]]:
        """Return the vectors (units, dim) of each recording; NaN for units without a spike."""
        vectors = self.units.detach().numpy().astype(np.float64)
        parts = np.split(vectors, self.offsets[1:-1])
        for part, read in zip(parts, self.recordings, strict=True):
            part[np.bincount(read.rows, minlength=read.n_units) == 0] = np.nan
        return parts

    def _split(self) -> tuple[Places, Places]:
        """Divide the windows into those of training and those held out."""
        training, held_out = [], []
        for index, read in enumerate(self.recordings):
            stretches = len(read) // self.course.readings
            out = self.rng.permutation(stretches) < np.rint(self.course.holdout * stretches)
            out = np.repeat(out, self.course.readings)
            places = np.stack([np.full(len(read), index), np.arange(len(read))], axis=1)
            training.append(places[~out])
            held_out.append(places[out])
        return np.concatenate(training), np.concatenate(held_out)

    def _batches(self, places: Iterator[Places], rng: np.random.Generator) -> Iterator[WindowBatch]:
        largest = self.course.max_spikes
        return read_batches(self.recordings, self.offsets, places, largest, rng)

    def _optimizer(self) -> torch.optim.Optimizer:
        rate = self.course.network_rate
        self.network.requires_grad_(rate > 0)
        decay = self.course.vector_decay
        vectors = [self.units, self.sessions]
        groups = [{"params": vectors, "lr": self.course.vector_rate, "weight_decay": decay}]
        if rate > 0:
            weights = list(self.network.parameters())
            groups.append({"params": weights, "lr": rate, "weight_decay": _DECAY})
        return torch.optim.AdamW(groups)

    def _loss(self, batch: WindowBatch) -> Tensor:
        """Return the mean loss over tasks."""
        outputs = self.network(batch, self.units, self.sessions)
        losses = [
            task.loss(outputs[task.name], batch.targets[task.name]) for task in self.network.tasks
        ]
        return torch.stack(losses).mean()

    def _check(self) -> dict[str, float]:
        """Return how well the windows held out are decoded; nothing where none is."""
        if not len(self.held_out):
            return {}
        parts = np.array_split(self.held_out, -(-len(self.held_out) // _TO_CHECK))
        read = list(self._batches(iter(parts), np.random.default_rng(0)))
        outputs = [self.network(batch, self.units, self.sessions) for batch in read]
        entry, skills = {"held_out_loss": 0.0}, []
        for task in self.network.tasks:
            output = torch.cat([part[task.name] for part in outputs])
            target = torch.cat([batch.targets[task.name] for batch in read])
            entry["held_out_loss"] += float(task.loss(output, target)) / len(self.network.tasks)
            skill = _skill(task, output.flatten(0, -2), target)
            if skill is not None:
                entry[f"held_out_{task.name}"] = skill
                skills.append(skill)
        return entry | ({"held_out": float(np.mean(skills))} if skills else {})


def _skill(task: DecodingTask, output: Tensor, target: Tensor) -> float | None:
    """Return R², or balanced accuracy from 0 at chance to 1; None where it is not defined."""
    if not task.classes:
        target = target.flatten(0, -2)
        known = target.isfinite().all(-1)
        if known.sum() < 2:
            return None
        truth, predicted = target[known].numpy(), output[known].numpy()
        return float(r2_score(truth, predicted, multioutput="variance_weighted"))
    right = output.argmax(-1) == target.flatten()
    classes = [target.flatten() == label for label in target.unique() if label != MISSING]
    if len(classes) < 2:
        return None
    recall = float(np.mean([float(right[of].float().mean()) for of in classes]))
    return (recall - 1 / len(classes)) / (1 - 1 / len(classes))
