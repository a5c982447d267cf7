"""Recordings for training, of which files stay on disk: indexed once, then mapped into memory."""

from __future__ import annotations

import glob
import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from pynapple_nuclr.atomic_files import atomic_write, cache_folder
from pynapple_nuclr.io._read_recording import read_recording
from pynapple_nuclr.io.formats import stem_of
from pynapple_nuclr.nwb.opening import is_remote
from pynapple_nuclr.recording import Recording, Units, as_recording, name_recordings
from pynapple_nuclr.recording.memory_map import Mapped
from pynapple_nuclr.user_warnings import log

RecordingLike: TypeAlias = Units | str | os.PathLike[str]
"""A population: an object, or the file that holds it."""

_FORMAT = 3  # of the entries in the cache; others are written again
_MAPPED = {"times": "<f8", "offsets": "<i8", "traces": "<f4"}  # arrays that stay in their files
_READ = {"unit_ids": "<i8", "epochs": "<f8", "begins": "<f8", "frame_times": "<f8"}  # small ones
_ABOUT = "about.json"


def open_recordings(
    recordings: RecordingLike | Sequence[RecordingLike] | Mapping[str, RecordingLike],
    *,
    by: str | None = None,
    cache: str | os.PathLike[str] | None = None,
    cells: str = "accepted",
) -> dict[str, Recording]:
    """Open several populations for training, name → `Recording`: pynapple objects, files, or both.

    A file is read once, and its spikes (or traces) written to `cache` as they will be read; from
    then on they are mapped from there, and take no memory but for what is just being read. A file
    that changed is read again, and so is one whose entry in the cache is damaged. Addresses are
    read into memory. Files are named by their stem (where that occurs twice with the folder, or
    numbered), objects of a list by their place in it; a mapping gives names. `by` is a metadata
    column by which each is split into populations, such as its probe insertion; `cells` as of
    `read_traces`. Errors name the file.

    Examples
    --------
    >>> import tempfile, pynapple as nap, pynapple_nuclr as nap_nuclr
    >>> from pynapple_nuclr.io.recording_cache import open_recordings
    >>> units = nap.TsGroup({3: nap.Ts([0.1, 0.7]), 8: nap.Ts([0.5, 0.9])})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = nap_nuclr.write_units(units, f"{folder}/day1.nwb")
    ...     recordings = open_recordings([path, units], cache=folder)
    ...     type(recordings["day1"].times).__name__, type(recordings["1"].times).__name__
    ('Mapped', 'ndarray')
    """
    folder = cache_folder(cache, "recordings")
    parts = [
        part
        for name, source in _name_sources(recordings).items()
        for part in _open(source, name, by, folder, cells)
    ]
    return {part.name: part for part in parts}


def _is_file(source: Any) -> bool:
    return isinstance(source, (str, os.PathLike))


def _name_sources(recordings: Any) -> dict[str, Any]:
    """Give sources names: those of a mapping, else the stems of files, and places in the list."""
    recordings = [recordings] if _is_file(recordings) else recordings
    named = name_recordings(recordings)
    if isinstance(recordings, Mapping) or not any(_is_file(source) for source in named.values()):
        return named
    names = [stem_of(one) if _is_file(one) else name for name, one in named.items()]
    often = Counter(names)
    for i, source in enumerate(named.values()):
        if often[names[i]] > 1 and _is_file(source):
            names[i] = f"{Path(source).parent.name}/{names[i]}"
    unique: dict[str, Any] = {}
    for name, source in zip(names, named.values(), strict=True):
        number = 2
        while (numbered := name if name not in unique else f"{name} ({number})") in unique:
            number += 1
        unique[numbered] = source
    return unique


def _open(source: Any, name: str, by: str | None, cache: Path, cells: str) -> list[Recording]:
    """Open one source, as one recording or split."""
    if not _is_file(source):
        return _split(as_recording(source, name=name), by)
    if is_remote(source):
        return _read(source, name, by, cells)
    path = Path(source)
    if not path.exists():
        raise FileNotFoundError(f"recording {name!r}: there is no file {path}; check the path")
    entry = cache / _entry(path, by, cells)
    parts = _load(entry, name)
    if parts is None:
        _store(_read(path, name, by, cells), entry, name)
        parts = _load(entry, name)
    if parts is None:
        raise OSError(f"{path}: its copy in {cache} cannot be read back; cache= names another")
    return parts


def _read(source: Any, name: str, by: str | None, cells: str) -> list[Recording]:
    """Read a file into memory; errors name it."""
    try:
        return _split(as_recording(read_recording(source, cells=cells), name=name), by)
    except ValueError as error:
        if str(source) in str(error):
            raise
        raise ValueError(f"{source}: {error}") from error


def _split(recording: Recording, by: str | None) -> list[Recording]:
    return [recording] if by is None else [part for _, part in recording.split(by)]


