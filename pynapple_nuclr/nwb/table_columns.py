"""Metadata of pynapple objects as columns of an NWB table: names, values, descriptions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pynapple as nap
from numpy.typing import NDArray

from pynapple_nuclr.columns import (
    PREDICTED,
    SCORE,
    SUMMARIES,
    TRAINING,
    embeddings,
    is_missing,
    metadata_frame,
    vector_columns,
)
from pynapple_nuclr.nwb.unit_origin import GROUP_NAME
from pynapple_nuclr.nwb.values import decode
from pynapple_nuclr.recording import Units

MARK = "[pynapple-nuclr]"
"""Ends the description of every column that write_nwb writes."""

Columns = dict[str, tuple["NDArray[Any]", str]]
"""Column name → one value (or row of values) per unit, and its description."""

_RESERVED = {"id", "spike_times", "obs_intervals", "electrodes", "electrode_group"}
_RESERVED |= {"waveform_mean", "waveform_sd", "waveforms"}


def embedding_columns(units: Units, prefix: str) -> Columns:
    """Gather vectors (one 2-D column), their summary and predicted labels, with descriptions."""
    if not isinstance(units, (nap.TsGroup, nap.TsdFrame)):
        raise TypeError(
            f"units is a {type(units).__name__}; expected a TsGroup (spikes) or a TsdFrame "
            "(calcium), as embed returns them"
        )
    metadata = metadata_frame(units)
    columns: Columns = {}
    for name in metadata.columns:
        if name.startswith(PREDICTED):
            values = metadata[name].to_numpy()
            if name.endswith("_confidence"):
                description = f"Confidence of {name.removesuffix('_confidence')}, 0 to 1"
            elif name.endswith(SCORE):
                description = "Cross-validated score of the probe, beside that of shuffled labels"
            elif name.endswith(TRAINING):
                description = "Whether the probe learned from the unit (1) or not (0)"
            elif values.dtype.kind == "f":
                description = "Probability of this label"
            else:
                description = "Predicted label ('': none)"
            columns[name] = (values, f"{description}{predicted_from(prefix)}")
    for part, description in SUMMARIES.items():
        if (name := f"{prefix}_{part}") in metadata:
            columns[name] = (metadata[name].to_numpy(), f"{description} {MARK}")
    if f"{prefix}_0" in metadata:
        vectors = np.asarray(embeddings(units, prefix).values, dtype=np.float32)
        description = f"NuCLR embedding, one row per unit (NaN: not embedded) {MARK}"
        columns[f"{prefix}_embedding"] = (vectors, description)
    return columns


def predicted_from(prefix: str) -> str:
    """Return how the descriptions of labels end that a probe read off this embedding."""
    return f", by a probe on {prefix}_0 … {MARK}"


def user_columns(units: nap.TsGroup, written: Columns, prefix: str) -> Columns:
    """Gather the other metadata columns that have one value per unit."""
    columns: Columns = {}
    metadata = metadata_frame(units)
    elsewhere = {"rate", "units_table", *written}
    if "group_name" in metadata:
        elsewhere.add("electrode_group")
    if f"{prefix}_embedding" in written:
        elsewhere |= set(vector_columns(metadata.columns, prefix))
    for name, values in metadata.drop(columns=elsewhere, errors="ignore").items():
        if any(np.ndim(value) for value in values):
            continue
        if name == "electrode_group":  # the schema's own column of this name holds references
            columns["group_name"] = (values.to_numpy(), GROUP_NAME)
            continue
        if name in _RESERVED or "/" in name:
            raise ValueError(
                f"metadata column {name!r} cannot be a column of an NWB units table; rename it"
            )
        columns[name] = (values.to_numpy(), f"{name} of the unit")
    return columns


def size_in_file(columns: Columns) -> int:
    """Return how many bytes columns, and what comes with them, take in a file at most."""
    sizes = (max(values.nbytes, 64 * len(values)) for values, _ in columns.values())
    return 2**20 + 2 * sum(sizes)


def encoders(columns: Columns, prefix: str) -> set[str]:
    """Return who signed these columns, as name@hash."""
    values = columns.get(f"{prefix}_encoder", (np.empty(0, dtype=object), ""))[0]
    return {str(name) for name in values[~is_missing(values)]}


def scatter_rows(
    values: NDArray[Any], rows: NDArray[np.int64], n_rows: int, *, zero: bool = False
) -> list[str] | NDArray[Any]:
    """Put one value per unit into its row of the table; "" or NaN in the others, 0 if `zero`."""
    if values.dtype.kind not in "biuf":  # bytes too
        texts = np.full(n_rows, "", dtype=object)
        missing = is_missing(values)
        as_texts, _ = decode(values)
        texts[rows] = ["" if gone else str(v) for v, gone in zip(as_texts, missing, strict=True)]
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
