"""Learning the vectors of units, with the network that decodes from them or with it frozen."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from sklearn.metrics import r2_score
from torch import Tensor

from pynapple_nuclr.baselines._fit_network import FitPlan, fit_network, shuffled_batches
from pynapple_nuclr.baselines.poyo.spike_decoder import (
    ActivityWindows,
    SpikeDecoder,
    WindowBatch,
    read_batches,
)
from pynapple_nuclr.baselines.poyo.targets import MISSING, DecodingTask

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pynapple_nuclr.baselines.poyo._poyo import Poyo

    Places = NDArray[np.int64]

_DECAY = 0.01  # of the network's weights
_WARM_UP = 0.1  # fraction of the steps
_CLIP = 1.0
_TO_CHECK = 64  # held-out windows at a time
_CHECKS = 10  # how often the held-out windows are decoded


class VectorLearner:
    """Learn the vectors of the units and of the sessions, and the network unless it is frozen.

    With a frozen network no window is held out. `seed` is that of the windows held out and of all
    windows and units drawn; weights and dropout follow torch's own generator.
    """

    def __init__(
        self,
        network: SpikeDecoder,
        recordings: Sequence[ActivityWindows],
        settings: Poyo,
        seed: int,
        *,
        frozen: bool = False,
    ) -> None:
        self.network, self.recordings = network, list(recordings)
        self.settings, self.frozen = settings, frozen
        self.offsets = np.cumsum([0, *(read.n_units for read in self.recordings)])
        dim = network.unit.shape[0]
        self.units = torch.zeros(int(self.offsets[-1]), dim, requires_grad=True)
        self.sessions = torch.zeros(len(self.recordings), dim, requires_grad=True)
        self.rng = np.random.default_rng((seed, dim))
        self.training, self.held_out = self._split()

    def run(self, batch_size: int, *, progress: bool = False) -> list[dict[str, float]]:
        """Learn from `batch_size` windows a step, and return `history_` of `Poyo`."""
        # More passes over the windows than they carry would make the vectors worse.
        enough = math.ceil(self.settings.passes * len(self.training) / batch_size)
        steps = min(self.settings.steps, enough)
        windows = shuffled_batches(self.training, batch_size, self.rng)
        batches = self._batches(windows, self.rng)
        history = fit_network(
            self.network,
            [self._optimizer()],
            next_loss=lambda: self._loss(next(batches)),
            check=lambda _: self._check(),
            plan=FitPlan(
                "poyo", steps, max(steps // _CHECKS, 1), warm_up=_WARM_UP * steps, clip=_CLIP
            ),
            progress=progress,
        )
        if not self.frozen:
            self._centre()
        return history

    @torch.no_grad()
    def _centre(self) -> None:
        """Move what all vectors have in common to the network, where new ones begin, too."""
        for vectors, common in (
            (self.units, self.network.unit),
            (self.sessions, self.network.session),
        ):
            mean = vectors.mean(dim=0)
            vectors.sub_(mean)
            common.add_(mean)

    def of_units(self) -> list[NDArray[np.float64]]:
        """Return the vectors (units, dim) of each recording; NaN for silent units."""
        vectors = self.units.detach().numpy().astype(np.float64)
        parts = np.split(vectors, self.offsets[1:-1])
        for part, read in zip(parts, self.recordings, strict=True):
            part[np.bincount(read.rows, minlength=read.n_units) == 0] = np.nan
        return parts

    def _split(self) -> tuple[Places, Places]:
        """Divide the windows into those of training and those held out."""
        training, held_out = [], []
        share = 0.0 if self.frozen else self.settings.holdout
        for index, read in enumerate(self.recordings):
            stretches = len(read) // read.readings
            out = self.rng.permutation(stretches) < np.rint(share * stretches)
            out = np.repeat(out, read.readings)
            places = np.stack([np.full(len(read), index), np.arange(len(read))], axis=1)
            training.append(places[~out])
            held_out.append(places[out])
        return np.concatenate(training), np.concatenate(held_out)

    def _batches(
        self, places: Iterator[Places], rng: np.random.Generator | None
    ) -> Iterator[WindowBatch]:
        return read_batches(self.recordings, self.offsets, places, rng)

    def _optimizer(self) -> torch.optim.Optimizer:
        self.network.requires_grad_(not self.frozen)
        # The decay of the vectors pulls all units together.
        rate, decay = self.settings.unit_learning_rate, self.settings.unit_decay
        groups = [{"params": [self.units, self.sessions], "lr": rate, "weight_decay": decay}]
        if not self.frozen:
            weights, rate = list(self.network.parameters()), self.settings.learning_rate
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
        read = list(self._batches(iter(parts), None))
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
