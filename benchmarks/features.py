"""Features of the units of recordings, each computed once and kept in a folder.

A feature of a recording is kept under the hash of the recording's content and, for an embedding, of
the encoder: another encoder, or another task on the same recordings, costs only the probe.
"""

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pynapple as nap
from numpy.typing import NDArray

from pynapple_nuclr import Encoder, encode, stability, unit_statistics
from pynapple_nuclr.baselines import EmbeddingSystem, Statistics
from pynapple_nuclr.baselines._memoize_per_object import memoize_per_object
from pynapple_nuclr.evaluation.results_cache import Store, hash_recording, key_of
from pynapple_nuclr.features import _unit_statistics
from pynapple_nuclr.leakage.fingerprints import all_fingerprints, known_fingerprints
from pynapple_nuclr.probes.rows import z_score
from pynapple_nuclr.recording import as_recording, modality_of

RATE = "rate alone"
STATISTICS = "statistics"
WITH_MEAN = "statistics + the recording's mean statistics"
STANDARDIZED = "standardised "
"""Before the name of a feature: standardised over the units of each recording."""
_RATE_COLUMN = {"spikes": 1, "calcium": 5}  # log_rate, event_rate

Arrays = dict[str, NDArray[Any]]


class Features:
    """Vectors of units by the name of the feature, or the identity of an encoder.

    Parameters
    ----------
    folder : Path
        Keeps what was computed.
    max_windows : int
        Windows that an encoder reads of a recording, at most, spread evenly.
    """

    identity = "features of recordings"  # they decide no result: their names do

    def __init__(self, folder: Path, max_windows: int = 64) -> None:
        self.store = Store(folder)
        self.max_windows = max_windows
        self.encoders: dict[str, Encoder] = {}
        self._trained: dict[str, Callable[[Any], NDArray[np.float64]]] = {}
        self._known: dict[str, Arrays] = {}

    def __deepcopy__(self, _: Any) -> Features:
        """Return itself: copies of a system share what was computed."""
        return self

    def add(self, encoder: Encoder) -> str:
        """Add an encoder; return the name of its feature."""
        self.encoders[encoder.identity] = encoder
        return str(encoder.identity)

    def train(self, system: EmbeddingSystem, recordings: Mapping[str, Any], seed: int) -> str:
        """Add a system that is trained on recordings, once it is needed; return its feature."""
        names = {content(units): name for name, units in recordings.items()}
        fitted: list[EmbeddingSystem] = []

        def embed(units: Any) -> NDArray[np.float64]:
            if not fitted:
                fitted.append(copy.deepcopy(system).fit(recordings, seed=seed))
            name = names[content(units)]
            return fitted[0].embed({name: units})[name]

        feature = key_of([system.settings(), names, seed])
        self._trained[feature] = embed
        return feature

    def vectors(self, name: str, units: Any) -> NDArray[np.float64]:
        """Return the vectors (units, features) of a recording; NaN where nothing is known."""
        if name.startswith(STANDARDIZED):
            vectors = self.vectors(name.removeprefix(STANDARDIZED), units)
            return z_score(vectors, np.isfinite(vectors).all(axis=1))
        if name in self.encoders:
            return self.embedded(name, units)["embedding"]
        if name in self._trained:
            return self._once(name, units, lambda: {"values": self._trained[name](units)})["values"]
        statistics = self._statistics(units)
        if name == RATE:
            return statistics[:, [_RATE_COLUMN[modality_of(units)]]]
        if name == WITH_MEAN:
            mean = np.nanmean(statistics, axis=0, keepdims=True)
            return np.hstack([statistics, np.repeat(mean, len(statistics), axis=0)])
        if name != STATISTICS:
            raise ValueError(f"feature {name!r} is unknown")
        return statistics

    def embedded(self, name: str, units: Any) -> Arrays:
        """Return ``embedding``, and its means over odd and even windows, ``odd`` and ``even``.

        All are (units, dim).
        """
        what = [name, _gaps(units), self.max_windows]
        return self._once(what, units, lambda: self._encode(name, units))

    def stability(self, name: str, units: Any) -> NDArray[np.float64]:
        """Return the stability of each unit (units,), as the present code computes it."""
        what = [name, _gaps(units), self.max_windows, _code(stability)]
        return self._once(what, units, lambda: self._encode(name, units))["stability"]

    def _encode(self, name: str, units: Any) -> Arrays:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # silent units, a recording unlike its training
            found = encode(
                units,
                self.encoders[name],
                gaps=_gaps(units),
                max_windows=self.max_windows,
                return_windows=True,
                progress=False,
            )
            windows = found["window_embedding"].values
            return {
                "embedding": found["embedding"].values,
                "stability": found["stability"].values,
                "odd": np.nanmean(windows[1::2], axis=0),
                "even": np.nanmean(windows[::2], axis=0),
            }

    def seen(self, name: str, units: Any) -> bool | None:
        """Return whether an encoder was trained on this recording; None if its card is silent."""
        card = self.encoders[name].card
        known = known_fingerprints(card)
        if not known:
            return None if "training" in card else False

        def compute() -> Arrays:
            return {"all": np.array(sorted(all_fingerprints(as_recording(units))))}

        return not known.isdisjoint(self._once("fingerprints", units, compute)["all"].tolist())

    def halves(self, name: str, units: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the vectors (units, features) from odd and from even windows of a recording."""
        if name in self.encoders:
            own = self.embedded(name, units)
            return own["odd"], own["even"]

        def compute() -> Arrays:
            whole = units.time_support
            edges = np.linspace(whole.start[0], whole.end[-1], self.max_windows + 1)
            parts = nap.IntervalSet(edges[:-1], edges[1:] - 1e-6).intersect(whole)
            number = np.searchsorted(edges, parts.start + 1e-6) % 2
            return {
                half: unit_statistics(units, epochs=parts[number == odd]).to_numpy()
                for half, odd in (("odd", 1), ("even", 0))
            }

        own = self._once(
            ["halves", STATISTICS, self.max_windows, _code(_unit_statistics)], units, compute
        )
        mean, sd = (f([own["odd"], own["even"]], axis=(0, 1)) for f in (np.mean, np.std))
        scale = np.where(sd > 0, sd, 1.0)
        return (own["odd"] - mean) / scale, (own["even"] - mean) / scale

    def _statistics(self, units: Any) -> NDArray[np.float64]:
        def compute() -> Arrays:
            return {"values": Statistics().embed({"recording": units})["recording"]}

        return self._once([STATISTICS, _code(_unit_statistics)], units, compute)["values"]

    def _once(self, what: Any, units: Any, compute: Any) -> Arrays:
        key = key_of([what, content(units)])
        if key not in self._known:
            stored = self.store.read(key)
            if stored is None:
                stored = compute(), {}
                self.store.write(key, *stored)
            self._known[key] = stored[0]
        return self._known[key]


def _gaps(units: Any) -> Any:
    """Windows of trials are joined: no trial is as long as a window."""
    return "join" if len(units.time_support) > 1 else None


def _code(module: ModuleType) -> str:
    """Return the code of a module: what an older one computed is not used again."""
    return inspect.getsource(module)


def content(units: Any) -> str:
    """Return the hash of a recording."""
    return memoize_per_object(units, "content", lambda: hash_recording(units))
