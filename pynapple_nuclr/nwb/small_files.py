"""Small NWB files (HDF5): the neurons and what describes them; the rest linked, or left out."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import h5py
import numpy as np
import pynwb
from hdmf.common import DynamicTable

from pynapple_nuclr.nwb.neuron_tables import keep_names, location, path_of, traces_of
from pynapple_nuclr.nwb.provenance import MODULE
from pynapple_nuclr.user_warnings import log

MASKS_UP_TO = 100e6
"""Bytes up to which the masks of ROIs are copied as they are; above, they are compressed."""

_ALWAYS = ["general", "specifications", "intervals", "units", f"processing/{MODULE}"]
_GROUPS = ["acquisition", "analysis", "processing", "stimulus/presentation", "stimulus/templates"]
# Tables that consist of references to raw data.
_ABOUT_RAW = [
    f"general/intracellular_ephys/{name}"
    for name in (
        "intracellular_recordings",
        "simultaneous_recordings",
        "sequential_recordings",
        "repetitions",
        "experimental_conditions",
    )
]


def kept_parts(nwbfile: pynwb.NWBFile, table: DynamicTable) -> list[str]:
    """Return the places in a file that a small one keeps: metadata, neurons, ROIs' own traces."""
    place = location(table)
    if place in _ALWAYS:
        return _ALWAYS
    return [*_ALWAYS, place, *(path_of(one.data) for one in traces_of(table, nwbfile))]


