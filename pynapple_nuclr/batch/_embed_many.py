"""Many sessions, one after the other or on a cluster: every one once, past bad ones."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import pandas as pd
import pynapple as nap
from tqdm import tqdm

from pynapple_nuclr.atomic_files import atomic_write, folder_lock, version_of
from pynapple_nuclr.checkpoints import as_encoder, save_encoder
from pynapple_nuclr.io._read_recording import read_recording
from pynapple_nuclr.nwb.opening import is_remote, is_zarr

if TYPE_CHECKING:
    from pynapple_nuclr.checkpoints import Encoder
    from pynapple_nuclr.recording import Units

Kind = Literal["nwb", "parquet", "csv"]
Report: TypeAlias = "dict[str, Any]"
"""What came of a session: a row of the table that comes back."""

_RETRIES = 3  # of a session whose worker died


def embed_many(
    sources: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    encoder: Encoder | str | Path | None = None,
    *,
    client: Any = None,
    kind: Kind = "nwb",
    raw: Literal["copy", "link", "drop"] = "drop",
    epochs: str | None = None,
    overwrite: bool = False,
    progress: bool = True,
    **options: Any,
) -> pd.DataFrame:
    """Embed many NWB files; write a result for each, and say what came of it.

    Can be interrupted and called again: sessions whose result stands in `out` already are not
    done anew. A bad file does not stop the others.

    Parameters
    ----------
    sources : sequence of str or path
        NWB files (HDF5, Zarr) or addresses, each of another name.
    out : str or path
        Folder for the results, made if absent: ``<name>_nuclr.nwb`` and so on.
    encoder : Encoder, str or Path, optional
        As for `embed`.
    client : dask.distributed.Client, optional
        Cluster to work on; its workers need the files and `out` under the same paths. A session
        whose worker dies is done by another, one that was done is not done again. Default: here,
        one after the other.
    kind : {"nwb", "parquet", "csv"}
        What to write.
    raw : {"drop", "link", "copy"}
        With NWB: what becomes of the raw data, as in `write_nwb`. Of a source in Zarr a whole
        copy is written (``<name>_nuclr.zarr``), which is all that can be.
    epochs : str, optional
        Table of intervals of each file to use, such as ``"trials"``.
    overwrite : bool
        Do sessions anew whose result is there already.
    progress : bool
        Show a bar that counts sessions.
    **options
        Passed on to `embed`: ``gaps``, ``by``, ``max_seconds``, ``device`` …

    Returns
    -------
    DataFrame
        Indexed by source: ``output``, ``units``, ``silent`` (without an embedding),
        ``stability`` (median), ``encoder`` (name@hash), ``was_there`` (not done anew) and
        ``error`` ("" where there was none).

    Raises
    ------
    ValueError
        If there is no source, or two would be written to the same file.
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
    folder = Path(out)
    outputs = _outputs([str(source) for source in sources], folder, kind)
    how = {
        "kind": kind,
        "raw": raw,
        "epochs": epochs,
        "overwrite": overwrite,
        "options": {"progress": False, **options},
        # Loaded once, and handed on: a worker need not reach the hub, and all have the same.
        "encoder": None if encoder is None else as_encoder(encoder),
    }
    with folder_lock(folder):
        doing = _here(outputs, how) if client is None else _on_cluster(client, outputs, how, folder)
        rows = dict(tqdm(doing, total=len(outputs), unit="session", disable=not progress))
    return pd.DataFrame([rows[source] for source in outputs], index=pd.Index(outputs, name="file"))


def _outputs(sources: Sequence[str], out: Path, kind: Kind) -> dict[str, Path]:
    """Return source → file of its result."""
    if not sources:
        raise ValueError("sources is empty; expected at least one NWB file")
    if kind not in ("nwb", "parquet", "csv"):
        raise ValueError(f'kind is {kind!r}; expected "nwb", "parquet" or "csv"')
    outputs: dict[str, Path] = {}
    for source in sources:
        name = source.split("?")[0] if is_remote(source) else source
        suffix = "zarr" if kind == "nwb" and is_zarr(name) else kind
        path = out / f"{Path(name).stem}_nuclr.{suffix}"
        if path in outputs.values():
            raise ValueError(
                f"{source} and another source would both be written to {path}; give the files "
                "different names, or call twice with two folders"
            )
        outputs[source] = path
    return outputs


