"""Recordings in, from files of any registered format."""

from __future__ import annotations

import inspect
import os
import warnings
from typing import Any

import pynapple as nap

from pynapple_nuclr.columns.metadata import stored_columns
from pynapple_nuclr.columns.missing import as_texts
from pynapple_nuclr.io.formats import Format, format_of
from pynapple_nuclr.nwb.observed_time import check_epochs
from pynapple_nuclr.nwb.read_report import ReadReport
from pynapple_nuclr.nwb.row_metadata import warn_of_noise
from pynapple_nuclr.user_warnings import list_some


def read_recording(
    source: str | os.PathLike[str],
    *,
    epochs: str | nap.IntervalSet | None = None,
    cells: str = "accepted",
    only: str | None = None,
    verbose: bool = False,
    **options: Any,
) -> nap.TsGroup | nap.TsdFrame:
    """Read what a file recorded: its units, or its calcium traces if it has no units.

    Parameters
    ----------
    source : str or path
        A file, folder or address of any format: as `read_units` and `read_traces`.
    epochs : str or IntervalSet, optional
        As `read_units`.
    cells : {"accepted", "all"}
        Which ROIs of a calcium recording, or clusters of phy, to read, as `read_traces` and
        `read_units`.
    only : str, optional
        ``"COLUMN=VALUE"``: only the neurons whose metadata column has this value, such as
        ``"group=good"`` of phy. The others are no part of the population.
    verbose : bool
        Print what was read.
    **options
        Of the format's reader.

    Returns
    -------
    TsGroup or TsdFrame
        As `read_units` or `read_traces` return it.

    Raises
    ------
    FileNotFoundError, ConnectionError, ImportError, TypeError
        As `read_units`.
    ValueError
        If it holds neither units with spikes nor traces of ROIs.

    Examples
    --------
    >>> import tempfile, pynapple as nap
    >>> from pynapple_nuclr import read_recording, write_units
    >>> units = nap.TsGroup({3: nap.Ts([0.1, 0.7]), 8: nap.Ts([0.5, 0.9])})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     type(read_recording(write_units(units, f"{folder}/day1.nwb"))).__name__
    'TsGroup'
    """
    reader = format_of(source).reader("recording")
    if reader is not None and "cells" in inspect.signature(reader).parameters:
        options["cells"] = cells
    recording = _read("recording", source, epochs, verbose, options)
    if only is not None:
        recording = _with_value(recording, only, source)
    _warn_of_noise(recording, source, cells)
    return recording


