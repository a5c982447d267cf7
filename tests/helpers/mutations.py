"""Good files made bad, at random: their bytes, and what these mean in JSON, in a zip, in HDF5.

Every function takes a numpy Generator, so that a seed gives the same mutation again, and says in
words what it did.
"""

from __future__ import annotations

import io
import json
import struct
import zipfile

import numpy as np

HOSTILE = {
    "1e308": "1e308",
    "infinity": "Infinity",
    "NaN": "NaN",
    "-1": "-1",
    "0": "0",
    "a fraction": "0.37",
    "10^12": "1000000000000",
    "10^9": "1000000000",
    "2^63": "9223372036854775808",
    "a number of 5,000 digits": "9" * 5_000,
    "null": "null",
    "true": "true",
    "an empty list": "[]",
    "an empty object": "{}",
    "an empty string": '""',
    "a number as a string": '"3"',
    "a path": '"../../../etc/passwd"',
    "half a character": '"\\ud800"',
    "a long string": '"' + "x" * 100_000 + '"',
    "lists 100,000 deep": "[" * 100_000 + "]" * 100_000,
    "objects 100,000 deep": '{"a":' * 100_000 + "1" + "}" * 100_000,
    "lists 300 deep": "[" * 300 + "]" * 300,
}
"""Values that no writer of ours writes, as JSON."""

_HOLE = "@@hole@@"


def pick(rng, values):
    """Return one of several values."""
    return values[int(rng.integers(len(values)))]


# --- bytes --------------------------------------------------------------------------------------


def mutate_bytes(data: bytes, rng, other: bytes = b"") -> tuple[bytes, str]:
    """Damage bytes once to three times; `other` is a file of the same kind, to splice with."""
    changes = []
    for _ in range(int(rng.integers(1, 4))):
        action = pick(rng, [_flip, _flip, _bits, _cut, _extend, _zero, _swap, _repeat, _insert])
        if other and rng.random() < 0.1:
            place = int(rng.integers(min(len(data), len(other)) + 1))
            data, what = data[:place] + other[place:], f"spliced with another at {place}"
        else:
            data, what = action(data, rng)
        changes.append(what)
    return data, "; ".join(changes)


def _block(data, rng):
    """Return where a block of some bytes begins and ends."""
    start = int(rng.integers(len(data) + 1))
    return start, min(len(data), start + int(2 ** rng.uniform(0, 12)))


def _flip(data, rng):
    changed = bytearray(data)
    places = rng.integers(max(len(data), 1), size=int(rng.integers(1, 9)))
    for place in places[: len(data)]:
        changed[place] = int(rng.integers(256))
    return bytes(changed), f"other bytes at {places.tolist()}"


def _bits(data, rng):
    changed = bytearray(data)
    places = rng.integers(max(len(data), 1), size=int(rng.integers(1, 9)))
    for place in places[: len(data)]:
        changed[place] ^= 1 << int(rng.integers(8))
    return bytes(changed), f"a bit flipped at {places.tolist()}"


def _cut(data, rng):
    kept = int(rng.integers(len(data) + 1))
    return data[:kept], f"cut to {kept} bytes"


def _extend(data, rng):
    more = int(2 ** rng.uniform(0, 12))
    return data + rng.bytes(more), f"{more} bytes more at the end"


def _zero(data, rng):
    start, end = _block(data, rng)
    return data[:start] + bytes(end - start) + data[end:], f"zeros from {start} to {end}"


def _swap(data, rng):
    start, end = _block(data, rng)
    to = int(rng.integers(len(data) - (end - start) + 1))
    rest = data[:start] + data[end:]
    return rest[:to] + data[start:end] + rest[to:], f"{start} to {end} moved to {to}"


def _repeat(data, rng):
    start, end = _block(data, rng)
    return data[:end] + data[start:], f"{start} to {end} twice"


def _insert(data, rng):
    place, more = int(rng.integers(len(data) + 1)), int(2 ** rng.uniform(0, 12))
    return data[:place] + rng.bytes(more) + data[place:], f"{more} bytes inserted at {place}"


# --- JSON ---------------------------------------------------------------------------------------


