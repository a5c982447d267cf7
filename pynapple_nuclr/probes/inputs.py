"""The arguments of a probe's methods, as rows."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
import pynapple as nap
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, is_clusterer, is_regressor
from sklearn.base import BaseEstimator as Probe  # `Probe` itself imports this module
from sklearn.utils.validation import check_consistent_length, check_is_fitted, validate_data

from pynapple_nuclr.columns import as_texts, check_name, is_missing_label
from pynapple_nuclr.leakage import LeakError
from pynapple_nuclr.leakage.duplicates import check_duplicate_units, repeated_units
from pynapple_nuclr.probes.rows import (
    Rows,
    animals_of,
    are_recordings,
    array_rows,
    common_encoder,
    read_rows,
    row_animals,
    with_labels,
    without_nan,
)
from pynapple_nuclr.probes.unit_inputs import INPUTS, possible_inputs, read_vectors
from pynapple_nuclr.user_warnings import list_some, warn_user


def check_parameters(probe: Probe) -> None:
    """Refuse what a probe cannot be made with; ValueError naming it."""
    check_name(probe.target, "target")
    check_name(probe.prefix, "prefix")
    _check_estimator(probe.estimator)
    if probe.standardize not in ("none", "recording"):
        raise ValueError(f"standardize={probe.standardize!r}; expected 'none' or 'recording'")
    if probe.inputs not in ("auto", *INPUTS):
        raise ValueError(f"inputs={probe.inputs!r}; expected 'auto' or one of {', '.join(INPUTS)}")
    check_threshold(probe.threshold)
    if not isinstance(probe.calibrate, bool):
        raise ValueError(f"calibrate={probe.calibrate!r}; expected True or False")
    is_count = isinstance(probe.n_shuffles, (int, np.integer)) and probe.n_shuffles >= 1
    if isinstance(probe.n_shuffles, bool) or not is_count:
        raise ValueError(f"n_shuffles={probe.n_shuffles!r}; expected a number from 1 on")
    is_missing_label([], probe.missing_labels)
    if isinstance(probe.features, str):
        raise ValueError(
            f"features={probe.features!r} is a string; expected names: [{probe.features!r}]"
        )
    if probe.target in probe.features:
        raise LeakError(f"features names {probe.target!r}, the label to predict")


def _check_estimator(estimator: Any) -> None:
    """Refuse what would predict numbers or clusters, or is no estimator; None is the default."""
    if estimator is None:
        return
    is_estimator = hasattr(estimator, "fit") and not isinstance(estimator, type)
    known = isinstance(estimator, BaseEstimator)  # others cannot be asked what they predict
    if not is_estimator or (known and (is_regressor(estimator) or is_clusterer(estimator))):
        raise TypeError(
            f"estimator={estimator!r}; expected a classifier of scikit-learn, for example "
            "LogisticRegression()"
        )


def check_threshold(threshold: Any) -> None:
    """Refuse a threshold that is no number from 0 to 1; None is no threshold."""
    if threshold is None:
        return
    is_number = isinstance(threshold, Real) and not isinstance(threshold, (bool, np.bool_))
    if not is_number or not 0 <= threshold <= 1:
        raise ValueError(f"threshold={threshold!r}; expected a number from 0 to 1")


def training_rows(
    probe: Probe, recordings: Any, y: Any, animals: Any
) -> tuple[dict[str, Rows], dict[str, str | None]]:
    """Read units and their labels; see `Probe.fit` for the arguments.

    Both by the input ("embedding", "statistics", "both"): the units, and who made the vectors.
    """
    if are_recordings(recordings):
        rows: dict[str, Rows] = {}
        encoder: dict[str, str | None] = {}
        inputs = possible_inputs(recordings, probe.inputs)
        for name, vectors in read_vectors(recordings, probe.prefix, inputs).items():
            named = vectors if y is None else with_labels(vectors, y, probe.target)
            encoder[name] = common_encoder(named)
            rows[name] = _read(probe, named, probe.target)._replace(
                animals=animals_of(named, animals, probe.target)
            )
        _check_duplicates(next(iter(rows.values())), with_embedding=inputs[0] != "statistics")
        return rows, encoder
    if y is None:
        raise ValueError(
            f"recordings is a {type(recordings).__name__}; expected embedded pynapple objects or "
            "results of encode. As an array X it requires y to be passed, but the target y is None"
        )
    x, labels = validate_data(
        probe, recordings, without_nan(y, probe.missing_labels), dtype=np.float64
    )
    of_rows = row_animals(animals, len(x))
    if probe.standardize == "recording" and of_rows is not None and len(np.unique(of_rows)) > 1:
        raise LeakError(
            "standardize='recording' takes an array as one recording, so the animals left out "
            "would be in the means of those trained on; standardise each recording yourself, with "
            "standardize='none', or fit embedded recordings"
        )
    of_array = _array_rows(probe, x)._replace(labels=labels, animals=of_rows)
    name = "embedding" if probe.inputs == "auto" else probe.inputs
    return {name: of_array}, {name: None}


def rows_to_predict(
    probe: Probe,
    recordings: Any,
    y: Any = None,
    *,
    with_target: bool = False,
    epochs: nap.IntervalSet | None = None,
) -> Rows:
    """Read units that must look like those that the probe was trained on."""
    check_is_fitted(probe)
    if not are_recordings(recordings):
        rows = _array_rows(probe, validate_data(probe, recordings, dtype=np.float64, reset=False))
        if not with_target:
            return rows
        check_consistent_length(rows.x, y)
        return rows._replace(labels=np.asarray(y, dtype=object))
    recordings = read_vectors(recordings, probe.prefix, (probe.inputs_,), epochs)[probe.inputs_]
    common_encoder(recordings, probe.encoder_)
    if y is not None:
        recordings = with_labels(recordings, y, probe.target)
    rows = _read(probe, recordings, probe.target if with_target else None)
    if rows.x.shape[1] != probe.n_features_in_:
        raise ValueError(
            "a probe of spikes cannot read calcium traces, nor the reverse: fit one on labelled "
            f"recordings of your kind (it was trained on {probe.n_features_in_} columns of "
            f"embedding and features; these recordings have {rows.x.shape[1]})"
        )
    return rows


def _check_duplicates(rows: Rows, with_embedding: bool) -> None:
    """Refuse units that are in two recordings; warn of those that are twice in one."""
    hashes = {"activity": rows.activity_hashes}
    if with_embedding:  # statistics of units with few spikes may well be equal
        hashes = {"embedding": rows.row_hashes} | hashes
    copies = {}
    for what, of_units in hashes.items():
        known = rows.has_embedding & (of_units > 0)
        of_each = {
            str(name): of_units[(rows.recordings == name) & known].tolist()
            for name in np.unique(rows.recordings)
        }
        check_duplicate_units(of_each, f"with the same {what}")
        copies[what] = sum(len(repeated_units(own)) for own in of_each.values())
    what = max(copies, key=lambda one: copies[one])
    if n := copies[what]:
        warn_user(
            f"{n} unit{' has' if n == 1 else 's have'} the same {what} as another one of their "
            "recording: if they are copies, the score measures how well copies are recognised"
        )


def warn_of_training_units(probe: Probe, rows: Rows) -> None:
    """Warn if a score is asked for on embedded units that the probe learned from."""
    known = int(rows.are_among(probe.training_hashes_).sum())
    if known:
        warn_user(
            f"{known} of these {len(rows.x)} units are ones that the probe learned from: the score "
            f"says nothing of new ones; on units left out it was {probe.cv_score_:.2f} (by "
            f"{probe.cv_group_}), see cv_score_"
        )


def warn_of_other_labels(probe: Probe, labels: ArrayLike) -> None:
    """Warn if no label is a class of the probe: nothing that it predicts can agree with them."""
    given = {*as_texts(labels, probe.missing_labels).tolist()} - {""}
    classes = as_texts(probe.classes_).tolist()
    if given and given.isdisjoint(classes):
        warn_user(
            f"none of the labels in {probe.target!r} ({list_some(sorted(given))}) is a class of "
            f"the probe ({list_some(classes)}); if they mean the same, write them alike",
        )


def _read(probe: Probe, recordings: Any, target: str | None) -> Rows:
    return read_rows(
        recordings,
        features=probe.features,
        standardize=probe.standardize == "recording",
        target=target,
    )


def _array_rows(probe: Probe, x: NDArray[np.float64]) -> Rows:
    return array_rows(x, len(probe.features), probe.standardize == "recording")
