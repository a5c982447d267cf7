"""Recordings for training, of which files stay on disk: indexed once, then mapped into memory."""

from __future__ import annotations

import glob
import hashlib
import json
import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd

from pynapple_nuclr.io.files import replacing
from pynapple_nuclr.io.opening import is_remote
from pynapple_nuclr.io.reading import read_recording
from pynapple_nuclr.io.values import check_stored, read_values
from pynapple_nuclr.recording import Recording, Units, as_recording, name_groups
from pynapple_nuclr.recording.mapped import Mapped

if TYPE_CHECKING:
    import h5py

Source: TypeAlias = Units | str | os.PathLike[str]
"""A population: an object, or the file that holds it."""

logger = logging.getLogger("pynapple_nuclr")

_FORMAT = 1  # of the files in the cache; others are written anew
_MAPPED = {"times": "<f8", "offsets": "<i8", "traces": "<f4"}  # arrays that stay in the file
_READ = ("unit_ids", "epochs", "begins", "frame_times")  # small ones
_PAGE = 4096  # bytes, to which arrays are aligned in the file


def open_recordings(
    groups: Source | Sequence[Source] | Mapping[str, Source],
    *,
    by: str | None = None,
    cache: str | os.PathLike[str] | None = None,
) -> dict[str, Recording]:
    """Open several populations for training: pynapple objects, NWB files, or both.

    A file is read once, and its spikes (or traces) written to the cache as they will be read;
    from then on they are mapped from there, and take no memory but for what is just being read.
    A file that changed is read again, and so is one whose entry in the cache is damaged.

    Parameters
    ----------
    groups : TsGroup, TsdFrame, str, Path, list or mapping
        One population, or several. Files are named by their stem (where that occurs twice with
        the folder, or numbered), objects of a list by their place in it; a mapping gives names.
        Addresses (http or https) are read into memory.
    by : str, optional
        Metadata column by which each is split into populations, such as its probe insertion.
    cache : str or Path, optional
        Folder of the cache, which may be deleted when nothing runs. Default: ``recordings`` in
        the user's cache folder of this package.

    Returns
    -------
    dict
        Name → `Recording`, in the order given.

    Raises
    ------
    TypeError, ValueError
        As `pynapple_nuclr.recording.as_recording` and `read_recording`, naming the file.
    FileNotFoundError, ConnectionError
        If there is no such file, or no answer.
    OSError
        If the cache cannot be written.

    Examples
    --------
    >>> import tempfile, pynapple as nap, pynapple_nuclr as nap_nuclr
    >>> from pynapple_nuclr.io.recordings import open_recordings
    >>> units = nap.TsGroup({3: nap.Ts([0.1, 0.7]), 8: nap.Ts([0.5, 0.9])})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = nap_nuclr.write_units(units, f"{folder}/day1.nwb")
    ...     recordings = open_recordings([path, units], cache=folder)
    ...     type(recordings["day1"].times).__name__, type(recordings["1"].times).__name__
    ('Mapped', 'ndarray')
    """
    folder = _default_cache() if cache is None else Path(cache)
    parts = [
        part
        for name, source in _name_sources(groups).items()
        for part in _open(source, name, by, folder)
    ]
    return {part.name: part for part in parts}


def _default_cache() -> Path:
    import pooch

    return Path(pooch.os_cache("pynapple-nuclr")) / "recordings"


def _is_file(source: Any) -> bool:
    return isinstance(source, (str, os.PathLike))


def _name_sources(groups: Any) -> dict[str, Any]:
    """Give sources names: those of a mapping, else the stems of files, and places in the list."""
    groups = [groups] if _is_file(groups) else groups
    named = name_groups(groups)
    if isinstance(groups, Mapping) or not any(_is_file(source) for source in named.values()):
        return named
    names = [_stem(one) if _is_file(one) else name for name, one in named.items()]
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


def _stem(source: str | os.PathLike[str]) -> str:
    return Path(str(source).split("?")[0].rstrip("/")).name.removesuffix(".zarr").split(".nwb")[0]


def _open(source: Any, name: str, by: str | None, cache: Path) -> list[Recording]:
    """Open one source, as one recording or split."""
    if not _is_file(source):
        return _split(as_recording(source, name=name), by)
    if is_remote(source):
        return _read(source, name, by)
    path = Path(source)
    if not path.exists():
        raise FileNotFoundError(f"recording {name!r}: there is no file {path}; check the path")
    entry = cache / _entry(path, by)
    parts = _load(entry, name)
    if parts is None:
        _store(_read(path, name, by), entry, name)
        parts = _load(entry, name)
    if parts is None:
        raise OSError(f"{path}: its copy in {cache} cannot be read back; cache= names another")
    return parts


