"""Between steps: progress, held-out re-identification, signals, checkpoints."""

from __future__ import annotations

import csv
import json
import math
import signal
import sys
import threading
import time
from collections import deque
from pathlib import Path
from statistics import median
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor
from tqdm import tqdm

from pynapple_nuclr.atomic_files import atomic_write
from pynapple_nuclr.checkpoints import save_encoder
from pynapple_nuclr.pretraining.held_out_time import HeldOutCheck
from pynapple_nuclr.pretraining.step_threads import StepThreads
from pynapple_nuclr.pretraining.time_budget import ENOUGH_STEPS
from pynapple_nuclr.pretraining.training_module import ContrastiveTraining
from pynapple_nuclr.pretraining.view_batches import PairBatch
from pynapple_nuclr.user_warnings import list_some, log

LAST = "last.safetensors"
METRICS = "metrics.csv"
CHECKS = "checks"
# What a checkpoint holds of a monitor.
_SAVED = ("rows", "best", "untrained", "best_weights", "checks_without_gain", "next_check")
_SAVE_EVERY = 300.0  # seconds
_SHOW_EVERY = 0.5
_ROUNDING = 1e-9
_EMPTY_EPOCHS = 3  # after which nothing is expected any more
_STEPS_TIMED = 50  # of the last steps, whose median counts
_FIRST_STEPS = 5  # after which the rest is estimated,
_FIRST_SHARE = 0.05  # or this part of the time
_CHECK_SHARE = 0.02  # of the time, for one check
_CHECKS_SHARE = 0.15  # of the time, for all checks
_UNSURE = 1.3  # the last check may take longer than the ones before
_LATE = 1.05  # times the time limit, after which nothing is measured any more


