"""Between steps: progress, held-out re-identification, signals, checkpoints."""

from __future__ import annotations

import csv
import json
import math
import signal
import threading
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from pynapple_nuclr.atomic_files import atomic_write
from pynapple_nuclr.checkpoints import Encoder, save_encoder
from pynapple_nuclr.embedding.window_batches import embed_windows
from pynapple_nuclr.pretraining.training_module import ContrastiveTraining, Schedule
from pynapple_nuclr.stability import reidentification
from pynapple_nuclr.windows import PatchReader, tile

LAST = "last.safetensors"
METRICS = "metrics.csv"
CHECKS = "checks"
_SAVE_EVERY = 300.0  # seconds
_SHOW_EVERY = 0.5
_MOST_WINDOWS = 16  # of a held-out block, to keep a check short
_MOST_RECORDINGS = 8
_ROUNDING = 1e-9
_EMPTY_EPOCHS = 3  # after which nothing is expected any more


class TrainingMonitor(pl.Callback):
    """Progress bar, held-out re-identification, early stop and checkpoints.

    Of several processes the first one measures, writes and shows; what follows from it (to stop,
    to save, which weights were best) is the same in all, so that none waits for one that stopped.

    Parameters
    ----------
    held_out : list of PatchReader
        Blocks of time that are not trained on.
    out : Path or None
        Where checkpoints and metrics go.
    progress : bool
        Whether to show a bar.
    run_settings : dict
        What a resumed run must have in common with this one.
    """

    def __init__(
        self,
        held_out: list[PatchReader],
        out: Path | None,
        progress: bool,
        run_settings: dict[str, Any],
    ) -> None:
        self.held_out = held_out[:: -(-len(held_out) // _MOST_RECORDINGS) or 1]
        self.out = out
        self.run_settings = run_settings
        self.rows: list[dict[str, float]] = []
        self.best = -math.inf
        self.untrained = math.nan  # re-identification before the first step
        self.best_weights: dict[str, Tensor] = {}
        self.checks_without_gain = 0
        self.next_check = 0.0
        self.saved_at = 0.0
        self.shown_at = 0.0
        self.bar = tqdm(disable=not progress, desc="pretraining", unit="step", total=1.0)
        self.bar.bar_format = "{l_bar}{bar}| {elapsed}<{remaining}{postfix}"
        self.estimated = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin to count the time; do the check that an earlier run was stopped in."""
        self._agree(trainer, pl_module)
        _install_signal_handlers(trainer, pl_module)
        pl_module.last_epoch = pl_module.position[0]
        pl_module.schedule.start()
        self.saved_at = pl_module.schedule.spent
        step = trainer.global_step
        if step == 0 and trainer.is_global_zero:
            self.untrained = self._reidentification(pl_module)
        pl_module.schedule.lap()  # what it took counts
        # A run that is made longer has gone less far than it had.
        done = pl_module.schedule.progress(step)
        if self._due(step, done):
            self._check(trainer, pl_module, done)
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
        schedule, step = pl_module.schedule, trainer.global_step
        self._check_pairs_left(pl_module)
        done = schedule.progress(step)
        self._show(pl_module, step, done)
        if done >= 1 or self._due(step, done):
            self._check(trainer, pl_module, done)
            self._save(trainer, pl_module)
        elif pl_module.stopping or schedule.spent - self.saved_at > _SAVE_EVERY:
            self._save(trainer, pl_module)
        out_of_patience = self.checks_without_gain >= pl_module.settings.patience
        if done >= 1 or out_of_patience or pl_module.stopping:
            trainer.should_stop = True

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Save the training when the user interrupts."""
        interrupted = isinstance(exception, KeyboardInterrupt) and pl_module.step_done
        if interrupted and trainer.world_size == 1:  # several would wait for each other
            self._save(trainer, pl_module)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add what a resumed run needs."""
        checkpoint["nuclr"] = {
            "run_settings": self.run_settings,
            "position": list(pl_module.position),
            "spent": pl_module.schedule.spent,
            "last_loss": pl_module.last_loss,
            "rows": self.rows,
            "best": self.best,
            "untrained": self.untrained,
            "best_weights": self.best_weights,
            "checks_without_gain": self.checks_without_gain,
            "next_check": self.next_check,
        }

    def restore(self, module: ContrastiveTraining, saved: dict[str, Any]) -> None:
        """Continue where a checkpoint left off."""
        module.position = tuple(saved["position"])
        module.schedule.spent = saved["spent"]
        module.last_loss = saved["last_loss"]
        self.rows = saved["rows"]
        self.best, self.best_weights = saved["best"], saved["best_weights"]
        self.untrained = saved["untrained"]
        self.checks_without_gain = saved["checks_without_gain"]
        self.next_check = saved["next_check"]

    def write_metrics(self) -> None:
        """Write the rows of all checks; those of an earlier run that were lost go, too."""
        if self.out is None or not self.rows:
            return
        with (
            atomic_write(self.out / METRICS) as draft,
            draft.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.DictWriter(file, fieldnames=list(self.rows[0]))
            writer.writeheader()
            writer.writerows(self.rows)

    def _due(self, step: int, done: float) -> bool:
        return step > 0 and done >= self.next_check - _ROUNDING

    def _agree(self, trainer: pl.Trainer, module: ContrastiveTraining) -> None:
        """Raise ValueError unless all processes have the same arguments and recordings."""
        if trainer.world_size == 1:
            return
        mine = {**self.run_settings, "step": trainer.global_step, "position": module.position}
        everyone: list[Any] = [None] * trainer.world_size
        torch.distributed.all_gather_object(everyone, {k: json.dumps(v) for k, v in mine.items()})
        differing = [key for key in mine if len({one[key] for one in everyone}) > 1]
        if differing:
            raise ValueError(
                f"the {trainer.world_size} processes differ in {', '.join(differing)}; expected "
                "the same arguments and recordings in each, and a folder `out` that all can read"
            )

    def _check_pairs_left(self, module: ContrastiveTraining) -> None:
        if module.position[0] - module.last_epoch < _EMPTY_EPOCHS:
            return
        names = ", ".join(repr(name) for name in list(self.run_settings["recordings"])[:5])
        raise ValueError(
            f"no pair of views has more than {module.settings.min_units} units left in both: the "
            f"recordings {names} are too small or too quiet; lower min_units, or use longer windows"
        )

    def _show(self, module: ContrastiveTraining, step: int, done: float) -> None:
        self.bar.n = done
        self.bar.set_postfix(
            step=step,
            loss=f"{module.last_loss:.3f}",
            reid=f"{self.best:.3f}" if self.best >= 0 else "not yet measured",
            refresh=False,
        )
        if time.monotonic() - self.shown_at > _SHOW_EVERY:
            self.shown_at = time.monotonic()
            self.bar.refresh()
        if not self.estimated and step >= 5:
            self.estimated = True
            if not self.bar.disable:
                self.bar.write(_estimate(module.schedule, step))

    def _check(self, trainer: pl.Trainer, module: ContrastiveTraining, done: float) -> None:
        """Measure re-identification between the halves of the held-out blocks."""
        score, step = float("nan"), trainer.global_step
        if trainer.is_global_zero:
            score = self._reidentification(module)
        module.schedule.lap()
        score = trainer.strategy.broadcast(score)
        row = {
            "step": step,
            "progress": done,
            "seconds": module.schedule.spent,
            "loss": module.last_loss,
            "held_out_reidentification": score,
        }
        if trainer.is_global_zero:
            self._keep(module, step)
        unknown = math.isnan(score)
        gained = unknown or score > self.best
        if unknown or score >= self.best:
            state = module.encoder.state_dict()
            self.best_weights = {key: value.detach().cpu().clone() for key, value in state.items()}
        # From here on nothing takes long: an interruption finds the check not begun, or done.
        self.best = self.best if unknown else max(score, self.best)
        self.checks_without_gain = 0 if gained else self.checks_without_gain + 1
        self.rows = [*self.rows, row]
        self.next_check = done + 1 / module.settings.checks
        if trainer.is_global_zero:
            self.write_metrics()

    def _reidentification(self, module: ContrastiveTraining) -> float:
        """Return the mean over the held-out blocks; NaN: there are none."""
        scores = [held_out_score(module.encoder, reader) for reader in self.held_out]
        known = [score for score in scores if math.isfinite(score)]
        return float(np.mean(known)) if known else math.nan

    @property
    def chance(self) -> float:
        """Re-identification by guessing: one unit of each held-out block."""
        units = [reader.recording.n_units for reader in self.held_out]
        return float(np.mean([1 / n for n in units])) if units else math.nan

    def _keep(self, module: ContrastiveTraining, step: int) -> None:
        if module.settings.keep_checks and self.out is not None:
            save_encoder(module.encoder, self.out / CHECKS / f"step_{step:06d}", dtype="float16")

    def _save(self, trainer: pl.Trainer, module: ContrastiveTraining) -> None:
        """Write a checkpoint; the one before it stays whole until this one is."""
        self.saved_at = module.schedule.spent
        if self.out is None:
            return
        if trainer.is_global_zero:
            with atomic_write(self.out / LAST) as draft:
                trainer.save_checkpoint(draft)
        else:
            trainer.save_checkpoint(self.out / LAST)  # takes part, and writes nothing
        trainer.strategy.barrier()


def held_out_score(encoder: Encoder, source: PatchReader) -> float:
    """Return the re-identification between the halves of a block of at least two windows."""
    starts = tile(source).starts[:_MOST_WINDOWS]
    half = len(starts) // 2
    device = next(encoder.parameters()).device
    halves = [
        embed_windows(encoder, source, part, device=device).mean
        for part in (starts[:half], starts[half : 2 * half])
    ]
    return reidentification(*halves)


def _install_signal_handlers(trainer: pl.Trainer, module: ContrastiveTraining) -> None:
    """Let SIGTERM, and Ctrl-C in several processes, end the training after the step.

    Lightning puts the handlers of before back when it is done.
    """
    if threading.current_thread() is not threading.main_thread():
        return

    def stop(number: int, frame: Any) -> None:
        if module.stop_asked and number == signal.SIGINT:
            raise KeyboardInterrupt  # the user does not want to wait
        module.stop_asked = True

    signal.signal(signal.SIGTERM, stop)
    if trainer.world_size > 1:
        signal.signal(signal.SIGINT, stop)


def _estimate(schedule: Schedule, step: int) -> str:
    each = schedule.spent / step
    left = [] if schedule.steps is None else [(schedule.steps - step) * each]
    if schedule.seconds is not None:
        left.append(schedule.seconds - schedule.spent)
    minutes = min(left) / 60
    return f"{each:.2f} s a step: at most {minutes:.1f} min, {60 * minutes / each:.0f} steps"