def _entry(path: Path, by: str | None, cells: str) -> str:
    """Return the name of a file's entry in the cache: the file's, and that of its state."""
    keys = [str(path.resolve()), by, cells], [_FORMAT, *_fingerprint(path)]
    digests = [hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16] for key in keys]
    return "-".join([stem_of(path)[:80], *digests])


def _fingerprint(path: Path) -> list[int]:
    """Return size and time of change of a file, or of all within a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    stats = [file.stat() for file in files]
    return [sum(stat.st_size for stat in stats), max(stat.st_mtime_ns for stat in stats)]


def _store(parts: list[Recording], entry: Path, name: str) -> None:
    """Write recordings to the cache, a folder of arrays for each: whole, or not at all."""
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(entry) as draft:
            draft.mkdir()
            about = [
                _write(draft / str(number), part, part.name.removeprefix(name))
                for number, part in enumerate(parts)
            ]
            (draft / _ABOUT).write_text(json.dumps(about, default=str), encoding="utf-8")
    except OSError as error:
        raise OSError(
            f"recording {name!r} cannot be written to the cache in {entry.parent} ({error}); "
            "cache= names another folder"
        ) from error
    for other in entry.parent.glob(f"{glob.escape(entry.name.rpartition('-')[0])}-*"):
        if other != entry:  # of the file as it was
            shutil.rmtree(other, ignore_errors=True)


def _write(folder: Path, part: Recording, suffix: str) -> dict[str, Any]:
    """Write the arrays of a recording; return what is to be noted of it."""
    folder.mkdir()
    for field, dtype in (_MAPPED | _READ).items():
        np.save(folder / f"{field}.npy", np.ascontiguousarray(getattr(part, field), dtype))
    columns = {
        str(column): [str(values.dtype), values.tolist()]
        for column, values in part.metadata.items()
    }
    return {
        "suffix": suffix,
        "modality": part.modality,
        "frame_period": part.frame_period,
        "metadata": columns,
    }


def _load(entry: Path, name: str) -> list[Recording] | None:
    """Map an entry of the cache; None if there is none that is whole."""
    if not entry.is_dir():
        return None
    try:
        about = json.loads((entry / _ABOUT).read_text(encoding="utf-8"))
        return [_map(entry / str(i), one, name) for i, one in enumerate(about)] or None
    except Exception as error:  # of damage, of which there are many ways
        log.warning("the entry %s of the cache is damaged (%s); made again", entry.name, error)
        return None


def _map(folder: Path, about: dict[str, Any], name: str) -> Recording:
    arrays: dict[str, Any] = {
        field: _mapped(folder / f"{field}.npy", dtype) for field, dtype in (_MAPPED | _READ).items()
    }
    arrays |= {field: arrays[field][...] for field in _READ}
    _check_index(arrays, about["modality"])
    suffix = about["suffix"]
    if suffix and not suffix.startswith(" ("):  # as `Recording.split` names parts
        raise ValueError("it is of a part of another name")
    columns = about["metadata"].items()
    metadata = pd.DataFrame({one: values for one, (_, values) in columns}, arrays["unit_ids"])
    return Recording(
        name=name + suffix,
        metadata=metadata.astype({one: dtype for one, (dtype, _) in columns}),
        modality=about["modality"],
        frame_period=float(about["frame_period"]),
        **arrays,
    )


def _mapped(path: Path, dtype: str) -> Mapped:
    """Find an array in its file, which must hold all of it and nothing else."""
    array = np.lib.format.open_memmap(path, mode="r")
    is_whole = path.stat().st_size == array.offset + array.nbytes
    if not is_whole or array.flags.fnc or array.dtype.str != dtype:
        raise ValueError(f"{path.name} is not the array that was written")
    return Mapped(str(path.resolve()), array.offset, dtype, array.shape)


def _check_index(arrays: dict[str, Any], modality: str) -> None:
    """Refuse arrays that do not fit together: some hold positions in others."""
    n_units, offsets = len(arrays["unit_ids"]), arrays["offsets"][:]
    epochs = arrays["epochs"]
    fit = epochs.size > 0 and epochs.shape[1:] == (2,) and np.isfinite(epochs).all()
    if modality == "spikes":
        fit &= len(offsets) == len(arrays["begins"]) * n_units + 1
        fit &= offsets[0] == 0 and offsets[-1] == len(arrays["times"])
        fit &= bool((np.diff(offsets) >= 0).all() and (np.diff(arrays["begins"]) >= 0).all())
    else:
        fit &= modality == "calcium" and arrays["traces"].shape[1:] == (n_units,)
        fit &= arrays["traces"].shape[:1] == arrays["frame_times"].shape
    if not fit or not n_units:
        raise ValueError("its index does not fit its spikes or traces")
