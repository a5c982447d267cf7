"""From a pynapple object to one embedding per unit: as xarray, or as metadata columns."""

from __future__ import annotations

import json
import logging
import warnings
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

import numpy as np
import pynapple as nap
import xarray as xr
from tqdm import tqdm

from pynapple_nuclr import __version__
from pynapple_nuclr.checkpoints import Encoder, as_encoder
from pynapple_nuclr.columns import (
    add_columns,
    check_prefix,
    metadata_frame,
    unit_coordinates,
    vector_columns,
)
from pynapple_nuclr.config import Gaps
from pynapple_nuclr.embedding._budget import Budget
from pynapple_nuclr.embedding.window_batches import Gathered, gather, pick_device
from pynapple_nuclr.familiarity import compare, warn_if_unlike
from pynapple_nuclr.model.inference import Precision
from pynapple_nuclr.recording import as_recording, modality_of
from pynapple_nuclr.stability import self_rank
from pynapple_nuclr.windows import PatchReader, open_patch_reader, tile

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from pynapple_nuclr.recording import Recording, Units

_log = logging.getLogger("pynapple_nuclr")

MAX_POPULATION = 2_000
"""Units that hear each other, where nobody says otherwise."""
# Vectors of windows that are kept for the stability: all, up to so many values; some in any case.
_KEPT_VALUES = 250_000_000
_KEPT_WINDOWS = 16

UnitsT = TypeVar("UnitsT", nap.TsGroup, nap.TsdFrame)


def encode(
    units: Units,
    encoder: Encoder | str | Path | None = None,
    *,
    epochs: nap.IntervalSet | None = None,
    gaps: Gaps | None = None,
    by: str | None = None,
    windows: bool = False,
    max_windows: int | None = None,
    max_seconds: float | None = None,
    tolerance: float | None = None,
    max_population: int | None = MAX_POPULATION,
    device: str = "auto",
    precision: Precision = "float32",
    progress: bool = True,
) -> xr.Dataset:
    """Embed every unit of a recording; return labelled arrays.

    Parameters
    ----------
    units : TsGroup or TsdFrame
        Spike trains, or calcium traces.
    encoder : Encoder, str or Path, optional
        The encoder, its folder or its hub name. Default: the one that comes with the package for
        spikes, or for calcium.
    epochs : IntervalSet, optional
        Use only these epochs. Default: the time support.
    gaps : {"split", "join"}, optional
        Windows within one epoch, or of consecutive whole patches across epochs. Default: as the
        encoder was trained.
    by : str, optional
        Metadata column that says which population a unit belongs to, such as its probe
        insertion: each is embedded on its own (the published way). Default: all units of the
        recording are one population.
    windows : bool
        Also return the embedding of every unit in every window.
    max_windows, max_seconds, tolerance : optional
        Read fewer windows, spread evenly over the recording: so many at most; for so many seconds
        at most; until the direction of every unit's mean embedding is known to about `tolerance`
        radians (0.1, say). What was skipped is said. Default: read all.
    max_population : int, optional
        Units that hear each other at most: larger populations are split at random, anew in every
        window, as in training. None: never.
    device : str
        "auto" (CUDA, then MPS, then CPU) or a torch device.
    precision : {"float32", "bfloat16"}
        Arithmetic of the network.
    progress : bool
        Show a progress bar on long work.

    Returns
    -------
    Dataset
        ``embedding`` (unit, feature), the mean over the windows in which the unit takes part;
        ``stability`` (unit), see `embed`; ``n_windows`` (unit); if asked for
        ``window_embedding`` (window, unit, feature) and ``start`` (window) in seconds. Unit
        metadata are coordinates; the encoder and all settings are attributes, and
        ``familiarity``: how probable it is that a recording like those of the encoder's training
        deviates from them as much as this one, in what its windows hold (NaN if the encoder does
        not know). Below 0.01 there is one warning, which names the largest deviations.

    Raises
    ------
    TypeError, ValueError
        For input that cannot be read, an encoder of the other modality, or epochs without room
        for a window.

    References
    ----------
    "Know Thyself by Knowing Others: Learning Neuron Identity from Population Context",
    NeurIPS 2025, arXiv:2512.01199.

    Examples
    --------
    >>> import pynapple_nuclr as nap_nuclr
    >>> units = nap_nuclr.simulate("single", n_units=20, duration=60, seed=0)
    >>> encoder = nap_nuclr.Encoder(nap_nuclr.EncoderConfig(dim=32, heads=2, head_dim=16))
    >>> dataset = nap_nuclr.encode(units, encoder, progress=False)
    >>> dataset["embedding"].dims, int(dataset["n_windows"].max())
    (('unit', 'feature'), 6)
    """
    reading = _Reading(
        as_encoder(encoder, modality_of(units)),
        gaps,
        windows,
        Budget(max_windows, max_seconds, tolerance),
        max_population,
        device,
        precision,
        progress,
    )
    dataset = _encode(units, epochs, by, reading)
    _warn_of_silent_units(dataset, "n_windows")
    return dataset


