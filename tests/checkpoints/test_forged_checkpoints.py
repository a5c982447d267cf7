"""Files made to do harm: published weights, and checkpoints of a training."""

from __future__ import annotations

import pickle
import zipfile

import pytest
import torch
from forged import Trap, nothing_runs_and_little_is_asked_for  # noqa: F401
from published_outputs import read_published as published
from training_populations import TINY, population

import pynapple_nuclr as nap_nuclr
from pynapple_nuclr.pretraining.training_checkpoints import read_checkpoint, write_checkpoint


def torch_file(path, plan: bytes):
    """A file of torch.save with another pickle in it."""
    torch.save({"a": torch.ones(2)}, path)
    with zipfile.ZipFile(path) as source:
        members = {name: source.read(name) for name in source.namelist()}
    with zipfile.ZipFile(path, "w") as target:
        for name, content in members.items():
            target.writestr(name, plan if name.endswith("data.pkl") else content)


CALL = "cbuiltins\nbytearray\n(I{size}\ntR."
FORGED = {
    "a pickle": pickle.dumps(Trap(), protocol=2),
    "a call that allocates": CALL.format(size=10**11).encode(),
}


@pytest.mark.parametrize("name", FORGED)
def test_checkpoints_that_would_execute_or_allocate(tmp_path, name):
    config = published("spikes_one_layer")[2]
    torch_file(tmp_path / "last.pt", FORGED[name])
    with pytest.raises(ValueError, match=r"last\.pt"):
        nap_nuclr.load_published(tmp_path / "last.pt", config)
    (tmp_path / "bare.pt").write_bytes(FORGED[name])
    with pytest.raises(ValueError, match=r"bare\.pt"):
        nap_nuclr.load_published(tmp_path / "bare.pt", config)


def test_tensors_that_are_small_only_in_their_file(tmp_path):
    _, state, config = published("spikes_one_layer")
    tensors = {key: torch.tensor(value) for key, value in state.items()}
    tensors["read_in.bias"] = torch.ones(1).expand(10**12)
    torch.save(tensors, tmp_path / "last.pt")
    with pytest.raises(ValueError, match=r"last\.pt.*\(1000000000000,\)"):
        nap_nuclr.load_published(tmp_path / "last.pt", config)


def unfolding(of, levels):
    """What takes a few bytes a level, and as many values as 2 to their number."""
    for _ in range(levels):
        of = (of, of) if isinstance(of, tuple) else [of, of]
    return of


LAUGHS = {
    "lists": lambda: {"read_in.bias": unfolding([0.0], 60)},
    "a list that holds itself": lambda: (lambda one: (one.append(one), one)[1])([]),
    "dictionaries": lambda: {"read_in.bias": unfolding([{"a": [0]}], 60)},
    "tuples": lambda: {"read_in.bias": unfolding((0,), 60)},
}


@pytest.mark.parametrize("name", LAUGHS)
def test_lists_that_hold_each_other(tmp_path, name):
    """A file of 1 kB and 60 levels would take 10^18 values, and for ever."""
    torch.save(LAUGHS[name](), tmp_path / "last.pt")
    with pytest.raises(ValueError, match=r"last\.pt.*expected"):
        nap_nuclr.load_published(tmp_path / "last.pt", published("spikes_one_layer")[2])


@pytest.mark.parametrize("content", [[0.5, 0.5], 3, "text", None, {"a": torch.ones(1)}])
def test_weights_that_are_no_tensors(tmp_path, content):
    _, state, config = published("spikes_one_layer")
    torch.save(
        {**{k: torch.tensor(v) for k, v in state.items()}, "read_in.bias": content},
        tmp_path / "last.pt",
    )
    with pytest.raises(ValueError, match=r"last\.pt holds .* as read_in\.bias; expected a tensor"):
        nap_nuclr.load_published(tmp_path / "last.pt", config)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A checkpoint of a training, which resumes it."""
    folder = tmp_path_factory.mktemp("run")
    train(folder)
    assert train(folder).card["training"]["steps"] == 2
    return folder / "last.safetensors"


def train(folder):
    return nap_nuclr.pretrain(population(), TINY, steps=2, out=folder, progress=False)


def moments(checkpoint):
    return checkpoint["optimizer_states"][0]["state"][0]


def nested(levels):
    return [nested(levels - 1)] if levels else 0


CHECKPOINTS = {
    "settings of other types": lambda c: c["nuclr"].update(run_settings=[]),
    "a setting nested deeply": lambda c: c["nuclr"]["run_settings"].update(seed=nested(100)),
    "rows that are a number": lambda c: c["nuclr"].update(rows=3, position=None),
    "moments of another type": lambda c: moments(c).update(
        exp_avg=torch.zeros_like(moments(c)["exp_avg"], dtype=torch.half)
    ),
    "moments of another shape": lambda c: moments(c).update(exp_avg=torch.zeros(10**6).half()),
    "one more moment": lambda c: moments(c).update(more=torch.zeros(10**6).half()),
    "lists for moments": lambda c: moments(c).update(exp_avg=nested(15)),
    "a tensor that is not there": lambda c: c["nuclr"].update(rows={"__tensor__": "none"}),
}


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_forged_checkpoints_of_a_training(checkpoint, tmp_path, monkeypatch, name):
    content = read_checkpoint(checkpoint)
    CHECKPOINTS[name](content)
    write_checkpoint(content, tmp_path / "last.safetensors")
    if "moment" in name:  # found before torch, whose loading makes copies
        monkeypatch.delattr(torch.optim.Optimizer, "load_state_dict")
    with pytest.raises(ValueError, match=r"last\.safetensors is (not a|of an)") as caught:
        train(tmp_path)
    assert "load_state_dict" not in str(caught.value)


@pytest.mark.parametrize("content", [pickle.dumps(Trap(), protocol=2), b"", b"{}" * 50])
def test_what_is_no_checkpoint_of_a_training(tmp_path, content):
    (tmp_path / "last.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match=r"last\.safetensors is not a valid checkpoint"):
        train(tmp_path)
