"""How a probe is fitted: what it learns from, its score, and the classifier it keeps."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator as Probe  # `Probe` itself imports this module
from sklearn.base import clone

from pynapple_nuclr.probes.cross_validation import check_classes, cross_validate
from pynapple_nuclr.probes.default_estimator import default_estimator
from pynapple_nuclr.probes.inputs import check_parameters, training_rows
from pynapple_nuclr.probes.rows import labelled, warn_of_units_left_out
from pynapple_nuclr.probes.training_recordings import describe_recordings


def new_estimator(probe: Probe) -> Any:
    """Return the probe's classifier, not fitted."""
    return default_estimator() if probe.estimator is None else clone(probe.estimator)


def fit_probe(probe: Probe, recordings: Any, y: Any, animals: Any) -> int:
    """Set the attributes of `Probe.fit`; return the number of folds."""
    check_parameters(probe)
    by_inputs, encoder = training_rows(probe, recordings, y, animals)
    all_units = by_inputs
    given = next(iter(by_inputs.values()))
    warn_of_units_left_out(given, probe.target, probe.missing_labels, stacklevel=4)
    by_inputs = {
        inputs: labelled(rows, probe.target, probe.missing_labels)
        for inputs, rows in all_units.items()
    }
    rows = next(iter(by_inputs.values()))
    check_classes(rows.labels, probe.target, len(given.x) - len(rows.x))
    score = cross_validate(
        new_estimator(probe),
        {inputs: rows.x for inputs, rows in by_inputs.items()},
        rows.labels,
        rows.recordings,
        rows.animals,
        probe.target,
        probe.calibrate,
        probe.n_shuffles,
    )
    rows = by_inputs[score.inputs]
    probe.inputs_, probe.cv_inputs_ = score.inputs, score.inputs_f1
    probe.encoder_ = encoder[score.inputs]
    probe.training_recordings_ = describe_recordings(probe, all_units[score.inputs])
    probe.classes_, counts = np.unique(rows.labels, return_counts=True)
    # The default classifier weighs classes equally: to it they are equally frequent.
    equal = np.full(len(counts), 1 / len(counts))
    probe.class_shares_ = equal if probe.estimator is None else counts / counts.sum()
    probe.n_units_, probe.n_features_in_ = rows.x.shape
    probe.training_hashes_ = np.unique(rows.row_hashes)
    probe.estimator_ = new_estimator(probe).fit(rows.x, rows.labels)
    probe.cv_score_ = score.f1
    probe.cv_chance_, probe.cv_chance_sd_ = score.chance, score.chance_sd
    probe.cv_group_, probe.temperature_ = score.by, score.temperature
    probe.cv_calibration_ = score.calibration
    return score.folds