class TrainingMonitor(pl.Callback):
    """Progress bar, held-out re-identification, early stop and checkpoints.

    Of several processes the first one measures, writes and shows; what follows from it (to stop,
    to save, which weights were best) is the same in all, so that none waits for one that stopped.
    Checkpoints and metrics go into the folder `out`; `run_settings` are what a resumed run must
    have in common with this one.
    """

    def __init__(
        self,
        check: HeldOutCheck,
        out: Path | None,
        progress: bool,
        run_settings: dict[str, Any],
        threads: StepThreads,
    ) -> None:
        self.check = check
        self.threads = threads
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
        self.bar = tqdm(
            disable=not progress,
            desc="pretraining",
            total=1.0,
            bar_format="{desc}{percentage:3.0f}%|{bar}| {elapsed}{postfix}",
        )
        self.estimated = False
        self.step_seconds: deque[float] = deque(maxlen=_STEPS_TIMED)
        self.step_ended = 0.0
        self.check_seconds = self.save_seconds = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin with the steps; do the check that an earlier run was stopped in."""
        self._agree(trainer, pl_module)
        _install_signal_handlers(trainer, pl_module)
        pl_module.last_epoch = pl_module.position[0]
        schedule, step = pl_module.schedule, trainer.global_step
        self.threads.measure()
        if step == 0 and trainer.is_global_zero:
            self._doing("measuring before training")
            if schedule.seconds:
                self.check.limit(pl_module.encoder, _CHECK_SHARE * schedule.seconds)
            self.untrained = self.check.measure(pl_module.encoder)
        schedule.start()
        self._share_costs(trainer, pl_module)
        self.saved_at = schedule.spent
        # A run that is made longer has gone less far than it had.
        done = schedule.progress(step)
        if self._due(step, done):
            self._check(trainer, pl_module, done)
        first = self._between_checks(pl_module) if step == 0 and schedule.seconds else 0.0
        self.next_check = max(min(self.next_check, done + 1 / pl_module.settings.checks), first)
        self.step_ended = time.monotonic()

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
        self._time_step(batch)
        done = schedule.progress(step)
        self._show(trainer, pl_module, step)
        if done >= 1 and self.rows and self._too_late(pl_module):
            self._save(trainer, pl_module)
        elif done >= 1 or self._due(step, done):
            self._check(trainer, pl_module, done)
            self._save(trainer, pl_module)
        elif pl_module.stopping or schedule.spent - self.saved_at > _SAVE_EVERY:
            self._save(trainer, pl_module)
        out_of_patience = self.checks_without_gain >= pl_module.settings.patience
        if done >= 1 or out_of_patience or pl_module.stopping:
            trainer.should_stop = True
        self.step_ended = time.monotonic()

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
            "setup": pl_module.schedule.setup,
            "check": self.check.state(),
            "last_loss": pl_module.last_loss,
            **{name: getattr(self, name) for name in _SAVED},
        }

    def restore(self, module: ContrastiveTraining, saved: dict[str, Any]) -> None:
        """Continue where a checkpoint left off."""
        module.position = tuple(saved["position"])
        module.schedule.restore(saved["spent"], saved.get("setup", 0.0))
        if "check" in saved:
            self.check.restore(saved["check"])
        module.last_loss = saved["last_loss"]
        for name in _SAVED:
            setattr(self, name, saved[name])

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
        names = list_some(self.run_settings["recordings"])
        raise ValueError(
            f"no pair of views has more than {module.settings.min_units} units left in both: the "
            f"recordings {names} are too small or too quiet; lower min_units, or use longer windows"
        )

    def close(self, result: str) -> None:
        """End the bar with what was reached."""
        log.info(result)
        self.bar.n = self.bar.total
        self.bar.set_postfix_str(result, refresh=False)
        self._doing("pretraining")
        self.bar.close()

    def say(self, text: str) -> None:
        """Log a line, and write it above the bar."""
        log.info(text)
        if not self.bar.disable:
            self.bar.write(text, file=sys.stderr)  # output of the command line stays clean

    def _doing(self, what: str) -> None:
        self.bar.set_description(what)

    def _time_step(self, batch: PairBatch) -> None:
        seconds = time.monotonic() - self.step_ended
        self.step_seconds.append(seconds)
        units = sum(len(pair.ids1) + len(pair.ids2) for pair in batch.pairs)
        if units:
            self.threads.add(seconds / units)

    def _show(self, trainer: pl.Trainer, module: ContrastiveTraining, step: int) -> None:
        schedule, seconds = module.schedule, median(self.step_seconds)
        left = schedule.seconds_left(step, seconds)
        reid = f"{self.best:.3f}" if self.best >= 0 else "not yet measured"
        self.bar.n = min(schedule.share(step), 0.99)
        self.bar.set_postfix_str(
            f"{tqdm.format_interval(left)} left, step {step}, loss {module.last_loss:.3f}, "
            f"held-out re-identification {reid}",
            refresh=False,
        )
        if time.monotonic() - self.shown_at > _SHOW_EVERY:
            self.shown_at = time.monotonic()
            self.bar.refresh()
        long = schedule.seconds and sum(self.step_seconds) > _FIRST_SHARE * schedule.seconds
        if not self.estimated and (step >= _FIRST_STEPS or long):
            self.estimated = True
            if trainer.is_global_zero:
                self.say(self._estimate(step, seconds, left))

    def _estimate(self, step: int, seconds: float, left: float) -> str:
        """Return what will fit into the time, and what helps where that is little."""
        steps = step + int(left / seconds)
        pairs = self.run_settings["batch_size"]
        text = (
            f"{seconds:.2g} s a step ({torch.get_num_threads()} CPU threads): about {steps} steps "
            f"in all, {steps * pairs} pairs of views, {left / 60:.1f} min"
        )
        if steps >= ENOUGH_STEPS:
            return text
        most = self.run_settings["settings"]["max_units"]
        return (
            f"{text}; fewer than {ENOUGH_STEPS} steps teach little: more fit with a smaller "
            f"max_units (now {most or 'all units'}) or batch_size (now {pairs}), a narrower "
            "encoder (dim), or more time"
        )

    def _between_checks(self, module: ContrastiveTraining) -> float:
        """Return the progress from one check to the next: rarer where they take long."""
        apart = 1 / module.settings.checks
        if module.schedule.seconds:
            cost = (self.check_seconds + self.save_seconds) / module.schedule.seconds
            apart = max(apart, cost / _CHECKS_SHARE)
        return apart

    def _too_late(self, module: ContrastiveTraining) -> bool:
        """Return whether the time is over without a last check, which was slower than thought."""
        schedule = module.schedule
        return schedule.seconds is not None and (
            schedule.spent + self.check_seconds > _LATE * schedule.seconds
        )

    def _share_costs(self, trainer: pl.Trainer, module: ContrastiveTraining) -> None:
        """Give all processes the times of the first one, so that they do the same at each step."""
        schedule = module.schedule
        own = (
            schedule.spent,
            schedule.setup,
            self.untrained,
            self.check.seconds,
            self.save_seconds,
            median(self.step_seconds or [0.0]),
        )
        (
            schedule.spent,
            schedule.setup,
            self.untrained,
            self.check_seconds,
            self.save_seconds,
            step_seconds,
        ) = trainer.strategy.broadcast(own)
        # Two files are written at the end, a checkpoint and the encoder.
        schedule.reserve = _UNSURE * self.check_seconds + 2 * self.save_seconds + step_seconds / 2

    def _check(self, trainer: pl.Trainer, module: ContrastiveTraining, done: float) -> None:
        """Measure re-identification between the halves of the held-out blocks."""
        score, step = float("nan"), trainer.global_step
        self._doing("measuring")
        if trainer.is_global_zero:
            score = self.check.measure(module.encoder)
        self._doing("pretraining")
        if done < 1:
            self.threads.measure()
        module.schedule.lap()
        score = trainer.strategy.broadcast(score)
        self._share_costs(trainer, module)
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
        apart = self._between_checks(module)
        self.next_check = done + apart
        if module.schedule.seconds and self.next_check > 1 - apart / 2:
            self.next_check = 1.0  # the last check is close
        if trainer.is_global_zero:
            self.write_metrics()

    def _keep(self, module: ContrastiveTraining, step: int) -> None:
        if module.settings.keep_checks and self.out is not None:
            save_encoder(module.encoder, self.out / CHECKS / f"step_{step:06d}", dtype="float16")

    def _save(self, trainer: pl.Trainer, module: ContrastiveTraining) -> None:
        """Write a checkpoint; the one before it stays whole until this one is."""
        self.saved_at = module.schedule.spent
        if self.out is None:
            return
        begun = time.monotonic()
        if trainer.is_global_zero:
            with atomic_write(self.out / LAST) as draft:
                trainer.save_checkpoint(draft)
        else:
            trainer.save_checkpoint(self.out / LAST)  # takes part, and writes nothing
        trainer.strategy.barrier()
        self.save_seconds = max(self.save_seconds, time.monotonic() - begun)


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