def _here(outputs: dict[str, Path], how: dict[str, Any]) -> Iterator[tuple[str, Report]]:
    for source, output in outputs.items():
        yield source, _embed_session(source, output, **how)


def _on_cluster(
    client: Any, outputs: dict[str, Path], how: dict[str, Any], folder: Path
) -> Iterator[tuple[str, Report]]:
    from distributed import as_completed

    # What all workers share is kept in files: the memory of a worker dies with it.
    desk = folder.absolute() / f".embed_many_{uuid.uuid4().hex}"
    desk.mkdir()
    try:
        if how["encoder"] is not None:
            how = {**how, "encoder": save_encoder(how["encoder"], desk / "encoder")}
        futures = {
            client.submit(
                _session,
                _from_anywhere(source),
                output.absolute(),
                desk / f"{i}.json",
                how,
                pure=False,
                retries=_RETRIES,
            ): source
            for i, (source, output) in enumerate(outputs.items())
        }
        for future in as_completed(futures):
            source = futures[future]
            try:
                yield source, future.result()
            except Exception as error:  # not the file's fault: that would stand in the report
                yield source, _report(outputs[source], error=f"on the cluster: {error!r}")
    finally:
        shutil.rmtree(desk, ignore_errors=True)


def _from_anywhere(source: str) -> str:
    """Return a path that means the same to a worker in another folder."""
    return source if is_remote(source) else str(Path(source).absolute())


def _session(source: str, output: Path, note: Path, how: dict[str, Any]) -> Report:
    """Embed a session on a worker, unless one that died since has done so in this call."""
    if note.exists():
        report, before = json.loads(note.read_text(encoding="utf-8"))
        if version_of(output) != before:
            return dict(report)
    return _embed_session(source, output, **how, note=note)


def _embed_session(
    source: str,
    output: Path,
    *,
    encoder: Encoder | Path | None,
    kind: Kind,
    raw: Any,
    epochs: str | None,
    overwrite: bool,
    options: dict[str, Any],
    note: Path | None = None,
) -> Report:
    """Embed a session and write its result, which stands there whole or not at all."""
    from pynapple_nuclr.embedding import embed
    from pynapple_nuclr.io.tables import write_table
    from pynapple_nuclr.nwb.writing import write_nwb

    if output.exists() and not overwrite:
        return _report(output, was_there=True)
    try:
        units = embed(read_recording(source, epochs=epochs), encoder, **options)
        report = _summary(units, output)
        if note is not None:  # before the result: who finds both knows that it is of this call
            with atomic_write(note) as draft:
                draft.write_text(json.dumps([report, version_of(output)]), encoding="utf-8")
        if kind == "nwb":
            raw = "copy" if is_zarr(source) else raw
            write_nwb(units, source, output, raw=raw, overwrite=True)
        else:
            write_table(units, output, overwrite=True)
    except Exception as error:  # in a long run no odd file may cost the others
        return _report(output, error=str(error) or repr(error))
    return report


def _summary(units: Units, output: Path) -> Report:
    metadata = units.metadata
    return _report(
        output,
        units=len(units) if isinstance(units, nap.TsGroup) else units.shape[1],
        silent=int((metadata["nuclr_n_windows"] == 0).sum()),
        stability=float(np.nanmedian(metadata["nuclr_stability"].to_numpy(float))),
        encoder=str(metadata["nuclr_encoder"].iloc[0]),
    )


def _report(output: Path, **found: Any) -> Report:
    blank = {"units": 0, "silent": 0, "stability": float("nan"), "encoder": ""}
    return {"output": str(output), **blank, "was_there": False, "error": "", **found}
