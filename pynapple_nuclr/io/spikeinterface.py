"""SpikeInterface: sorted units in, embeddings and predicted labels back as unit properties."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pynapple as nap

from pynapple_nuclr.columns import PREDICTED, as_texts, metadata_frame
from pynapple_nuclr.io.unit_properties import plain_columns
from pynapple_nuclr.nwb.row_metadata import describe_units
from pynapple_nuclr.nwb.table_columns import embedding_columns
from pynapple_nuclr.user_warnings import list_some, log

_GAP = 0.01  # s without a sample: no drift of a clock, but a gap that would count as silence
_BLOCK = 2**22  # samples
_TABLES = ("quality_metrics", "template_metrics")  # extensions that hold a row per unit


def from_spikeinterface(
    sorting_or_analyzer: Any, *, epochs: nap.IntervalSet | None = None
) -> nap.TsGroup:
    """Make a ``TsGroup`` of a SpikeInterface sorting, observed as long as its recording.

    Spike times come from SpikeInterface's own ``to_pynapple_tsgroup``. The time support is that
    of the recording, if one is registered or an analyzer knows its length, with gaps where its
    times have gaps; else it is from the first spike to the last. Each segment is an epoch of its
    own: one whose times do not begin after the end of the one before is shifted to begin a
    second after it.

    Parameters
    ----------
    sorting_or_analyzer : BaseSorting or SortingAnalyzer
        Sorted units.
    epochs : IntervalSet, optional
        Use only these epochs.

    Returns
    -------
    TsGroup
        Unit ids that spell whole numbers are its index; any others are numbered 0, 1, … and
        kept in the metadata column ``unit_id``. Further metadata are the properties
        of the sorting and, of an analyzer, unit locations, quality and template metrics, as
        `pynapple_nuclr.io.unit_properties.plain_columns` makes columns of them: blanks are ""
        or NaN.

    Raises
    ------
    ImportError
        If spikeinterface is not installed.
    TypeError
        If it is neither a sorting nor an analyzer.
    ValueError
        If it has no spikes, and no recording that says how long it was.

    Examples
    --------
    >>> from spikeinterface.core import generate_sorting
    >>> from pynapple_nuclr.io.spikeinterface import from_spikeinterface
    >>> sorting = generate_sorting(num_units=2, durations=[5.0], seed=0)
    >>> units = from_spikeinterface(sorting.rename_units(["tt1_4", "tt2_9"]))
    >>> units.index.tolist(), units["unit_id"].tolist()
    ([0, 1], ['tt1_4', 'tt2_9'])
    """
    sorting = _with_recording(sorting_or_analyzer)
    names = [str(unit) for unit in sorting.unit_ids]
    trains, support = _joined(sorting_or_analyzer, sorting)
    if epochs is not None:
        support = support.intersect(epochs)
    units = nap.TsGroup(
        {unit: nap.Ts(times, time_support=support) for unit, times in trains.items()},
        time_support=support,
        bypass_check=True,
    )
    columns = _metadata(sorting_or_analyzer)
    if names != [str(unit) for unit in trains]:
        columns = {"unit_id": np.array(names, dtype=object), **columns}
    places = np.argsort(list(trains))  # a TsGroup sorts its units by id
    describe_units(units, {name: values[places] for name, values in columns.items()})
    return units


def to_spikeinterface(
    units: nap.TsGroup, sorting_or_analyzer: Any, *, prefix: str = "nuclr"
) -> None:
    """Write an embedding and predicted labels to a SpikeInterface sorting, as unit properties.

    Parameters
    ----------
    units : TsGroup
        Embedded or annotated. Matched by the metadata column ``unit_id``, if there is one, else
        by its index.
    sorting_or_analyzer : BaseSorting or SortingAnalyzer
        Is changed, as by its own ``set_property`` (an analyzer in a folder is saved): gets the
        properties ``predicted_*``, ``{prefix}_stability``, ``{prefix}_n_windows``,
        ``{prefix}_encoder`` and ``{prefix}_embedding`` (units, dim). Units that are not in
        `units` get NaN, 0 windows and "".
    prefix : str
        Prefix of the embedding.

    Raises
    ------
    ImportError
        If spikeinterface is not installed.
    TypeError
        If `units` is no ``TsGroup``, or the other neither a sorting nor an analyzer.
    ValueError
        If there is nothing to write, or a unit is not in the sorting.

    Examples
    --------
    >>> from spikeinterface.core import generate_sorting
    >>> from pynapple_nuclr.io.spikeinterface import from_spikeinterface, to_spikeinterface
    >>> sorting = generate_sorting(num_units=2, durations=[5.0], seed=0)
    >>> units = from_spikeinterface(sorting)
    >>> units["predicted_cell_type"] = ["PV", "SST"]
    >>> to_spikeinterface(units, sorting)
    >>> sorting.get_property("predicted_cell_type").tolist()
    ['PV', 'SST']
    """
    if not isinstance(units, nap.TsGroup):
        raise TypeError(f"units is a {type(units).__name__}; expected a TsGroup of sorted units")
    sorting = _sorting(sorting_or_analyzer)
    columns = embedding_columns(units, prefix)
    if not columns:
        raise ValueError(
            f"units have no columns {PREDICTED}* or {prefix}_* to write; embed them first: "
            "units = nap_nuclr.embed(units)"
        )
    rows = _rows(metadata_frame(units).get("unit_id", units.index), sorting)
    set_property = getattr(sorting_or_analyzer, "set_sorting_property", sorting.set_property)
    for name, (values, _) in columns.items():
        set_property(name, _spread(values, rows, len(sorting.unit_ids)))


def _sorting(sorting_or_analyzer: Any) -> Any:
    """Return the sorting itself."""
    try:
        from spikeinterface.core import BaseSorting, SortingAnalyzer
    except ImportError as error:
        raise ImportError(
            "SpikeInterface is not installed: pip install 'pynapple-nuclr[spikeinterface]'"
        ) from error
    if isinstance(sorting_or_analyzer, SortingAnalyzer):
        return sorting_or_analyzer.sorting
    if isinstance(sorting_or_analyzer, BaseSorting):
        return sorting_or_analyzer
    raise TypeError(
        f"sorting_or_analyzer is a {type(sorting_or_analyzer).__name__}; expected a SpikeInterface "
        "sorting or SortingAnalyzer"
    )


def _with_recording(sorting_or_analyzer: Any) -> Any:
    """Return the sorting, with the recording of an analyzer, which has the times."""
    sorting = _sorting(sorting_or_analyzer)
    is_analyzer = sorting_or_analyzer is not sorting
    if is_analyzer and sorting_or_analyzer.has_recording() and not sorting.has_recording():
        sorting = sorting.select_units(sorting.unit_ids)  # the analyzer's own stays as it is
        sorting.register_recording(sorting_or_analyzer.recording)
    return sorting


def _joined(sorting_or_analyzer: Any, sorting: Any) -> tuple[dict[int, Any], nap.IntervalSet]:
    """Return the spike times of each unit over all segments, and when they were observed."""
    trains: dict[int, list[Any]] = {unit: [] for unit in _ids(sorting)}
    spans: list[tuple[float, float]] = []
    for segment in range(sorting.get_num_segments()):
        of_segment = _trains(sorting, segment)
        observed = _spans(sorting_or_analyzer, sorting, segment, np.concatenate(of_segment))
        shift = 0.0
        if spans and observed[0][0] <= spans[-1][1]:
            shift = spans[-1][1] + 1 - observed[0][0]
            log.warning("segment %d of the sorting is shifted by %g s", segment, shift)
        spans += [(start + shift, end + shift) for start, end in observed]
        for times, own in zip(trains.values(), of_segment, strict=True):
            times.append(own + shift)
    joined = {unit: np.concatenate(times) for unit, times in trains.items()}
    return joined, nap.IntervalSet(*map(list, zip(*spans, strict=True)))


def _trains(sorting: Any, segment: int) -> list[Any]:
    """Return the spike times of each unit in a segment, in seconds."""
    from spikeinterface.exporters import to_pynapple_tsgroup

    if max(sorting.get_unit_spike_train(unit, segment).size for unit in sorting.unit_ids) < 2:
        # Of these pynapple cannot make a group: they have no time support.
        units = sorting.unit_ids
        return [sorting.get_unit_spike_train(unit, segment, return_times=True) for unit in units]
    with warnings.catch_warnings():  # of numbers in place of names; of units with one spike
        warnings.simplefilter("ignore")
        # Without its metadata, which it cannot join if the units have names (0.105).
        group = to_pynapple_tsgroup(sorting, attach_unit_properties=False, segment_index=segment)
    return [group[unit].t for unit in _ids(sorting)]


def _ids(sorting: Any) -> list[int]:
    """Return the index that `to_pynapple_tsgroup` gives the units of a sorting, in their order."""
    try:
        ids = [int(unit) for unit in sorting.unit_ids]
    except ValueError:
        ids = list(range(len(sorting.unit_ids)))
    if not ids:
        raise ValueError("the sorting has no units; expected at least one")
    if len(set(ids)) < len(ids):
        raise ValueError(
            f"the sorting has {len(ids)} units with {len(set(ids))} different numbers as ids ('1' "
            "and '01' are the same); expected one each: sorting.rename_units([…])"
        )
    return ids


def _spans(
    sorting_or_analyzer: Any, sorting: Any, segment: int, spikes: Any
) -> list[tuple[float, float]]:
    """Return when a segment was observed, in seconds: by its recording, else by its spikes."""
    if sorting.has_recording():
        if (recording := sorting._recording).has_time_vector(segment_index=segment):
            return _runs_of_samples(recording.get_times(segment), 1 / sorting.sampling_frequency)
        sample = 1 / sorting.sampling_frequency
        start = sorting.sample_index_to_time(0, segment_index=segment)
        return [(float(start), float(sorting.get_end_time(segment_index=segment) + sample))]
    if hasattr(sorting_or_analyzer, "get_num_samples") and sorting_or_analyzer is not sorting:
        samples = 0, sorting_or_analyzer.get_num_samples(segment)
        start, end = (sorting.sample_index_to_time(i, segment_index=segment) for i in samples)
        return [(float(start), float(end))]
    if len(np.unique(spikes)) < 2:
        raise ValueError(
            f"segment {segment} of the sorting has {len(spikes)} spikes and no recording that "
            "says how long it was; register one: sorting.register_recording(recording)"
        )
    return [(float(spikes.min()), float(spikes.max()))]


def _runs_of_samples(times: Any, sample: float) -> list[tuple[float, float]]:
    """Return start and end of each stretch of samples without a gap, in seconds."""
    cuts = [0]
    for first in range(0, len(times) - 1, _BLOCK):  # a whole copy may not fit into memory
        gaps = np.diff(times[first : first + _BLOCK + 1])
        cuts += (np.flatnonzero(gaps > max(_GAP, 3 * sample)) + first + 1).tolist()
    ends = [*cuts[1:], len(times)]
    return [
        (float(times[start]), float(times[end - 1]) + sample)
        for start, end in zip(cuts, ends, strict=True)
    ]


def _metadata(sorting_or_analyzer: Any) -> dict[str, Any]:
    """Return what is known of each unit, where it is one value: name → values (units,)."""
    sorting = _sorting(sorting_or_analyzer)
    columns = {name: sorting.get_property(name) for name in sorting.get_property_keys()}
    if sorting_or_analyzer is not sorting:
        locations = sorting_or_analyzer.get_extension("unit_locations")
        if locations is not None:
            columns |= dict(zip("xyz", locations.get_data().T, strict=False))
        for name in _TABLES:
            table = sorting_or_analyzer.get_extension(name)
            if table is not None:
                columns |= dict(table.get_data().loc[sorting.unit_ids].items())
    return plain_columns(columns)


def _rows(unit_ids: Any, sorting: Any) -> list[int]:
    """Return the place of each unit in the sorting."""
    places = {str(unit): i for i, unit in enumerate(sorting.unit_ids)}
    unknown = [str(unit) for unit in unit_ids if str(unit) not in places]
    if unknown:
        raise ValueError(
            f"units {list_some(unknown)} are not in the sorting, which has {list_some(places)}; "
            "give the sorting that the units came from"
        )
    return [places[str(unit)] for unit in unit_ids]


def _spread(values: Any, rows: list[int], n_units: int) -> Any:
    """Put values into their rows; "", 0 or NaN in the others."""
    if values.dtype.kind not in "biuf":
        texts = as_texts(values)
        spread = np.full(n_units, "", dtype=texts.dtype)
        spread[rows] = texts
        return spread
    empty = np.nan if values.dtype.kind == "f" else 0
    spread = np.full((n_units, *values.shape[1:]), empty, dtype=values.dtype)
    spread[rows] = values
    return spread
