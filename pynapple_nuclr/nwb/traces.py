"""Calcium in: the traces of ROIs (RoiResponseSeries) in an NWB file, with their table."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import pynapple as nap
from numpy.typing import NDArray

from pynapple_nuclr.nwb.delta_f import delta_f_over_f
from pynapple_nuclr.nwb.neuron_tables import name_of
from pynapple_nuclr.nwb.observed_time import (
    check_epochs,
    named_epochs,
    warn_if_trials_are_elsewhere,
    without_invalid_times,
)
from pynapple_nuclr.nwb.opening import OpenNWB, open_nwb
from pynapple_nuclr.nwb.read_notes import ReadNotes
from pynapple_nuclr.nwb.read_report import ReadReport
from pynapple_nuclr.nwb.roi_acceptance import (
    Verdict,
    accepted_rois,
    is_verdict,
    verdict_of_pair,
    verdicts,
)
from pynapple_nuclr.nwb.row_metadata import (
    describe_units,
    if_counted_from_1,
    scalar_columns,
    subject_of,
)
from pynapple_nuclr.nwb.trace_kinds import (
    check_signal,
    choose_series,
    is_corrected,
    kind_of,
    neuropil_of,
    other_than_cells,
    roi_responses,
)
from pynapple_nuclr.nwb.unit_origin import roi_origin
from pynapple_nuclr.nwb.values import check_stored, in_our_byte_order, read_values
from pynapple_nuclr.recording import intersect
from pynapple_nuclr.user_warnings import list_some, log, show_span, warn_user
from pynapple_nuclr.windows.frame_times import MAX_GAP, runs_of_frames

_CLOCK = 1e-9  # pynapple keeps times to the nanosecond


def read_nwb_traces(
    source: str | os.PathLike[str] | OpenNWB,
    *,
    name: str | None = None,
    epochs: str | nap.IntervalSet | None = None,
    cells: str | None = "accepted",
    signal: str | None = None,
    max_gap: float = MAX_GAP,
    verbose: bool = False,
) -> nap.TsdFrame:
    """Read the calcium traces of an NWB file, as `pynapple_nuclr.read_traces` documents."""
    check_epochs(epochs)
    check_signal(signal)
    with open_nwb(source) as file:
        traces, report = _traces_and_report(file, name, epochs, cells, signal, max_gap)
    if verbose:
        print(report)
    return traces


def _traces_and_report(
    file: OpenNWB,
    name: str | None,
    epochs: str | nap.IntervalSet | None,
    cells: str | None,
    signal: str | None,
    max_gap: float,
) -> tuple[nap.TsdFrame, ReadReport]:
    """Return the traces of an open file, and what was read of it."""
    nwbfile, source, notes = file.nwbfile, str(file), ReadNotes(file)
    epochs = named_epochs(nwbfile, file, epochs)
    found = roi_responses(nwbfile)
    path, series, is_made = choose_series(found, source, name, signal)
    where = f"{source}: {path}"
    if named := other_than_cells(series):
        notes.warn(
            f"{path} is read as calcium traces of single cells, but {named!r} names other signals, "
            "such as of fibers, wide-field imaging or voltage"
        )
    rows = read_values(series.rois.data).astype(np.int64)
    table = series.rois.table
    if not ((rows >= 0) & (rows < len(table.id))).all():
        raise ValueError(
            f"{where} refers to rows {rows.min()} to {rows.max()} of {table.name!r}, which has "
            f"{len(table.id)}; expected each to be one of its ROIs"
            + if_counted_from_1(rows, len(table.id))
        )
    columns = {key: values[rows] for key, values in _roi_columns(table, cells).items()}
    verdict = choose_cells(columns, cells, where, len(rows))
    columns = one_value_each(columns)
    columns |= roi_origin(table, columns, len(rows), notes)
    if others := _of_other_rois(found, series):
        notes.left_out.append(f"{', '.join(others)}: of other ROIs; name= reads one of them")
    is_transposed = _is_transposed(series, len(rows), where)
    times = _times(series, where, np.shape(series.data)[-1 if is_transposed else 0])
    if epochs is None:
        warn_if_trials_are_elsewhere(nwbfile, times[0], times[-1], "its frames", notes)
    support = without_invalid_times(nwbfile, imaged_time(times, epochs, where, max_gap), notes)
    first = np.searchsorted(times, support.start[0] - _CLOCK)
    last = np.searchsorted(times, support.end[-1] + _CLOCK, side="right")
    frames, neuropil = slice(first, last), None
    if is_made:  # of all frames: the baseline of an epoch begins before it
        frames = slice(0, len(times))
        neuropil = None if is_corrected(path) else neuropil_of(found, source, path)
    values = _values(series, frames, is_transposed)
    if is_made:
        background = _values(found[neuropil], frames, is_transposed) if neuropil else None
        values = delta_f_over_f(values, background, times, where, neuropil)[first:last]
    ids = read_values(table.id.data)[rows]
    alive = alive_rois(values, verdict.kept, ids, where)
    kept = verdict.kept & alive
    traces = nap.TsdFrame(
        times[first:last], values[:, kept], columns=ids[kept], time_support=support
    )
    # Ours come first: where the file has a column of that name, it is the file's that is renamed.
    ours = {"signal": "dff" if is_made else kind_of(series), "roi_table": name_of(table)}
    describe_units(traces, {key: np.repeat(value, kept.sum()) for key, value in ours.items()})
    describe_units(traces, {key: values[kept] for key, values in columns.items()})
    if (subject := subject_of(nwbfile)) and "subject" not in columns:
        describe_units(traces, {"subject": np.full(kept.sum(), subject, dtype=object)})
    more = {"series": path, "signal": ours["signal"], "subject": subject or "none"}
    if is_made:
        more["dF/F made of"] = " - 0.7 x ".join(filter(None, (path, neuropil)))
    return traces, report_of(
        source, ours["roi_table"], traces, verdict, alive, more, notes.left_out
    )


def _of_other_rois(found: dict[str, Any], series: Any) -> list[str]:
    """Return the paths of the series of the same kind, but of other ROIs, as of another plane."""
    alike = {path: one for path, one in found.items() if kind_of(one) == kind_of(series)}
    return [path for path, one in alike.items() if one.rois.table is not series.rois.table]


def report_of(
    source: Any,
    table: str,
    traces: nap.TsdFrame,
    verdict: Verdict,
    alive: NDArray[np.bool_],
    more: dict[str, str],
    left_out: Sequence[str] = (),
) -> ReadReport:
    """Return what was read of a file of traces."""
    rejected, dead = int((~verdict.kept).sum()), int((verdict.kept & ~alive).sum())
    rois = [f"{rejected} ROIs rejected by {verdict.column!r}"] if rejected else []
    rois += [f"{dead} ROIs: NaN throughout"] if dead else []
    return ReadReport(
        source=str(source),
        table=table,
        n_read=traces.shape[1],
        time_support=traces.time_support,
        time_from="the times of frames",
        region="location" if "location" in traces.metadata_columns else None,
        acceptance=verdict.column,
        left_out=(*rois, *left_out),
        more=more | ({"remarks": "; ".join(verdict.remarks)} if verdict.remarks else {}),
    )


def _roi_columns(table: Any, cells: str | None) -> dict[str, NDArray[Any]]:
    """Read a ROI table; of columns of verdicts also those of two values: verdict, probability."""
    columns = scalar_columns(table)
    for name in table.colnames:
        if name not in columns and (is_verdict(name) or name == cells):
            values = np.asarray(read_values(table[name].data))
            if values.ndim == 2 and values.shape[1] == 2 and values.dtype.kind in "biuf":
                columns[name] = values
    return columns


def one_value_each(columns: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return columns of one value; of Suite2p's pairs the verdict and its probability apart."""
    single: dict[str, NDArray[Any]] = {}
    for name, values in columns.items():
        if values.ndim == 1:
            single[name] = values
            continue
        verdict = verdict_of_pair(values)
        other = values[:, 1] if np.array_equal(verdict, values[:, 0]) else values[:, 0]
        single |= {name: verdict, f"{name}_probability": other}
    return single


