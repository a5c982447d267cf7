"""How a probe is fitted: what it learns from, its score, and the classifier it keeps."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator as Probe  # `Probe` itself imports this module
from sklearn.base import clone

from pynapple_nuclr.probes.cross_validation import Candidate, Key, check_classes, cross_validate
from pynapple_nuclr.probes.default_estimator import default_estimator, one_blas_thread
from pynapple_nuclr.probes.inputs import check_parameters, training_rows
from pynapple_nuclr.probes.rows import Rows, labelled, warn_of_units_left_out
from pynapple_nuclr.probes.training_recordings import describe_recordings
from pynapple_nuclr.user_warnings import warn_user

_REGULARISATION = (1.0, 0.1, 10.0, 0.01)  # of equally good ones the first is taken


def new_estimators(probe: Probe) -> dict[tuple[str | None, float | None], Any]:
    """Return the classifiers that a probe may use, not fitted, by the settings of a `Key`."""
    if probe.estimator is not None:
        return {(None, None): clone(probe.estimator)}
    settings = product(_REGULARISATION, ("balanced", None))
    return {(weights, c): default_estimator(weights, c) for c, weights in settings}


def _warn_of_codes(probe: Probe, rows: Rows) -> None:
    """Warn of features that may be the labels as numbers: each value goes with one label."""
    for name, values in zip(probe.features, rows.x.T[-len(probe.features) :], strict=False):
        pairs = set(zip(values.tolist(), rows.labels.tolist(), strict=True))
        n_values = len({value for value, _ in pairs})
        if 1 < n_values == len(pairs) <= len(values) / 2:
            warn_user(
                f"feature {name!r}: each of its {n_values} values goes with one label of "
                f"{probe.target!r} only; if it was made from the labels, the score is that of "
                "reading them"
            )


def fit_probe(probe: Probe, recordings: Any, y: Any, animals: Any, progress: bool) -> int:
    """Set the attributes of `Probe.fit`; return the number of folds."""
    check_parameters(probe)
    all_units, encoder = training_rows(probe, recordings, y, animals)
    given = next(iter(all_units.values()))
    warn_of_units_left_out(given, probe.target, probe.missing_labels)
    by_inputs = {
        inputs: labelled(rows, probe.target, probe.missing_labels)
        for inputs, rows in all_units.items()
    }
    rows = next(iter(by_inputs.values()))
    check_classes(rows.labels, probe.target, len(given.x) - len(rows.x))
    _warn_of_codes(probe, rows)
    candidates = {
        Key(inputs, *settings): Candidate(rows.x, estimator)
        for inputs, rows in by_inputs.items()
        for settings, estimator in new_estimators(probe).items()
    }
    score = cross_validate(
        candidates,
        rows.labels,
        rows.recordings,
        rows.animals,
        probe.target,
        probe.calibrate,
        probe.n_shuffles,
        progress,
    )
    probe.inputs_, weights, _ = score.chosen
    probe.cv_inputs_ = {
        inputs: max(f1 for key, f1 in score.f1_of.items() if key.inputs == inputs)
        for inputs in by_inputs
    }
    rows = by_inputs[probe.inputs_]
    probe.encoder_ = encoder[probe.inputs_]
    probe.training_recordings_ = describe_recordings(probe, all_units[probe.inputs_])
    probe.classes_, counts = np.unique(rows.labels, return_counts=True)
    # To a classifier that weighs classes equally they are equally frequent.
    equal = np.full(len(counts), 1 / len(counts))
    probe.class_shares_ = equal if weights == "balanced" else counts / counts.sum()
    probe.n_units_, probe.n_features_in_ = rows.x.shape
    probe.training_hashes_ = rows.hashes
    with one_blas_thread():
        probe.estimator_ = candidates[score.chosen].estimator.fit(rows.x, rows.labels)
    probe.cv_score_ = score.f1
    probe.cv_chance_, probe.cv_chance_sd_ = score.chance, score.chance_sd
    probe.cv_group_, probe.temperature_ = score.by, score.temperature
    probe.cv_calibration_ = score.calibration
    return score.folds
