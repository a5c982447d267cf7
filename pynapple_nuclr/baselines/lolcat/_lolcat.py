"""LOLCAT: cell types from the intervals between a unit's own events, snippet by snippet."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedShuffleSplit
from torch import Tensor, nn
from torch.nn import functional as F

from pynapple_nuclr.baselines._fit_network import FitPlan, fit_network, torch_seed
from pynapple_nuclr.baselines._memoize_per_object import memoize_per_object
from pynapple_nuclr.baselines.base import Labels, LabelSystem, Recordings, System
from pynapple_nuclr.baselines.labels import check_labels, classes_in
from pynapple_nuclr.baselines.lolcat.class_sampler import AdaptiveSampler
from pynapple_nuclr.baselines.lolcat.interval_histograms import Snippets, interval_histograms
from pynapple_nuclr.calibration import macro_f1_of_predictions
from pynapple_nuclr.config import EncoderConfig
from pynapple_nuclr.pretraining.training_settings import default_config
from pynapple_nuclr.recording import as_recording

_SNIPPET = 3.0  # s
_HELD_OUT = 0.15  # of the labelled units, for early stopping
_FEWEST_HELD_OUT = 4  # labelled units of every class below which none are held out
_CHECK_EVERY = 50  # steps
_PATIENCE = 8  # checks without improvement
_MEMORY = 0.98  # of the mean of the weights, at each step
_LEAST_DEVIATION = 0.05  # of a bin: what hardly ever happens is no outlier
_ROWS = 2**16  # snippets that are read at a time in prediction


class _Network(nn.Module):
    """Histograms → MLP → attention of several heads over a unit's snippets → MLP → classes."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, bins: int, classes: int, system: Lolcat) -> None:
        super().__init__()
        dim, heads, width = system.dim, system.heads, system.heads * system.dim
        drop = nn.Dropout(system.dropout)
        self.heads = heads
        self.register_buffer("mean", torch.zeros(bins))
        self.register_buffer("deviation", torch.ones(bins))
        self.encode = nn.Sequential(
            nn.Linear(bins, 2 * dim), nn.ReLU(), drop, nn.Linear(2 * dim, dim), nn.ReLU(), drop
        )
        self.score = nn.Sequential(
            nn.Linear(dim, width, bias=False), nn.PReLU(), nn.Linear(width, heads, bias=False)
        )
        self.value = nn.Sequential(nn.Linear(dim, width), nn.ReLU(), nn.Linear(width, width))
        self.classify = nn.Sequential(
            nn.Linear(width, 2 * dim), nn.ReLU(), drop, nn.Linear(2 * dim, classes)
        )

    def forward(self, counts: Tensor, taken: Tensor) -> Tensor:
        """Return the logits (units, classes) of histograms `counts` (units, snippets, bins).

        `taken` (units, snippets) are the snippets that take part: at least one of every unit.
        """
        x = self.encode((counts.log1p() - self.mean) / self.deviation)
        scores = self.score(x).masked_fill(~taken[..., None], -torch.inf)
        attention = scores.softmax(dim=1)
        values = self.value(x).unflatten(-1, (self.heads, -1))
        pooled = torch.einsum("ush,ushd->uhd", attention, values)
        logits: Tensor = self.classify(pooled.flatten(1))
        return logits


