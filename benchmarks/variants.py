"""Variants of one encoder with single changes, at one budget: the effect of each choice.

`Variant` trains an encoder with a simple loop on the package's own views and objective, so that any
part can be replaced. It implements the interface of all systems, so `evaluate` takes it like any
other. Changes that help move into the package; the others stay here, to be measured again.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from pynapple_nuclr import ContrastiveLoss, Encoder, EncoderConfig
from pynapple_nuclr.baselines import EmbeddingSystem
from pynapple_nuclr.embedding import encode
from pynapple_nuclr.model.inference import Precision
from pynapple_nuclr.pretraining.view_batches import PairBatches
from pynapple_nuclr.recording import as_recordings
from pynapple_nuclr.windows import ViewSampler, ViewSettings, open_patch_reader

WARMUP = 50  # steps


@dataclass
class Variant(EmbeddingSystem):
    """An encoder that is trained on the recordings of every fit, with parts replaced.

    Parameters
    ----------
    name : str
        Name of the system in tables.
    config : EncoderConfig
        Windows and size.
    pairs, batch_size : int
        Pairs of views in total, and in each step.
    learning_rate : float
        Peak learning rate of AdamW; warm-up and cosine decay.
    views : ViewSettings
        How views are drawn.
    context : {"absolute", "relative"}
        "relative": the output of population attention is centred over the population, so that
        context cannot shift all units of a session equally.
    standardise : bool
        Standardise the embeddings within each population, inside the model.
    population_kept : float
        In training, a unit attends to a random part of the population: at least this fraction.
    across_recordings : bool
        Also use units of other recordings in the step as negatives.
    objective : {"published", "infonce"}
        Decoupled with negatives within views, or plain InfoNCE between views.
    penalty : float
        Weight of a penalty on the variance of the embedding between sessions, relative to the
        variance within.
    precision : {"bfloat16", "float32"}
        Arithmetic of the encoder.
    """

    name: str  # type: ignore[misc]
    config: EncoderConfig
    pairs: int = 600
    batch_size: int = 2
    learning_rate: float = 1e-3
    views: ViewSettings = field(default_factory=ViewSettings)
    context: str = "absolute"
    standardise: bool = False
    population_kept: float = 1.0
    across_recordings: bool = False
    objective: str = "published"
    penalty: float = 0.0
    precision: Precision = "bfloat16"

    def __post_init__(self) -> None:
        self.modalities = (self.config.modality,)  # type: ignore[misc]

    def with_changes(self, name: str, **changes: Any) -> Variant:
        """Return a copy with these fields changed."""
        return replace(self, name=name, **changes)

    def candidates(self) -> list[Variant]:  # type: ignore[override]
        """Return this system, and one that attends to part of the population in training."""
        return [self, replace(self, population_kept=0.5)]

    def fit(self, recordings: Any, *, seed: int = 0, progress: bool = False) -> Variant:
        """Train an encoder on the recordings."""
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self._train(recordings, seed, progress)
        return self

    def embed(self, recordings: Any) -> dict[str, np.ndarray]:
        """Return the mean embedding of every unit over its windows."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*no spike in any window")
            return {
                name: encode(units, self.encoder_, precision=self.precision, progress=False)[
                    "embedding"
                ].values
                for name, units in recordings.items()
            }

    def _train(self, recordings: Any, seed: int, progress: bool) -> None:
        encoder = _VariedEncoder(self)
        loss = ContrastiveLoss(self.config.dim) if self.objective == "published" else _InfoNCE(self)
        sources = [
            open_patch_reader(one, self.config) for one in as_recordings(recordings).values()
        ]
        sampler = ViewSampler(sources, self.views, self.config.gaps, seed)
        batches = (batch for batch in PairBatches(sampler, self.batch_size) if batch.pairs)
        weights = [*encoder.parameters(), *loss.parameters()]
        optimizer = torch.optim.AdamW(weights, lr=self.learning_rate)
        begun, steps = time.perf_counter(), max(self.pairs // self.batch_size, 1)
        self.history_ = []
        for step in tqdm(range(steps), desc=self.name, disable=not progress):
            progress_made = step / steps
            rise = min(1.0, (step + 1) / WARMUP, 10 * (progress_made + 1 / steps))
            for group in optimizer.param_groups:
                group["lr"] = (
                    self.learning_rate * rise * 0.5 * (1 + math.cos(math.pi * progress_made))
                )
            value = self._loss(encoder, loss, next(batches))
            optimizer.zero_grad()
            value.backward()
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            optimizer.step()
            self.history_.append(
                {"step": step, "seconds": time.perf_counter() - begun, "loss": value.item()}
            )
        self.encoder_ = encoder.eval()

    def _loss(self, encoder: Encoder, loss: Any, batch: Any) -> Tensor:
        patches, sizes, ids1, ids2 = batch.tensors(torch.device("cpu"))
        with torch.autocast("cpu", torch.bfloat16, enabled=self.precision == "bfloat16"):
            x = encoder(patches, sizes)
        x = x.float()
        penalty = self.penalty * _session_variance(x.split(sizes)) if self.penalty else 0.0
        x1, x2 = x.split([sum(map(len, ids1)), sum(map(len, ids2))])
        if self.across_recordings:
            ids1, ids2 = _one_population(ids1), _one_population(ids2)
        return loss(x1, x2, ids1, ids2) + penalty


class _VariedEncoder(Encoder):
    """An encoder whose population attention and output may be changed."""

    def __init__(self, variant: Variant) -> None:
        super().__init__(variant.config, name="variant")
        self.standardise = variant.standardise
        for block in self.spatiotemporal:
            attention = block.population.attention
            attention.dropout = 1 - variant.population_kept
            if variant.context == "relative":
                attention.attend = _centred(attention.attend)

    def forward(self, patches: Tensor, population_sizes: list[int]) -> Tensor:
        """Embed, and standardise within each population if set."""
        x = super().forward(patches, population_sizes)
        if not self.standardise:
            return x
        return torch.cat([_standardised(part) for part in x.split(population_sizes)])


def _centred(attend: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Return attention whose result has mean zero over the units (the second axis)."""

    def attend_relative(qkv: Tensor, source: Tensor | None = None) -> Tensor:
        output = attend(qkv, source)
        return output - output.mean(dim=1, keepdim=True)

    return attend_relative


class _InfoNCE(ContrastiveLoss):
    """Plain InfoNCE between views: the positive is in the denominator, no negatives within."""

    def __init__(self, variant: Variant) -> None:
        super().__init__(variant.config.dim)

    def _population(self, z1: Tensor, z2: Tensor, ids1: Tensor, ids2: Tensor) -> tuple[Tensor, int]:
        row1, row2 = (ids1[:, None] == ids2[None, :]).nonzero(as_tuple=True)
        across = z1 @ z2.T / self.temperature
        forward = F.cross_entropy(across[row1], row2, reduction="sum")
        backward = F.cross_entropy(across.T[row2], row1, reduction="sum")
        return (forward + backward) / 2, len(row1)


def _session_variance(populations: Sequence[Tensor]) -> Tensor:
    """Return the variance between the means of sessions, relative to the variance within them."""
    half = len(populations) // 2  # first views, then second views of the same sessions
    means = torch.stack([part.mean(0) for part in populations])
    means = (means[:half] + means[half:]) / 2
    within = torch.stack([part.var(0) for part in populations]).mean(0)
    return ((means - means.mean(0)) ** 2 / (within + 1e-4)).mean()


def _standardised(x: Tensor) -> Tensor:
    if len(x) < 2:
        return x - x.mean(0)
    return (x - x.mean(0)) / (x.std(0) + 1e-3)


def _one_population(ids: Sequence[Tensor]) -> list[Tensor]:
    """Return the ids of several populations as one list of unique ids."""
    return [torch.cat([one + number * 1_000_000 for number, one in enumerate(ids)])]
