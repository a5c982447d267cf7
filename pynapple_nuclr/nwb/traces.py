"""Calcium in: the traces of ROIs (RoiResponseSeries) in an NWB file, with their table."""

from __future__ import annotations

import logging
import os
import re
import warnings
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import pynapple as nap

from pynapple_nuclr.nwb.observed_time import check_epochs, named_epochs
from pynapple_nuclr.nwb.opening import open_nwb
from pynapple_nuclr.nwb.row_metadata import describe_units, scalar_columns
from pynapple_nuclr.nwb.values import check_stored, read_values

if TYPE_CHECKING:
    from numpy.typing import NDArray

logger = logging.getLogger("pynapple_nuclr")

Kind: TypeAlias = Literal["dff", "fluorescence", "events", "background"]

_PREFERRED: tuple[Kind, ...] = ("dff", "fluorescence", "events")  # background: only by name
_PATTERNS: dict[Kind, str] = {
    "events": r"deconv|event|spike|spks|inferred",
    "dff": r"(d|delta_?|δ)f_?(/|over)?_?f",
    "background": r"neuropil|background|baseline",
}
_CORRECTED = r"correct|subtract|remov|denois"
_CLOCK = 1e-9  # pynapple keeps times to the nanosecond
_PAUSE = 5  # frame periods without a frame: imaging was interrupted, no frame was dropped


