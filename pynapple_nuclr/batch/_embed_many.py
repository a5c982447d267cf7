"""Many recordings, one after the other or on a cluster: each once, past bad ones."""

from __future__ import annotations

import json
import os
import shutil
import uuid
import warnings
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from tqdm import tqdm

from pynapple_nuclr.atomic_files import atomic_write, folder_lock, version_of
from pynapple_nuclr.batch.files import embed_file, report_earlier
from pynapple_nuclr.batch.plan import find_sources, plan_outputs, source_format, written_format
from pynapple_nuclr.batch.reports import Report, as_table, blank_report, process
from pynapple_nuclr.checkpoints import Encoder, as_encoder, save_encoder
from pynapple_nuclr.nwb.opening import is_remote
from pynapple_nuclr.user_warnings import log

_RETRIES = 3  # of a recording whose worker died


def embed_many(
    sources: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    encoder: Encoder | str | Path | None = None,
    *,
    client: Any = None,
    kind: str = "nwb",
    raw: Literal["copy", "link", "drop"] = "drop",
    epochs: str | None = None,
    overwrite: bool = False,
    progress: bool = True,
    **options: Any,
) -> pd.DataFrame:
    """Embed many files; write a result for each, and report what came of it.

    Can be interrupted and called again: files whose result is in `out` already are skipped. A bad
    file does not stop the others.

    Parameters
    ----------
    sources : str, path or sequence
        Files of any format that `read_recording` reads, patterns (``"data/*.nwb"``) or addresses.
        Results of files that are read too (``x_nuclr.nwb`` beside ``x.nwb``) are left out.
    out : str or path
        Folder for the results, made if absent: ``<name>_nuclr.nwb`` and so on; of files of the
        same name ``<folder>_<name>_nuclr.nwb``.
    encoder : Encoder, str or Path, optional
        As for `embed`.
    client : dask.distributed.Client, optional
        Cluster to work on; its workers need the files and `out` under the same paths. A file
        whose worker dies is done by another, one that was done is not done again. Default: here,
        one after the other.
    kind : str
        What to write: "nwb", "csv", "parquet", or a format of an installed package.
    raw : {"drop", "link", "copy"}
        With NWB: what becomes of the raw data, as in `write_nwb`. Of a source in Zarr a whole
        copy is written (``<name>_nuclr.zarr``), which is all that can be.
    epochs : str, optional
        Table of intervals of each file to use, such as ``"trials"``.
    overwrite : bool
        Replace results that exist.
    progress : bool
        Show a bar that counts files.
    **options
        Passed on to `embed`: ``gaps``, ``by``, ``max_seconds``, ``device`` …

    Returns
    -------
    DataFrame
        Indexed by file: ``output``, ``units``, ``silent`` (without an embedding),
        ``stability`` (median), ``encoder`` (name@hash), ``skipped`` (its result existed; in NWB
        the other columns are read from it; one of another recording or encoder is an error),
        ``warnings`` (of work here; a cluster's workers log theirs) and ``error`` ("": none).

    Raises
    ------
    ValueError
        If there is no source, no file matches a pattern, or two results would be one file.
    BlockingIOError
        If another call is writing to `out`.

    Examples
    --------
    >>> import tempfile, pynapple_nuclr as nap_nuclr
    >>> encoder = nap_nuclr.Encoder(nap_nuclr.EncoderConfig(dim=32, heads=2, head_dim=16))
    >>> units = nap_nuclr.simulate("single", n_units=8, duration=30)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     day = nap_nuclr.write_units(units, f"{folder}/day1.nwb")
    ...     done = nap_nuclr.embed_many([day, f"{folder}/day2.nwb"], f"{folder}/out", encoder,
    ...         progress=False)
    >>> done[["units", "silent"]].values.tolist(), [text[:15] for text in done["error"]]
    ([[8, 0], [0, 0]], ['', 'there is no fil'])
    """
    patterns = [sources] if isinstance(sources, (str, os.PathLike)) else sources
    folder = Path(out)
    if written_format(folder) is not None and not folder.is_dir():
        raise ValueError(f"out is {str(folder)!r}, the name of a file; expected a folder")
    read, left_out = find_sources([str(pattern) for pattern in patterns], folder)
    if left_out:
        log.warning("left out: %s, written from files that are read here, too", left_out)
    outputs = plan_outputs(read, folder, kind, in_folder=True)
    how = {
        "raw": raw,
        "reading": {} if epochs is None else {"epochs": epochs},
        "overwrite": overwrite,
        "options": {"progress": False, **options},
        # Loaded once and passed on: a worker need not reach the hub, and all use the same.
        "encoder": None if encoder is None else as_encoder(encoder),
    }
    with folder_lock(folder):
        work = _here(outputs, how) if client is None else _on_cluster(client, outputs, how, folder)
        reports = dict(tqdm(work, total=len(outputs), unit="file", disable=not progress))
    table = as_table([reports[source] for source in outputs])
    if noted := int((table["warnings"] != "").sum()):
        warnings.warn(
            f"{noted} of {len(table)} files gave warnings; see the column 'warnings'",
            UserWarning,
            stacklevel=2,
        )
    return table