def read_units(
    source: str | os.PathLike[str],
    *,
    epochs: str | nap.IntervalSet | None = None,
    verbose: bool = False,
    **options: Any,
) -> nap.TsGroup:
    """Read sorted units, with the time in which they were observed and their metadata.

    Like ``nap.load_file(source)["units"]``, except that the time support is the file's
    ``obs_intervals``, where it has them, without its ``invalid_times``; pynapple itself takes the
    time from the first spike to the last. Where units were observed at different times, it is
    the time that all share, with a warning; if they share none, it is pynapple's. Units without
    intervals keep all their spikes, and the time support is then that of the whole file. Spikes
    outside of the intervals are left out, with a warning; unless they are so many that the
    intervals must be of another clock, which are then not used.

    Metadata are the columns with one number, truth value or text per unit, and:

    - ``location``: the unit's own column of a brain region, else the region of its electrodes
      (the peak channel, else the most common one), else that of its electrode group. Texts such
      as "unknown" count as none.
    - ``electrode_group`` and ``probe`` (the device), where known.
    - ``subject``: the ``subject_id`` of the file.

    A column ``rate`` becomes ``rate_``: pynapple has its own.

    Parameters
    ----------
    source : str or path
        An NWB file with a units table, in HDF5 or (a folder) in Zarr; the address (http, https,
        s3 or ``dandi:DANDISET/path``) of a file in HDF5, of which nothing but the units table is
        read; a folder of phy or Kilosort; or any format that an installed package registers.
    epochs : str or IntervalSet, optional
        Use only these epochs; or the name of a table of intervals in an NWB file, such as
        ``"trials"``.
    verbose : bool
        Print what was read: source, time support, columns, what was left out and why.
    **options
        Of the format's reader. Of NWB: ``table``, which table of units, by name or place, such as
        ``"processing/ecephys/sorted"`` (default: ``"units"``, or the only one of the file); and
        ``clock``, for spike times that start again, as those of files joined without their times
        do: "continuous" (default) is an error, with "restart" the parts follow one another with
        a gap. Of phy: ``sampling_frequency`` in Hz, and ``cells``: "accepted" (default: without
        the clusters of the group "noise") or "all".

    Returns
    -------
    TsGroup

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ConnectionError
        If a server does not answer, or refuses.
    ImportError
        If a package is missing that the format needs (hdf5plugin, hdmf-zarr, SpikeInterface,
        dandi).
    TypeError
        If `epochs` is neither intervals nor a name, or the reader has no such option.
    ValueError
        If the file cannot be read, has no units with spikes or several tables of them, or no
        intervals of the name `epochs`, or those are not in the session's time; if its clock
        starts again; if a server cannot send parts of a file.

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
    units = _read("units", source, epochs, verbose, options)
    _warn_of_noise(units, source, options.get("cells"))
    return units


def read_traces(
    source: str | os.PathLike[str],
    *,
    epochs: str | nap.IntervalSet | None = None,
    verbose: bool = False,
    **options: Any,
) -> nap.TsdFrame:
    """Read calcium traces, with the table of their ROIs as metadata.

    Of several series ΔF/F is preferred, then fluorescence (corrected or denoised before raw),
    then deconvolved events, as the words of their names say; neuropil, background and baseline
    are read only by name. Of several series of one kind (one per imaging plane, say) it is the
    first by name; the log names the others. The time support is when frames were taken, without
    the file's ``invalid_times``.

    Parameters
    ----------
    source : str or path
        An NWB file with a ``RoiResponseSeries``, as in `read_units`; a folder of Suite2p
        (``suite2p/plane0``); or any format that an installed package registers.
    epochs : str or IntervalSet, optional
        Read only these epochs; or the name of a table of intervals in an NWB file.
    verbose : bool
        Print what was read: source, time support, columns, what was left out and why.
    **options
        Of the format's reader. Of NWB and Suite2p:

        - ``cells``: "accepted" (default: without the ROIs that the file rejects, in the column
          ``iscell``, ``Accepted`` and ``Rejected``, ``keep``, ``valid_roi``, ``status`` or one
          like these, the first that is there in this order), "all", or the name of a column of
          verdicts. The log says what was left out.
        - ``signal``: "dff", "fluorescence", "events" or "background". "dff", where the file has
          none, is F − 0.7 Fneu (of the same ROIs, if it is there and not yet removed), relative
          to a running 8th percentile over 60 s. Default: of NWB what the file has, "dff" first;
          of Suite2p "dff".

        Of NWB: ``name``, the series by its name or the part of its path that no other has, such
        as ``"DfOverF/plane1"``; and ``max_gap``: where no frame was taken for longer than this
        many frame periods (of 0.23 s at least), the time support has a gap. Of Suite2p:
        ``frame_rate`` in Hz.

    Returns
    -------
    TsdFrame (frames, ROIs)
        In the file's unit of measurement. Columns are the ids of the ROIs. Metadata are the
        columns of the ROI table with one value per ROI, ``roi_table`` (its name), ``signal``,
        ``subject`` and ``location`` (brain region: that of the ROI table, else of the imaging
        plane), if known. ROIs that are NaN throughout are left out, with one warning.

    Raises
    ------
    FileNotFoundError, ConnectionError, ImportError, TypeError
        As `read_units`.
    ValueError
        If the file has no such series or column, no ROI is a cell, or the series does not fit
        its ROIs or times.

    Examples
    --------
    >>> import tempfile, numpy as np, pynwb
    >>> from pynwb.testing.mock import file, ophys
    >>> from pynapple_nuclr import read_traces
    >>> nwbfile = file.mock_NWBFile()
    >>> rois = ophys.mock_PlaneSegmentation(n_rois=3, nwbfile=nwbfile)
    >>> rois.add_column("iscell", "judged by eye", data=[True, False, True])
    >>> series = ophys.mock_RoiResponseSeries(
    ...     name="dff", data=np.ones((20, 3)), rate=10.0, n_rois=3, plane_segmentation=rois)
    >>> _ = ophys.mock_DfOverF(roi_response_series=[series], nwbfile=nwbfile)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with pynwb.NWBHDF5IO(f"{folder}/day1.nwb", "w") as io:
    ...         io.write(nwbfile)
    ...     traces = read_traces(f"{folder}/day1.nwb")
    >>> traces.shape, traces.columns.tolist(), traces.metadata_columns
    ((20, 2), [0, 2], ['signal', 'roi_table', 'iscell'])
    """
    return _read("traces", source, epochs, verbose, options)


_TYPES = {"units": nap.TsGroup, "traces": nap.TsdFrame, "recording": (nap.TsGroup, nap.TsdFrame)}


def _with_value(units: Any, only: str, source: Any) -> Any:
    """Return the neurons whose column has a value."""
    column, found, value = only.partition("=")
    if not found or column not in units.metadata_columns:
        names = ", ".join(map(str, units.metadata_columns)) or "none"
        raise ValueError(
            f"{source}: only={only!r}; expected COLUMN=VALUE, with a column of {names}"
        )
    texts = units[column].astype(str)
    chosen = (texts == value).to_numpy() | (as_texts(units[column]) == value)  # 1.0 is 1
    if not chosen.any():
        values = list_some(sorted(set(texts) - {""})) or "nothing"
        raise ValueError(f"{source}: no neuron has {only}; {column} is one of {values}")
    if isinstance(units, nap.TsGroup):
        return units[units.index[chosen]]
    return units[:, chosen]


def _warn_of_noise(units: nap.TsGroup | nap.TsdFrame, source: Any, cells: str | None) -> None:
    """Warn of units that their labels call noise or multi-unit, unless all were asked for."""
    if isinstance(units, nap.TsGroup) and cells != "all":
        warn_of_noise(stored_columns(units), source)


def _read(what: str, source: Any, epochs: Any, verbose: bool, options: dict[str, Any]) -> Any:
    """Read a file with the reader of its format."""
    check_epochs(epochs)
    file_format = format_of(source)
    reader = file_format.reader(what)
    if reader is None:
        able = " and ".join(kind for kind in ("units", "traces") if file_format.reader(kind))
        read = "nothing can be read: it holds results, no activity; give the recording itself"
        if able:
            read = f"{able} can be read, not {what}"
        raise ValueError(f"{source} is of the format {file_format.name!r}, of which {read}")
    parameters = inspect.signature(reader).parameters
    _check_options(file_format, source, parameters, options)
    if reads_epochs := "epochs" in parameters:
        options["epochs"] = epochs
    if "verbose" in parameters:
        options["verbose"] = verbose
    result = reader(source, **options)
    if not isinstance(result, _TYPES[what]):
        raise TypeError(
            f"{source}: the reader of the format {file_format.name!r} returned a "
            f"{type(result).__name__}; expected a pynapple TsGroup or TsdFrame"
        )
    if not reads_epochs and epochs is not None:
        result = _restrict(result, source, epochs)
    if verbose and "verbose" not in parameters:
        print(_report(result, source, file_format))
    return result


def _report(units: Any, source: Any, file_format: Format) -> ReadReport:
    """Return what is known of a reading whose reader has no report of its own."""
    n_read = len(units) if isinstance(units, nap.TsGroup) else units.shape[1]
    columns = ", ".join(map(str, units.metadata_columns)) or "none"
    how = f"the reader of the format {file_format.name!r}"
    return ReadReport(
        str(source), file_format.name, n_read, units.time_support, how, more={"columns": columns}
    )


def _check_options(
    file_format: Format, source: Any, parameters: Any, options: dict[str, Any]
) -> None:
    """Refuse options that the reader of a format does not have."""
    if any(one.kind is one.VAR_KEYWORD for one in parameters.values()):
        return
    if unknown := [name for name in options if name not in parameters]:
        known = ", ".join(list(parameters)[1:]) or "none"
        raise TypeError(
            f"{source}: the reader of the format {file_format.name!r} has no option "
            f"{', '.join(map(repr, unknown))}; it has {known}"
        )


def _restrict(units: Any, source: Any, epochs: Any) -> Any:
    """Cut what was read to epochs."""
    if isinstance(epochs, str):
        raise ValueError(
            f"{source} has no tables of intervals, such as {epochs!r}; give epochs as a pynapple "
            "IntervalSet"
        )
    with warnings.catch_warnings():  # of an empty intersection: an error follows where it is used
        warnings.simplefilter("ignore")
        return units.restrict(epochs)