def read_traces(
    source: str | os.PathLike[str],
    *,
    name: str | None = None,
    epochs: str | nap.IntervalSet | None = None,
    cells: str | None = "iscell",
) -> nap.TsdFrame:
    """Read the calcium traces of an NWB file, with the table of their ROIs as metadata.

    Of several series of traces ΔF/F is preferred, then fluorescence, then deconvolved events;
    neuropil, background and baseline are read only by name. Of several series of one kind (one
    per imaging plane, say) it is the first by name; the log names the others.

    Parameters
    ----------
    source : str or path
        An NWB file with a ``RoiResponseSeries``: as in `read_units`.
    name : str, optional
        Which series: its name, or as much of its path as tells it from others, for example
        ``"DfOverF"`` or ``"DfOverF/plane1"``.
    epochs : str or IntervalSet, optional
        Read only these epochs; or the name of a table of intervals in the file.
    cells : str, optional
        The column of the ROI table that says which ROIs are cells (truth values, or 0 and 1; of
        suite2p's two numbers the first). All ROIs are taken if it is None, or if the table
        has no column ``iscell``.

    Returns
    -------
    TsdFrame (frames, ROIs)
        In the file's unit of measurement. Columns are the ids of the ROIs. Metadata are the
        columns of the ROI table with one value per ROI, ``roi_table`` (its name) and ``signal``
        ("fluorescence", "dff", "events", or "background"). Where no frame was taken for more
        than five frame periods, the time support has a gap. ROIs that are NaN throughout are
        left out, with one warning.

    Raises
    ------
    FileNotFoundError, ConnectionError, ImportError, TypeError
        As `read_units`.
    ValueError
        If the file has no such series or column, no ROI is a cell, or the series does not fit
        its ROIs or times.

    Notes
    -----
    `embed` resamples to the frame rate of its encoder, so any frame rate can be read. Tested are
    1.7, 4.28, 20 and 30 Hz.

    Examples
    --------
    >>> import tempfile, numpy as np, pynwb
    >>> from pynwb.testing.mock import file, ophys
    >>> from pynapple_nuclr.nwb.traces import read_traces
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
    check_epochs(epochs)
    with open_nwb(source) as (_, nwbfile):
        chosen = named_epochs(nwbfile, source, epochs)
        return traces_of(nwbfile, source, name=name, epochs=chosen, cells=cells)


def signal_of(traces: nap.TsdFrame) -> str | None:
    """Return what kind of signal traces are, as `read_traces` noted it; None if nothing did."""
    kinds = set(traces.get_info("signal")) if "signal" in traces.metadata_columns else set()
    return str(kinds.pop()) if len(kinds) == 1 else None


def roi_responses(nwbfile: Any) -> dict[str, Any]:
    """Return all series of ROI traces of an open file, by path (``a/b/c``), sorted by it."""
    from pynwb.ophys import RoiResponseSeries

    found = {
        "/".join(_names(series)): series
        for series in nwbfile.objects.values()
        if isinstance(series, RoiResponseSeries) and len(np.shape(series.data)) in (1, 2)
    }
    return dict(sorted(found.items()))


def traces_of(
    nwbfile: Any,
    source: Any,
    *,
    name: str | None = None,
    epochs: nap.IntervalSet | None = None,
    cells: str | None = "iscell",
) -> nap.TsdFrame:
    """Read traces from an open file, as `read_traces` does."""
    path, series = _choose(roi_responses(nwbfile), source, name)
    where = f"{source}: {path}"
    rows = read_values(series.rois.data).astype(np.int64)
    table = series.rois.table
    if not ((rows >= 0) & (rows < len(table.id))).all():
        raise ValueError(
            f"{where} refers to rows {rows.min()} to {rows.max()} of {table.name!r}, which has "
            f"{len(table.id)}; expected each to be one of its ROIs"
        )
    columns = {key: values[rows] for key, values in _roi_columns(table, cells).items()}
    kept = _cells(columns, cells, where, len(rows))
    is_transposed = _is_transposed(series, len(rows), where)
    times = _times(series, where, np.shape(series.data)[-1 if is_transposed else 0])
    support = _support(times, epochs, where)
    first, last = np.searchsorted(times, (support.start[0] - _CLOCK, support.end[-1] + _CLOCK))
    values = _values(series, slice(first, last), is_transposed)
    ids = read_values(table.id.data)[rows]
    kept &= _alive(values, kept, ids, where)
    traces = nap.TsdFrame(
        times[first:last],
        values[:, kept],
        columns=ids[kept],
        time_support=support,
    )
    # Ours come first: where the file has a column of that name, it is the file's that is renamed.
    ours = {"signal": _kind(series), "roi_table": table.name}
    describe_units(traces, {key: np.repeat(value, kept.sum()) for key, value in ours.items()})
    describe_units(traces, {key: values[kept] for key, values in columns.items()})
    return traces


def _choose(found: dict[str, Any], source: Any, name: str | None) -> tuple[str, Any]:
    """Pick the series of a name, or the first of the preferred kind."""
    if not found:
        raise ValueError(
            f"{source} has no traces of ROIs (RoiResponseSeries with data); expected a file of "
            "extracted calcium traces"
        )
    listed = ", ".join(f"{path} ({_kind(series)})" for path, series in found.items())
    if name is not None:
        wanted = f"/{name.strip('/')}/"
        named = [path for path in found if wanted in f"/{path}/"]
        exact = [path for path in named if f"/{path}/".endswith(wanted)]
        if len(exact or named) != 1:
            how_many = "more than one series" if named else "no series"
            raise ValueError(f"{source} has {how_many} of the name {name!r}; it has {listed}")
        (path,) = exact or named
        return path, found[path]
    for kind in _PREFERRED:
        of_kind = [path for path in found if _kind(found[path]) == kind]
        if of_kind:
            if len(found) > 1:
                level = logging.WARNING if len(of_kind) > 1 else logging.INFO
                logger.log(level, "%s: reading %s of %s", source, of_kind[0], listed)
            return of_kind[0], found[of_kind[0]]
    raise ValueError(f"{source} has only {listed}; to read one all the same, give its name=")


def _kind(series: Any) -> Kind:
    """Tell what a series holds: by its own name, those of its containers, then its unit."""
    container = series.parent
    for words in (series.name, container.name, container.neurodata_type, str(series.unit)):
        words = re.sub(r"[\s\-]+", "_", words.lower())
        for kind, pattern in _PATTERNS.items():
            if re.search(pattern, words):
                if kind == "background" and re.search(_CORRECTED, words):
                    continue
                return kind
    return "fluorescence"


def _names(series: Any) -> list[str]:
    """Return the names of a series and its containers, from the outermost below the file."""
    names: list[str] = []
    while series is not None and series.name != "root":
        names.insert(0, series.name)
        series = series.parent
    return names


def _roi_columns(table: Any, cells: str | None) -> dict[str, NDArray[Any]]:
    """Read a ROI table; suite2p's column of cells holds a verdict and its probability."""
    columns = scalar_columns(table)
    for name in {"iscell", cells or ""} & set(table.colnames) - set(columns):
        values = read_values(table[name].data)
        if values.ndim == 2 and values.dtype.kind in "biuf":
            columns |= {name: values[:, 0], f"{name}_probability": values[:, -1]}
    return columns


