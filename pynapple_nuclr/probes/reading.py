"""What a probe is handed, to learn from or to predict, as rows."""

from __future__ import annotations

import hashlib
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils.validation import check_consistent_length, check_is_fitted, validate_data

from pynapple_nuclr.probes.populations import (
    Rows,
    animal_column,
    are_groups,
    array_rows,
    as_populations,
    common_encoder,
    read_rows,
    row_animals,
    with_labels,
    without_nan,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sklearn.base import BaseEstimator as Probe  # the probe itself stands a floor above


def rows_to_learn(probe: Probe, groups: Any, y: Any, animals: Any) -> tuple[Rows, str | None]:
    """Read units and their labels; see `Probe.fit` for the arguments.

    Returns
    -------
    (Rows, str or None)
        All units, and who made their vectors (None: arrays).

    Raises
    ------
    ValueError
        If a column or `y` is not there, or several encoders made the vectors.
    """
    if are_groups(groups):
        populations = as_populations(groups, probe.prefix)
        if y is not None:
            populations = with_labels(populations, y, probe.target)
        encoder = common_encoder(populations)
        if animals is None:
            animals = animal_column(populations, probe.target)
        return _read(probe, populations, probe.target, animals), encoder
    if y is None:
        raise ValueError(
            f"groups is a {type(groups).__name__}; expected embedded pynapple objects or results "
            "of encode. As an array X it requires y to be passed, but the target y is None"
        )
    x, labels = validate_data(probe, groups, without_nan(y), dtype=np.float64)
    of_rows = row_animals(animals, len(x))
    return _array_rows(probe, x)._replace(labels=labels, animals=of_rows), None


def rows_to_predict(probe: Probe, groups: Any, y: Any = None, *, with_target: bool = False) -> Rows:
    """Read units that must look like those that the probe was trained on.

    Parameters
    ----------
    probe : Probe
        Fitted.
    groups, y
        As in `Probe.score`.
    with_target : bool
        Also read the labels.

    Returns
    -------
    Rows
        All units, silent ones and those without a label included.

    Raises
    ------
    ValueError
        If a column is not there, or another encoder made the vectors.
    """
    check_is_fitted(probe)
    if not are_groups(groups):
        rows = _array_rows(probe, validate_data(probe, groups, dtype=np.float64, reset=False))
        if not with_target:
            return rows
        check_consistent_length(rows.x, y)
        return rows._replace(labels=np.asarray(y, dtype=object))
    populations = as_populations(groups, probe.prefix)
    common_encoder(populations, probe.encoder_)
    if y is not None:
        populations = with_labels(populations, y, probe.target)
    rows = _read(probe, populations, probe.target if with_target else None)
    if rows.x.shape[1] != probe.n_features_in_:
        raise ValueError(
            f"the recordings have {rows.x.shape[1]} columns of embedding and features; this "
            f"probe was trained on {probe.n_features_in_}"
        )
    return rows


def row_hashes(x: NDArray[np.float64]) -> NDArray[np.uint64]:
    """Return a hash of each row of (units, columns), sorted: by these a unit is known again."""
    hashes = [hashlib.blake2b(row.tobytes(), digest_size=8).digest() for row in x]
    return np.unique(np.frombuffer(b"".join(hashes), dtype=np.uint64))


def warn_of_learned(probe: Probe, groups: Any, x: NDArray[np.float64]) -> None:
    """Warn if a score is asked for on embedded units that the probe learned from.

    Not on arrays: few columns may well be equal in two units, and scikit-learn asks for both.
    """
    if not are_groups(groups):
        return
    known = int(np.isin(row_hashes(x), probe.seen_).sum())
    if known:
        warnings.warn(
            f"{known} of these {len(x)} units are ones that the probe learned from: the score "
            f"says nothing of new ones; on units left out it was {probe.cv_score_:.2f} (by "
            f"{probe.cv_by_}), see cv_score_",
            UserWarning,
            stacklevel=3,
        )


def _read(probe: Probe, populations: Any, target: str | None, animals: Any = None) -> Rows:
    return read_rows(
        populations,
        features=probe.features,
        normalize=probe.normalize == "recording",
        target=target,
        animals=animals,
    )


def _array_rows(probe: Probe, x: NDArray[np.float64]) -> Rows:
    return array_rows(x, len(probe.features), probe.normalize == "recording")
