"""NWB files out: embeddings and predicted labels into the table of neurons; new, small files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal
from uuid import uuid4

import pynapple as nap
import pynwb

from pynapple_nuclr.atomic_files import (
    atomic_write,
    check_output,
    check_space,
    copy_whole,
    existing_file,
)
from pynapple_nuclr.columns import PREDICTED
from pynapple_nuclr.nwb.new_units_table import build_table
from pynapple_nuclr.nwb.observed_time import OF_WRITE_UNITS
from pynapple_nuclr.nwb.opening import (
    is_remote,
    is_zarr,
    manager_of_types,
    open_nwb,
    source_name,
)
from pynapple_nuclr.nwb.provenance import add_provenance, sign
from pynapple_nuclr.nwb.small_files import copy_parts, kept_parts, link_rest, size_of
from pynapple_nuclr.nwb.table_columns import embedding_columns, size_in_file, user_columns
from pynapple_nuclr.nwb.write_plan import apply_plan, plan_write
from pynapple_nuclr.recording import Units
from pynapple_nuclr.user_warnings import warn_user

Raw = Literal["copy", "link", "drop"]


def write_nwb(
    units: Units,
    source: str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    *,
    raw: Raw | None = None,
    overwrite: bool = False,
    prefix: str = "nuclr",
    settings: Mapping[str, object] | None = None,
) -> Path:
    """Write embeddings and predicted labels into a copy of the NWB file they were made from.

    The vectors become one column ``nuclr_embedding`` (units × dim, float32) of the units table,
    or of the table of ROIs (``PlaneSegmentation``) for calcium; stability, windows, encoder and
    every ``predicted_*`` column become scalar columns, which ``nap.load_file`` reads. Rows are
    matched by id; those that are not in `units` get NaN, 0 windows and "". Where it all came from
    (version, encoder, date, source, settings) is noted in ``processing/nuclr``.

    Columns of the same name are replaced. Vectors that the file has already, and their summary,
    stay as they are if `units` have none (``nap.load_file`` reads no vectors); but they go, and
    labels predicted from them too, with a warning, if `units` are signed by another encoder.

    Parameters
    ----------
    units : TsGroup or TsdFrame
        Embedded units of the recording in `source`, or some of them; or embedded traces, whose
        columns are ids of ROIs, as ``read_traces`` returns them.
    source : str or path
        The NWB file that they were loaded from: HDF5, a Zarr folder (``.zarr``), or a URL; or
        one that is open (`open_nwb`).
    output : str or path, optional
        The file to write. Default: ``<name>_nuclr.nwb`` (or ``.zarr``) beside the source; for a
        URL, in the current folder.
    raw : {"copy", "link", "drop"}, optional
        What to do with the raw data. "copy": the whole file is copied. "drop": a small file with
        the session's metadata, its intervals, the units and their electrodes, or the ROIs and
        their traces. "link": the same, and links to everything
        else in `source`, which must then stay where it is. Default: "copy"; "drop" for a URL.
    overwrite : bool
        Replace an existing `output`, which may be the source itself (with "copy").
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
        If there is no `source`; if `output` exists and `overwrite` is False, or another has
        written it meanwhile.
    BlockingIOError
        If another has changed `output` meanwhile, which is as they left it.
    OSError
        If the disk has no space for the copy.
    TypeError
        If `units` is neither a ``TsGroup`` nor a ``TsdFrame``.
    ValueError
        If `units` is not embedded, has ids that the file lacks, or other spikes than the file; if
        `raw` is none of the three, or not possible for this source.

    Notes
    -----
    The new file is made beside `output` and put in its place once it is complete: on failure an
    existing file stays as it was. Links to other files are copied as they are, so a file with
    relative links needs its output in the same folder. In a small file, columns that refer to raw
    data (such as ``timeseries`` of trials) are left out; the log names them.

    Examples
    --------
    >>> import tempfile, pynapple as nap, pynapple_nuclr as nap_nuclr
    >>> from pynapple_nuclr.columns import add_columns
    >>> units = nap.TsGroup({3: nap.Ts([0.1, 0.7]), 8: nap.Ts([0.5])})
    >>> embedded = add_columns(units, vectors=[[1.0, 0.5], [-1.0, 2.0]],
    ...     summary={"nuclr_stability": [0.9, 0.8], "nuclr_encoder": ["tiny@0a1b2c3d"] * 2})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     source = nap_nuclr.write_units(units, f"{folder}/day1.nwb")
    ...     path = nap_nuclr.write_nwb(embedded, source)
    ...     print(path.name, nap.load_file(path)["units"]["nuclr_stability"].tolist())
    day1_nuclr.nwb [0.9, 0.8]
    """
    columns = embedding_columns(units, prefix)
    path, output, raw = resolve_arguments(source, output, raw, overwrite)
    if not columns:
        raise ValueError(
            f"units have no columns {prefix}_0 …, {prefix}_stability or {PREDICTED}* to write to "
            f"{output}; embed them first: units = nap_nuclr.embed(units)"
        )
    check_space(output, size_in_file(columns))
    with atomic_write(output, overwrite=overwrite) as draft:
        with open_nwb(source) as file:
            plan = plan_write(units, file, columns, prefix, settings, is_new=raw != "copy")
            parts = kept_parts(file.nwbfile, file.nwbfile.objects[plan.table_id])
            if raw != "copy":
                stored = file.io._file
                check_space(output, size_of(stored, parts) + size_in_file(columns))
                copy_parts(stored, draft, parts, link=raw == "link")
        if raw == "copy":
            copy_whole(Path(path), draft, output)
        apply_plan(plan, draft)
        if raw == "link":
            link_rest(draft, Path(path), output, parts)
    if plan.outdated:
        warn_user(
            f"removed from {output}: {', '.join(plan.outdated)}, which belong to the earlier "
            "embedding"
        )
    return output


def resolve_arguments(
    source: str | os.PathLike[str],
    output: str | os.PathLike[str] | None,
    raw: Raw | None,
    overwrite: bool,
) -> tuple[str | Path, Path, Raw]:
    """Return source, output and `raw` of `write_nwb` in full, checked before any long work."""
    if raw not in (None, "copy", "link", "drop"):
        raise ValueError(f"raw is {raw!r}; expected 'copy', 'link' or 'drop'")
    if is_remote(source):
        if raw not in (None, "drop"):
            raise ValueError(
                f"raw={raw!r} needs a local file, and {source_name(source)} is remote; expected "
                "'drop', or download the file first"
            )
        default = Path(f"{Path(source_name(source)).stem or 'remote'}.nwb")
        return str(source), check_output(output, source=default, overwrite=overwrite), "drop"
    if Path(source).is_dir() and not (Path(source) / ".zgroup").is_file():
        raise ValueError(
            f"{source} is a folder, not an NWB file to copy; units of phy or Suite2p go into a new "
            "file: write_units(units, 'new.nwb') for spikes, write_table(units, 'new.csv') for all"
        )
    source, raw = existing_file(source), raw or "copy"
    if is_zarr(source) and raw != "copy":
        raise ValueError(f"raw={raw!r} needs an HDF5 file, and {source} is Zarr; expected 'copy'")
    suffix = ".zarr" if is_zarr(source) else ".nwb"
    output = check_output(output, source=source, overwrite=overwrite, suffix=suffix)
    if raw != "copy" and output.exists() and output.samefile(source):
        raise ValueError(
            f"raw={raw!r} would leave {source} without its raw data; choose another output"
        )
    return source, output, raw


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
        Description of the session, which NWB requires.
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
    path = check_output(path, overwrite=overwrite)
    if not isinstance(units, nap.TsGroup):
        raise TypeError(f"units is a {type(units).__name__}; expected a TsGroup")
    columns = embedding_columns(units, "nuclr")
    nwbfile = pynwb.NWBFile(
        session_description=session,
        identifier=str(uuid4()),
        session_start_time=start_time or datetime.now(timezone.utc),
    )
    sign(nwbfile)
    own = user_columns(units, columns, "nuclr")
    nwbfile.units = build_table(units, {**own, **columns})
    nwbfile.epochs = pynwb.epoch.TimeIntervals(name="epochs", description=OF_WRITE_UNITS)
    for start, stop in units.time_support.values:
        nwbfile.epochs.add_interval(start_time=float(start), stop_time=float(stop))
    if columns:
        add_provenance(nwbfile, units, "nuclr", {})
    spikes = sum(len(train) for train in units.values())
    check_space(path, size_in_file({**own, **columns}) + 8 * spikes)
    with (
        atomic_write(path, overwrite=overwrite) as draft,
        pynwb.NWBHDF5IO(draft, "w", manager=manager_of_types()) as io,
    ):
        io.write(nwbfile)
    return path