def _here(outputs: dict[str, Path], how: dict[str, Any]) -> Iterator[tuple[str, Report]]:
    for source, output in outputs.items():
        with warnings.catch_warnings():
            warnings.filterwarnings("always", category=UserWarning, module="pynapple_nuclr")
            report = process(source, partial(_embed, source, output, **how))
        yield source, {**report, "output": str(output)}


def _on_cluster(
    client: Any, outputs: dict[str, Path], how: dict[str, Any], folder: Path
) -> Iterator[tuple[str, Report]]:
    from distributed import as_completed

    # What all workers share is kept in files: the memory of a worker ends with it.
    shared = folder.absolute() / f".embed_many_{uuid.uuid4().hex}"
    shared.mkdir()
    try:
        if how["encoder"] is not None:
            how = {**how, "encoder": save_encoder(how["encoder"], shared / "encoder")}
        futures = {
            client.submit(
                _embed_once,
                _absolute(source),
                output.absolute(),
                shared / f"{i}.json",
                how,
                pure=False,
                retries=_RETRIES,
            ): source
            for i, (source, output) in enumerate(outputs.items())
        }
        for future in as_completed(futures):
            source = futures[future]
            try:
                report = future.result()
            except Exception as error:  # not the file's fault: that would be in the report
                report = blank_report(source) | {"error": f"on the cluster: {error!r}"}
            yield source, {**report, "file": source, "output": str(outputs[source])}
    finally:
        shutil.rmtree(shared, ignore_errors=True)


def _absolute(source: str) -> str:
    """Return a path that means the same to a worker in another folder."""
    return source if is_remote(source) else str(Path(source).absolute())


def _embed_once(source: str, output: Path, note: Path, how: dict[str, Any]) -> Report:
    """Embed a file on a worker, unless one that died since has done so in this call."""
    if note.exists():
        report, before = json.loads(note.read_text(encoding="utf-8"))
        if version_of(output) != before:
            return dict(report)

    def write_note(found: Report) -> None:  # note and result: the result is of this call
        report = {**blank_report(source), **found}
        with atomic_write(note) as draft:
            draft.write_text(json.dumps([report, version_of(output)]), encoding="utf-8")

    # Threads of a worker share their warnings, so that nobody could say whose they are.
    work = partial(_embed, source, output, **how, before_write=write_note)
    return process(source, work, keep_warnings=False)


def _embed(
    source: str,
    output: Path,
    *,
    encoder: Encoder | Path | None,
    raw: Any,
    overwrite: bool,
    options: dict[str, Any],
    **how: Any,
) -> Report:
    if output.exists() and not overwrite:
        return report_earlier(source, output, encoder)
    raw = "copy" if source_format(source).name == "zarr" else raw
    return embed_file(source, output, encoder, raw=raw, overwrite=True, **how, **options)