def mutate_json(text: str, rng) -> tuple[str, str]:
    """Replace, rename, repeat or take away an entry somewhere in JSON."""
    whole = json.loads(text)
    parent, key = pick(rng, list(_places(whole)))
    name, value = pick(rng, list(HOSTILE.items()))
    action = pick(rng, ["replace", "replace", "replace", "rename", "repeat", "remove", "whole"])
    if action == "whole" and rng.random() < 0.8:
        action = "replace"  # there is only one such place
    if action == "whole":
        return value, f"{name} in place of all"
    if action == "remove":
        del parent[key]
        return json.dumps(whole), f"{key!r} taken away"
    if isinstance(parent, list) or action == "replace":
        was, parent[key] = parent[key], _HOLE
        if isinstance(was, int | float) and rng.random() < 0.3:
            name = value = str(pick(rng, [was + 1, was * 2, was - 1, -was, was / 3]))
        filled = json.dumps(whole).replace(f'"{_HOLE}"', value)
        return filled, f"{key!r} becomes {name}"
    new = pick(rng, ["", "x" * 10_000, key.upper(), "__class__", "../x", "é", key + "_"])
    if action == "rename":
        parent[new] = parent.pop(key)
        return json.dumps(whole), f"{key!r} is called {new[:20]!r}"
    parent[_HOLE] = parent.pop(key)
    twice = json.dumps(whole).replace(f'"{_HOLE}"', f'"@": {value}, {json.dumps(key)}')
    return twice.replace('"@"', json.dumps(key)), f"{key!r} twice, once {name}"


def _places(value):
    """Yield (container, key) of all that stands in JSON, the containers first."""
    keys = list(value) if isinstance(value, dict) else range(len(value))
    for key in keys:
        yield value, key
        if isinstance(value[key], dict | list):
            yield from _places(value[key])


# --- safetensors --------------------------------------------------------------------------------


def mutate_safetensors(data: bytes, rng) -> tuple[bytes, str]:
    """Forge the header of a safetensors file: its length, its entries, where tensors lie."""
    (length,) = struct.unpack("<Q", data[:8])
    header, tensors = data[8 : 8 + length], data[8 + length :]
    action = pick(rng, ["length", "entry", "offsets", "dtype", "shape", "twice"])
    if action == "length":
        wrong = pick(rng, [0, 1, length - 1, length + 1, len(data), 10**8 + 1, 2**63, 2**64 - 1])
        return struct.pack("<Q", wrong) + data[8:], f"header of {wrong} bytes"
    entries = json.loads(header)
    name = pick(rng, [key for key in entries if key != "__metadata__"])
    entry = entries[name]
    if action == "entry":
        text, what = mutate_json(header.decode(), rng)
    else:
        if action == "offsets":
            first, last = entry["data_offsets"]
            entry["data_offsets"] = pick(
                rng, [[0, last - first], [last, first], [first, 2**63], [0, 0], [first + 4, last]]
            )
        elif action == "dtype":
            entry["dtype"] = pick(rng, ["F64", "F16", "BF16", "I32", "U8", "BOOL", "X1", "F8_E4M3"])
        elif action == "shape":
            larger = [2**32, 2**32]
            entry["shape"] = pick(rng, [larger, [], [0], [-1], entry["shape"][::-1], [10**12]])
        else:
            entries[f"{name}_"] = entry  # two names for the same bytes
        text, what = json.dumps(entries), f"{name}: other {action}: {entry}"
    forged = text.encode("utf-8", "surrogatepass")
    return struct.pack("<Q", len(forged)) + forged + tensors, what


# --- zip ----------------------------------------------------------------------------------------


def mutate_zip(data: bytes, rng) -> tuple[bytes, str]:
    """Change a member of a zip, whose checksums are right again: no reader of zips objects."""
    with zipfile.ZipFile(io.BytesIO(data)) as source:
        members = {info.filename: source.read(info) for info in source.infolist()}
    name = pick(rng, list(members))
    if rng.random() < 0.6:  # most of what can be forged stands here
        name = next((n for n in members if n.endswith(("schema.json", "data.pkl"))), name)
    action = pick(rng, ["content"] * 6 + ["rename", "remove", "pack", "exchange"])
    packed, what = zipfile.ZIP_STORED, f"{name} taken away"
    if action == "content" and name.endswith(".json"):
        text, what = mutate_json(members[name].decode(), rng)
        members[name] = text.encode("utf-8", "surrogatepass")
    elif action == "content":
        members[name], what = mutate_bytes(members[name], rng)
    elif action == "pack":
        packed, what = zipfile.ZIP_DEFLATED, "compressed"
    else:
        content = members.pop(name)
        if action == "rename":
            new = pick(rng, ["../../evil", "/etc/evil", "", "schema.json", name.upper(), "a" * 999])
            members[new], what = content, f"{name} is called {new[:20]!r}"
        elif action == "exchange" and members:
            other = pick(rng, list(members))
            members[name], members[other] = members[other], content
            what = f"{name} and {other} exchanged"
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", packed) as target:
        for member, content in members.items():
            target.writestr(member or "empty", content)
    return written.getvalue(), f"{name}: {what}"


