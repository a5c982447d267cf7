"""NWB files in: recordings, with the time in which they were observed."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pynapple as nap

from pynapple_nuclr.nwb.neuron_tables import (
    UNITS_TABLE,
    choose_units,
    is_silent,
    location,
    units_tables,
)
from pynapple_nuclr.nwb.observed_time import (
    check_epochs,
    is_within,
    named_epochs,
    observed,
    show_intervals,
    warn_if_trials_are_elsewhere,
    without_invalid_times,
)
from pynapple_nuclr.nwb.opening import OpenNWB, open_nwb
from pynapple_nuclr.nwb.read_notes import ReadNotes
from pynapple_nuclr.nwb.read_report import ReadReport
from pynapple_nuclr.nwb.row_metadata import (
    columns_not_read,
    describe_units,
    scalar_columns,
    subject_of,
    warn_if_not_sorted,
)
from pynapple_nuclr.nwb.spike_trains import Clock, check_clock, clean_trains
from pynapple_nuclr.nwb.trace_kinds import roi_responses
from pynapple_nuclr.nwb.traces import read_nwb_traces
from pynapple_nuclr.nwb.unit_origin import GROUP_NAME, unit_origin
from pynapple_nuclr.nwb.values import read_ragged, read_values
from pynapple_nuclr.recording import intersect
from pynapple_nuclr.user_warnings import list_some, show_span


def read_recording(
    source: str | os.PathLike[str] | OpenNWB,
    *,
    epochs: str | nap.IntervalSet | None = None,
    table: str | None = None,
    clock: Clock = "continuous",
    cells: str | None = "accepted",
    signal: str | None = None,
    verbose: bool = False,
) -> nap.TsGroup | nap.TsdFrame:
    """Read units, or calcium traces if there are none: see `pynapple_nuclr.read_recording`."""
    check_epochs(epochs)
    check_clock(clock)
    with open_nwb(source) as file:
        has_units = table is not None or not all(map(is_silent, units_tables(file.nwbfile)))
        wants_traces = table is None and (signal is not None or not has_units)
        if wants_traces and roi_responses(file.nwbfile):
            return read_nwb_traces(file, epochs=epochs, cells=cells, signal=signal, verbose=verbose)
        if has_units:
            return read_units(file, epochs=epochs, table=table, clock=clock, verbose=verbose)
    raise ValueError(
        f"{source} has neither units with spikes nor traces of ROIs (RoiResponseSeries); expected "
        "a file of sorted units or of extracted calcium traces"
    )


def read_units(
    source: str | os.PathLike[str] | OpenNWB,
    *,
    epochs: str | nap.IntervalSet | None = None,
    table: str | None = None,
    clock: Clock = "continuous",
    verbose: bool = False,
) -> nap.TsGroup:
    """Read the units of an NWB file, as `pynapple_nuclr.read_units` documents."""
    check_epochs(epochs)
    check_clock(clock)
    with open_nwb(source) as file:
        units, report = units_and_report(file, epochs, table, clock)
    if verbose:
        print(report)
    return units


def units_and_report(
    file: OpenNWB,
    epochs: str | nap.IntervalSet | None = None,
    name: str | None = None,
    clock: Clock = "continuous",
) -> tuple[nap.TsGroup, ReadReport]:
    """Return the units of an open file, from its table `name`, and what was read of it."""
    nwbfile, notes = file.nwbfile, ReadNotes(file)
    table = choose_units(nwbfile, file, name)
    warn_if_not_sorted(table, notes)
    chosen = named_epochs(nwbfile, file, epochs)
    ids = read_values(table.id.data)
    _check_ids(ids, file)
    # One read for all: every unit by itself would be a request each to a server.
    trains = [one.astype(np.float64).ravel() for one in read_ragged(table["spike_times"])]
    trains, parts = clean_trains(trains, ids, clock, notes)
    own: list[nap.IntervalSet | None] = [None] * len(trains)
    if parts is None:
        support, own = observed(table, trains, notes)
    elif isinstance(epochs, str):
        raise ValueError(
            f"{file}: epochs={epochs!r} cannot be used with clock='restart': it is not known which "
            "part of the clock these intervals belong to; give epochs as an IntervalSet"
        )
    else:
        support, notes.time_from = parts, "first to last spike of each part of the clock"
    if support is None:
        support = _from_spikes(trains, chosen, epochs, notes)
    if chosen is None and parts is None:
        first, last = support.start[0], support.end[-1]
        warn_if_trials_are_elsewhere(nwbfile, first, last, "its spikes", notes)
    if chosen is not None:
        support = _within_epochs(support, chosen, epochs, notes)
    if parts is None:
        support = without_invalid_times(nwbfile, support, notes)
    kept = [
        train if one is None or not len(train) else train[is_within(train, one)]
        for train, one in zip(trains, own, strict=True)
    ]
    units = nap.TsGroup(
        {int(unit): nap.Ts(one, time_support=support) for unit, one in zip(ids, kept, strict=True)},
        time_support=support,
        bypass_check=True,  # they are within it: else pynapple warns of units with one spike
    )
    columns = _columns(nwbfile, table, notes)
    if series := roi_responses(nwbfile):
        notes.left_out.append(f"{len(series)} series of calcium traces: read_traces reads them")
    order = np.argsort(ids)  # a TsGroup sorts its units by id
    describe_units(units, {key: values[order] for key, values in columns.items()})
    report = ReadReport(
        source=str(file),
        table=location(table),
        n_read=len(units),
        time_support=support,
        time_from=notes.time_from,
        region=notes.columns.get("region"),
        probe=notes.columns.get("probe"),
        left_out=tuple(notes.left_out),
        more={"subject": subject_of(nwbfile) or "none"},
    )
    return units, report


def _check_ids(ids: Any, source: Any) -> None:
    if len(np.unique(ids)) < len(ids):
        twice = sorted({int(unit) for unit in ids if (ids == unit).sum() > 1})
        raise ValueError(
            f"{source}: of the ids of its {len(ids)} units these occur twice: {list_some(twice)}; "
            "expected an id of its own for each unit"
        )


def _from_spikes(
    trains: list[Any], chosen: nap.IntervalSet | None, asked: Any, notes: ReadNotes
) -> nap.IntervalSet:
    """Return the time from the first spike to the last, as pynapple does; or epochs within it."""
    spikes = np.concatenate([np.empty(0), *trains])
    if len(np.unique(spikes)) < 2:
        raise ValueError(
            f"{notes.source} does not say when its {len(trains)} units were observed, and has "
            f"{len(spikes)} spikes to take it from; expected obs_intervals, or two spikes"
        )
    notes.time_from = "first to last spike"
    support = nap.IntervalSet(spikes.min(), spikes.max())
    if chosen is None or not len(chosen) or not len(intersect(support, chosen)):
        return support
    # Those in it stay as they are: the first and the last spike would cut them.
    is_in = (chosen.end >= spikes.min()) & (chosen.start <= spikes.max())
    if not is_in.all():
        outside = f"{(~is_in).sum()} of {len(is_in)} intervals {_name_of(asked)!r}"
        notes.warn(
            f"{outside} do not overlap the recording, which is "
            f"{show_span(support.start[0], support.end[-1])} (first to last spike), and are left "
            "out",
            left_out=f"{outside}: before the first spike, or after the last",
        )
    return chosen[is_in]


def _name_of(asked: Any) -> str:
    """Return what messages call the intervals that were asked for."""
    return asked if isinstance(asked, str) else "epochs"


def _within_epochs(
    support: nap.IntervalSet, chosen: nap.IntervalSet, asked: Any, notes: ReadNotes
) -> nap.IntervalSet:
    """Cut the time support to epochs; ValueError if they share no time."""
    within = intersect(support, chosen)
    if not len(within):
        name = _name_of(asked)
        raise ValueError(
            f"{notes.source}: the intervals {name!r} do not overlap the recording, which is "
            f"{show_span(support.start[0], support.end[-1])}; "
            f"{show_intervals(name, chosen.values)}"
        )
    named = f" within {asked!r}" if isinstance(asked, str) else " within the epochs given"
    notes.time_from += named
    return within


def _columns(nwbfile: Any, table: Any, notes: ReadNotes) -> dict[str, Any]:
    """Return the metadata of the units: their own, where they were recorded, whose they are."""
    columns = scalar_columns(table)
    if names := columns_not_read(table, columns):
        notes.left_out.append(f"columns {', '.join(names)}: not one number or text for each unit")
    if "group_name" in table.colnames and table["group_name"].description == GROUP_NAME:
        columns["electrode_group"] = columns.pop("group_name")
    columns |= unit_origin(nwbfile, table, columns, notes)
    n_units = len(table.id)
    if (subject := subject_of(nwbfile)) and "subject" not in columns:
        columns["subject"] = np.full(n_units, subject, dtype=object)
    if len(units_tables(nwbfile)) > 1:
        columns[UNITS_TABLE] = np.full(n_units, location(table), dtype=object)
    return columns
