"""Files that someone made to do harm: nothing in them runs, none gets the memory it declares."""

from __future__ import annotations

import json
import multiprocessing
import pickle
import shutil
import struct
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pynapple as nap
import pytest
import torch
from embedded_groups import fitted
from forged import Trap, nothing_runs_and_little_is_asked_for  # noqa: F401
from nwb_recordings import embedded, imaging_file, make_units

import pynapple_nuclr as nap_nuclr
from pynapple_nuclr import Encoder, EncoderConfig, load_encoder, save_encoder
from pynapple_nuclr.io.recording_cache import open_recordings
from pynapple_nuclr.nwb.values import check_stored
from pynapple_nuclr.probes import load_probe


# Written once, and before memory is watched; every test changes a copy.
@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    units = nap_nuclr.write_units(embedded(make_units()), folder / "day1.nwb")
    assert len(nap_nuclr.read_units(units)) == 4
    assert nap_nuclr.read_traces(imaging_file(folder / "plane.nwb")).shape == (300, 3)
    fitted().save(folder / "types.skops")
    assert load_probe(folder / "types.skops").target == "cell_type"
    torch.manual_seed(0)
    config = EncoderConfig(dim=32, heads=2, head_dim=16, temporal_layers=1, spatiotemporal_layers=1)
    encoder = save_encoder(Encoder(config, name="tiny"), folder / "tiny")
    assert load_encoder(encoder).config == config
    return folder


@pytest.fixture
def copy_of(whole, tmp_path):
    return lambda name: Path(shutil.copy(whole / name, tmp_path))


@pytest.fixture
def folder(whole, tmp_path):
    return Path(shutil.copytree(whole / "tiny", tmp_path / "tiny"))


# --- encoders -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"dim": 10**12},
        {"temporal_layers": 10**9},
        {"dim": 4096, "heads": 64, "head_dim": 512, "temporal_layers": 64},
        {"patch_duration": 9e5, "window_duration": 9e5},  # 4.5e7 bins
        {"bin_size": 1e-9},
        {"window_duration": 9e5},
        {"modality": "calcium", "window_frames": 10**12},
        {"modality": "calcium", "patch_frames": 10**9, "window_frames": 10**9},
        {"bin_size": float("nan")},
        {"window_duration": 10**400},
    ],
    ids=lambda changes: ",".join(changes),
)
def test_settings_that_ask_for_more_than_there_is(folder, changes):
    path = folder / "config.json"
    settings = json.loads(path.read_text())
    settings["config"].update(changes)
    path.write_text(json.dumps(settings))
    with pytest.raises(ValueError, match=r"tiny.*(config|fit)"):
        load_encoder(folder)


@pytest.mark.parametrize(
    "text",
    ["[" * 400_000, '{"a":' * 150_000, "9" * 900_000, '{"format": ' + '"x' * 2_000_000, "\ud800"],
    ids=["lists", "objects", "digits", "too long", "half a character"],
)
def test_json_that_never_ends(folder, text):
    (folder / "config.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(ValueError, match=r"config\.json"):
        load_encoder(folder)


def forged_header(folder, change):
    path = folder / "model.safetensors"
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])


@pytest.mark.parametrize("length", [0, 2**31, 2**63, 2**64 - 1])
def test_headers_of_a_false_length(folder, length):
    path = folder / "model.safetensors"
    path.write_bytes(struct.pack("<Q", length) + path.read_bytes()[8:])
    with pytest.raises(ValueError, match=r"no whole safetensors file"):
        load_encoder(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda header: header["read_in.bias"].update(data_offsets=[0, 2**63]),
        lambda header: header["read_in.bias"].update(data_offsets=[128, 0]),
        lambda header: header["read_in.bias"].update(header["read_in.weight"]),
        lambda header: header["read_in.bias"].update(shape=[2**32, 2**32]),
        lambda header: header["read_in.bias"].update(shape=[10**12]),
        lambda header: header["read_in.bias"].update(dtype="F64"),
        lambda header: header.update(more=dict(header["read_in.bias"])),
    ],
    ids=["beyond", "backwards", "overlap", "overflow", "large", "dtype", "one more"],
)
def test_headers_that_lie(folder, change):
    forged_header(folder, change)
    with pytest.raises(ValueError, match=r"model\.safetensors"):
        load_encoder(folder)


# --- probes -------------------------------------------------------------------------------------


