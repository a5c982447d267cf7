"""One training step under Lightning, in one process or several."""

from __future__ import annotations

import math
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor

from pynapple_nuclr.checkpoints import Encoder
from pynapple_nuclr.model import ContrastiveLoss, keep_freed_memory
from pynapple_nuclr.pretraining.schedule import Schedule
from pynapple_nuclr.pretraining.training_settings import TrainingSettings
from pynapple_nuclr.pretraining.view_batches import PairBatch

_TOKENS_AT_ONCE = {"cpu": 20_000, "cuda": 1_000_000, "mps": 100_000}


class ContrastiveTraining(pl.LightningModule):
    """Encoder and projector, trained to recognise units in another view.

    The schedule has its length and learning rate; `seed` is that of the dropout of every step.
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
        self.position = (0, 0)
        self.last_epoch = 0  # in which there was a pair to learn from
        self.last_loss = float("nan")
        self.step_done = True  # not in the midst of changing weights
        self.stop_asked = False  # by a signal to this process
        self.stopping = False  # by a signal to any

    def on_fit_start(self) -> None:
        """Prepare this process for many steps that allocate the same amounts of memory."""
        if self.device.type == "cpu":
            keep_freed_memory()

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

    def training_step(self, batch: PairBatch, index: int) -> None:
        """Take one step on a batch of pairs, with all processes together."""
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
            self.manual_backward(loss)
            total += float(loss.detach())
        self.schedule.lap()
        self.stopping = self.stop_asked
        if self.trainer.world_size > 1:
            total, matched = self._add_up(total, matched)
        if not matched:
            self.position = batch.next_position
            return
        if not math.isfinite(total):
            raise ValueError(
                f"the loss is {total} at step {step}, on windows of the recordings "
                f"{', '.join(map(repr, batch.recordings))}; expected a finite number: lower "
                "learning_rate, or look for extreme values there"
            )
        self.clip_gradients(optimizer, self.settings.gradient_clip, "norm")
        self.step_done = False
        optimizer.step()
        self.position = batch.next_position
        self.last_epoch = self.position[0]
        self.last_loss = total
        self.step_done = True

    def _add_up(self, loss: float, matched: int) -> tuple[float, int]:
        """Add up losses and gradients, weighted by matched units, as if this were one process.

        Every process comes here once a step, whatever its pairs, so that none waits in vain; the
        time that counts is the first one's, and a signal to one is a signal to all. Returns loss
        and matched units of the whole batch.
        """
        spent = self.schedule.spent if self.global_rank == 0 else 0.0
        weighted = loss * matched if matched else 0.0
        sums = torch.tensor(
            [weighted, matched, spent, self.stop_asked], dtype=torch.float64, device=self.device
        )
        torch.distributed.all_reduce(sums)
        weighted, everywhere, self.schedule.spent, stops = sums.tolist()
        self.stopping = stops > 0
        if not everywhere:
            return 0.0, 0
        weights = [weight for weight in self.parameters() if weight.requires_grad]
        own = [torch.zeros_like(w) if w.grad is None else w.grad for w in weights]
        summed = torch.cat([gradient.flatten() for gradient in own]) * (matched / everywhere)
        torch.distributed.all_reduce(summed)
        shares = summed.split([weight.numel() for weight in weights])
        for weight, share in zip(weights, shares, strict=True):
            weight.grad = share.view_as(weight)
        return weighted / everywhere, int(everywhere)

    def transfer_batch_to_device(
        self, batch: PairBatch, device: Any, dataloader_idx: int
    ) -> PairBatch:
        """Leave the batch where it is: its parts move when they are packed."""
        return batch

    def _loss(self, part: PairBatch) -> Tensor:
        patches, sizes, ids1, ids2 = part.tensors(self.device)
        x = self.encoder(patches, sizes)
        x1, x2 = x.float().split([sum(map(len, ids1)), sum(map(len, ids2))])
        # Similarities divided by a small temperature need more digits than bfloat16 has.
        with torch.autocast(self.device.type, enabled=False):
            loss: Tensor = self.loss(x1, x2, ids1, ids2)
        return loss

    def _step_seed(self, step: int) -> int:
        # numpy fills up with zeros: the first of several processes draws what a single one does.
        words = np.random.SeedSequence((self.seed, step, self.global_rank))
        return int(words.generate_state(1)[0])