def _read(source: Any, name: str, by: str | None) -> list[Recording]:
    """Read a file into memory; errors name it."""
    try:
        return _split(as_recording(read_recording(source), name=name), by)
    except ValueError as error:
        if str(source) in str(error):
            raise
        raise ValueError(f"{source}: {error}") from error


def _split(recording: Recording, by: str | None) -> list[Recording]:
    return [recording] if by is None else [part for _, part in recording.split(by)]


def _entry(path: Path, by: str | None) -> str:
    """Return the name of a file's entry in the cache: the file's, and that of its state."""
    keys = [str(path.resolve()), by], [_FORMAT, *_fingerprint(path)]
    digests = [hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16] for key in keys]
    return "-".join([_stem(path)[:80], *digests]) + ".h5"


def _fingerprint(path: Path) -> list[int]:
    """Return size and time of change of a file, or of all within a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    stats = [file.stat() for file in files]
    return [sum(stat.st_size for stat in stats), max(stat.st_mtime_ns for stat in stats)]


def _store(parts: list[Recording], entry: Path, name: str) -> None:
    """Write recordings to the cache: whole, or not at all."""
    import h5py

    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        with (
            replacing(entry) as draft,
            h5py.File(draft, "w", alignment_threshold=1, alignment_interval=_PAGE) as file,
        ):
            file.attrs["parts"] = len(parts)
            for number, part in enumerate(parts):
                _write(file.create_group(str(number)), part, part.name.removeprefix(name))
    except OSError as error:
        raise OSError(
            f"recording {name!r} cannot be written to the cache in {entry.parent} ({error}); "
            "cache= names another folder"
        ) from error
    for other in entry.parent.glob(f"{glob.escape(entry.stem.rpartition('-')[0])}-*.h5"):
        if other != entry:  # of the file as it was
            other.unlink(missing_ok=True)


def _write(group: h5py.Group, part: Recording, suffix: str) -> None:
    group.attrs.update(suffix=suffix, modality=part.modality, frame_period=part.frame_period)
    for field in (*_MAPPED, *_READ):
        group[field] = getattr(part, field)
    columns = {
        str(column): [str(values.dtype), values.tolist()]
        for column, values in part.metadata.items()
    }
    group["metadata"] = json.dumps(columns, default=str)


def _load(entry: Path, name: str) -> list[Recording] | None:
    """Map an entry of the cache; None if there is none that is whole."""
    import h5py

    if not entry.is_file():
        return None
    try:
        with h5py.File(entry, "r", locking=False) as file:
            parts = [_map(file[str(i)], name, entry) for i in range(file.attrs["parts"])]
            return parts or None
    except Exception as error:  # h5py names damage in many ways; all mean the same here
        logger.warning("the entry %s of the cache is damaged (%s); made anew", entry.name, error)
        return None


def _check_index(arrays: dict[str, Any], modality: str) -> None:
    """Refuse arrays that do not fit together: what they say of places in others is believed."""
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


def _map(group: h5py.Group, name: str, entry: Path) -> Recording:
    arrays: dict[str, Any] = {field: read_values(group[field]) for field in _READ}
    for field, dtype in _MAPPED.items():
        stored = group[field]
        # HDF5 has no place in the file for what is empty, or not as it lies in memory.
        offset = stored.id.get_offset() or 0
        if stored.dtype.str != dtype or (stored.size and not offset):
            raise ValueError(f"its {field} cannot be mapped")
        arrays[field] = Mapped(str(entry.resolve()), offset, dtype, stored.shape)
        arrays[field][-1:]  # it ends within the file
    _check_index(arrays, group.attrs["modality"])
    suffix = group.attrs["suffix"]
    if suffix and not suffix.startswith(" ("):  # as `Recording.split` names parts
        raise ValueError("it is of a part of another name")
    check_stored(group["metadata"])
    columns = json.loads(group["metadata"][()])
    values = {column: values for column, (_, values) in columns.items()}
    metadata = pd.DataFrame(values, index=arrays["unit_ids"])
    return Recording(
        name=name + suffix,
        metadata=metadata.astype({column: dtype for column, (dtype, _) in columns.items()}),
        modality=group.attrs["modality"],
        frame_period=float(group.attrs["frame_period"]),
        **arrays,
    )
