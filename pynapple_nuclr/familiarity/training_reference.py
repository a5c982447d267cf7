"""Statistics of its training recordings, on an encoder's card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pynapple_nuclr.checkpoints import Encoder
from pynapple_nuclr.config import EncoderConfig
from pynapple_nuclr.familiarity.window_statistics import PROPERTIES, window_statistics
from pynapple_nuclr.leakage.fingerprints import ENTRY as FINGERPRINTS
from pynapple_nuclr.leakage.fingerprints import training_fingerprints
from pynapple_nuclr.recording import Recording, Units, as_recordings
from pynapple_nuclr.windows import open_patch_reader, tile

Floats = NDArray[np.float64]

_ENTRY = "familiarity"  # in the encoder's card
_FORMAT = 1
_DISTANCES = "units' distances"
_QUANTILES = np.array([0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1])


class Reference(NamedTuple):
    """The recordings of training, on the properties' scales (properties,).

    `mean` and `sd` are over recordings (s.d.: NaN for one), `units_mean` and `units_sd` over units;
    `window_sd` and `unit_sd` say by how much a property varies for a single window and unit.
    `distances` (quantiles,) is how far the units lie from their mean.
    """

    recordings: int
    mean: Floats
    sd: Floats
    window_sd: Floats
    unit_sd: Floats
    units_mean: Floats
    units_sd: Floats
    distances: Floats


_COLUMNS = Reference._fields[1:-1]


def record_training_data(
    encoder: Encoder, recordings: Units | Sequence[Units] | Mapping[str, Units]
) -> Encoder:
    """Tell an encoder what its recordings of training were like.

    `pretrain` does so by itself; this is for encoders from elsewhere, or of earlier versions.

    Parameters
    ----------
    encoder : Encoder
        Its ``card["familiarity"]`` and ``card["fingerprints"]`` are written; weights and hash
        stay as they are. Save it to keep them.
    recordings : TsGroup, TsdFrame, list or mapping
        The recordings that it was trained on.

    Returns
    -------
    Encoder
        The same.

    Raises
    ------
    TypeError, ValueError
        For recordings that cannot be read, or are too short for a window.

    Examples
    --------
    >>> import pynapple_nuclr as nap_nuclr
    >>> from pynapple_nuclr.familiarity import record_training_data
    >>> encoder = nap_nuclr.Encoder(nap_nuclr.EncoderConfig(dim=32, heads=2, head_dim=16))
    >>> units = nap_nuclr.simulate("single", n_units=20, duration=60, seed=0)
    >>> record_training_data(encoder, [units]).card["familiarity"]["recordings"]
    1
    """
    write_training_data(encoder, list(as_recordings(recordings).values()))
    return encoder


def write_training_data(encoder: Encoder, recordings: Sequence[Recording]) -> None:
    """Write on an encoder's card what its recordings were like, and how to know them again."""
    encoder.card[_ENTRY] = describe_training(recordings, encoder.config)
    encoder.card[FINGERPRINTS] = training_fingerprints(recordings, encoder.card)


def describe_training(recordings: Sequence[Recording], config: EncoderConfig) -> dict[str, Any]:
    """Return the fields of `Reference` for a card, an entry per property; None for NaN."""
    seen = []
    for recording in recordings:
        source = open_patch_reader(recording, config)
        seen.append(window_statistics(source, tile(source).starts))
    values = np.stack([one.values() for one in seen])
    by_window, by_unit = zip(*(one.variances() for one in seen), strict=True)
    of_units = np.concatenate([one.unit_values() for one in seen])
    units_mean = _mean(of_units)
    units_sd = np.sqrt(_mean((of_units - units_mean) ** 2))
    columns = Reference(
        len(seen),
        _mean(values),
        np.sqrt(_mean((values - _mean(values)) ** 2) * len(seen) / max(len(seen) - 1, 1)),
        np.sqrt(_mean(np.stack(by_window))),
        np.sqrt(_mean(np.stack(by_unit))),
        units_mean,
        units_sd,
        np.quantile(_finite(distances(of_units, units_mean, units_sd)), _QUANTILES),
    )
    entry: dict[str, Any] = {"format": _FORMAT, "recordings": columns.recordings}
    for i, name in enumerate(PROPERTIES[config.modality]):
        entry[name] = {column: _plain(getattr(columns, column)[i]) for column in _COLUMNS}
    entry[_DISTANCES] = {
        f"{q:g}": _plain(d) for q, d in zip(_QUANTILES, columns.distances, strict=True)
    }
    return entry


def read_reference(encoder: Encoder) -> Reference | None:
    """Return the statistics on an encoder's card; None if there are none, or cannot be read."""
    entry = encoder.card.get(_ENTRY)
    if not isinstance(entry, Mapping) or entry.get("format") != _FORMAT:
        return None
    try:
        rows = [entry[name] for name in PROPERTIES[encoder.config.modality]]
        columns = {c: np.array([row[c] for row in rows], dtype=np.float64) for c in _COLUMNS}
        far = np.array([entry[_DISTANCES][f"{q:g}"] for q in _QUANTILES], dtype=np.float64)
        return Reference(int(entry["recordings"]), distances=far, **columns)
    except (KeyError, TypeError, ValueError):
        return None


def distances(units: Floats, mean: Floats, sd: Floats) -> Floats:
    """Return how far units (units, properties) lie from the mean, in s.d.: root mean square."""
    with np.errstate(invalid="ignore", divide="ignore"):
        away = (units - mean) / sd
    return np.sqrt(_mean(np.where(np.isfinite(away), away**2, np.nan).T))


def share_as_far(reference: Reference, distance: Floats) -> Floats:
    """Return which share of the units of training lies as far out (units,); NaN stays."""
    return 1 - np.interp(distance, reference.distances, _QUANTILES)


def _mean(values: Floats) -> Floats:
    """Return the mean over the first axis, NaN left out; NaN where nothing is left."""
    known = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(known, values, 0).sum(axis=0) / known.sum(axis=0))


def _finite(values: Floats) -> Floats:
    kept = values[np.isfinite(values)]
    return kept if len(kept) else np.zeros(1)


def _plain(value: float) -> float | None:
    return float(f"{value:.4g}") if np.isfinite(value) else None
