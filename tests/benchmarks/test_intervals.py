"""Scores, and their bootstrap intervals over animals."""

import numpy as np
import pytest
from intervals import Predictions, gain, interval
from sklearn.metrics import f1_score


def predictions(share_right, within=False, seed=0):
    """Three classes, six recordings of three animals; a share of the units is right."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(["A", "B", "C"], 600)
    recordings = np.repeat([f"day{i}" for i in range(6)], 100)
    wrong = rng.uniform(size=600) > share_right
    predicted = np.where(wrong, rng.choice(["A", "B", ""], 600), labels)
    individuals = {f"day{i}": f"animal{i // 2}" for i in range(6)}
    return Predictions(labels, recordings, predicted[None], individuals, within)


def test_pooled_macro_f1_is_that_of_all_units():
    one = predictions(0.6)
    expected = f1_score(one.labels, one.predicted[0], average="macro", labels=["A", "B", "C"])
    assert one.macro_f1()[0] == pytest.approx(expected)
    assert one.accuracy()[0] == pytest.approx(np.mean(one.labels == one.predicted[0]))


def test_macro_f1_within_recordings_is_the_mean_over_them():
    one = predictions(0.6, within=True)
    each = [
        f1_score(one.labels[here], one.predicted[0][here], average="macro", labels=["A", "B", "C"])
        for here in (one.recordings == name for name in np.unique(one.recordings))
    ]
    assert one.macro_f1()[0] == pytest.approx(np.mean(each))
    assert list(one.of_each().values()) == pytest.approx(each)


@pytest.mark.parametrize("within", [False, True])
def test_the_interval_holds_the_score_and_is_paired(within):
    one, better = predictions(0.6, within), predictions(0.8, within)
    low, high = interval(one.macro_f1(one.drawn))
    assert low <= one.macro_f1()[0] <= high
    assert gain(one, one) == (0, 0, 0)
    more, low, high = gain(better, one)
    assert 0 < low < more < high


def test_draws_of_recordings_are_nested_in_animals():
    one = predictions(0.6, within=True)
    assert (one.drawn.sum(axis=1) == 6).all()
    of_animals = one.drawn.reshape(len(one.drawn), 3, 2).sum(axis=2)
    assert set(np.unique(of_animals)) <= {0, 2, 4, 6}


def test_runs_are_averaged():
    one, other = predictions(0.6), predictions(0.6)
    both = Predictions(
        one.labels,
        one.recordings,
        np.concatenate([one.predicted, np.full_like(other.predicted, "A")]),
        one.individuals,
        within=False,
    )
    alone = Predictions(
        one.labels, one.recordings, both.predicted[1:], one.individuals, within=False
    )
    assert both.macro_f1()[0] == pytest.approx((one.macro_f1()[0] + alone.macro_f1()[0]) / 2)


def test_scores_of_some_animals_only():
    one = predictions(0.6)
    part = one.only(["animal0", "animal2"])
    assert set(part.groups) == {"animal0", "animal2"}
    assert part.predicted.shape == (1, 400)