# --- HDF5 ---------------------------------------------------------------------------------------


def mutate_hdf5(path, rng) -> str:
    """Change an attribute, a dataset or a link of an HDF5 file, which stays valid HDF5."""
    import h5py

    with h5py.File(path, "r+") as file:
        places = []
        file.visit(places.append)
        with_attributes = [place for place in places if len(file[place].attrs)]
        datasets = [place for place in places if isinstance(file[place], h5py.Dataset)]
        action = pick(rng, [_attribute, _attribute, _dataset, _dataset, _values, _values, _link])
        chosen = {_attribute: with_attributes, _link: places}.get(action, datasets)
        place = pick(rng, chosen)
        return f"{place}: {action(file, place, rng)}"


def _attribute(file, place, rng):
    attributes = file[place].attrs
    name = pick(rng, list(attributes))
    if rng.random() < 0.2:
        del attributes[name]
        return f"attribute {name} taken away"
    value = pick(rng, _hostile_arrays(file))
    del attributes[name]
    attributes[name] = value
    return f"attribute {name} becomes {value!r:.60}"


def _dataset(file, place, rng):
    """Put another dataset in the place of one, which keeps its attributes."""
    import h5py

    attributes = dict(file[place].attrs)
    shape = file[place].shape or ()
    del file[place]
    if rng.random() < 0.2:
        return "taken away"
    more = {}
    if rng.random() < 0.4:  # declared, never written: it needs no place in the file
        sizes = [10**12, 10**9, 10**6 + 7, 0, *[n + 1 for n in shape], *[n - 1 for n in shape]]
        more = {"shape": (max(pick(rng, sizes), 0), *shape[1:]), "dtype": pick(rng, "fdiqb")}
        more["chunks"] = tuple(max(min(n, 64), 1) for n in more["shape"])
        more["maxshape"] = (None, *more["shape"][1:])
    else:
        more = {"data": pick(rng, _hostile_arrays(file))}
    try:
        new = file.create_dataset(place, **more)
    except (TypeError, ValueError):  # a value that cannot stand alone
        more = {"data": h5py.Empty("f")}
        new = file.create_dataset(place, **more)
    for name, value in attributes.items():
        new.attrs[name] = value
    return f"another dataset: {more!r:.80}"


def _hostile_arrays(file):
    import h5py

    return [
        -1,
        10**12,
        np.nan,
        np.inf,
        b"\xff\xfe",
        "",
        "x" * 30_000,
        "é",
        "VectorData",
        np.zeros(3),
        np.zeros((2, 0)),
        np.zeros((2, 2, 2), np.int8),
        np.array(["a", "b"], dtype=object),
        np.array([b"\xc3", b"\x80a"]),
        np.zeros(2, dtype=[("a", "f4"), ("b", "i8")]),
        np.array([file.ref, file.ref], dtype=h5py.ref_dtype),
        h5py.Reference(),
        h5py.Empty("f"),
        True,
    ]


def _values(file, place, rng):
    """Write values into a dataset that nobody measures: ends of lists that go back, NaN."""
    data = file[place]
    if data.dtype.kind not in "iuf" or not data.size:
        return _attribute(file, place, rng) if len(data.attrs) else "as it was"
    values = data[()]
    flat = np.atleast_1d(values).ravel()
    where = rng.integers(flat.size, size=int(rng.integers(1, 4)))
    limits = np.iinfo(data.dtype) if data.dtype.kind in "iu" else np.finfo(data.dtype)
    choice = [limits.max, limits.min, 0, 1, flat.size, flat[0]]
    if data.dtype.kind == "f":
        choice += [np.nan, np.inf, -np.inf, 1e12, -1e300 if data.dtype.itemsize == 8 else -1e30]
    wrong = pick(rng, choice)
    flat[where] = wrong
    data[()] = flat.reshape(np.shape(values))
    return f"{wrong} at {where.tolist()}"


def _link(file, place, rng):
    """Let a name lead elsewhere: round in circles, to nothing, to another file, to its parent."""
    import h5py

    parent = place.rpartition("/")[0] or "/"
    target = pick(
        rng,
        [
            h5py.SoftLink(f"/{place}"),
            h5py.SoftLink("/nowhere"),
            h5py.SoftLink("/"),
            h5py.ExternalLink("/etc/passwd", "/units"),
            h5py.ExternalLink(file.filename, f"/{place}"),
            file[parent],
            file["/"],
        ],
    )
    del file[place]
    file[place] = target
    return f"leads to {target!r:.60}"