def rewritten(path, change, packed=zipfile.ZIP_STORED):
    """Write the members of a zip again, after a change of their dictionary."""
    with zipfile.ZipFile(path) as source:
        members = {name: source.read(name) for name in source.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w", packed) as target:
        for name, content in members.items():
            target.writestr(name, content)


def large_array(members):
    """An array whose header alone is there."""
    name = next(name for name in members if name.endswith(".npy"))
    header = "{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }".ljust(117)
    members[name] = b"\x93NUMPY\x01\x00" + struct.pack("<H", 118) + header.encode() + b"\n"


def text_for(old, new):
    def change(members):
        members["schema.json"] = members["schema.json"].replace(old, new)

    return change


PROBES = {
    "a bomb": (lambda m: m.update({"zeros.npy": bytes(9_000_000)}), zipfile.ZIP_DEFLATED),
    "a name that leads out": (text_for(b'.npy"', b'.npy/../../../etc/passwd"'), 0),
    "a large array": (large_array, 0),
    "lists in lists": (lambda m: m.update({"schema.json": b"[" * 300_000}), 0),
    "another class": (text_for(b'"LogisticRegression"', b'"Popen"'), 0),
    "a command": (
        text_for(b'"sklearn.linear_model._logistic"', b'"subprocess"'),
        0,
    ),
    "another reader": (text_for(b'"ObjectNode"', b'"ReduceNode"'), 0),
    "a pickle for an array": (
        lambda m: m.update({n: pickle.dumps(Trap()) for n in m if n.endswith(".npy")}),
        0,
    ),
}


@pytest.mark.parametrize("name", PROBES)
def test_forged_probes(copy_of, name):
    path = copy_of("types.skops")
    change, packed = PROBES[name]
    before = path.read_bytes()
    rewritten(path, change, packed)
    assert path.read_bytes() != before
    with pytest.raises(ValueError, match=r"types\.skops"):
        load_probe(path)


# --- NWB ----------------------------------------------------------------------------------------


def replace(file, name, **content):
    attributes = dict(file[name].attrs)
    del file[name]
    file.create_dataset(name, **content)
    file[name].attrs.update(attributes)


def declared(n, columns=()):
    """A dataset of which nothing is stored."""
    shape = (n, *columns)
    return {"shape": shape, "dtype": "f8", "chunks": (1024, *columns), "maxshape": shape}


def ends(file, values):
    replace(file, "units/spike_times_index", data=np.array(values, np.uint64))


def to_itself(file, name):
    del file[name]
    file[name] = h5py.SoftLink(f"/{name}")


def to_another_file(file, name):
    del file[name]
    file[name] = h5py.ExternalLink("/etc/passwd", f"/{name}")


def round_in_circles(file):
    file["general/again"] = file["general"]
    file["processing/again"] = file["/"]


UNITS = {
    "spikes declared, not stored": lambda f: replace(f, "units/spike_times", **declared(10**12)),
    "10^8 spikes declared": lambda f: replace(f, "units/spike_times", **declared(10**8)),
    "a column declared": lambda f: replace(f, "units/depth", **declared(10**12)),
    "ids declared": lambda f: replace(f, "units/id", **declared(10**12)),
    "intervals declared": lambda f: replace(f, "units/obs_intervals", **declared(10**11, (2,))),
    "ends beyond": lambda f: ends(f, [400, 400, 800, 2**63]),
    "ends that go back": lambda f: ends(f, [800, 400, 400, 1200]),
    "too few ends": lambda f: ends(f, [400]),
    "a link to itself": lambda f: to_itself(f, "units/spike_times"),
    "a link to another file": lambda f: to_another_file(f, "units/spike_times"),
    "units that link to themselves": lambda f: to_itself(f, "units"),
    "groups in circles": round_in_circles,
    "objects for spikes": lambda f: replace(
        f, "units/spike_times", data=np.array([f.ref] * 1200, dtype=h5py.ref_dtype)
    ),
    "texts for spikes": lambda f: replace(f, "units/spike_times", data=["PV"] * 1200),
}


@pytest.mark.parametrize("name", UNITS)
def test_forged_files_of_spikes(copy_of, tmp_path, name):
    path = copy_of("day1.nwb")
    with h5py.File(path, "r+") as file:
        UNITS[name](file)
    for read in (nap_nuclr.read_units, lambda one: open_recordings(one, cache=tmp_path)):
        with pytest.raises((ValueError, OSError), match=r"day1\.nwb"):
            read(path)


def test_a_heap_of_texts_without_an_end(copy_of):
    """HDF5 looks for the end for ever, and cannot be interrupted: so in a process of its own."""
    path = copy_of("day1.nwb")
    content = bytearray(path.read_bytes())
    heap = content.find(b"GCOL")
    content[heap + 16 : heap + 32] = bytes(16)  # its first entry is free space of no length
    path.write_bytes(content)

    def refuse():
        with pytest.raises(ValueError, match="has no end"):
            nap_nuclr.read_units(path)

    process = multiprocessing.get_context("fork").Process(target=refuse)
    process.start()
    process.join(60)
    code = process.exitcode
    process.kill()
    assert code == 0


@pytest.mark.parametrize("name", ["session_description", "units/label", "units/chunked"])
def test_a_text_that_is_said_to_be_longer_than_its_file(name, tmp_path):
    """HDF5 reserves memory before it checks where the data lie: 4 GB for 16 bytes."""
    units = nap.TsGroup({i: nap.Ts([0.1, 0.7]) for i in range(3)}, nap.IntervalSet(0, 1))
    units["label"], units["chunked"] = ["x", "y", "z"], ["u", "v", "w"]
    path = nap_nuclr.write_units(units, tmp_path / "day1.nwb")
    with h5py.File(path, "r+") as file:
        text = h5py.string_dtype()
        replace(file, "units/label", data=["x", "y", "z"], dtype=text)
        replace(file, "units/chunked", data=["u", "v", "w"], dtype=text, chunks=(2,))
        assert file["units/label"].chunks is None
        one = file[name].id
        start = one.get_chunk_info(1).byte_offset if file[name].chunks else one.get_offset()
    content = bytearray(path.read_bytes())
    content[start : start + 4] = (2**32 - 1).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"day1\.nwb.*{name} is said to hold"):
        nap_nuclr.read_units(path)


