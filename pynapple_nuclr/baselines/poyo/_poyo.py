"""POYO+: vectors of units, learned by a decoder of behaviour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pynapple as nap
from numpy.typing import NDArray

from pynapple_nuclr.baselines._fit_network import torch_seed
from pynapple_nuclr.baselines.base import EmbeddingSystem, Recordings, System
from pynapple_nuclr.baselines.known_vectors import vectors_in_unit_order
from pynapple_nuclr.baselines.poyo.spike_decoder import (
    ActivityWindows,
    SpikeDecoder,
    frames_in,
    spikes_in,
)
from pynapple_nuclr.baselines.poyo.targets import (
    Behaviour,
    DecodingTask,
    behaviour_of,
    digest,
    series_targets,
    shared_components,
    target_of,
    tasks_of,
)
from pynapple_nuclr.baselines.poyo.vector_learning import VectorLearner
from pynapple_nuclr.config import EncoderConfig
from pynapple_nuclr.pretraining.training_settings import default_config
from pynapple_nuclr.recording import Recording, as_recordings
from pynapple_nuclr.windows import open_patch_reader, tile

Floats = NDArray[np.float64]


@dataclass
class Poyo(EmbeddingSystem):
    """Vectors of units that a decoder of behaviour learns together with itself.

    Every spike is a token: the vector of its unit, at its time; so are the start and the end of
    each unit. Of calcium each frame of each unit is one: a map of the unit's vector and the value.
    A Perceiver reads the tokens of a window into latent tokens, and decodes the behaviour, with a
    query for each target and time. At each step of training whole units are left out: of a window
    with more than 30 so many stay as a triangular law from 30 to 300 (mode 100) says. One network
    is trained on all recordings; each unit and each recording has a vector of its own. A new
    recording is identified: with the network frozen, only the vectors of its units, and its own,
    are learned, from its own behaviour. So `embed` needs the behaviour of new recordings, too.

    With intervals for `behaviour` a window is one interval, and is decoded once, at its middle.
    What is as published, and what is not (hence the row's name): see the page "POYO+" of the
    documentation.

    Parameters
    ----------
    behaviour : mapping
        Recording name → IntervalSet, whose metadata columns are the targets of each interval (a
        trial, for example). Strings, and numbers of at most 10 distinct values, are classes;
        other numbers are standardised and regressed. A column with one value only is left out,
        and so are missing values (None, NaN, "") and classes that `fit` did not get.
        Or → Tsd or TsdFrame: its signals are standardised and regressed, at `queries` times of
        each window.
    window, queries : float, int
        Of a time series: length of a window in seconds, and number of times that are decoded.
    dim, heads, depth : int
        Width of all vectors, heads of attention, blocks of attention among latent tokens.
    latent_times, latents_per_time : int
        Regular times in a window, and latent tokens at each.
    dropout : float
        Dropout in training.
    batch_size : int
        Windows in a step; of a new recording as many as one of training had in each.
    steps, passes : int
        Steps of training, at most, and passes over all windows, at most: more than the windows
        carry make the vectors worse.
    learning_rate, unit_learning_rate : float
        Largest step size of the network, and of the vectors.
    unit_decay : float
        Decay of the vectors, in training and for new ones (times the step size, in each step).
    holdout : float
        Fraction of the windows, drawn at random, that `fit` never trains on.

    Attributes
    ----------
    tasks_ : list of DecodingTask
        What is decoded.
    network_ : SpikeDecoder
        The network.
    n_recordings_ : int
        Recordings that it was trained on.
    vectors_ : dict
        Recording name → vectors of its units (units, dim), in the order of their data.
    history_ : list of dict
        ``step``, ``seconds``, ``loss``, and of the held-out windows ``held_out_loss``,
        ``held_out_<target>`` (balanced accuracy, from 0 at chance to 1; or R²) and their mean
        ``held_out``.

    Raises
    ------
    TypeError, ValueError
        From `fit` and `embed`: a recording without behaviour, or with behaviour of one value only.

    References
    ----------
    Azabou et al., "A Unified, Scalable Framework for Neural Population Decoding", NeurIPS 2023,
    arXiv:2310.16046. POYO+: Azabou et al., "Multi-session, multi-task neural decoding from
    distinct cell-types and brain regions", ICLR 2025.

    Examples
    --------
    >>> import numpy as np, pynapple as nap, pynapple_nuclr as nap_nuclr
    >>> from pynapple_nuclr.baselines.poyo._poyo import Poyo
    >>> units = nap_nuclr.simulate("single", n_units=6, trials=(20, 0.4, 2.0))
    >>> trials = nap.IntervalSet(units.time_support.start, units.time_support.end,
    ...                          metadata={"choice": ["left", "right"] * 10})
    >>> system = Poyo(behaviour={"a": trials}, dim=16, steps=2).fit({"a": units})
    >>> system.embed({"a": units})["a"].shape
    (6, 16)
    """

    name: ClassVar[str] = "poyo-style"

    behaviour: Mapping[str, Behaviour] | None = None
    window: float = 1.0
    queries: int = 10
    dim: int = 64
    heads: int = 2
    depth: int = 2
    latent_times: int = 8
    latents_per_time: int = 4
    dropout: float = 0.2
    batch_size: int = 16
    steps: int = 1500
    passes: int = 20
    learning_rate: float = 2e-3
    unit_learning_rate: float = 1e-2
    unit_decay: float = 1.0
    holdout: float = 0.1

    def settings(self) -> dict[str, Any]:
        """Return what decides the result; of behaviour a digest."""
        behaviour = {name: digest(shown) for name, shown in (self.behaviour or {}).items()}
        return super().settings() | {"behaviour": behaviour}

    def candidates(self) -> list[System]:
        """Return this system, and one whose vectors do not decay (or, without decay, do)."""
        return [self, replace(self, unit_decay=0.0 if self.unit_decay else 1.0)]

    def fit(self, recordings: Recordings, *, seed: int = 0, progress: bool = False) -> Poyo:
        """Train the network and the vectors of all units; see `EmbeddingSystem.fit`."""
        checked = as_recordings(self.check_recordings(recordings))
        self.seed_ = seed
        self._prepare(list(checked.values()))
        read = {name: self._windows(recording) for name, recording in checked.items()}
        read = {name: windows for name, windows in read.items() if len(windows)}
        if not read:
            raise ValueError(
                f"recordings {', '.join(checked)}: none has two units that fire; expected one "
                "at least, to decode one unit's population from another's"
            )
        seconds = float(np.median(np.concatenate([windows.lengths for windows in read.values()])))
        with torch_seed(seed):
            network = SpikeDecoder(
                self.tasks_,
                seconds,
                dim=self.dim,
                heads=self.heads,
                depth=self.depth,
                latents=(self.latent_times, self.latents_per_time),
                dropout=self.dropout,
                traces=any(windows.values is not None for windows in read.values()),
            )
            learner = VectorLearner(network, list(read.values()), self, seed)
            self.history_ = learner.run(self.batch_size, progress=progress)
        self.network_, self.n_recordings_ = network, len(read)
        self.vectors_ = dict(zip(read, learner.of_units(), strict=True))
        return self

    def embed(self, recordings: Recordings) -> dict[str, Floats]:
        """Return the vectors of units; new recordings are identified, each by itself.

        As `EmbeddingSystem.embed`; NaN for units that fire in no window.
        """
        checked = as_recordings(self.check_recordings(recordings))
        return vectors_in_unit_order(checked, self.vectors_, self._identify)

    def _identify(self, recording: Recording) -> Floats:
        """Learn the vectors of a new recording (units, dim) with the network frozen."""
        windows = self._windows(recording)
        if not len(windows):
            return np.full((recording.n_units, self.dim), np.nan)
        # What a recording of training got: as many steps, and as many windows in each.
        with torch_seed(self.seed_):
            learner = VectorLearner(self.network_, [windows], self, self.seed_, frozen=True)
            learner.run(-(-self.batch_size // self.n_recordings_))
        return learner.of_units()[0]

    def _prepare(self, recordings: Sequence[Recording]) -> None:
        """Decide what is decoded."""
        self.tasks_ = tasks_of([behaviour_of(one, self.behaviour) for one in recordings])

    def _windows(self, recording: Recording) -> ActivityWindows:
        """Cut a recording into windows, with their targets."""
        shown = behaviour_of(recording, self.behaviour)
        if isinstance(shown, nap.IntervalSet):
            starts, lengths = shown.start, shown.end - shown.start
            when = lengths[:, None] / 2
            targets = {task.name: target_of(task, shown.metadata) for task in self.tasks_}
        else:
            starts = _regular(recording.epochs, self.window)
            lengths = np.full(len(starts), self.window)
            when = np.tile((np.arange(self.queries) + 0.5) / self.queries, (len(starts), 1))
            when = when * self.window
            targets = series_targets(self.tasks_, shown, starts[:, None] + when, recording.name)
        values = None
        if recording.modality == "calcium":
            times, rows, window, values = frames_in(recording, starts, lengths)
        else:
            times, rows, window = spikes_in(recording, starts, lengths)
        # Without a token in any window there is nothing to decode from.
        n = len(starts) if len(times) else 0
        return ActivityWindows(
            times=times.astype(np.float32),
            rows=rows,
            ends=np.searchsorted(window, np.arange(n + 1)),
            lengths=lengths[:n],
            query_times=when[:n],
            targets={name: target[:n] for name, target in targets.items()},
            n_units=recording.n_units,
            values=values,
        )


def _regular(epochs: Floats, length: float) -> Floats:
    """Return the starts of consecutive windows of a length (windows,), in seconds."""
    counts = ((np.diff(epochs, axis=1)[:, 0] + 1e-9) // length).astype(np.int64)
    if not counts.any():
        raise ValueError(
            f"the longest epoch lasts {np.diff(epochs).max(initial=0):g} s, but window={length:g} "
            "s; use a shorter window"
        )
    parts = [start + np.arange(n) * length for (start, _), n in zip(epochs, counts, strict=True)]
    return np.concatenate(parts)


@dataclass
class UnitEmbeddingDecoder(Poyo):
    """POYO's network and vectors of units where no behaviour is known: this is not POYO.

    The units that fire are divided into two random halves, and the spikes of either half are read
    to decode what the other does, at the middle of each patch of each window: its projection onto
    the leading directions that the halves share, the singular vectors of the covariance between
    their standardised square-root counts in patches (shared variance components). Why so:

    - a half decodes neither its own spikes, for which a vector need only name the unit, nor the
      private noise that principal components of one population would hold;
    - the components of the two halves correspond to each other, so one network decodes both;
    - the sign of a component is such that the vectors' entries sum to more than 0: "active" means
      the same in all recordings, else vectors of different recordings could not be compared.

    Components are scaled by the root of their share in the covariance, relative to the first, so
    that those of noise weigh little. New recordings are identified by their spikes alone. Those
    in which less than two units fire get no vectors (NaN).

    Parameters
    ----------
    config : EncoderConfig, optional
        Windows and patches. Default: as `pynapple_nuclr.pretrain` chooses for the recordings.
    components : int
        Number of components to decode.
    behaviour : None
        Not used.

    The others are those of `Poyo`; `window` and `queries` are not used.

    Attributes
    ----------
    config_ : EncoderConfig
        The windows.

    References
    ----------
    Shared variance components: Stringer et al. 2019, doi:10.1126/science.aav7893.

    Examples
    --------
    >>> import pynapple_nuclr as nap_nuclr
    >>> from pynapple_nuclr.baselines.poyo._poyo import UnitEmbeddingDecoder
    >>> units = nap_nuclr.simulate("context", n_units=6, duration=40)
    >>> system = UnitEmbeddingDecoder(dim=16, steps=2).fit({"a": units})
    >>> system.embed({"a": units})["a"].shape
    (6, 16)
    """

    name: ClassVar[str] = "unit_embedding_decoder"
    modalities: ClassVar[tuple[str, ...]] = ("spikes",)

    passes: int = 50
    config: EncoderConfig | None = None
    components: int = 3

    def __post_init__(self) -> None:
        if self.behaviour is not None:
            raise ValueError(
                "behaviour was given to UnitEmbeddingDecoder, which reads spikes only; use Poyo"
            )

    def _prepare(self, recordings: Sequence[Recording]) -> None:
        self.config_ = self.config or default_config(recordings)
        self.tasks_ = [DecodingTask("population", outputs=self.components)]

    def _windows(self, recording: Recording) -> ActivityWindows:
        """Make two windows of each of the encoder's: either half of the units reads."""
        starts = tile(open_patch_reader(recording, self.config_)).starts
        length, (windows, patches) = self.config_.patch_duration, starts.shape
        since, rows, patch = spikes_in(recording, starts.ravel(), length)
        counts = np.bincount(rows * starts.size + patch, minlength=recording.n_units * starts.size)
        rng = np.random.default_rng(self.seed_)
        half, scores = shared_components(
            counts.reshape(recording.n_units, -1), self.components, rng
        )
        scores = scores.reshape(2, windows, patches, -1).swapaxes(0, 1)
        readings = 2 * windows if half.any() else 0  # with one half only nothing can be decoded
        reading = 2 * (patch // patches) + half[rows]
        order = np.argsort(reading, kind="stable")
        return ActivityWindows(
            times=(since + patch % patches * length).astype(np.float32)[order],
            rows=rows[order],
            ends=np.searchsorted(reading[order], np.arange(readings + 1)),
            lengths=np.full(readings, patches * length),
            query_times=np.tile((np.arange(patches) + 0.5) * length, (readings, 1)),
            targets={"population": scores.reshape(2 * windows, patches, -1)[:readings]},
            n_units=recording.n_units,
            readings=2,
        )
