"""The units table of an NWB file: finding rows, spreading values over them, dropping columns."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pynapple as nap

from pynapple_nuclr import __version__
from pynapple_nuclr.columns import (
    PREDICTED,
    SUMMARIES,
    embeddings,
    is_missing,
    metadata_frame,
    vector_columns,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    import h5py
    import pynwb
    from numpy.typing import NDArray

MARK = "[pynapple-nuclr]"
"""Ends the description of every column that write_nwb writes."""

Columns = dict[str, tuple["NDArray[Any]", str]]
"""Column name → one value (or row of values) per unit, and its description."""

_SUMMARY = {
    "stability": "How repeatable the embedding is over the recording's windows: 1 always the "
    "unit's own, 0.5 chance (NaN: below two windows)",
    "n_windows": "Windows in which the unit fired, averaged into its embedding (0: not embedded)",
    "encoder": "Encoder that made the embedding, name@hash of its weights",
}
_RESERVED = {"id", "spike_times", "obs_intervals", "electrodes", "electrode_group"}
_RESERVED |= {"waveform_mean", "waveform_sd", "waveforms"}
_MODULE = "nuclr"  # the processing module that says where the columns came from


@contextmanager
def open_table(path: Path) -> Iterator[h5py.Group]:
    """Open an NWB file's units table as an HDF5 group, to read; ValueError if there is none."""
    import h5py

    if not h5py.is_hdf5(path):
        raise ValueError(f"{path} is no NWB file (HDF5); expected a file that nap.load_file reads")
    with h5py.File(path, "r") as file:
        table = file.get("units")
        if table is None or not {"id", "spike_times", "spike_times_index"} <= set(table):
            raise ValueError(
                f"{path} has no units table with spike times; write the sorted units to it first, "
                "or make a file with nap_nuclr.write_units(units, path)"
            )
        yield table


def observed(table: h5py.Group) -> nap.IntervalSet | None:
    """Return when all units were observed; None if they say nothing of it, or never were."""
    if "obs_intervals" not in table:
        return None
    intervals = np.asarray(table["obs_intervals"][:], dtype=np.float64)
    parts = np.split(intervals, table["obs_intervals_index"][:-1].astype(np.int64))
    different = {part.tobytes(): part for part in parts if len(part)}
    sets = [nap.IntervalSet(part) for part in different.values()]
    if len(sets) < 2:
        return sets[0] if sets else None
    with warnings.catch_warnings():  # pynapple warns of an empty intersection; so do we
        warnings.simplefilter("ignore")
        common = functools.reduce(nap.IntervalSet.intersect, sets)
    answer = "share no time, so none are used: epochs= says which time to use"
    if len(common):
        answer = f"only the time that all share is used, {common.tot_length():g} s"
    warnings.warn(
        f"{table.file.filename}: units have {len(sets)} different obs_intervals; {answer}",
        UserWarning,
        stacklevel=3,
    )
    return common if len(common) else None


