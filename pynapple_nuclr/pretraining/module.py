"""One training step under Lightning, and what is watched between steps."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from pynapple_nuclr.checkpoints import save_encoder
from pynapple_nuclr.contrast import ContrastiveLoss
from pynapple_nuclr.encoder import Encoder
from pynapple_nuclr.inference import gather, reidentification
from pynapple_nuclr.pretraining.batches import Batch
from pynapple_nuclr.pretraining.settings import TrainingSettings
from pynapple_nuclr.windows import Source, tile

LAST = "last.ckpt"
CHECKS = "checks"
_TOKENS_AT_ONCE = {"cpu": 20_000, "cuda": 1_000_000, "mps": 100_000}
_SAVE_EVERY = 300.0  # seconds
_SHOW_EVERY = 0.5
_MOST_WINDOWS = 16  # of a held-out block, to keep a check short
_MOST_RECORDINGS = 8
_WARMUP = 5


class Schedule:
    """How far the training has come, 0 to 1: by steps, by time, whichever is further.

    Parameters
    ----------
    steps : int or None
        Steps to take.
    minutes : float or None
        Minutes to train, those of earlier runs that this one resumes included.
    warmup : int
        Steps over which the learning rate rises.
    """

    def __init__(self, steps: int | None, minutes: float | None, warmup: int) -> None:
        self.steps = steps
        self.seconds = None if minutes is None else 60 * minutes
        self.warmup = warmup
        self.spent = 0.0  # seconds, by this and earlier runs
        self._since = time.monotonic()

    def start(self) -> None:
        """Begin to count the time of this run."""
        self._since = time.monotonic()

    def lap(self) -> None:
        """Add the time since the last call."""
        now = time.monotonic()
        self.spent += now - self._since
        self._since = now

    def progress(self, step: int) -> float:
        """Return how far the training has come after `step` steps."""
        by_steps = step / self.steps if self.steps else 0.0
        by_time = self.spent / self.seconds if self.seconds else 0.0
        return min(max(by_steps, by_time), 1.0)

    def factor(self, step: int) -> float:
        """Return the learning rate of a step as a fraction: linear warm-up, then cosine to 0.

        A training shorter than five times the warm-up warms up over its first fifth.
        """
        rise = max((step + 1) / max(self.warmup, 1), self.progress(step) * _WARMUP)
        rise = min(rise, 1.0)
        return rise * 0.5 * (1 + math.cos(math.pi * self.progress(step)))


class ContrastiveTraining(pl.LightningModule):
    """Encoder and projector, trained to recognise units in another view.

    Parameters
    ----------
    encoder : Encoder
        The encoder.
    settings : TrainingSettings
        How it is trained.
    schedule : Schedule
        Length and learning rate.
    seed : int
        Seed of the dropout of every step.
    """

    def __init__(
        self, encoder: Encoder, settings: TrainingSettings, schedule: Schedule, seed: int
    ) -> None:
        super().__init__()
        # Steps are taken by hand: a large batch goes through in parts that fit the cache.
        self.automatic_optimization = False
        self.encoder = encoder
        self.loss = ContrastiveLoss(
            encoder.config.dim,
            settings.temperature,
            within_view_temperature=settings.within_view_temperature,
        )
        self.settings = settings
        self.schedule = schedule
        self.seed = seed
        self.place = (0, 0)
        self.last_loss = float("nan")

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW; norms and biases do not decay."""
        parameters = [p for p in self.parameters() if p.requires_grad]
        groups: list[dict[str, Any]] = [
            {"params": [p for p in parameters if p.ndim > 1]},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(
            groups, lr=self.settings.learning_rate, weight_decay=self.settings.weight_decay
        )

    def training_step(self, batch: Batch, index: int) -> None:
        """Take one step on a batch of pairs."""
        step = self.global_step
        optimizer = self.optimizers()
        for group in optimizer.param_groups:
            group["lr"] = self.settings.learning_rate * self.schedule.factor(step)
        torch.manual_seed(self._step_seed(step))  # the same dropout, whether resumed or not
        optimizer.zero_grad()
        matched = batch.matched
        total = 0.0
        for part in batch.parts(_TOKENS_AT_ONCE.get(self.device.type, 20_000)):
            loss = self._loss(part) * (part.matched / matched)
            if not torch.isfinite(loss):
                raise ValueError(
                    f"the loss is {loss.item()} at step {step}; expected a finite number: lower "
                    "learning_rate, or look for extreme values in the recordings"
                )
            self.manual_backward(loss)
            total += float(loss.detach())
        self.clip_gradients(optimizer, self.settings.gradient_clip, "norm")
        optimizer.step()
        self.place = batch.next_place
        self.last_loss = total

    def transfer_batch_to_device(self, batch: Batch, device: Any, dataloader_idx: int) -> Batch:
        """Leave the batch where it is: its parts move when they are packed."""
        return batch

    def _loss(self, part: Batch) -> Tensor:
        patches, sizes, ids1, ids2 = part.tensors(self.device)
        x = self.encoder(patches, sizes)
        x1, x2 = x.float().split([sum(map(len, ids1)), sum(map(len, ids2))])
        # Similarities divided by a small temperature need more digits than bfloat16 has.
        with torch.autocast(self.device.type, enabled=False):
            loss: Tensor = self.loss(x1, x2, ids1, ids2)
        return loss

    def _step_seed(self, step: int) -> int:
        return int(np.random.SeedSequence((self.seed, step)).generate_state(1)[0])


class Watch(pl.Callback):
    """Progress bar, held-out re-identification, early stop and checkpoints.

    Parameters
    ----------
    held_out : list of Source
        Blocks of time that are not trained on.
    out : Path or None
        Where checkpoints go.
    progress : bool
        Whether to show a bar.
    facts : dict
        What a resumed run must have in common with this one.
    report : callable
        Told the metrics of every check, as a dictionary.
    """

    def __init__(
        self,
        held_out: list[Source],
        out: Path | None,
        progress: bool,
        facts: dict[str, Any],
        report: Callable[[dict[str, float]], None],
    ) -> None:
        self.held_out = held_out[:: -(-len(held_out) // _MOST_RECORDINGS) or 1]
        self.out = out
        self.facts = facts
        self.report = report
        self.best = -math.inf
        self.best_weights: dict[str, Tensor] = {}
        self.checks_without_gain = 0
        self.next_check = 0.0
        self.saved_at = time.monotonic()
        self.shown_at = 0.0
        self.bar = tqdm(disable=not progress, desc="pretraining", unit="step", total=1.0)
        self.bar.bar_format = "{l_bar}{bar}| {elapsed}<{remaining}{postfix}"
        self.estimated = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin to count the time."""
        pl_module.schedule.start()
        # A run that is made longer has gone less far than it had.
        done = pl_module.schedule.progress(trainer.global_step)
        self.next_check = min(self.next_check, done + 1 / pl_module.settings.checks)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Show, check, save and stop where it is time to."""
        schedule = pl_module.schedule
        schedule.lap()
        step = trainer.global_step
        done = schedule.progress(step)
        self.bar.n = done
        self.bar.set_postfix(
            step=step, loss=f"{pl_module.last_loss:.3f}", reid=f"{self.best:.3f}", refresh=False
        )
        if time.monotonic() - self.shown_at > _SHOW_EVERY:
            self.shown_at = time.monotonic()
            self.bar.refresh()
        if not self.estimated and step >= 5:
            self.estimated = True
            if not self.bar.disable:
                self.bar.write(self._estimate(schedule, step))
        if done >= self.next_check or done >= 1:
            self._check(pl_module, step, done)
            self.next_check = done + 1 / pl_module.settings.checks
            self._save(trainer)
        elif time.monotonic() - self.saved_at > _SAVE_EVERY:
            self._save(trainer)
        if done >= 1 or self.checks_without_gain >= pl_module.settings.patience:
            trainer.should_stop = True

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Keep what was learned when the user interrupts."""
        if isinstance(exception, KeyboardInterrupt):
            self._save(trainer)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add what a resumed run needs."""
        checkpoint["nuclr"] = {
            "facts": self.facts,
            "place": list(pl_module.place),
            "spent": pl_module.schedule.spent,
            "best": self.best,
            "best_weights": self.best_weights,
            "checks_without_gain": self.checks_without_gain,
            "next_check": self.next_check,
        }

    def restore(self, module: ContrastiveTraining, saved: dict[str, Any]) -> None:
        """Continue where a checkpoint left off."""
        module.place = tuple(saved["place"])
        module.schedule.spent = saved["spent"]
        self.best, self.best_weights = saved["best"], saved["best_weights"]
        self.checks_without_gain = saved["checks_without_gain"]
        self.next_check = saved["next_check"]

    @staticmethod
    def _estimate(schedule: Schedule, step: int) -> str:
        each = schedule.spent / step
        left = [] if schedule.steps is None else [(schedule.steps - step) * each]
        if schedule.seconds is not None:
            left.append(schedule.seconds - schedule.spent)
        minutes = min(left) / 60
        return f"{each:.2f} s a step: at most {minutes:.1f} min, {60 * minutes / each:.0f} steps"

    def _check(self, module: ContrastiveTraining, step: int, done: float) -> None:
        """Measure re-identification between the halves of the held-out blocks."""
        scores = [held_out_score(module.encoder, source) for source in self.held_out]
        known = [score for score in scores if math.isfinite(score)]
        score = float(np.mean(known)) if known else float("nan")
        self.report(
            {
                "step": step,
                "progress": done,
                "seconds": module.schedule.spent,
                "loss": module.last_loss,
                "held_out_reidentification": score,
            }
        )
        if module.settings.keep_checks and self.out is not None:
            save_encoder(module.encoder, self.out / CHECKS / f"step_{step:06d}", dtype="float16")
        gained = not known or score > self.best
        self.checks_without_gain = 0 if gained else self.checks_without_gain + 1
        if known and score < self.best:
            return
        self.best = score if known else self.best
        state = module.encoder.state_dict()
        self.best_weights = {key: value.detach().cpu().clone() for key, value in state.items()}

    def _save(self, trainer: pl.Trainer) -> None:
        """Write a checkpoint; the one before it stays whole until this one is."""
        self.saved_at = time.monotonic()
        if self.out is None:
            return
        part = self.out / f"{LAST}.part"
        trainer.save_checkpoint(part)
        os.replace(part, self.out / LAST)


def held_out_score(encoder: Encoder, source: Source) -> float:
    """Return the re-identification between the halves of a block of at least two windows."""
    starts = tile(source).starts[:_MOST_WINDOWS]
    half = len(starts) // 2
    device = next(encoder.parameters()).device
    halves = [
        gather(encoder, source, part, device=device).mean
        for part in (starts[:half], starts[half : 2 * half])
    ]
    return reidentification(*halves)