def choose_cells(
    columns: dict[str, NDArray[Any]], cells: str | None, where: str, n_rois: int
) -> Verdict:
    """Return which ROIs are read; log the others once."""
    if cells is None or cells == "all":
        return Verdict(np.ones(n_rois, dtype=bool), None)
    verdict = accepted_rois(columns, n_rois)
    if cells != "accepted":
        values = verdicts(columns[cells], cells) if cells in columns else None
        if values is None:
            able = [name for name, one in columns.items() if verdicts(one, name) is not None]
            raise ValueError(
                f"{where}: cells={cells!r} is no column of truth values in its ROI table; it has "
                f"{', '.join(able) or 'none'}; cells='all' takes all ROIs"
            )
        verdict = Verdict(~(values <= 0.5), cells)
    if not verdict.kept.any():
        raise ValueError(
            f"{where}: of {n_rois} ROIs none is a cell by {verdict.column!r}; cells='all' takes all"
        )
    rejected = int((~verdict.kept).sum())
    remarks = [f"{rejected} of {n_rois} ROIs left out, rejected by the column {verdict.column!r}"]
    remarks = [*(remarks if rejected else []), *verdict.remarks]
    if remarks:
        log.warning("%s: %s; cells='all' reads all", where, "; ".join(remarks))
    return verdict