def _cells(
    table: dict[str, NDArray[Any]], cells: str | None, where: str, n_rois: int
) -> NDArray[np.bool_]:
    """Return which ROIs are cells (ROIs,)."""
    if cells is None or (cells == "iscell" and "iscell" not in table):
        return np.ones(n_rois, dtype=bool)
    if cells not in table or table[cells].dtype.kind not in "biuf":
        numbers = [name for name, values in table.items() if values.dtype.kind in "biuf"]
        raise ValueError(
            f"{where}: cells={cells!r} is no column of truth values in its ROI table; it has "
            f"{', '.join(numbers) or 'none'}; cells=None takes all ROIs"
        )
    kept = np.asarray(table[cells] > 0.5)
    if not kept.any():
        raise ValueError(
            f"{where}: of {n_rois} ROIs none is a cell by {cells!r}; cells=None takes all"
        )
    return kept


def _alive(
    values: NDArray[Any], kept: NDArray[np.bool_], ids: NDArray[Any], where: str
) -> NDArray[np.bool_]:
    """Return which ROIs (ROIs,) have any value at all; warn of the others that count as cells."""
    dead = np.isnan(values).all(axis=0)
    if (dead & kept).any():
        names = ", ".join(map(str, ids[dead & kept][:5]))
        warnings.warn(
            f"{where}: {int((dead & kept).sum())} of {int(kept.sum())} ROIs are NaN throughout "
            f"and left out, such as {names}",
            UserWarning,
            stacklevel=2,
        )
    return ~dead


def _is_transposed(series: Any, n_rois: int, where: str) -> bool:
    """Say whether data are (ROIs, frames), as some software writes them against the standard."""
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
        times = (series.starting_time or 0.0) + np.arange(n_frames) / series.rate
    else:
        times = read_values(series.timestamps).astype(np.float64)
    if len(times) != n_frames or not (np.diff(times) > 0).all():  # NaN is no later time, either
        raise ValueError(
            f"{where} has {len(times)} times for {n_frames} frames, "
            f"{int((~(np.diff(times) > 0)).sum())} of them not after the one before; expected one "
            "time for each frame, in order"
        )
    return times


def _support(
    times: NDArray[np.float64], epochs: nap.IntervalSet | None, where: str
) -> nap.IntervalSet:
    """Return when frames were taken: pauses are gaps."""
    gaps = np.diff(times)
    pauses = np.flatnonzero(gaps > _PAUSE * np.median(gaps)) if len(gaps) else np.empty(0, int)
    starts, ends = times[np.r_[0, pauses + 1]], times[np.r_[pauses, len(times) - 1]]
    lasting = ends > starts
    support = nap.IntervalSet(starts[lasting], ends[lasting])
    if epochs is not None:
        with warnings.catch_warnings():  # pynapple warns of an empty intersection; we raise
            warnings.simplefilter("ignore")
            support = support.intersect(epochs)
    if not len(support):
        raise ValueError(
            f"{where} has no two frames in a row in the time asked for; its {len(times)} frames "
            f"lie between {times[0]:g} and {times[-1]:g} s"
        )
    return support


def _values(series: Any, frames: slice, is_transposed: bool) -> NDArray[Any]:
    """Read traces (frames, ROIs) in the unit of the series."""
    check_stored(series.data)
    data = series.data[:, frames].T if is_transposed else series.data[frames]
    values = np.asarray(data).reshape(len(data), -1)
    if values.dtype.kind != "f":
        values = values.astype(np.float32)
    if series.conversion != 1 or series.offset != 0:
        values = (values * series.conversion + series.offset).astype(values.dtype)
    return values
