"""Priors: what the labels of a unit's own recording predict, without any model of the unit.

They exist only where a protocol shows labels of the tested recording; there every score has to be
compared with theirs.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from pynapple_nuclr.baselines._memoize_per_object import memoize_per_object
from pynapple_nuclr.baselines.base import Labels, LabelSystem, Recordings
from pynapple_nuclr.baselines.labels import check_labels, classes_in
from pynapple_nuclr.baselines.trials import are_trials
from pynapple_nuclr.columns.metadata import unit_ids
from pynapple_nuclr.config import EncoderConfig
from pynapple_nuclr.recording import Recording, as_recording
from pynapple_nuclr.windows import open_patch_reader
from pynapple_nuclr.windows.tiling import whole_patches

Floats = NDArray[np.float64]

_EDGE = 1e-9  # s, tolerance for frames at the edge of an epoch
_BLOCK = 2**14  # bins or frames that are read at a time
_CONSTANT = 1e-9  # fraction of its power below which a unit's variance is rounding


@dataclass
class _Prior(LabelSystem):
    """What the two priors share: they keep the labels, by the names of the recordings."""

    uses_test_recording_labels: ClassVar[bool] = True

    def fit(
        self, recordings: Recordings, labels: Labels, *, seed: int = 0, progress: bool = False
    ) -> Self:
        """Keep the labels; see `LabelSystem.fit`."""
        self.labels_ = check_labels(self.check_recordings(recordings), labels)
        self.classes_ = classes_in(self.labels_)
        return self

    def predict_proba(self, recordings: Recordings) -> dict[str, Floats]:
        """Return the probability of each class (units, classes); see `LabelSystem`.

        Recordings are identified by their names. Those without a labelled unit get NaN.
        """
        probabilities = {}
        for name, units in self.check_recordings(recordings).items():
            n_units = len(unit_ids(units))
            labels = self.labels_.get(name, np.full(n_units, ""))
            if len(labels) != n_units:
                raise ValueError(
                    f"recording {name!r} has {n_units} units, but was fitted with {len(labels)} "
                    "labels; expected the same units under the same name"
                )
            probabilities[name] = np.full((n_units, len(self.classes_)), np.nan)
            if (labels != "").any():
                one_hot = (labels[:, None] == self.classes_).astype(np.float64)
                probabilities[name] = self._vote(units, name, one_hot)
        return probabilities

    @abstractmethod
    def _vote(self, units: Any, name: str, one_hot: Floats) -> Floats:
        """Return the votes (units, classes); `one_hot` has rows of zeros where unlabelled."""


@dataclass
class MostCommonLabel(_Prior):
    """The labels of the labelled units of the unit's own recording, in their proportions.

    All units of a recording get the same probabilities; NaN without labelled units.

    Examples
    --------
    >>> import pynapple_nuclr as nap_nuclr
    >>> from pynapple_nuclr.baselines._priors import MostCommonLabel
    >>> units = nap_nuclr.simulate("single", n_units=4, duration=10)
    >>> prior = MostCommonLabel().fit({"a": units}, {"a": ["PV", "SST", "PV", ""]})
    >>> prior.classes_, prior.predict_proba({"a": units})["a"][3].round(2)
    (array(['PV', 'SST'], dtype='<U3'), array([0.67, 0.33]))
    """

    name: ClassVar[str] = "prior: most common label"

    def _vote(self, units: Any, name: str, one_hot: Floats) -> Floats:
        return np.tile(one_hot.sum(axis=0) / one_hot.sum(), (len(one_hot), 1))


@dataclass
class CorrelatedNeighbours(_Prior):
    """The votes of the most correlated labelled units of the unit's own recording.

    Spikes are counted in bins; of calcium the frames are taken. Where the epochs are trials (ten
    or more of equal length), each unit's mean response over trials is removed, so that what is
    correlated is the variation from trial to trial. No bin crosses a gap between epochs. A unit
    never votes for itself. A unit that does not vary is near to none: it does not vote, and gets
    what `MostCommonLabel` gives.

    Parameters
    ----------
    neighbours : int
        Labelled units that vote; all of them where there are fewer.
    bin_size : float
        Seconds; spikes only.

    Raises
    ------
    ValueError
        If a parameter is not positive.

    Notes
    -----
    The correlations of a recording are computed once and kept for as long as the pynapple object
    lives, so that many folds over its labels cost little.

    Examples
    --------
    >>> import pynapple_nuclr as nap_nuclr
    >>> from pynapple_nuclr.baselines._priors import CorrelatedNeighbours
    >>> units = nap_nuclr.simulate("context", n_units=40, duration=60)
    >>> prior = CorrelatedNeighbours().fit({"a": units}, {"a": units["cell_type"]})
    >>> kind = prior.classes_[prior.predict_proba({"a": units})["a"].argmax(axis=1)]
    >>> float((kind == units["cell_type"])[kind == "follower"].mean()) > 0.7
    True
    """

    name: ClassVar[str] = "prior: correlated neighbours"
    neighbours: int = 15
    bin_size: float = 0.05

    def __post_init__(self) -> None:
        if self.neighbours < 1 or not self.bin_size > 0:
            raise ValueError(
                f"neighbours is {self.neighbours}, bin_size {self.bin_size} s; expected at least "
                "1 and a positive number"
            )

    def _vote(self, units: Any, name: str, one_hot: Floats) -> Floats:
        def correlate() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
            recording = as_recording(units, name=name)
            return _correlations(recording, self.bin_size), recording.order()

        likeness, order = memoize_per_object(units, ("correlations", self.bin_size), correlate)
        # Ties are broken by the data, not by the order of the units.
        canonical = np.argsort(order)
        votes = _votes(likeness[np.ix_(canonical, canonical)], one_hot[canonical], self.neighbours)
        return votes[order]


def _votes(likeness: NDArray[np.float32], one_hot: Floats, neighbours: int) -> Floats:
    """Return the shares of the votes (units, classes) of each unit's nearest labelled units."""
    likeness = likeness.copy()
    np.fill_diagonal(likeness, np.nan)
    voters = np.flatnonzero(one_hot.any(axis=1))
    likeness = likeness[:, voters]
    nearest = np.argsort(-likeness, axis=1, kind="stable")[:, :neighbours]  # NaN is last
    valid = np.isfinite(np.take_along_axis(likeness, nearest, axis=1))
    votes = (one_hot[voters][nearest] * valid[..., None]).sum(axis=1)
    votes = np.where(valid.any(axis=1, keepdims=True), votes, one_hot.sum(axis=0))
    shares: Floats = votes / votes.sum(axis=1, keepdims=True)
    return shares