def alive_rois(
    values: NDArray[Any], kept: NDArray[np.bool_], ids: NDArray[Any], where: str
) -> NDArray[np.bool_]:
    """Return which ROIs (ROIs,) have any value at all; warn of the others that count as cells."""
    dead = np.isnan(values).all(axis=0)
    if not (kept & ~dead).any():
        raise ValueError(
            f"{where}: all of the {int(kept.sum())} ROIs to read are NaN throughout; expected ROIs "
            "with values; signal= reads another signal, where there is one"
        )
    if (dead & kept).any():
        warn_user(
            f"{where}: {int((dead & kept).sum())} of {int(kept.sum())} ROIs are NaN throughout "
            f"and left out, such as {list_some(ids[dead & kept])}"
        )
    return ~dead


def _is_transposed(series: Any, n_rois: int, where: str) -> bool:
    """Return whether data are (ROIs, frames), as some software writes them against the standard."""
    shape = np.shape(series.data)
    if len(shape) == 1 and n_rois == 1:
        return False
    if len(shape) == 1 or n_rois not in shape:
        raise ValueError(
            f"{where} has data of shape {shape}, but refers to {n_rois} ROIs; expected (frames, "
            f"{n_rois})"
        )
    return bool(shape[1] != n_rois)


def _times(series: Any, where: str, n_frames: int) -> NDArray[np.float64]:
    """Return the time of each frame (frames,), in seconds."""
    if series.timestamps is None:
        if not 0 < (series.rate or 0) < np.inf:
            raise ValueError(
                f"{where} has a rate of {series.rate} frames a second, and no times of frames; "
                "expected a positive rate"
            )
        times = (series.starting_time or 0.0) + np.arange(n_frames) / series.rate
    else:
        times = read_values(series.timestamps).astype(np.float64)
    if len(times) != n_frames or not (np.diff(times) > 0).all():  # NaN is no later time, either
        unknown, late = int(np.isnan(times).sum()), int((~(np.diff(times) > 0)).sum())
        raise ValueError(
            f"{where} has {len(times)} times for {n_frames} frames, {unknown} of them NaN and "
            f"{late} not after the one before; expected one time for each frame, in order"
        )
    return times


def imaged_time(
    times: NDArray[np.float64], epochs: nap.IntervalSet | None, where: str, max_gap: float
) -> nap.IntervalSet:
    """Return when frames were taken: interruptions are gaps."""
    runs = np.array(runs_of_frames(times, max_gap))
    starts, ends = times[runs[:, 0]], times[runs[:, 1] - 1]
    lasting = ends > starts
    support = nap.IntervalSet(starts[lasting], ends[lasting])
    if epochs is not None:
        support = intersect(support, epochs)
    if not len(support):
        raise ValueError(
            f"{where} has no two frames in a row in the chosen epochs; its {len(times)} frames "
            f"lie within {show_span(times[0], times[-1])}"
        )
    return support


def _values(series: Any, frames: slice, is_transposed: bool) -> NDArray[Any]:
    """Read traces (frames, ROIs) in the unit of the series."""
    check_stored(series.data)
    data = series.data[:, frames].T if is_transposed else series.data[frames]
    values = in_our_byte_order(np.asarray(data).reshape(len(data), -1))
    if values.dtype.kind != "f" or values.dtype.itemsize < 4:  # float16 ends at 65504
        values = values.astype(np.float32)
    if series.conversion != 1 or series.offset != 0:
        values = (values * series.conversion + series.offset).astype(values.dtype)
    return values