class _Reading(NamedTuple):
    """How populations are read."""

    encoder: Encoder
    gaps: Gaps | None
    windows: bool
    budget: Budget
    max_population: int | None
    device: str
    precision: Precision
    progress: bool


def _encode(
    units: Units, epochs: nap.IntervalSet | None, by: str | None, reading: _Reading
) -> xr.Dataset:
    recording = as_recording(units, epochs=epochs)
    if by is None:
        dataset = _encode_population(recording, reading)
    else:
        parts = recording.split(by)
        datasets = [_encode_population(part, reading) for _, part in parts]
        order = np.argsort(np.concatenate([which for which, _ in parts]))
        dataset = xr.concat(datasets, "unit", data_vars="minimal", combine_attrs="drop_conflicts")
        dataset = dataset.isel(unit=order).assign_attrs(
            recording=recording.name,
            by=by,
            windows=max(one.attrs["windows"] for one in datasets),
            windows_skipped=max(one.attrs["windows_skipped"] for one in datasets),
            familiarity=min(one.attrs["familiarity"] for one in datasets),
        )
    return dataset.assign_coords(_coordinates(units))


def _encode_population(recording: Recording, reading: _Reading) -> xr.Dataset:
    encoder, gaps = reading.encoder, reading.gaps
    source = open_patch_reader(recording, encoder.config)
    tiling = tile(source, gaps=gaps)
    chosen = np.sort(reading.budget.windows(len(tiling.starts)))
    likeness = compare(encoder, source, tiling.starts[chosen])
    # Before the work: milliseconds taken for seconds would make it a thousand times as long.
    warn_if_unlike(likeness, recording.name, encoder, stacklevel=4)
    found = _gather(source, tiling.starts, reading)
    skipped = len(tiling.starts) - found.n_read
    if skipped:
        _log.warning("%s: read %d windows, skipped %d", recording.name, found.n_read, skipped)
    stability = self_rank(found.vectors, recording.order(), found.total, found.count)
    dataset = xr.Dataset(
        {
            "embedding": (("unit", "feature"), found.mean.astype(np.float32)),
            "stability": ("unit", stability),
            "n_windows": ("unit", found.count),
        },
        coords={"unit": recording.unit_ids, "feature": np.arange(encoder.config.dim)},
        attrs={
            "encoder": encoder.identity,
            "recording": recording.name,
            "gaps": gaps or encoder.config.gaps,
            "precision": reading.precision,
            "device": pick_device(reading.device).type,
            "windows": found.n_read,
            "windows_skipped": skipped,
            "unused_seconds": tiling.unused_seconds,
            "familiarity": likeness.familiarity,
            "config": json.dumps(encoder.config.to_dict()),
            "pynapple_nuclr": __version__,
            **source.attributes,
        },
    )
    if reading.windows:
        dataset["window_embedding"] = (("window", "unit", "feature"), found.vectors)
        seconds = source.seconds(tiling.starts[chosen])[:, 0]
        dataset = dataset.assign_coords(start=("window", seconds))
    return dataset