def test_rows_that_all_point_to_one_long_text(tmp_path):
    """80 texts of 2 MB would take 160 MB, of a file of 2 MB."""
    n_units, long = 80, 2_000_000
    units = nap.TsGroup({i: nap.Ts([0.1, 0.7]) for i in range(n_units)}, nap.IntervalSet(0, 1))
    units["label"] = ["x"] * n_units
    path = nap_nuclr.write_units(units, tmp_path / "day1.nwb")
    with h5py.File(path, "r+") as file:
        replace(file, "units/label", data=["A" * long, *"b" * (n_units - 1)])
        start = file["units/label"].id.get_offset()
    content = bytearray(path.read_bytes())
    content[start : start + 16 * n_units] = content[start : start + 16] * n_units
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"day1\.nwb.*units/label are together longer"):
        nap_nuclr.read_units(path)


def packed_by(path, name, filter_id, size, stored):
    """A dataset of so many bytes, of which so many are stored, as a filter made them."""
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_chunk((size,))
    plan.set_filter(filter_id, h5py.h5z.FLAG_OPTIONAL, (6,))
    with h5py.File(path, "a") as file:
        space = h5py.h5s.create_simple((size,))
        kind = h5py.h5t.NATIVE_UINT8
        h5py.h5d.create(file.id, name.encode(), kind, space, plan)
        file[name].id.write_direct_chunk((0,), b"x" * stored)


@pytest.mark.parametrize(("filter_id", "most"), [(1, 1032), (3, 1032), (32015, 2**15)])
def test_datasets_that_no_filter_makes_so_small(tmp_path, filter_id, most):
    path, stored = tmp_path / "x.h5", 1000
    packed_by(path, "some", filter_id, (most - 1) * stored, stored)
    packed_by(path, "more", filter_id, (most + 100) * stored, stored)
    with h5py.File(path) as file:
        check_stored(file["some"])
        with pytest.raises(ValueError, match="/more declares"):
            check_stored(file["more"])


SERIES = "processing/ophys/DfOverF/dff_left"
TRACES = {
    "frames declared": lambda f: replace(f, f"{SERIES}/data", **declared(10**11, (3,))),
    "rows of no ROI": lambda f: replace(f, f"{SERIES}/rois", data=[0, 1, 10**9]),
    "rows before the first ROI": lambda f: replace(f, f"{SERIES}/rois", data=[0, 1, -1]),
    "traces of text": lambda f: replace(f, f"{SERIES}/data", data=[["a"] * 3] * 300),
    "no time": lambda f: replace(f, f"{SERIES}/timestamps", data=np.zeros(300)),
    "a link to itself": lambda f: to_itself(f, f"{SERIES}/data"),
}


@pytest.mark.parametrize("name", TRACES)
def test_forged_files_of_traces(copy_of, name):
    path = copy_of("plane.nwb")
    with h5py.File(path, "r+") as file:
        TRACES[name](file)
    with pytest.raises((ValueError, OSError), match=r"plane\.nwb"):
        nap_nuclr.read_traces(path)
