"""Scores of the benchmarks: the same probe and folds for every system, and priors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import pynapple_nuclr as nap_nuclr

MIN_UNITS = 20  # smallest group that counts within a recording
NEIGHBOURS = 15
BIN = 0.05  # seconds, of the trial-to-trial correlations
TRIAL = 0.4  # seconds


def probe() -> Any:
    """Return the probe used for every system."""
    classifier = LogisticRegression(max_iter=1000, class_weight="balanced")
    return make_pipeline(StandardScaler(), classifier)


def out_of_fold(
    labels: np.ndarray, predict: Callable[[np.ndarray, np.ndarray], np.ndarray], seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Predict every unit from the other folds.

    Parameters
    ----------
    labels : ndarray (units,)
        Labels to predict.
    predict : callable
        (training units, test units) → predicted labels of the test units.
    seed : int
        Seed of the five folds.

    Returns
    -------
    (ndarray (units,), ndarray (units,))
        Predicted labels, and the fold of each unit.
    """
    predicted, fold = np.empty_like(labels), np.empty(len(labels), int)
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    for number, (train, test) in enumerate(folds.split(labels, labels)):
        predicted[test] = predict(train, test)
        fold[test] = number
    return predicted, fold


def by_probe(x: np.ndarray, labels: np.ndarray) -> Callable[..., np.ndarray]:
    """Return a predictor: the probe on features (units, features)."""

    def predict(train: np.ndarray, test: np.ndarray) -> np.ndarray:
        return probe().fit(x[train], labels[train]).predict(x[test])

    return predict


def by_most_common(session: np.ndarray, labels: np.ndarray) -> Callable[..., np.ndarray]:
    """Return a predictor: the most common label among the training units of the session."""

    def predict(train: np.ndarray, test: np.ndarray) -> np.ndarray:
        return np.array([_vote(labels[train[session[train] == session[i]]], labels) for i in test])

    return predict


def by_correlation(
    session: np.ndarray, similarity: dict[str, np.ndarray], position: np.ndarray, labels: np.ndarray
) -> Callable[..., np.ndarray]:
    """Return a predictor: a vote of the nearest labelled neighbours within the session.

    Parameters
    ----------
    session, position : ndarray (units,)
        The recording of each unit, and its row in the recording.
    similarity : dict
        Session → correlations (units of the session, units of the session).
    labels : ndarray (units,)
        Labels to predict.
    """

    def predict(train: np.ndarray, test: np.ndarray) -> np.ndarray:
        voted = []
        for unit in test:
            near = train[session[train] == session[unit]]
            correlation = similarity[session[unit]][position[unit], position[near]]
            voted.append(_vote(labels[near[np.argsort(-correlation)[:NEIGHBOURS]]], labels))
        return np.array(voted)

    return predict


def _vote(voters: np.ndarray, labels: np.ndarray) -> str:
    kinds, counts = np.unique(voters if len(voters) else labels, return_counts=True)
    return kinds[counts.argmax()]


def trial_correlations(units: Any) -> np.ndarray:
    """Return the correlations between units (units, units) of their trial-to-trial variation.

    Counts in 50 ms bins, minus each unit's mean response.
    """
    starts = units.time_support.start
    edges = starts[:, None] + np.arange(round(TRIAL / BIN) + 1) * BIN - 1e-6
    counts = [np.diff(np.searchsorted(units[i].t, edges), axis=1) for i in units.index]
    varying = np.stack(counts).astype(np.float32)
    varying -= varying.mean(axis=1, keepdims=True)
    flat = varying.reshape(len(varying), -1)
    flat /= np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-9)
    return flat @ flat.T


def macro_f1(labels: np.ndarray, predicted: np.ndarray, fold: np.ndarray) -> dict[str, float]:
    """Return the pooled macro F1 and the mean over folds."""
    folds = [f1_score(labels[fold == i], predicted[fold == i], average="macro") for i in set(fold)]
    return {
        "pooled": f1_score(labels, predicted, average="macro"),
        "fold mean": float(np.mean(folds)),
    }


def macro_f1_within_recording(
    labels: np.ndarray, predicted: np.ndarray, session: np.ndarray
) -> float:
    """Return the mean macro F1 of recordings with two groups of 20 units or more."""
    scores = []
    for name in np.unique(session):
        here = session == name
        present, counts = np.unique(labels[here], return_counts=True)
        if (counts >= MIN_UNITS).sum() >= 2:
            score = f1_score(
                labels[here], predicted[here], labels=present, average="macro", zero_division=0
            )
            scores.append(score)
    return float(np.mean(scores))


def trained_to_the_end(folders: Sequence[Path], pairs: int) -> list[Any]:
    """Return the encoders of those folders of `pretrain` whose training had all of its pairs."""
    encoders = [nap_nuclr.load_encoder(one) for one in folders if (one / "config.json").exists()]
    training = [one.card["training"] for one in encoders]
    done = [one["steps"] * one["pairs_a_step"] == pairs for one in training]
    return list(compress(encoders, done))


def untrained(encoder: Any, seed: int = 0) -> Any:
    """Return the same network with random weights."""
    torch.manual_seed(seed)
    return nap_nuclr.Encoder(encoder.config, name="untrained").eval()


def spread(values: list[float]) -> str:
    """Return mean ± standard deviation."""
    return f"{np.mean(values):.3f} ± {np.std(values):.3f}"
