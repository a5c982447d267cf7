"""NWB files out: embeddings and predicted labels into the units table; new, minimal files."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pynapple as nap

from pynapple_nuclr.columns import PREDICTED
from pynapple_nuclr.io import units_table
from pynapple_nuclr.io.files import check_output, existing_file, replacing
from pynapple_nuclr.io.opening import open_nwb


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
        with open_nwb(draft, "r+") as (io, nwbfile):
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
