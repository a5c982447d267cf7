"""What describes a unit to a probe: its embedding, its statistics, or both."""

from __future__ import annotations

import warnings
from typing import Any, Literal, get_args

import numpy as np
import pynapple as nap
import xarray as xr
from numpy.typing import NDArray

from pynapple_nuclr.columns import embeddings, metadata_frame, unit_coordinates
from pynapple_nuclr.features import unit_statistics
from pynapple_nuclr.leakage.fingerprints import unit_hashes
from pynapple_nuclr.probes.rows import ACTIVITY
from pynapple_nuclr.recording import Units, as_recording, name_recordings

Inputs = Literal["embedding", "statistics", "both"]
Vectors = dict[str, xr.DataArray]
"""Recording name → (unit, feature), labelled with the units' metadata."""

INPUTS: tuple[Inputs, ...] = get_args(Inputs)
STATISTICS = "unit_statistics"
"""The name of the statistics where vectors name their encoder."""


def possible_inputs(recordings: Any, inputs: str) -> tuple[Inputs, ...]:
    """Return the inputs that a probe may use of these recordings: all three for "auto"."""
    if inputs != "auto":
        return tuple(one for one in INPUTS if one == inputs)
    named = _named(recordings)
    has_activity = all(isinstance(one, (nap.TsGroup, nap.TsdFrame)) for one in named.values())
    return INPUTS if has_activity else ("embedding",)


def read_vectors(
    recordings: Any,
    prefix: str,
    inputs: tuple[Inputs, ...],
    epochs: nap.IntervalSet | None = None,
) -> dict[Inputs, Vectors]:
    """Describe the units of all recordings in each of the ways asked for.

    `epochs` are those of the statistics; an embedding is read as it is.
    """
    named = _named(recordings)
    read: dict[Inputs, Vectors] = {}
    if set(inputs) & {"embedding", "both"}:
        read["embedding"] = {name: _embedding(one, name, prefix) for name, one in named.items()}
    if set(inputs) & {"statistics", "both"}:
        read["statistics"] = {name: _statistics(one, name, epochs) for name, one in named.items()}
    for name, one in named.items():
        if isinstance(one, (nap.TsGroup, nap.TsdFrame)):
            hashes = _activity_hashes(one)
            for described in read.values():
                described[name] = described[name].assign_coords(hashes)
    if len(read) == 2:  # compared on the same units: those with an embedding
        for name, vectors in read["embedding"].items():
            has_embedding = np.isfinite(vectors.values).all(axis=1, keepdims=True)
            read["statistics"][name] = read["statistics"][name].where(has_embedding)
    if "both" in inputs:
        read["both"] = {
            name: _join(vectors, read["statistics"][name])
            for name, vectors in read["embedding"].items()
        }
    return {one: read[one] for one in inputs}


def _named(recordings: Any) -> dict[str, Any]:
    if isinstance(recordings, (xr.Dataset, xr.DataArray)):  # a Dataset is a mapping itself
        return {recordings.attrs.get("recording", "recording"): recordings}
    return name_recordings(recordings)


def _embedding(one: Any, name: str, prefix: str) -> xr.DataArray:
    if isinstance(one, (nap.TsGroup, nap.TsdFrame)):
        return embeddings(one, prefix, name=name)
    if not isinstance(one, (xr.Dataset, xr.DataArray)):
        raise TypeError(
            f"recording {name!r} is a {type(one).__name__}; expected an embedded TsGroup or "
            "TsdFrame, or a result of encode"
        )
    if isinstance(one, xr.Dataset) and "embedding" not in one:
        raise ValueError(f"recording {name!r} is a Dataset without a variable 'embedding'")
    vectors = one if isinstance(one, xr.DataArray) else one["embedding"].assign_attrs(one.attrs)
    if set(vectors.dims) != {"unit", "feature"} or "encoder" not in vectors.attrs:
        raise ValueError(
            f"recording {name!r} has dimensions {vectors.dims} and attributes "
            f"{sorted(vectors.attrs)}; expected a result of encode: (unit, feature) and 'encoder'"
        )
    return vectors.transpose("unit", "feature")


def _statistics(one: Units, name: str, epochs: nap.IntervalSet | None) -> xr.DataArray:
    if not isinstance(one, (nap.TsGroup, nap.TsdFrame)):
        raise TypeError(
            f"recording {name!r} is a {type(one).__name__}, which holds no activity to compute "
            "statistics from; expected a TsGroup or TsdFrame, or a probe with inputs='embedding'"
        )
    table = unit_statistics(one, epochs=epochs)
    values = table.to_numpy()
    if isinstance(one, nap.TsGroup):  # as an embedding: none for units that never fire
        values = np.where(table[["rate"]].to_numpy() > 0, values, np.nan)
    return xr.DataArray(
        values,
        dims=("unit", "feature"),
        coords={
            "unit": np.asarray(table.index),
            "feature": list(table.columns),
            **unit_coordinates(metadata_frame(one)),
        },
        name=STATISTICS,
        attrs={"encoder": STATISTICS},
    )


def _activity_hashes(one: Units) -> dict[str, tuple[str, NDArray[np.uint64]]]:
    """Return the coordinate that identifies units by their activity.

    Vectors do not: they differ in the last digits between processors, and statistics with the time
    support, which a file may not keep.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # whoever reads the activity warns of it
        recording = as_recording(one)
    hashes = np.zeros(recording.n_units, np.uint64)
    for unit, text in unit_hashes(recording).items():
        hashes[unit] = int(text, 16)
    return {ACTIVITY: ("unit", hashes)}


def _join(vectors: xr.DataArray, statistics: xr.DataArray) -> xr.DataArray:
    joined = np.column_stack([vectors.values, statistics.values])
    coordinates = {name: one for name, one in vectors.coords.items() if one.dims == ("unit",)}
    return xr.DataArray(
        joined, dims=("unit", "feature"), coords=coordinates, name="both", attrs=vectors.attrs
    )
