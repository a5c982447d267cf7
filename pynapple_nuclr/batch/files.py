"""One file: read, embedded, written; the same for `embed_many` and the command line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pynapple_nuclr.atomic_files import check_output
from pynapple_nuclr.batch.embedding_cache import embed_cached
from pynapple_nuclr.batch.plan import source_format, stem_of, written_format
from pynapple_nuclr.batch.reports import Report, summarize
from pynapple_nuclr.nwb.opening import errors_naming_file, is_remote, open_nwb
from pynapple_nuclr.user_warnings import warn_user

if TYPE_CHECKING:
    from pynapple_nuclr.checkpoints import Encoder
    from pynapple_nuclr.io.formats import Format
    from pynapple_nuclr.nwb.opening import OpenNWB
    from pynapple_nuclr.nwb.writing import Raw
    from pynapple_nuclr.recording import Units


def embed_file(
    source: str,
    output: Path,
    encoder: Encoder | str | Path | None = None,
    *,
    reading: Mapping[str, Any],
    raw: Raw | None = None,
    overwrite: bool = False,
    before_write: Callable[[Report], None] | None = None,
    **options: Any,
) -> Report:
    """Embed a file and write its result, which is there whole or not at all.

    `reading` are options of `read_recording`, `options` those of `embed`; `before_write` is called
    with the report just before the result is written.
    """
    from pynapple_nuclr.checkpoints import as_encoder
    from pynapple_nuclr.embedding import embed
    from pynapple_nuclr.io._read_recording import read_recording

    check_writable(source, output, raw, overwrite)
    with open_once(source) as file:
        is_nwb = _is_nwb(source_format(source))
        with errors_naming_file(source, "pynwb", "NWB") if is_nwb else nullcontext():
            units = read_recording(file, **reading)
        model = as_encoder(encoder, units, options.get("epochs"))
        units = embed(units, model, name=stem_of(source), **options)
        report = summarize(units, output)
        if before_write is not None:
            before_write(report)
        config = model.config.to_dict()
        config["gaps"] = options.get("gaps") or config["gaps"]
        settings = {"gaps": config["gaps"], "config": json.dumps(config)}
        if options.get("by") is not None:
            settings["by"] = options["by"]
        write_result(units, file, output, raw=raw, overwrite=overwrite, settings=settings)
    return report


def report_earlier(source: str, output: Path, encoder: Encoder | Path | None) -> Report:
    """Report the result of an earlier call; ValueError if it is of another file or encoder.

    Tables hold no more than their rows, and are taken for what their names say.
    """
    from pynapple_nuclr.checkpoints import as_encoder
    from pynapple_nuclr.nwb.stored_embeddings import read_embedding

    local = Path(source)
    if not is_remote(source) and local.is_file() and local.stat().st_mtime > output.stat().st_mtime:
        warn_user(f"{output} is older than {source}, which has changed; overwrite=True renews it")
    if not _is_nwb(written_format(output)):
        return {"skipped": True, "output": str(output)}
    with open_nwb(output) as file:
        report = summarize(read_embedding(file), output) | {"skipped": True}
        identifier = file.nwbfile.identifier
    advice = "overwrite=True replaces it, or choose another out"
    if encoder is not None and report["encoder"] != (used := as_encoder(encoder).identity):
        raise ValueError(f"{output} is by the encoder {report['encoder']}, not {used}; {advice}")
    if not is_remote(source) and _is_nwb(source_format(source)):
        with open_nwb(source) as file:
            is_same = file.nwbfile.identifier == identifier
        if not is_same:
            raise ValueError(
                f"{output} is the result of another recording, not of {source}; {advice}"
            )
    return report


@contextmanager
def open_once(source: str) -> Iterator[str | OpenNWB]:
    """Open an NWB file for all that is done with it; files of other formats are read by path."""
    if not _is_nwb(source_format(source)):
        yield source
        return
    opening = open_nwb(source)
    file = opening.__enter__()
    try:
        yield file
    finally:  # errors of the work are not the file's: opening would call it damaged
        opening.__exit__(None, None, None)


def check_writable(source: str, output: Path, raw: Raw | None, overwrite: bool) -> None:
    """Check an output before any work: its folder exists, and it does not, or may be replaced."""
    from pynapple_nuclr.nwb.writing import resolve_arguments

    if not overwrite and output.exists() and not is_remote(source) and output.samefile(source):
        raise FileExistsError(
            f"the result of {source} would replace it; output= names another file, and "
            "overwrite=True adds to the file itself"
        )
    if _is_nwb(written_format(output)) and _is_nwb(source_format(source)):
        resolve_arguments(source, output, raw, overwrite)
    else:
        check_output(output, overwrite=overwrite, suffix=output.suffix)


def _is_nwb(file_format: Format | None) -> bool:
    return file_format is not None and file_format.name in ("nwb", "zarr")


def write_result(
    units: Units,
    source: str | OpenNWB,
    output: Path,
    *,
    raw: Raw | None = None,
    overwrite: bool = False,
    settings: Mapping[str, object] | None = None,
    prefix: str = "nuclr",
) -> None:
    """Write units in the format that the output's name says; NWB into that of their recording."""
    from pynapple_nuclr.nwb.writing import write_nwb

    found = written_format(output)
    if _is_nwb(found) and _is_nwb(source_format(str(source))):
        write_nwb(
            units, source, output, raw=raw, overwrite=overwrite, settings=settings, prefix=prefix
        )
    elif found is None or found.write is None:
        raise ValueError(f"{output} is of no format that can be written")
    else:
        found.write(units, output, source=source, raw=raw, overwrite=overwrite)


def read_stored(
    source: str | OpenNWB, reading: Mapping[str, Any], *, prefix: str = "nuclr"
) -> Units:
    """Read what a file recorded; if all of it, with the embedding that the file holds."""
    from pynapple_nuclr.io._read_recording import read_recording
    from pynapple_nuclr.nwb.stored_embeddings import describe_nwb, read_embedding

    is_nwb = _is_nwb(source_format(str(source)))
    with errors_naming_file(str(source), "pynwb", "NWB") if is_nwb else nullcontext():
        if is_nwb and not reading and prefix in describe_nwb(source)["embeddings"]:
            return read_embedding(source, prefix=prefix)
        return read_recording(source, **reading)


def read_or_embed(
    source: str,
    *,
    reading: Mapping[str, Any],
    column: str | None = None,
    cache: str | Path | None = None,
    **options: Any,
) -> Units:
    """Return the embedded units of a file: its own vectors, those in the cache, or new ones.

    `reading` are options of `read_recording`, `options` those of `embed`. The file's own vectors
    are used if `options` are `device` and `progress` only, and the whole recording is read. Without
    the metadata column `column` nothing is embedded: ValueError.
    """
    from pynapple_nuclr.columns import is_embedded
    from pynapple_nuclr.io._read_recording import read_recording

    stored = not reading and options.keys() <= {"device", "progress"}
    with open_once(source) as file:
        units = read_stored(file, {}) if stored else read_recording(file, **reading)
    if stored and is_embedded(units):
        return units
    if column is not None and column not in units.metadata_columns:
        names = ", ".join(map(str, units.metadata_columns)) or "none"
        raise ValueError(f"{source} has no metadata column {column!r}; it has {names}")
    return embed_cached(units, source, reading=reading, cache=cache, **options)
