"""On shuffled labels every system of the package scores at chance."""

from importlib.metadata import entry_points

import numpy as np
import pynapple as nap
import pytest
from evaluation_systems import KINDS, Counting, mice
from leaks import PROTOCOLS, TINY, evaluate
from tally import counts

from pynapple_nuclr import baselines
from pynapple_nuclr.baselines.registry import GROUP
from pynapple_nuclr.calibration import macro_f1_of_predictions
from pynapple_nuclr.evaluation.systems import supports_protocol

SHUFFLES, PERMUTATIONS = 4, 50
BUILT = {
    "CorrelatedNeighbours": {},
    "Lolcat": {"steps": 25, "batch_size": 16, "snippets": 4, "dim": 8, "heads": 2}
    | {"learning_rate": 0.03, "dropout": 0.0},
    "MostCommonLabel": {},
    "Nemo": {"steps": 5, "dim": 16, "projection": 16},
    "Neuprint": {"steps": 5, "visits": 5, "dim": 8, "hidden": 16, "past": 20},
    "Nuclr": {"config": TINY, "steps": 2},
    "Poyo": {"dim": 16, "depth": 1, "steps": 5},
    "Statistics": {},
    "UnitEmbeddingDecoder": {"config": TINY, "dim": 16, "depth": 1, "steps": 5},
}
"""Every system of the package, so small that it is quick."""


def build(name):
    settings = dict(BUILT[name])
    if name == "Poyo":  # choices that have nothing to do with the spikes
        starts = np.arange(0, 100, 2.0)
        choices = {"choice": ["left", "right"] * 25}
        trials = nap.IntervalSet(starts, starts + 1.5, metadata=choices)
        settings["behaviour"] = {f"day_{i}": trials for i in range(3)}
    return getattr(baselines, name)(**settings)


def above_chance(system, protocol, recordings, cache=None):
    """Return by how many s.d. shuffled labels are predicted above chance: mean of four shuffles.

    The labels are permuted among the units of all recordings, and everything runs as it would on
    the true ones. Chance and its s.d. are those of the same predictions, and so of the same
    preference for some classes, scored on 50 further permutations: nobody can have seen these.
    """
    labels = np.concatenate([units["cell_type"] for units in recordings.values()])
    deviations = []
    for seed in range(SHUFFLES):
        rng = np.random.default_rng(seed)
        for units, own in zip(
            recordings.values(), np.split(rng.permutation(labels), 3), strict=True
        ):
            units["cell_type"] = own
        dataset = evaluate(recordings, protocol, {"it": system}, cache=cache).sel(system="it")
        predicted, shuffled = dataset["predicted"].values.ravel(), dataset["label"].values
        assert (predicted != "").all()
        chance = [_macro_f1(rng.permutation(shuffled), predicted) for _ in range(PERMUTATIONS)]
        above = _macro_f1(shuffled, predicted) - np.mean(chance)
        # One label throughout: no permutation changes the score.
        deviations.append(above / np.std(chance) if np.ptp(chance) else above)
    return np.mean(deviations)


def _macro_f1(labels, predicted):
    numbers = [np.searchsorted(KINDS, one) for one in (labels, predicted)]
    return macro_f1_of_predictions(*numbers, range(len(KINDS)))


def test_every_system_is_tried_on_shuffled_labels():
    assert {*BUILT, "System", "EmbeddingSystem", "LabelSystem"} == set(baselines.__all__)
    registered = {point.name for point in entry_points(group=GROUP)}
    assert registered >= set(BUILT)


def forty():
    """Populations of forty units; labels as unequal as they are in brains."""
    return mice(3, n=40, kinds=("PV",) * 5 + ("SST",) * 3 + ("VIP",) * 2)


# Systems that train a network of their own take long: `make test-all` tries them too.
SLOW = {"Lolcat", "Nemo", "Neuprint", "Poyo"}


@pytest.mark.parametrize(
    "name", [pytest.param(one, marks=[pytest.mark.slow] * (one in SLOW)) for one in BUILT]
)
def test_shuffled_labels_are_predicted_at_chance(name, tmp_path):
    system = build(name)
    for protocol in (PROTOCOLS[0], PROTOCOLS[2]):
        if supports_protocol(system, protocol):
            assert abs(above_chance(system, protocol, forty(), tmp_path)) < 2, protocol
    counts["systems on shuffled labels"] += 1


def test_a_leak_would_be_seen_on_shuffled_labels():
    class Peeks(Counting):
        """Has the label of every third unit."""

        name = "peeks"

        def embed(self, recordings):
            third = np.arange(40)[:, None] % 3 == 0
            labels = {name: shuffled[name]["cell_type"].to_numpy() for name in recordings}
            return {name: third & (own[:, None] == KINDS) for name, own in labels.items()}

    for protocol in (PROTOCOLS[0], PROTOCOLS[2]):
        shuffled = forty()
        assert above_chance(Peeks(), protocol, shuffled) > 2