def match_rows(units: nap.TsGroup, table: h5py.Group) -> NDArray[np.int64]:
    """Return the row of each unit, by id; ValueError if ids or spikes are not the file's.

    Every session counts its units from 0, so equal ids do not make it the same recording.
    """
    path, ids = table.file.filename, pd.Index(table["id"][:])
    if not ids.is_unique:
        raise ValueError(f"{path}: unit ids occur twice in its units table; expected unique ids")
    rows = ids.get_indexer(np.asarray(units.index))
    if (rows < 0).any():
        unknown = [int(unit) for unit in np.asarray(units.index)[rows < 0]]
        raise ValueError(
            f"units {unknown[:10]} are not in the units table of {path}, which has ids "
            f"{ids.min()} to {ids.max()}; give the file that the units were loaded from"
        )
    ends = table["spike_times_index"][:].astype(np.int64)
    found, looked_for = 0, 0
    for row, unit in zip(rows, units.index, strict=True):
        own = np.asarray(units[unit].t)
        own = own[:: max(1, len(own) // 20)]
        stored = np.sort(table["spike_times"][ends[row - 1] if row else 0 : ends[row]])
        near = np.searchsorted(stored, own - 1e-6) < np.searchsorted(stored, own + 1e-6)
        found, looked_for = found + int(near.sum()), looked_for + len(own)
    if found < looked_for / 2:
        raise ValueError(
            f"only {found} of {looked_for} spikes looked up stand in {path} under the same unit "
            "id; give the file that the units were loaded from, or renumber or shift them back"
        )
    return rows


def embedding_columns(units: nap.TsGroup, prefix: str) -> Columns:
    """Gather vectors (one 2-D column), their summary and predicted labels, with descriptions."""
    if not isinstance(units, nap.TsGroup):
        raise TypeError(
            f"units is a {type(units).__name__}; expected a TsGroup: an NWB units table holds "
            "spike trains"
        )
    metadata = metadata_frame(units)
    columns: Columns = {}
    for name in metadata.columns:
        if name.startswith(PREDICTED):
            values = metadata[name].to_numpy()
            if name.endswith("_confidence"):
                description = f"Confidence of {name.removesuffix('_confidence')}, 0 to 1"
            elif values.dtype.kind == "f":
                description = "Probability of this label"
            else:
                description = "Predicted label ('': none)"
            columns[name] = (values, f"{description}{_predicted_from(prefix)}")
    for part in SUMMARIES:
        description = _SUMMARY[part]
        if (name := f"{prefix}_{part}") in metadata:
            columns[name] = (metadata[name].to_numpy(), f"{description} {MARK}")
    if f"{prefix}_0" in metadata:
        vectors = np.asarray(embeddings(units, prefix).values, dtype=np.float32)
        description = f"NuCLR embedding, one row per unit (NaN: not embedded) {MARK}"
        columns[f"{prefix}_embedding"] = (vectors, description)
    return columns


def user_columns(units: nap.TsGroup, written: Columns, prefix: str) -> Columns:
    """Gather the other metadata columns that have one value per unit."""
    columns: Columns = {}
    metadata = metadata_frame(units)
    elsewhere = {"rate", *written}
    if f"{prefix}_embedding" in written:
        elsewhere |= set(vector_columns(metadata.columns, prefix))
    for name, values in metadata.drop(columns=elsewhere, errors="ignore").items():
        if any(np.ndim(value) for value in values):
            continue
        if name in _RESERVED or "/" in name:
            raise ValueError(
                f"metadata column {name!r} cannot be a column of an NWB units table; rename it"
            )
        columns[name] = (values.to_numpy(), f"{name} of the unit")
    return columns


def spread(
    values: NDArray[Any], rows: NDArray[np.int64], n_rows: int, *, zero: bool = False
) -> list[str] | NDArray[Any]:
    """Put one value per unit into its row of the table; "" or NaN in the others, 0 if `zero`."""
    if values.dtype.kind not in "biuf":
        texts = np.full(n_rows, "", dtype=object)
        missing = is_missing(values)
        texts[rows] = ["" if gone else str(v) for v, gone in zip(values, missing, strict=True)]
        return texts.tolist()
    if values.dtype.kind == "b":  # pynapple's loader skips columns of bool
        values = values.astype(np.int64)
    if values.dtype.kind in "iu" and len(rows) < n_rows and not zero:
        values = values.astype(np.float64)
    column = np.zeros((n_rows, *values.shape[1:]), dtype=values.dtype)
    if values.dtype.kind == "f" and not zero:
        column[:] = np.nan
    column[rows] = values
    return column


def reconcile(table: h5py.Group, new: Columns, prefix: str) -> tuple[Columns, list[str]]:
    """Say which columns to write beside an earlier embedding, and which of its columns must go.

    The file's vectors and their summary end with new vectors or a summary by another encoder;
    that also ends the labels predicted from them. Else they stay as they are, together.
    """
    names = column_names(table)
    vectors, *summary = own = [f"{prefix}_{part}" for part in ("embedding", *SUMMARIES)]
    made, earlier = _encoders(new, prefix), _encoders_of_file(table, prefix)
    another = bool(made and earlier and made != earlier)
    if vectors in names and vectors not in new and not another:
        return {name: new[name] for name in new if name not in {*summary} & {*names}}, []
    going = set(own) if another or vectors in new else set()
    if another:
        going |= {name for name in names if is_ours(table, name, _predicted_from(prefix))}
    return new, [name for name in names if name in going - new.keys()]


def _encoders(columns: Columns, prefix: str) -> set[str]:
    values = columns.get(f"{prefix}_encoder", (np.empty(0, dtype=object), ""))[0]
    return {str(name) for name in values[~is_missing(values)]}


def _encoders_of_file(table: h5py.Group, prefix: str) -> set[str]:
    name = f"{prefix}_encoder"
    if name not in table or not is_ours(table, name):
        return set()
    return _encoders({name: (table[name].asstr()[:], "")}, prefix)


def remove_columns(path: Path, names: Collection[str], prefix: str) -> None:
    """Delete columns of the units table, and the notes of `add_provenance`."""
    import h5py

    with h5py.File(path, "r+") as file:
        table = file["units"]
        kept = [name for name in column_names(table) if name not in names]
        for name in set(column_names(table)) - set(kept):
            while name in table:  # a ragged column has an index, which may have one itself
                del table[name]
                name += "_index"
        table.attrs["colnames"] = np.array(kept, dtype=h5py.string_dtype())
        notes = f"processing/{_MODULE}/{prefix}_provenance"
        if notes in file:
            del file[notes]


def add_provenance(
    nwbfile: pynwb.NWBFile, units: nap.TsGroup, prefix: str, settings: Mapping[str, object]
) -> None:
    """Note in ``processing/nuclr`` how the columns were made: a table of names and values."""
    from hdmf.common import DynamicTable, VectorData

    metadata = metadata_frame(units)
    encoders = metadata.get(f"{prefix}_encoder", pd.Series(dtype=object))
    support = units.time_support
    notes = {
        "software": f"pynapple-nuclr {__version__}",
        "encoder": ", ".join(sorted({str(name) for name in encoders[~is_missing(encoders)]})),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "units": f"{len(units)} units given",
        "time_support": f"{support.tot_length():g} s in {len(support)} epochs",
        **{name: str(value) for name, value in settings.items()},
    }
    if _MODULE not in nwbfile.processing:
        description = "Neuron identity by NuCLR: how columns of the units table were made."
        nwbfile.create_processing_module(name=_MODULE, description=description)
    table = DynamicTable(
        name=f"{prefix}_provenance",
        description=f"How the columns {prefix}_* and predicted_* of the units table were made.",
        columns=[
            VectorData(name="setting", description="Name", data=list(notes)),
            VectorData(name="value", description="Value", data=list(notes.values())),
        ],
    )
    nwbfile.processing[_MODULE].add(table)


def provenance(table: h5py.Group, prefix: str) -> dict[str, str]:
    """Read the notes of `add_provenance`; empty if there are none."""
    notes = table.file.get(f"processing/{_MODULE}/{prefix}_provenance")
    if notes is None:
        return {}
    return dict(zip(notes["setting"].asstr()[:], notes["value"].asstr()[:], strict=True))


def is_ours(table: h5py.Group, name: str, ending: str = MARK) -> bool:
    """Say whether `write_nwb` wrote this column, as the end of its description tells."""
    return str(table[name].attrs.get("description", "")).endswith(ending)


def _predicted_from(prefix: str) -> str:
    return f", by a probe on {prefix}_0 … {MARK}"


def column_names(table: h5py.Group) -> list[str]:
    """Return the names of a table's columns, in order."""
    return [n.decode() if isinstance(n, bytes) else str(n) for n in table.attrs["colnames"]]


def build_table(units: nap.TsGroup, columns: Columns) -> pynwb.misc.Units:
    """Build a units table from spike trains, their time support and further columns."""
    from hdmf.common import VectorData, VectorIndex
    from pynwb import H5DataIO
    from pynwb.misc import Units

    n_units = len(units)
    trains = [np.asarray(units[unit].t, dtype=np.float64) for unit in units.index]
    support = np.asarray(units.time_support.values, dtype=np.float64)
    # Hundreds of trials, the same for each of a thousand units: compressed.
    repeated = H5DataIO(np.tile(support, (n_units, 1)), compression="gzip")
    spikes = VectorData(
        name="spike_times", description="Spike times, in seconds", data=np.concatenate(trains)
    )
    intervals = VectorData(
        name="obs_intervals", description="When the unit was observed, in seconds", data=repeated
    )
    spike_ends = np.cumsum([len(train) for train in trains])
    interval_ends = len(support) * np.arange(1, n_units + 1)
    rows = np.arange(n_units)
    further = [
        VectorData(name=name, description=description, data=spread(values, rows, n_units))
        for name, (values, description) in columns.items()
    ]
    return Units(
        name="units",
        description="Sorted units.",
        id=[int(unit) for unit in units.index],
        columns=[
            spikes,
            VectorIndex(name="spike_times_index", data=spike_ends, target=spikes),
            intervals,
            VectorIndex(name="obs_intervals_index", data=interval_ends, target=intervals),
            *further,
        ],
        colnames=["spike_times", "obs_intervals", *columns],
    )
