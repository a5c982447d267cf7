"""The scores of a system are its own: its settings distinguish it from every other."""

import copy
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from evaluation_systems import Counting, RemembersLabels, mice, recording
from leaks import TINY, evaluate
from sklearn.base import clone
from sklearn.decomposition import PCA
from tally import counts

from pynapple_nuclr import Encoder, save_encoder
from pynapple_nuclr.baselines import Nuclr


class Chooses(Counting):
    """An ordinary class, which keeps the argument of its constructor."""

    name = "chooses"

    def __init__(self, choice):
        self.choice = choice

    def embed(self, recordings):
        return Counting(useful=self.choice).embed(recordings)


class Table(Counting):
    """Vectors of somebody else, made beforehand."""

    name = "table"

    def __init__(self, vectors, others=()):
        self.vectors, self.others = vectors, others

    def candidates(self):
        return [self, *(Table(one) for one in self.others)]

    def embed(self, recordings):
        rows = self.vectors() if callable(self.vectors) else np.asarray(self.vectors)
        return {n: rows[int(n[-1]) * 30 :][: len(units)] for n, units in recordings.items()}


def tables(recordings):
    """A poor one and a good one, which differ where neither is printed."""
    labels = np.concatenate([units["cell_type"] for units in recordings.values()])
    poor = np.random.default_rng(0).normal(size=(len(labels), 16))
    good = poor.copy()
    for column, kind in ((5, "PV"), (6, "SST")):
        good[5:-5, column] += 9 * (labels[5:-5] == kind)
    return poor, good


def score(scores, system=0):
    return scores["macro_f1"].isel(system=system).item()


@pytest.mark.parametrize("kind", ["attribute", "array", "frame", "function"])
def test_each_system_is_cached_by_its_own_vectors(kind, tmp_path):
    recordings = mice(3)
    poor, good = tables(recordings)
    make = {
        "attribute": Chooses,
        "array": lambda useful: Table(good if useful else poor),
        "frame": lambda useful: Table(pd.DataFrame(good if useful else poor)),
        "function": lambda useful: Table(lambda: good if useful else poor),
    }[kind]
    alone = {}
    for useful in (False, True, False):
        found = score(evaluate(recordings, systems=[make(useful)], cache=tmp_path))
        assert alone.setdefault(useful, found) == found
    assert alone[True] > alone[False] + 0.2
    both = evaluate(recordings, systems={"poor": make(False), "good": make(True)})
    assert [score(both, 0), score(both, 1)] == [alone[False], alone[True]]
    counts["systems distinguished"] += 2


def test_a_system_that_does_not_keep_an_argument_is_refused():
    class Private(Counting):
        name = "private"

        def __init__(self, choice):
            self._choice = choice

    with pytest.raises(TypeError, match="'private'.*'choice'.*attribute of the same name"):
        evaluate(mice(2), systems=[Private(True)])


def test_parameters_are_those_of_the_constructor():
    assert Counting(useful=False).get_params() == {"useful": False, "options": ()}
    system = clone(Counting()).set_params(useful=False)
    assert system.settings() == {"name": "counting", "useful": False, "options": []}
    assert "encoder" in clone(Nuclr(Encoder(TINY), steps=1)).get_params()


def test_nested_choice_among_tables():
    recordings = mice(3)
    poor, good = tables(recordings)
    chosen = evaluate(recordings, systems=[Table(poor, (good,))], model_selection="nested")
    assert score(chosen) == score(evaluate(recordings, systems=[Table(good)]))


def test_settings_that_json_does_not_know_are_distinguished_by_their_content():
    @dataclass
    class Holds:
        value: object = 0

    class Other(Holds):
        pass

    rng, large = np.random.default_rng(0), np.zeros(5000)
    several = {
        "arrays": (large, large.astype(int), large.reshape(50, 100), large + np.eye(1, 5000, 2500)),
        "frames": (pd.DataFrame({"a": large}), pd.DataFrame({"b": large})),
        "tensors": (torch.zeros(4), torch.zeros(2, 2), torch.ones(4))
        + tuple(torch.zeros(4, dtype=kind) for kind in (torch.int32, torch.bfloat16)),
        "networks": tuple(torch.nn.Linear(2, 2) for _ in range(2)),
        "fitted": tuple(PCA(2).fit(rng.normal(size=(50, 5))) for _ in range(2)),
        "dataclasses": (Holds(), Other(), Holds(large), Holds(large + 1)),
        "systems": (Table(large), Table(large + 1), Counting(), Counting(useful=False)),
        "numbers": (np.int64(3), np.float64(3.5), np.bool_(True)),
        "paths": (Path("a"), Path("b")),
        "in lists": ([large], [large + 1], {"a": large}, {"a": large + 1}),
    }
    for what, objects in several.items():
        known = [json.dumps(Table(one).settings()) for one in objects]
        assert len(set(known)) == len(known), what
        assert known == [json.dumps(Table(copy.deepcopy(one)).settings()) for one in objects], what
    labelled = [recording(), recording(depth=np.arange(30.0))]
    assert Table(labelled[0]).settings() != Table(labelled[1]).settings()
    nobody_knows = Table(lambda: large)
    assert nobody_knows.settings() != nobody_knows.settings()
    assert Table(torch.eye(2)).settings()["vectors"].startswith("Tensor@")
    assert Table(np.int64(3)).settings()["vectors"] == 3
    assert Table({"folders": (Path("a"), [1])}).settings()["vectors"] == {"folders": ["a", [1]]}
    assert Table(Counting()).settings()["vectors"] == {"Counting": Counting().settings()}


def test_a_system_that_names_classes_which_are_not_told():
    class Ready(RemembersLabels):
        name = "ready"

        def fit(self, recordings, labels, *, seed=0, progress=False):
            super().fit(recordings, labels)
            self.classes_ = np.array(["Excitatory", "PV", "SST"])
            return self

    with pytest.raises(ValueError, match="'ready'.*'Excitatory'.*expected.*'PV', 'SST', 'VIP'"):
        evaluate(mice(2), systems=[Ready()])


def test_an_encoder_to_fine_tune_is_distinguished_by_its_weights_not_by_its_folder(tmp_path):
    predicted = []
    for seed in range(2):
        torch.manual_seed(seed)
        save_encoder(Encoder(TINY), tmp_path)
        predicted.append(json.dumps(Nuclr(tmp_path, steps=1).settings()))
    assert predicted[0] != predicted[1]
    counts["systems distinguished"] += 1