def _gather(source: PatchReader, starts: NDArray[Any], reading: _Reading) -> Gathered:
    """Read windows; keep the vectors of all, or of as many as fit for the stability."""
    config = reading.encoder.config
    fitting = max(_KEPT_VALUES // (source.recording.n_units * config.dim), _KEPT_WINDOWS)
    planned = len(reading.budget.windows(len(starts)))
    bar = tqdm(total=planned, desc="embedding", unit="window", disable=not reading.progress)
    with bar:
        return gather(
            reading.encoder,
            source,
            starts,
            budget=reading.budget,
            keep=planned if reading.windows else fitting,
            max_population=reading.max_population,
            device=pick_device(reading.device),
            precision=reading.precision,
            advance=bar.update,
        )


def embed(
    units: UnitsT,
    encoder: Encoder | str | Path | None = None,
    *,
    epochs: nap.IntervalSet | None = None,
    gaps: Gaps | None = None,
    by: str | None = None,
    columns: Literal["all", "summary"] = "all",
    prefix: str = "nuclr",
    max_windows: int | None = None,
    max_seconds: float | None = None,
    tolerance: float | None = None,
    max_population: int | None = MAX_POPULATION,
    device: str = "auto",
    precision: Precision = "float32",
    progress: bool = True,
) -> UnitsT:
    """Embed every unit of a recording; return the object with new metadata columns.

    Parameters
    ----------
    units : TsGroup or TsdFrame
        Spike trains, or calcium traces. Not changed.
    encoder : Encoder, str or Path, optional
        The encoder, its folder or its hub name. Default: the one that comes with the package for
        spikes, or for calcium.
    epochs : IntervalSet, optional
        Use only these epochs. Default: the time support.
    gaps : {"split", "join"}, optional
        Windows within one epoch, or of consecutive whole patches across epochs (trials).
        Default: as the encoder was trained.
    by : str, optional
        Metadata column that says which population a unit belongs to, such as its probe
        insertion: each is embedded on its own (the published way). Default: all units are one.
    columns : {"all", "summary"}
        Whether to write the vectors, or only the summary.
    prefix : str
        Start of the new columns' names.
    max_windows, max_seconds, tolerance, max_population, device, precision, progress
        As in `encode`.

    Returns
    -------
    TsGroup or TsdFrame
        The same kind of object, units in the same order, with ``nuclr_stability`` (how repeatable
        the unit's embedding is: 1 = always itself, 0.5 = chance, NaN below two windows; it is not
        correctness), ``nuclr_n_windows``, ``nuclr_encoder`` (name@hash) and, with
        ``columns="all"``, the embedding as ``nuclr_0``, ``nuclr_1``, … Units without a spike in
        any window get NaN, 0 windows, and one warning. There is another where the recording is
        unlike those that the encoder was trained on (see `encode`).

    Raises
    ------
    TypeError, ValueError
        For input that cannot be read, an encoder of the other modality, epochs without room for a
        window, or a prefix that cannot be a column name.

    References
    ----------
    "Know Thyself by Knowing Others: Learning Neuron Identity from Population Context",
    NeurIPS 2025, arXiv:2512.01199.

    Examples
    --------
    >>> import pynapple_nuclr as nap_nuclr
    >>> units = nap_nuclr.simulate("single", n_units=20, duration=60, seed=0)
    >>> encoder = nap_nuclr.Encoder(nap_nuclr.EncoderConfig(dim=32, heads=2, head_dim=16))
    >>> units = nap_nuclr.embed(units, encoder, progress=False)
    >>> nap_nuclr.embeddings(units).dims
    ('unit', 'feature')
    """
    if columns not in ("all", "summary"):
        raise ValueError(f'columns is {columns!r}; expected "all" or "summary"')
    if isinstance(units, (nap.TsGroup, nap.TsdFrame)):
        check_prefix(prefix, units)
    reading = _Reading(
        as_encoder(encoder, modality_of(units)),
        gaps,
        False,
        Budget(max_windows, max_seconds, tolerance),
        max_population,
        device,
        precision,
        progress,
    )
    dataset = _encode(units, epochs, by, reading)
    _warn_of_silent_units(dataset, f"{prefix}_n_windows")
    summary = {
        f"{prefix}_stability": dataset["stability"].values,
        f"{prefix}_n_windows": dataset["n_windows"].values,
        f"{prefix}_encoder": np.full(dataset.sizes["unit"], dataset.attrs["encoder"]),
    }
    vectors = dataset["embedding"].values if columns == "all" else None
    return add_columns(units, summary=summary, vectors=vectors, prefix=prefix)


def _warn_of_silent_units(dataset: xr.Dataset, column: str) -> None:
    silent = int((dataset["n_windows"] == 0).sum())
    if silent:
        warnings.warn(
            f"{silent} of {dataset.sizes['unit']} units have no spike in any window: their "
            f"embedding is NaN and {column} is 0",
            UserWarning,
            stacklevel=3,  # at the line that called embed or encode
        )


def _coordinates(units: Units) -> dict[str, tuple[str, NDArray[Any]]]:
    """Return the units' metadata as coordinates, without an earlier embedding's vectors."""
    metadata = metadata_frame(units)
    return unit_coordinates(metadata.drop(columns=vector_columns(metadata.columns)))