@dataclass
class _Units:
    """Labelled units of all recordings, in an order that the data decide."""

    rows: NDArray[Any]  # (snippets of all units, bins): their histograms, one unit after the other
    # first, n: (units,): Row of each unit's first snippet, and how many it has
    first: NDArray[np.int64]
    n: NDArray[np.int64]
    target: NDArray[np.int64]  # (units,): index of the class

    def draw(
        self, chosen: NDArray[np.int64], kept: NDArray[np.int64], rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """Draw `kept` snippets of each chosen unit, for the network's two arguments."""
        keys = rng.random((len(chosen), self.n[chosen].max()))
        keys[np.arange(keys.shape[1]) >= self.n[chosen, None]] = 2
        drawn = np.argsort(keys, axis=1)[:, : kept.max()]
        taken = np.arange(kept.max()) < kept[:, None]
        rows = self.first[chosen, None] + np.where(taken, drawn, 0)
        counts = torch.from_numpy(self.rows[rows].astype(np.float32))
        return counts, torch.from_numpy(taken)


@dataclass
class Lolcat(LabelSystem):
    """Cell types from histograms of the intervals between spikes or events, after LOLCAT.

    The intervals between a unit's spikes, or calcium events, are counted in snippets of 3 s. A
    network reads each histogram, several heads of attention pool the snippets of the unit, and a
    classifier reads the result. A unit's probabilities do not depend on the others. Snippets
    without an interval take part, units without a spike or event get NaN. 15 % of the labelled
    units are held out for early stopping, unless a class has less than four.

    What is as published, and what is not (hence the row's name): see the page "LOLCAT" of the
    documentation.

    Parameters
    ----------
    config : EncoderConfig, optional
        Where snippets lie: its windows. Default: 3 s.
    bins, dim, heads : int
        Bins of a histogram; width of a snippet's embedding, and of each head; heads of attention.
    dropout : float
        In the network.
    snippet_dropout : float
        Largest fraction of a unit's snippets that is left out at a step; drawn for every unit.
    snippets : int
        Most snippets of a unit that are read at a step of the training; in prediction, all are.
    steps, batch_size : int
        Most steps of the training, and most units in each.
    learning_rate, weight_decay : float
        Of AdamW.

    Attributes
    ----------
    config_ : EncoderConfig
        The windows.
    network_ : torch.nn.Module
        The network, at the step where the held-out units were classified best.
    history_ : list of dict
        ``step``, ``seconds``, ``loss`` (mean since the check before), ``held_out_loss`` and
        ``held_out_f1`` (macro).

    Raises
    ------
    TypeError, ValueError
        If a parameter is out of range; from `fit` if labels do not fit the recordings or hold less
        than two classes, or a recording is shorter than a window.

    References
    ----------
    Schneider et al., "Transcriptomic cell type structures in vivo neuronal activity across
    multiple timescales", Cell Reports 42, 112318 (2023), doi:10.1016/j.celrep.2023.112318.

    Examples
    --------
    >>> import pynapple_nuclr as nap_nuclr
    >>> from pynapple_nuclr.baselines.lolcat._lolcat import Lolcat
    >>> units = nap_nuclr.simulate("single", n_units=60, duration=60)
    >>> lolcat = Lolcat(steps=100).fit({"a": units}, {"a": units["cell_type"]})
    >>> lolcat.predict_proba({"a": units})["a"].shape
    (60, 3)
    """

    name: ClassVar[str] = "lolcat-style"
    config: EncoderConfig | None = None
    bins: int = 60
    dim: int = 32
    heads: int = 4
    dropout: float = 0.3
    snippet_dropout: float = 0.5
    snippets: int = 32
    steps: int = 1500
    batch_size: int = 128
    learning_rate: float = 1e-3
    weight_decay: float = 0.01

    def __post_init__(self) -> None:
        for name in ("bins", "dim", "heads", "snippets", "steps", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected at least 1")
        for name in ("dropout", "snippet_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected 0 to below 1")

    def candidates(self) -> list[System]:
        """Return this system, and one that is held more tightly to what many units share."""
        return [self, replace(self, dropout=0.6, weight_decay=0.1)]

    def fit(
        self, recordings: Recordings, labels: Labels, *, seed: int = 0, progress: bool = False
    ) -> Lolcat:
        """Learn from labelled units; see `LabelSystem.fit`."""
        named = self.check_recordings(recordings)
        known = check_labels(named, labels)
        self.classes_ = classes_in(known)
        if len(self.classes_) < 2:
            raise ValueError(
                f"all labelled units are {self.classes_[0]!r}; expected at least two classes"
            )
        self.config_ = self.config or _snippets(
            default_config([as_recording(units, name=name) for name, units in named.items()])
        )
        units = self._labelled(named, known)
        with torch_seed(seed):
            self.network_ = _Network(self.bins, len(self.classes_), self)
            self._train(units, np.random.default_rng(seed), progress)
        return self

    def predict_proba(self, recordings: Recordings) -> dict[str, NDArray[np.float64]]:
        """Return the probability of each class (units, classes); NaN for silent units."""
        named = self.check_recordings(recordings)
        return {name: self._predict(name, units) for name, units in named.items()}

    @torch.no_grad()
    def _predict(self, name: str, units: Any) -> NDArray[np.float64]:
        snippets = self._read(name, units)
        probabilities = np.full((len(snippets.has_spikes), len(self.classes_)), np.nan)
        for some in _portions(np.flatnonzero(snippets.has_spikes), snippets.counts.shape[1]):
            counts = torch.from_numpy(snippets.counts[some].astype(np.float32))
            logits = self.network_(counts, torch.ones(counts.shape[:2], dtype=torch.bool))
            probabilities[some] = logits.double().softmax(dim=1).numpy()
        return probabilities

    def _read(self, name: str, units: Any) -> Snippets:
        def make() -> Snippets:
            return interval_histograms(as_recording(units, name=name), self.config_, self.bins)

        return memoize_per_object(units, ("intervals", self.config_, self.bins), make)

    def _labelled(self, recordings: dict[str, Any], labels: dict[str, NDArray[np.str_]]) -> _Units:
        """Collect the labelled units that fire, sorted by recording and by their data."""
        rows, n, target = [], [], []
        for name in sorted(recordings):
            snippets = self._read(name, recordings[name])
            canonical = np.argsort(snippets.order)
            used = canonical[((labels[name] != "") & snippets.has_spikes)[canonical]]
            rows.append(snippets.counts[used].reshape(-1, self.bins))
            n.append(np.full(len(used), snippets.counts.shape[1]))
            target.append(np.searchsorted(self.classes_, labels[name][used]))
        per_unit = np.concatenate(n)
        if not len(per_unit):
            raise ValueError("none of the labelled units fires in a window; expected some to")
        first = np.cumsum(per_unit) - per_unit
        return _Units(np.concatenate(rows), first, per_unit, np.concatenate(target))

    def _train(self, units: _Units, rng: np.random.Generator, progress: bool) -> None:
        """Train the network until the held-out units are classified no better."""
        training, held_out = _hold_out(units.target, rng)
        self._standardize(units, training)
        sampler = AdaptiveSampler(units.target[training], len(self.classes_), rng)
        weight = torch.from_numpy((1 / np.maximum(sampler.counts, 1)).astype(np.float32))
        optimizer = torch.optim.AdamW(
            self.network_.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay
        )
        self.history_ = fit_network(
            self.network_,
            [optimizer],
            next_loss=lambda: self._loss(units, training, sampler, rng),
            check=lambda network: _check(network, units, held_out, weight),
            # The steps are noisy: what is checked and kept is a running mean of the weights.
            plan=FitPlan(
                "lolcat",
                self.steps,
                _CHECK_EVERY,
                average=_MEMORY,
                keep_best=True,
                patience=_PATIENCE,
            ),
            progress=progress,
        )

    def _loss(
        self,
        units: _Units,
        training: NDArray[np.int64],
        sampler: AdaptiveSampler,
        rng: np.random.Generator,
    ) -> Tensor:
        """Return the loss of a batch of units, each with a random part of its snippets."""
        chosen = training[sampler.draw(min(self.batch_size, len(training)))]
        share = 1 - self.snippet_dropout * rng.random(len(chosen))
        n = np.minimum(np.ceil(share * units.n[chosen]).astype(np.int64), self.snippets)
        logits = self.network_(*units.draw(chosen, n, rng))
        target = units.target[chosen]
        sampler.update(target, logits.detach().argmax(dim=1).numpy())
        return F.cross_entropy(logits, torch.from_numpy(target))

    def _standardize(self, units: _Units, training: NDArray[np.int64]) -> None:
        """Keep mean and deviation of every bin over the snippets that are trained on."""
        mine = np.repeat(np.isin(np.arange(len(units.n)), training), units.n)
        rows = np.log1p(units.rows[mine], dtype=np.float32)
        self.network_.mean.copy_(torch.from_numpy(rows.mean(axis=0, dtype=np.float64)))
        deviation = np.maximum(rows.std(axis=0, dtype=np.float64), _LEAST_DEVIATION)
        self.network_.deviation.copy_(torch.from_numpy(deviation))


def _check(
    network: nn.Module, units: _Units, held_out: NDArray[np.int64], weight: Tensor
) -> dict[str, float]:
    """Return how well the held-out units are classified from all of their snippets."""
    if not len(held_out):
        return {}
    rng = np.random.default_rng(0)  # decides nothing: all snippets are drawn
    parts = _portions(held_out, int(units.n.max()))
    logits = torch.cat([network(*units.draw(some, units.n[some], rng)) for some in parts])
    target = torch.from_numpy(units.target[held_out])
    return {
        "held_out_loss": float(F.cross_entropy(logits, target, weight)),
        "held_out_f1": macro_f1_of_predictions(target, logits.argmax(dim=1)),
    }


def _snippets(config: EncoderConfig) -> EncoderConfig:
    """Return the configuration with windows of 3 s, in whole patches."""
    patches = max(round(_SNIPPET / config.patch_seconds), 1)
    if config.modality == "calcium":
        return replace(config, window_frames=patches * config.patch_frames)
    return replace(config, window_duration=patches * config.patch_duration)


def _hold_out(
    target: NDArray[np.int64], rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split units into those that are trained on and those that are held out, maybe none."""
    n_classes = len(np.unique(target))
    everyone = np.arange(len(target))
    if np.bincount(target)[np.unique(target)].min() < _FEWEST_HELD_OUT:
        return everyone, everyone[:0]
    n = max(n_classes, round(_HELD_OUT * len(target)))
    split = StratifiedShuffleSplit(1, test_size=n, random_state=int(rng.integers(2**31)))
    ((training, held_out),) = split.split(everyone, target)
    return training, held_out


def _portions(units: NDArray[np.int64], snippets: int) -> list[NDArray[np.int64]]:
    """Split units into parts whose snippets fit into memory together."""
    size = max(_ROWS // snippets, 1)
    return np.split(units, range(size, len(units), size))
