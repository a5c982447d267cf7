"""Files of torch.save that someone made to do harm, as weights and as checkpoints of a training."""

from __future__ import annotations

import pickle
import struct
import zipfile

import pytest
import torch
from forged import Trap, nothing_runs_and_little_is_asked_for  # noqa: F401
from published_outputs import read_published as published
from training_populations import TINY, population

import pynapple_nuclr as nap_nuclr
from pynapple_nuclr.checkpoints.torch_files import read_tensors


def torch_file(path, plan: bytes, packed=zipfile.ZIP_STORED):
    """A file of torch.save with another pickle in it."""
    torch.save({"a": torch.ones(2)}, path)
    with zipfile.ZipFile(path) as source:
        members = {name: source.read(name) for name in source.namelist()}
    with zipfile.ZipFile(path, "w", packed) as target:
        for name, content in members.items():
            target.writestr(name, plan if name.endswith("data.pkl") else content)


CALL = "cbuiltins\nbytearray\n(I{size}\ntR."
FORGED = {
    "a pickle": pickle.dumps(Trap(), protocol=2),
    "a call that allocates": CALL.format(size=10**11).encode(),
    "a tensor type called": f"ctorch\nFloatTensor\n(I{10**10}\ntR.".encode(),
    "lists in lists": b"(l" * 100_000 + b".",
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
    with pytest.raises(ValueError, match=r"last\.pt.*shape \(1000000000000,\)"):
        nap_nuclr.load_published(tmp_path / "last.pt", config)


def test_checkpoints_that_unpack_to_much_more(tmp_path):
    config = published("spikes_one_layer")[2]
    torch_file(tmp_path / "last.pt", b"X" + bytes(9_000_000), zipfile.ZIP_DEFLATED)
    assert (tmp_path / "last.pt").stat().st_size < 100_000
    with pytest.raises(ValueError, match=r"last\.pt.*compressed"):
        nap_nuclr.load_published(tmp_path / "last.pt", config)


def long_text(opcode: bytes, length: int, width: str) -> bytes:
    """A value of which nothing but the length is there."""
    return b"\x80\x02" + opcode + struct.pack(width, length) + b"."


LONG = {
    "bytearray8": long_text(pickle.BYTEARRAY8, 2**31, "<Q"),
    "binbytes8": long_text(pickle.BINBYTES8, 2**31, "<Q"),
    "binbytes": long_text(pickle.BINBYTES, 2**31, "<I"),
    "binunicode8": long_text(pickle.BINUNICODE8, 2**31, "<Q"),
    "binunicode": long_text(pickle.BINUNICODE, 2**31, "<I"),
    "binstring": long_text(pickle.BINSTRING, 2**31 - 1, "<i"),
    "long4": long_text(pickle.LONG4, 2**31 - 1, "<i"),
    "frame": long_text(pickle.FRAME, 2**31, "<Q"),
    "memo": b"\x80\x02N" + pickle.LONG_BINPUT + struct.pack("<I", 2**31) + b"0.",
    "a plan of lists": b"\x80\x02(" + b"]" * 2**23 + b"l.",
    "attributes": b"\x80\x02ccollections\nOrderedDict\n)R}X\x01\x00\x00\x00aNsb.",
    "a storage of lists": pickle.dumps(("storage", [0], "0", "cpu", 5 * 10**7), protocol=2)[:-1]
    + b"Q.",
}


@pytest.mark.parametrize("name", LONG)
def test_plans_that_torch_does_not_write(tmp_path, name):
    torch_file(tmp_path / "last.pt", LONG[name])
    with pytest.raises(ValueError, match=r"last\.pt"):
        nap_nuclr.load_published(tmp_path / "last.pt", published("spikes_one_layer")[2])


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
    with pytest.raises(ValueError, match=r"last\.pt.*(unfolds|expected)"):
        nap_nuclr.load_published(tmp_path / "last.pt", published("spikes_one_layer")[2])


def test_keys_that_take_for_ever_to_hash(tmp_path):
    plan = b"\x80\x02}(" + b"K\x00\x85q\x00" + b"h\x00h\x00\x86q\x00" * 60 + b"Nu."
    torch_file(tmp_path / "last.pt", plan)
    with pytest.raises(pickle.UnpicklingError, match="neither a text nor a number"):
        read_tensors(tmp_path / "last.pt")


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
    return folder / "last.ckpt"


def train(folder):
    return nap_nuclr.pretrain(population(), TINY, steps=2, out=folder, progress=False)


def moments(checkpoint):
    return checkpoint["optimizer_states"][0]["state"][0]


def half_and_repeated(checkpoint):
    """Two bytes, of which torch would make four for each of the weights."""
    weight = moments(checkpoint)["exp_avg"]
    moments(checkpoint)["exp_avg"] = torch.zeros(1, dtype=torch.half).expand(weight.shape)


CHECKPOINTS = {
    "facts that unfold": lambda c: c["nuclr"].update(facts={"seed": unfolding([0], 60)}),
    "a setting that unfolds a little": lambda c: c["nuclr"]["facts"].update(
        seed=unfolding([0], 15), settings=unfolding([0], 14)
    ),
    "rows that unfold": lambda c: c["nuclr"].update(rows=unfolding([{"loss": 0.0}], 60)),
    "rows of one long text": lambda c: c["nuclr"].update(rows=[{"loss": ["a" * 10**5] * 10**5}]),
    "moments repeated": half_and_repeated,
    "moments of another shape": lambda c: moments(c).update(exp_avg=torch.zeros(10**6).half()),
    "one more moment": lambda c: moments(c).update(more=torch.zeros(10**6).half()),
    "lists for moments": lambda c: moments(c).update(exp_avg=unfolding([0.0], 15)),
}


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_forged_checkpoints_of_a_training(checkpoint, tmp_path, monkeypatch, name):
    content = torch.load(checkpoint, weights_only=True)
    CHECKPOINTS[name](content)
    torch.save(content, tmp_path / "last.ckpt")
    monkeypatch.delattr(torch.optim.Optimizer, "load_state_dict")  # which makes copies
    with pytest.raises(ValueError, match=r"last\.ckpt is (no whole|of another)") as caught:
        train(tmp_path)
    assert "load_state_dict" not in str(caught.value)
