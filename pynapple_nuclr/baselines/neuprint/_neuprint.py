"""The system: recordings in, a time-invariant vector per unit out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, get_args

import numpy as np
from numpy.typing import NDArray

from pynapple_nuclr.baselines._fit_network import torch_seed
from pynapple_nuclr.baselines.base import EmbeddingSystem, Recordings, System
from pynapple_nuclr.baselines.known_vectors import vectors_in_unit_order
from pynapple_nuclr.baselines.neuprint.dynamics import HEADS, Dynamics, Network
from pynapple_nuclr.baselines.neuprint.embedding_learning import EmbeddingLearner
from pynapple_nuclr.baselines.neuprint.segments import Pool, Runs, cut_segments, read_runs
from pynapple_nuclr.config import EncoderConfig
from pynapple_nuclr.pretraining.training_settings import default_config
from pynapple_nuclr.recording import Recording, as_recordings


@dataclass
class Neuprint(EmbeddingSystem):
    """NeuPRINT: an embedding of each unit, learned by predicting the unit's activity.

    One network, shared by all units and animals, predicts the activity of a unit in a step from
    the unit's past, from the mean and standard deviation of the other units in the same step and
    before, and from the unit's embedding. Network and embeddings are learned together by maximum
    likelihood: Poisson for spike counts, Gaussian for traces. Then the embeddings of all units,
    known or new, are learned the same way: alone, with the network frozen. Segments of up to
    `past` steps lie within an epoch: nothing is predicted from the other side of a gap.

    Parameters
    ----------
    network : {"transformer", "gru"}
        What reads the past: one causal layer of self-attention, as published, or a gated
        recurrent unit.
    dim, hidden : int
        Width of an embedding, and of the network (a multiple of 2).
    bins : int
        Spikes: bins of ``config.bin_size`` that are summed up in a step; a step of traces is one
        frame. Two (40 ms) are longer than the lags between units.
    past : int
        Longest segment in steps: the published 200 frames. Where all epochs are shorter, theirs.
    same_step : bool
        Show what other units do in the predicted step, too, as published.
    behaviour : mapping, optional
        Recording name → Tsd or TsdFrame (running, pupil, …) that the network reads beside the
        population; the same signals for all recordings, those that are embedded included.
    positions : sequence of str
        Metadata columns with the position of each unit in µm: the network also reads the mean of
        the units within 65 µm. Default: none.
    steps : int
        Steps of training, of about 12,800 predictions each. All units take part in each, or, of
        many, 6,400 / `length_`.
    visits : int
        Steps in which each unit's embedding is learned with the network frozen.
    learning_rate : float
        Of AdamW for the network. The embeddings learn at ten times this rate.
    config : EncoderConfig, optional
        The windows. Default: as `pynapple_nuclr.pretrain` chooses for the recordings.

    Attributes
    ----------
    config_ : EncoderConfig
        The windows.
    length_ : int
        Steps of a segment.
    network_ : Dynamics
        The network.
    vectors_ : dict
        Recording → embeddings (units, dim), in the order of `Recording.order`.
    history_ : list of dict
        ``step``; ``seconds``; ``loss``, minus the log likelihood of a step in nats;
        ``held_out_loss``, the same on the tenth of the segments that is not trained on;
        ``held_out_gain``, how much lower it is than with the unit's mean (traces: and variance).

    Raises
    ------
    ValueError
        If a setting is out of range; from `fit` and `embed` if an epoch is too short; from
        `embed` before `fit`, or for a recording of a known name with another number of units.

    Notes
    -----
    What is as published, and what is not (hence the row's name): see the page "NeuPRINT" of the
    documentation.

    References
    ----------
    Mi, Le, He, Shlizerman & Sümbül, "Learning Time-Invariant Representations for Individual
    Neurons from Population Dynamics", NeurIPS 2023, arXiv:2311.02258.

    Examples
    --------
    >>> import pynapple_nuclr as nap_nuclr
    >>> from pynapple_nuclr.baselines.neuprint import Neuprint
    >>> animals = nap_nuclr.simulate("context", n_units=6, duration=30, animals=2, seed=0)
    >>> system = Neuprint(dim=8, steps=2, visits=2).fit({"animal0": animals["animal0"]})
    >>> {name: vectors.shape for name, vectors in system.embed(animals).items()}
    {'animal0': (6, 8), 'animal1': (6, 8)}
    """

    name: ClassVar[str] = "neuprint-style"

    network: Network = "transformer"
    dim: int = 64
    hidden: int = 64
    bins: int = 2
    past: int = 200
    steps: int = 600
    visits: int = 150
    learning_rate: float = 3e-3
    same_step: bool = True
    behaviour: Mapping[str, Any] | None = None
    positions: tuple[str, ...] = ()
    config: EncoderConfig | None = None

    def __post_init__(self) -> None:
        if self.network not in get_args(Network):
            raise ValueError(
                f"Neuprint: network is {self.network!r}; expected one of {get_args(Network)}"
            )
        for name in ("dim", "hidden", "bins", "past", "steps", "visits", "learning_rate"):
            if not getattr(self, name) > 0:
                raise ValueError(f"Neuprint: {name} is {getattr(self, name)}; expected more than 0")
        if self.hidden % HEADS:
            raise ValueError(
                f"Neuprint: hidden is {self.hidden}; expected a multiple of {HEADS}, the heads"
            )

    def candidates(self) -> list[System]:
        """Return this system, and the one that looks back in time by the other network."""
        other: Network = "gru" if self.network == "transformer" else "transformer"
        return [self, replace(self, network=other)]

    def fit(self, recordings: Recordings, *, seed: int = 0, progress: bool = False) -> Neuprint:
        """Learn the network and the embeddings of all units; see `EmbeddingSystem.fit`."""
        checked = as_recordings(recordings)
        self.seed_ = seed
        self.config_ = self.config or default_config(list(checked.values()))
        runs = {name: self._read(recording) for name, recording in checked.items()}
        active = {name: run for name, run in runs.items() if len(run.places)}
        if not active:
            raise ValueError(
                f"recordings {', '.join(runs)}: no unit is active in any window; expected one"
            )
        self.length_ = min(self.past, max(run.longest for run in active.values()))
        pool = Pool([cut_segments(run, self.length_) for run in active.values()], held_out=True)
        self.network_ = self._new_network(pool)
        learner = self._learner(pool, np.random.default_rng((seed, 1)))
        self.history_ = learner.run(self.steps, progress=progress)
        self.vectors_ = {name: self._learn(checked[name], run) for name, run in active.items()}
        return self

    def embed(self, recordings: Recordings) -> dict[str, NDArray[np.float64]]:
        """Return the embeddings of units; each recording's are learned by itself.

        As `EmbeddingSystem.embed`; NaN for units silent (traces: constant) in all windows.
        """
        if not hasattr(self, "network_"):
            raise ValueError("this Neuprint has learned nothing yet; call fit(recordings) first")
        return vectors_in_unit_order(
            as_recordings(recordings), self.vectors_, lambda one: self._learn(one, self._read(one))
        )

    def _read(self, recording: Recording) -> Runs:
        shown = None
        if self.behaviour is not None:
            if recording.name not in self.behaviour:
                raise ValueError(
                    f"behaviour has no recording {recording.name!r}; expected one time series for "
                    "each recording, or behaviour=None"
                )
            shown = self.behaviour[recording.name]
        return read_runs(recording, self.config_, self.bins, shown, self.positions)

    def _learner(self, pool: Pool, rng: np.random.Generator) -> EmbeddingLearner:
        return EmbeddingLearner(self.network_, pool, self.dim, self.learning_rate, rng)

    def _new_network(self, pool: Pool) -> Dynamics:
        with torch_seed(int(np.random.default_rng((self.seed_, 0)).integers(2**31))):
            network = Dynamics(
                self.network,
                self.dim,
                self.hidden,
                self.length_,
                self.config_.modality,
                pool.recordings[0].channels,
                same_step=self.same_step,
            )
        # Start from the mean, else the first steps are spent on it.
        start = network.constant(*(moment.mean(dim=0, keepdim=True) for moment in pool.moments()))
        network.read_out.bias.data.copy_(start[0])
        return network

    def _learn(self, recording: Recording, runs: Runs) -> NDArray[np.float64]:
        """Learn the embeddings of a recording, in the order of `Recording.order`."""
        ranked = np.full((recording.n_units, self.dim), np.nan)
        if len(runs.places):
            pool = Pool([cut_segments(runs, self.length_)], held_out=False)
            learner = self._learner(pool, np.random.default_rng((self.seed_, 2)))
            learner.run(math.ceil(self.visits * pool.n_units / learner.units_a_step), frozen=True)
            ranked[runs.places] = learner.vectors()
        return ranked
