"""Embeddings that were made once are kept: by file, encoder and options."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pynapple_nuclr import __version__
from pynapple_nuclr.atomic_files import atomic_write, cache_folder
from pynapple_nuclr.batch.plan import stem_of
from pynapple_nuclr.batch.reports import record_warnings
from pynapple_nuclr.nwb.opening import is_remote
from pynapple_nuclr.user_warnings import log, warn_user

if TYPE_CHECKING:
    from pynapple_nuclr.recording import Units


def embed_cached(
    units: Units,
    source: str,
    encoder: Any = None,
    *,
    reading: Mapping[str, Any],
    cache: str | Path | None = None,
    **options: Any,
) -> Units:
    """Embed the units of a file, or take the embedding that an earlier call made of it.

    `reading` are the options with which `units` were read from `source`, `options` those of
    `embed`. A file that changed is embedded again, and so is one whose entry in the cache is
    damaged. Recordings behind an address are not kept.
    """
    from pynapple_nuclr.checkpoints import as_encoder
    from pynapple_nuclr.embedding import embed

    model = as_encoder(encoder, units, options.get("epochs"))
    if is_remote(source):
        return embed(units, model, name=stem_of(source), **options)
    how = {key: value for key, value in options.items() if key != "progress"}
    entry = cache_folder(cache, "embeddings") / _entry(
        Path(source), [model.identity, __version__, dict(reading), how]
    )
    kept = _load(entry, units)
    if kept is not None:
        log.info("%s: took the embedding of an earlier call from %s", source, entry)
        return kept
    messages: list[str] = []
    with record_warnings(messages):
        units = embed(units, model, name=stem_of(source), **options)
    for message in messages:
        warn_user(message)
    _store(entry, units, messages)
    return units


def _entry(path: Path, settings: list[Any]) -> str:
    """Return the name of an entry: the file's, its state, and the settings."""
    files = [file for file in (path.rglob("*") if path.is_dir() else [path]) if file.is_file()]
    stats = {file: file.stat() for file in sorted(files)}
    state = [[str(file.resolve()), one.st_size, one.st_mtime_ns] for file, one in stats.items()]
    text = json.dumps([state, settings], sort_keys=True, default=str)
    return f"{stem_of(str(path))[:80]}-{hashlib.sha256(text.encode()).hexdigest()[:32]}.npz"


def _store(entry: Path, units: Units, messages: list[str]) -> None:
    """Write an entry whole; a cache that cannot be written costs a warning, not the work."""
    from pynapple_nuclr.columns import SUMMARIES, embeddings
    from pynapple_nuclr.columns.metadata import unit_ids

    arrays: dict[str, Any] = {
        "ids": np.asarray(unit_ids(units)),
        "vectors": embeddings(units).to_numpy(),
        "messages": np.asarray(messages, dtype=str),
    }
    for name in SUMMARIES:
        values = units[f"nuclr_{name}"].to_numpy()
        arrays[name] = values if values.dtype.kind in "biuf" else values.astype(str)
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(entry) as draft, draft.open("wb") as file:
            np.savez(file, **arrays)
    except OSError as error:
        warn_user(f"the embedding is not kept: {error}; cache= names another folder")


def _load(entry: Path, units: Units) -> Units | None:
    """Return the units with the embedding of an entry; None if there is none that is whole."""
    from pynapple_nuclr.columns import SUMMARIES, add_columns
    from pynapple_nuclr.columns.metadata import unit_ids

    if not entry.is_file():
        return None
    try:
        with np.load(entry, allow_pickle=False) as file:
            kept = dict(file)
        if not np.array_equal(kept["ids"], unit_ids(units)):
            raise ValueError("it is of other units")
        summary = {f"nuclr_{name}": kept[name] for name in SUMMARIES}
        embedded = add_columns(units, summary=summary, vectors=kept["vectors"])
        messages = kept["messages"].tolist()
    except Exception as error:  # of damage, of which there are many ways
        log.warning("%s is damaged (%s); embedding again", entry, error)
        return None
    for message in messages:
        warn_user(message)
    return embedded