def size_of(source: h5py.File, parts: Collection[str]) -> int:
    """Return how many bytes the values of these parts take, without masks to be compressed."""
    sizes: dict[str, int] = {}

    def add(path: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            sizes[path] = item.id.get_storage_size()

    for part in parts:
        item = source.get(part)
        add(part, item)
        if isinstance(item, h5py.Group):
            item.visititems(lambda name, one, part=part: add(f"{part}/{name}", one))
    large = {mask for part in parts for mask in _large_masks(source, part)}
    return sum(size for path, size in sizes.items() if path not in large)


def copy_parts(source: h5py.File, draft: Path, parts: Collection[str], *, link: bool) -> None:
    """Write a new file with these parts of `source`.

    References that lead out of them go: the column that holds them, or (unless `link_rest`
    follows) the link.
    """
    large = [mask for part in parts for mask in _large_masks(source, part)]
    with h5py.File(draft, "w") as file:
        _copy_attributes(source, file)
        file.attrs["object_id"] = str(uuid4())  # another file, not another copy of this one
        at_top = [name for name in source if isinstance(source.get(name), h5py.Dataset)]
        for part in (*at_top, *parts):
            if part in source:
                _copy(source, file, part, {*_ABOUT_RAW, *large})
        for name in _GROUPS:
            file.require_group(name)
        for mask in large:
            _compress(source[mask], file[mask.rsplit("/", 1)[0]])
        _repair_links(source, file, keep=link)
        _repair_references(source, file)
        for table in _walk(file):
            if "colnames" in table.attrs:
                keep_names(table)


def link_rest(draft: Path, source: Path, output: Path, parts: Collection[str]) -> None:
    """Link all that a small file lacks to the file it was made from.

    In the same folder by name, so that both can be moved together.
    """
    beside = source.resolve().parent == output.resolve().parent
    target = source.name if beside else os.path.abspath(source)
    through = {"", *_GROUPS, "stimulus", *(parent for part in parts for parent in _parents(part))}

    def link(old: h5py.Group, new: h5py.Group, path: str) -> None:
        for name in old:
            place = f"{path}/{name}".strip("/")
            if name not in new:
                new[name] = h5py.ExternalLink(target, f"/{place}")
            elif place in through:
                link(old[name], new[name], place)

    with h5py.File(source, "r") as old, h5py.File(draft, "r+") as new:
        link(old, new, "")


def _parents(part: str) -> list[str]:
    names = part.split("/")
    return ["/".join(names[:i]) for i in range(1, len(names))]


def _large_masks(source: h5py.File, part: str) -> list[str]:
    names = [f"{part}/{name}" for name in ("image_mask", "pixel_mask", "voxel_mask")]
    masks = {name: source[name] for name in names if name in source}
    return [
        name
        for name, mask in masks.items()
        if mask.id.get_storage_size() > MASKS_UP_TO and not mask.compression
    ]


def _compress(old: h5py.Dataset, group: h5py.Group) -> None:
    """Copy masks, which are mostly zeros, into a compressed dataset."""
    rows = 1 if old.ndim > 1 else 100_000
    new = group.create_dataset(
        old.name.rsplit("/", 1)[1],
        shape=old.shape,
        dtype=old.dtype,
        chunks=(min(rows, len(old)), *old.shape[1:]),
        compression="gzip",
        shuffle=True,
    )
    for start in range(0, len(old), rows):
        new[start : start + rows] = old[start : start + rows]
    _copy_attributes(old, new)


def _copy(source: h5py.File, file: h5py.File, part: str, without: Collection[str]) -> None:
    """Copy a part of a file, its parents' attributes included."""
    if part in without or part in file:
        return
    for parent in _parents(part):
        if parent not in file:
            _copy_attributes(source[parent], file.create_group(parent))
    link = source.get(part, getlink=True)
    if isinstance(link, h5py.SoftLink):
        file[part] = h5py.SoftLink(link.path)
    elif any(one.startswith(f"{part}/") for one in without):
        _copy_attributes(source[part], file.create_group(part))
        for name in source[part]:
            _copy(source, file, f"{part}/{name}", without)
    else:
        source.copy(source[part], file, part, expand_external=True)


def _copy_attributes(old: Any, new: Any) -> None:
    for name, value in old.attrs.items():
        new.attrs[name] = value  # references among them are corrected at the end


def _walk(group: h5py.Group) -> Iterator[Any]:
    """Yield every group and dataset below a group, links not followed."""
    for name in list(group):
        if isinstance(group.get(name, getlink=True), h5py.HardLink):
            yield group[name]
            if name in group and isinstance(group[name], h5py.Group):
                yield from _walk(group[name])


def _repair_links(source: h5py.File, file: h5py.File, *, keep: bool) -> None:
    """Links to what was left out: data, such as shared timestamps, is copied; others go."""
    for group in [file, *_walk(file)]:
        for name in list(group) if isinstance(group, h5py.Group) else []:
            link = group.get(name, getlink=True)
            if not isinstance(link, h5py.SoftLink) or group.get(name) is not None:
                continue
            target = source[group.name].get(name)
            if isinstance(target, h5py.Dataset):
                del group[name]
                source.copy(target, group, name)
            elif not keep:
                del group[name]


def _repair_references(source: h5py.File, file: h5py.File) -> None:
    """Point the copied references to the copies; delete what refers to something left out."""

    def translated(reference: Any) -> Any:
        target = source[reference].name if reference else None
        return file[target].ref if target and target in file else None

    leading_out = []
    for item in [file, *_walk(file)]:
        old = source.get(item.name)
        for name, value in old.attrs.items() if old is not None else ():
            if isinstance(value, h5py.Reference):
                there = translated(value)
                if there is None:
                    leading_out.append(item.name)
                else:
                    item.attrs[name] = there
        if isinstance(old, h5py.Dataset) and not _translate(old, item, translated):
            leading_out.append(item.name)
    for name in leading_out:
        log.info("left out: %s, which refers to raw data", name)
        if name in file:
            del file[name]
        if f"{name}_index" in file:
            del file[f"{name}_index"]


def _translate(old: h5py.Dataset, new: h5py.Dataset, translated: Any) -> bool:
    """Translate a dataset's references, plain or in fields; return whether all are there."""
    fields = [n for n in old.dtype.names or () if h5py.check_ref_dtype(old.dtype[n])]
    if not fields and not h5py.check_ref_dtype(old.dtype):
        return True
    values = np.array(old[()], dtype=old.dtype)
    for part in [values[name] for name in fields] or [values]:
        flat = part.reshape(-1)
        flat[:] = [translated(reference) for reference in flat]
        if any(reference is None for reference in flat):
            return False
        part[...] = flat.reshape(part.shape)
    new[...] = values
    return True
