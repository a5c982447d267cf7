"""A cache of results, each under the hash of all that it depends on."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pynapple as nap
from numpy.typing import NDArray

from pynapple_nuclr.atomic_files import atomic_write
from pynapple_nuclr.columns.metadata import stored_columns, unit_ids
from pynapple_nuclr.recording import Units

_TEXT = "_text"  # entry of the notes, as JSON


class Store:
    """Arrays in files, each named by the hash of what its content depends on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def read(self, key: str) -> tuple[dict[str, NDArray[Any]], dict[str, Any]] | None:
        """Return arrays and notes; None where the file is absent or damaged."""
        try:
            with self._path(key).open("rb") as file:
                content = np.load(file, allow_pickle=False)
                arrays = {name: content[name] for name in content.files}
            return arrays, json.loads(str(arrays.pop(_TEXT)))
        except Exception:  # zip, numpy and JSON raise many types; it is computed again
            return None

    def write(self, key: str, arrays: Mapping[str, NDArray[Any]], notes: Mapping[str, Any]) -> None:
        """Write arrays and notes; an interrupted write leaves no file."""
        path = self._path(key)
        with atomic_write(path) as draft, draft.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays, **{_TEXT: np.array(json.dumps(notes))})

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.npz"


@contextmanager
def open_store(folder: str | Path | None) -> Iterator[Store]:
    """Open a folder that keeps results; None: a temporary one."""
    if folder is not None:
        yield Store(Path(folder))
        return
    with tempfile.TemporaryDirectory(prefix="nuclr_") as temporary:
        yield Store(Path(temporary))


def key_of(ingredients: Any) -> str:
    """Return the hash (sha256, hexadecimal) of plain values, whatever the order of their keys."""
    return hashlib.sha256(json.dumps(ingredients, sort_keys=True).encode()).hexdigest()


def hash_array(values: NDArray[Any]) -> str:
    """Return the hash of an array's content, kind and shape."""
    if values.dtype == object:
        values = values.astype(str)
    digest = hashlib.sha256(f"{values.dtype.str} {values.shape}".encode())
    digest.update(np.ascontiguousarray(values).view(np.uint8).data)
    return digest.hexdigest()


def hash_recording(units: Units) -> str:
    """Return the hash of a recording: spikes or traces, ids, time support; no metadata.

    Metadata of the time support (contrast, reward) count.
    """
    support = units.time_support
    parts = [np.asarray(unit_ids(units)), np.asarray(support.values)]
    parts += [np.asarray(support.metadata[name]) for name in support.metadata.columns]
    if isinstance(units, nap.TsGroup):
        parts += [np.asarray(units[unit].t) for unit in units.index]
    else:
        parts += [np.asarray(units.t), np.asarray(units.values)]
    named = [str(name) for name in support.metadata.columns]
    return key_of([type(units).__name__, named, [hash_array(part) for part in parts]])


def hash_columns(units: Units, names: set[str]) -> dict[str, str]:
    """Return the hashes of the metadata columns of these names, or numbered (``waveform_0``)."""
    stored = stored_columns(units)
    named = [one for one in stored if one in names or one.rpartition("_")[0] in names]
    return {name: hash_array(stored[name]) for name in sorted(named)}