def _correlations(recording: Recording, bin_size: float) -> NDArray[np.float32]:
    """Return the correlations (units, units) of binned activity; NaN for units that do not vary.

    Bins at the same position in a trial have their own mean; else all bins have one.
    """
    runs, read = _bins(recording, bin_size)
    if not sum(map(len, runs)):
        raise ValueError(
            f"recording {recording.name!r}: no epoch holds one bin of {bin_size:g} s; expected "
            "longer epochs, or a smaller bin_size"
        )
    if are_trials(recording):
        shortest = min(map(len, runs))
        bins = np.stack([run[:shortest] for run in runs])  # (trials, bins of a trial)
    else:
        bins = np.concatenate(runs)[:, None]
    products = np.zeros((recording.n_units, recording.n_units))
    response = np.zeros((recording.n_units, bins.shape[1]))
    for block in np.array_split(bins, int(np.ceil(bins.size / _BLOCK))):
        activity = read(block.ravel())
        products += activity @ activity.T
        response += activity.reshape(recording.n_units, *block.shape).sum(axis=1)
    covariance = products - response @ response.T / len(bins)
    variance, power = np.diag(covariance), np.diag(products)
    varies = variance > _CONSTANT * power
    deviation = np.sqrt(np.where(varies, variance, np.nan))
    correlations = covariance / deviation / deviation[:, None]
    return correlations.astype(np.float32)


def _bins(
    recording: Recording, bin_size: float
) -> tuple[list[NDArray[Any]], Callable[[NDArray[Any]], NDArray[Any]]]:
    """Return the bins of each epoch, and what reads the activity (units, bins) in some."""
    if recording.modality == "spikes":
        # A patch of one bin. Counts are small whole numbers: exact in single precision.
        config = EncoderConfig(bin_size=bin_size, patch_duration=bin_size, window_duration=bin_size)
        source = open_patch_reader(recording, config)
        return whole_patches(source), lambda starts: source.read(starts)[..., 0]
    edges = recording.epochs + np.array([-_EDGE, _EDGE])
    runs = [np.arange(*span) for span in np.searchsorted(recording.frame_times, edges)]
    # Without its mean a bright trace loses no precision in the products.
    mean = recording.traces.mean(axis=0, dtype=np.float64)
    return runs, lambda frames: (recording.traces[frames] - mean).T
