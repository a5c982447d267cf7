"""NWB files: sorted units in; embeddings and predicted labels out, in the units table."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pandas as pd
import pynapple as nap

from pynapple_nuclr.columns import PREDICTED, SUMMARIES, lay_out
from pynapple_nuclr.io import units_table
from pynapple_nuclr.io.files import check_output, existing_file, replacing


def write_nwb(
    units: nap.TsGroup,
    source: str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    *,
    overwrite: bool = False,
    prefix: str = "nuclr",
    settings: Mapping[str, object] | None = None,
) -> Path:
    """Copy an NWB file and write embeddings and predicted labels into its units table.

    The vectors become one column ``nuclr_embedding`` (units × dim, float32); stability, windows,
    encoder and every ``predicted_*`` column of `units` become scalar columns, which
    ``nap.load_file`` reads. Rows are matched by unit id; units of the file that are not in
    `units` get NaN, 0 windows and "". Where they came from (version, encoder, date, settings)
    stands in ``processing/nuclr``.

    Columns of the same name are replaced. Vectors that the file has already, and their summary,
    stay as they are if `units` have none (``nap.load_file`` reads no vectors); but they go, and
    labels predicted from them too, with a warning, if `units` are signed by another encoder.

    Parameters
    ----------
    units : TsGroup
        Embedded units of the recording in `source`, or some of them.
    source : str or path
        The NWB file that they were loaded from.
    output : str or path, optional
        The file to write. Default: ``<name>_nuclr.nwb`` beside the source.
    overwrite : bool
        Replace an existing `output`, which may be the source itself.
    prefix : str
        Prefix of the metadata columns to write, as given to `embed`.
    settings : mapping, optional
        More to note about how the embedding was made: name → value.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    FileNotFoundError, FileExistsError
        If there is no `source`; if `output` exists and `overwrite` is False.
    TypeError
        If `units` is no ``TsGroup``.
    ValueError
        If `units` is not embedded, has units that the file lacks, or other spikes than the file.

    Notes
    -----
    The copy is made beside `output` and put in its place once it is complete: on failure an
    existing file stays as it was. Links to other files are copied as they are, so a file with
    relative links needs its output in the same folder.

    Examples
    --------
    >>> import tempfile, pynapple as nap, pynapple_nuclr as nap_nuclr
    >>> from pynapple_nuclr.columns import lay_out
    >>> units = nap.TsGroup({3: nap.Ts([0.1, 0.7]), 8: nap.Ts([0.5])})
    >>> embedded = lay_out(units, vectors=[[1.0, 0.5], [-1.0, 2.0]],
    ...     summary={"nuclr_stability": [0.9, 0.8], "nuclr_encoder": ["tiny@0a1b2c3d"] * 2})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     source = nap_nuclr.write_units(units, f"{folder}/day1.nwb")
    ...     path = nap_nuclr.write_nwb(embedded, source)
    ...     print(path.name, nap.load_file(path)["units"]["nuclr_stability"].tolist())
    day1_nuclr.nwb [0.9, 0.8]
    """
    source = existing_file(source)
    output = check_output(output, source=source, overwrite=overwrite)
    columns = units_table.embedding_columns(units, prefix)
    if not columns:
        raise ValueError(
            f"units have no columns {prefix}_0 …, {prefix}_stability or {PREDICTED}* to write to "
            f"{output}; embed them first: units = nap_nuclr.embed(units)"
        )
    with units_table.open_table(source) as table:
        rows = units_table.match_rows(units, table)
        n_rows = len(table["id"])
        columns, outdated = units_table.reconcile(table, columns, prefix)
        if not any(name.startswith(f"{prefix}_") for name in columns):
            settings = units_table.provenance(table, prefix) | dict(settings or {})
    with replacing(output) as draft:
        shutil.copyfile(source, draft)
        units_table.remove_columns(draft, [*columns, *outdated], prefix)
        with _open(draft, "r+") as (io, nwbfile):
            for name, (values, description) in columns.items():
                data = units_table.spread(values, rows, n_rows, zero=name.endswith("_n_windows"))
                nwbfile.units.add_column(name=name, description=description, data=data)
            units_table.add_provenance(nwbfile, units, prefix, settings or {})
            io.write(nwbfile)
    if outdated:
        warnings.warn(
            f"removed from {output}: {', '.join(outdated)}, which belong to the earlier embedding",
            UserWarning,
            stacklevel=2,
        )
    return output


def read_units(
    path: str | os.PathLike[str], *, epochs: str | nap.IntervalSet | None = None
) -> nap.TsGroup:
    """Read the units of an NWB file with the time in which they were observed.

    Like ``nap.load_file(path)["units"]``, except that the time support is the file's
    ``obs_intervals``, where it has them; pynapple itself takes the time from the first spike to
    the last, gaps between trials included. Where units were observed at different times, it is
    the time that all share, with a warning; if they share none, it is pynapple's.

    Parameters
    ----------
    path : str or path
        An NWB file with a units table.
    epochs : str or IntervalSet, optional
        Use only these epochs; or the name of a table of intervals in the file, such as
        ``"trials"``.

    Returns
    -------
    TsGroup

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no NWB file, has no units with spikes, or no intervals of the name `epochs`.

    Examples
    --------
    >>> import tempfile, pynapple as nap, pynapple_nuclr as nap_nuclr
    >>> trials = nap.IntervalSet([0, 10], [1, 11])
    >>> units = nap.TsGroup({3: nap.Ts([0.1, 0.7, 10.2])}, time_support=trials)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = nap_nuclr.write_units(units, f"{folder}/day1.nwb")
    ...     nap_nuclr.read_units(path).time_support
      index    start    end
          0        0      1
          1       10     11
    shape: (2, 2), time unit: sec.
    """
    path = existing_file(path)
    with units_table.open_table(path) as table:
        support = units_table.observed(table)
    with _open(path, "r") as (_, nwbfile):
        loaded = nap.NWBFile(nwbfile)
        with warnings.catch_warnings():  # of units with one spike, whose support has no duration
            warnings.simplefilter("ignore")
            units = loaded["/units"]
        if isinstance(epochs, str):
            tables = [key for key, kind in loaded._view if kind == "IntervalSet"]
            if epochs not in tables:
                raise ValueError(
                    f"{path} has no intervals {epochs!r}; it has {', '.join(tables) or 'none'}"
                )
            epochs = loaded[epochs]
    if not isinstance(units, nap.TsGroup):  # it gives the NWB table
        raise ValueError(
            f"pynapple cannot read the units table of {path}; has any unit two spikes or more?"
        )
    if epochs is not None:
        # Without observation intervals the epochs are taken as they are: pynapple's support
        # would cut the first and the last at a spike.
        support = epochs if support is None else support.intersect(epochs)
    return units if support is None else units.restrict(support)


def read_embedding(path: str | os.PathLike[str], *, prefix: str = "nuclr") -> nap.TsGroup:
    """Read embedded units back from a file of `write_nwb`, vectors included.

    Parameters
    ----------
    path : str or path
        An NWB file that `write_nwb` wrote.
    prefix : str
        Prefix of the columns, as given to `write_nwb`.

    Returns
    -------
    TsGroup
        The units with all their metadata, and the vectors as ``nuclr_0`` …, bit for bit.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it holds no embedding of this prefix.

    Examples
    --------
    >>> import tempfile, pynapple as nap, pynapple_nuclr as nap_nuclr
    >>> from pynapple_nuclr.columns import lay_out
    >>> units = nap.TsGroup({3: nap.Ts([0.1, 0.7]), 8: nap.Ts([0.5])})
    >>> embedded = lay_out(units, vectors=[[1.0, 0.5], [-1.0, 2.0]],
    ...     summary={"nuclr_encoder": ["tiny@0a1b2c3d"] * 2})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = nap_nuclr.write_units(embedded, f"{folder}/day1.nwb")
    ...     print(nap_nuclr.read_embedding(path)["nuclr_1"].tolist())
    [0.5, 2.0]
    """
    units = read_units(path)
    with units_table.open_table(Path(path)) as table:
        column = f"{prefix}_embedding"
        if column not in table:
            raise ValueError(
                f"{path} has no column {column!r} in its units table; embed its units and write "
                "them: nap_nuclr.write_nwb(nap_nuclr.embed(units), source)"
            )
        vectors = pd.DataFrame(table[column][:], index=table["id"][:])
    names = [f"{prefix}_{part}" for part in SUMMARIES]
    summary = {name: units.get_info(name) for name in names if name in units.metadata_columns}
    if summary:
        units.drop_info(list(summary))  # else lay_out would log that it replaced them
    ordered = vectors.loc[np.asarray(units.index)].to_numpy()
    return lay_out(units, summary=summary, vectors=ordered, prefix=prefix)


def write_units(
    units: nap.TsGroup,
    path: str | os.PathLike[str],
    *,
    session: str = "recording",
    start_time: datetime | None = None,
    overwrite: bool = False,
) -> Path:
    """Write units as a new, minimal NWB file.

    Spike times, the time support (as ``obs_intervals`` of every unit and as the table
    ``epochs``), and the metadata columns with one value per unit.

    Parameters
    ----------
    units : TsGroup
        Sorted units. An embedding among the metadata is written as `write_nwb` does.
    path : str or path
        The file to write, ending in ``.nwb``.
    session : str
        Description of the session, which NWB asks for.
    start_time : datetime, optional
        When the recording began, with its time zone. Default: now.
    overwrite : bool
        Replace an existing file.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    FileExistsError
        If the file exists and `overwrite` is False.
    TypeError
        If `units` is no ``TsGroup``.
    ValueError
        If a metadata column has a name that NWB's units table keeps for something else.

    Examples
    --------
    >>> import tempfile, pynapple as nap, pynapple_nuclr as nap_nuclr
    >>> units = nap.TsGroup({3: nap.Ts([0.1, 0.7]), 8: nap.Ts([0.5])},
    ...     metadata={"depth": [120.0, 80.0]})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = nap_nuclr.write_units(units, f"{folder}/day1.nwb")
    ...     print(nap.load_file(path)["units"]["depth"].tolist())
    [120.0, 80.0]
    """
    import pynwb

    path = check_output(path, overwrite=overwrite)
    columns = units_table.embedding_columns(units, "nuclr")
    nwbfile = pynwb.NWBFile(
        session_description=session,
        identifier=str(uuid4()),
        session_start_time=start_time or datetime.now(UTC),
    )
    own = units_table.user_columns(units, columns, "nuclr")
    nwbfile.units = units_table.build_table(units, {**own, **columns})
    nwbfile.epochs = pynwb.epoch.TimeIntervals(
        name="epochs", description="Time support: when the units were observed."
    )
    for start, stop in units.time_support.values:
        nwbfile.epochs.add_interval(start_time=float(start), stop_time=float(stop))
    if columns:
        units_table.add_provenance(nwbfile, units, "nuclr", {})
    with replacing(path) as draft, pynwb.NWBHDF5IO(draft, "w") as io:
        io.write(nwbfile)
    return path


def describe_nwb(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Say what the units table of an NWB file holds, and whether it is embedded.

    Returns
    -------
    dict
        ``units`` (how many), ``columns`` (names), ``labels`` (names of ``predicted_*`` columns)
        and ``embeddings``: prefix → how it was made (version, encoder, date, settings).

    Raises
    ------
    FileNotFoundError, ValueError
        As `read_units`.
    """
    with units_table.open_table(existing_file(path)) as table:
        names = units_table.column_names(table)
        prefixes = [name.removesuffix("_embedding") for name in names]
        return {
            "units": len(table["id"]),
            "columns": names,
            "labels": [name for name in names if name.startswith(PREDICTED)],
            "embeddings": {
                prefix: {
                    "dimensions": str(table[name].shape[1]),
                    **units_table.provenance(table, prefix),
                }
                for name, prefix in zip(names, prefixes, strict=True)
                if name != prefix and units_table.is_ours(table, name)
            },
        }


@contextmanager
def _open(path: Path, mode: str) -> Iterator[tuple[Any, Any]]:
    """Open an NWB file with pynwb; ValueError if it cannot read it."""
    import pynwb

    with pynwb.NWBHDF5IO(path, mode) as io:
        try:
            nwbfile = io.read()
        except Exception as error:  # whatever pynwb meets in a file that is HDF5 but no NWB
            raise ValueError(f"pynwb cannot read {path} as NWB: {error}") from error
        yield io, nwbfile
