"""NWB files in: recordings, with the time in which they were observed."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pynapple as nap

from pynapple_nuclr.nwb.observed_time import check_epochs, named_epochs, observed
from pynapple_nuclr.nwb.opening import open_nwb
from pynapple_nuclr.nwb.row_metadata import describe_units, scalar_columns
from pynapple_nuclr.nwb.trace_kinds import roi_responses
from pynapple_nuclr.nwb.traces import traces_of
from pynapple_nuclr.nwb.values import read_ragged, read_values


def read_recording(
    source: str | os.PathLike[str],
    *,
    epochs: str | nap.IntervalSet | None = None,
    cells: str | None = "accepted",
    signal: str | None = None,
) -> nap.TsGroup | nap.TsdFrame:
    """Read what an NWB file recorded: its units, or its calcium traces if it has no units.

    Parameters
    ----------
    source : str or path
        As `read_units`.
    epochs : str or IntervalSet, optional
        As `read_units`.
    cells, signal : str, optional
        Of calcium, as `pynapple_nuclr.nwb.traces.read_nwb_traces`.

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
    >>> from pynapple_nuclr import write_units
    >>> from pynapple_nuclr.nwb.units import read_recording
    >>> units = nap.TsGroup({3: nap.Ts([0.1, 0.7]), 8: nap.Ts([0.5, 0.9])})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     type(read_recording(write_units(units, f"{folder}/day1.nwb"))).__name__
    'TsGroup'
    """
    check_epochs(epochs)
    with open_nwb(source) as (_, nwbfile):
        chosen = named_epochs(nwbfile, source, epochs)
        table = nwbfile.units
        if _has_spike_times(table) and len(table["spike_times"].target.data):
            return _units(nwbfile, source, chosen)
        if roi_responses(nwbfile):
            return traces_of(nwbfile, source, epochs=chosen, cells=cells, signal=signal)
    raise ValueError(
        f"{source} has neither units with spikes nor traces of ROIs (RoiResponseSeries); expected "
        "a file of sorted units or of extracted calcium traces"
    )


def read_units(
    source: str | os.PathLike[str], *, epochs: str | nap.IntervalSet | None = None
) -> nap.TsGroup:
    """Read the units of an NWB file with the time in which they were observed.

    Like ``nap.load_file(source)["units"]``, except that the time support is the file's
    ``obs_intervals``, where it has them; pynapple itself takes the time from the first spike to
    the last, gaps between trials included. Where units were observed at different times, it is
    the time that all share, with a warning; if they share none, it is pynapple's. Intervals
    without a start before an end (NaN, infinite) are left out, with a warning.

    Metadata are the columns with one number, truth value or text per unit, and the location of
    the electrodes if all electrodes of a unit share it. A column ``rate`` becomes ``rate_``:
    pynapple has its own.

    Parameters
    ----------
    source : str or path
        An NWB file with a units table, in HDF5 or (a folder) in Zarr; or the address (http or
        https) of a file in HDF5, for example of the DANDI archive, of which nothing but the
        units table is read.
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
    ConnectionError
        If a server does not answer, or refuses.
    ImportError
        If it is Zarr and hdmf-zarr is not installed.
    TypeError
        If `epochs` is neither intervals nor a name.
    ValueError
        If it is no NWB file, has no units with spikes, or no intervals of the name `epochs`; if
        a server cannot send parts of a file.

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
    check_epochs(epochs)
    with open_nwb(source) as (_, nwbfile):
        return _units(nwbfile, source, named_epochs(nwbfile, source, epochs))


def _units(nwbfile: Any, source: Any, epochs: nap.IntervalSet | None) -> nap.TsGroup:
    """Read the units of an open file."""
    table = nwbfile.units
    if not _has_spike_times(table):
        raise ValueError(
            f"{source} has no units table with spike times; write the sorted units to it first, "
            "or make a file with nap_nuclr.write_units(units, path)"
        )
    ids = read_values(table.id.data)
    if len(np.unique(ids)) < len(ids):
        twice = sorted({int(unit) for unit in ids if (ids == unit).sum() > 1})
        raise ValueError(
            f"{source}: of the ids of its {len(ids)} units these occur twice: {twice[:10]}; "
            "expected an id of its own for each unit"
        )
    # One read for all: every unit by itself would be a request each to a server.
    trains = [np.asarray(train, np.float64) for train in read_ragged(table["spike_times"])]
    for unit, train in zip(ids, trains, strict=True):
        if not np.isfinite(train).all():
            raise ValueError(
                f"{source}: unit {unit} has spike times that are NaN or infinite; expected seconds"
            )
    support = observed(table, source)
    if support is None:  # pynapple's way: from the first spike to the last
        spikes = np.concatenate([np.empty(0), *trains])
        if len(np.unique(spikes)) < 2:
            raise ValueError(
                f"{source} does not say when its {len(ids)} units were observed, and has "
                f"{len(spikes)} spikes to tell it by; expected obs_intervals, or two spikes"
            )
        # Epochs are taken as they are: that support cuts the first and the last at a spike.
        support = nap.IntervalSet(spikes.min(), spikes.max()) if epochs is None else epochs
    elif epochs is not None:
        support = support.intersect(epochs)
    units = nap.TsGroup(
        {
            int(unit): nap.Ts(np.sort(train), time_support=support)
            for unit, train in zip(ids, trains, strict=True)
        },
        time_support=support,
        bypass_check=True,  # they are within it: else pynapple warns of units with one spike
    )
    places = np.argsort(ids)  # a TsGroup sorts its units by id
    describe_units(units, {name: values[places] for name, values in scalar_columns(table).items()})
    return units


def _has_spike_times(table: Any) -> bool:
    """Say whether a units table (None: the file has none) has a ragged column of spike times."""
    return (
        table is not None
        and "spike_times" in table.colnames
        and hasattr(table["spike_times"], "target")
    )
