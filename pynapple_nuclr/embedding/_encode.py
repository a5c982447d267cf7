"""One embedding per unit of a recording, as labelled arrays."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pynapple as nap
import xarray as xr
from numpy.typing import NDArray
from tqdm import tqdm

from pynapple_nuclr import __version__
from pynapple_nuclr.checkpoints import Encoder, as_encoder
from pynapple_nuclr.columns import metadata_frame, unit_coordinates
from pynapple_nuclr.config import Gaps
from pynapple_nuclr.embedding._budget import Budget
from pynapple_nuclr.embedding.window_batches import EmbeddedWindows, embed_windows, pick_device
from pynapple_nuclr.familiarity import compare, warn_if_unfamiliar
from pynapple_nuclr.leakage.duplicates import copied_units
from pynapple_nuclr.model.inference import Precision
from pynapple_nuclr.recording import Recording, Units, as_recording
from pynapple_nuclr.stability import self_rank
from pynapple_nuclr.user_warnings import list_some, log, warn_user
from pynapple_nuclr.windows import PatchReader, open_patch_reader, tile

MAX_POPULATION = 2_000
"""Largest number of units in one attention population, by default."""
# The stability needs vectors of single windows: all are kept up to this many values, and at least
# this many windows.
_KEPT_VALUES = 250_000_000
_KEPT_WINDOWS = 16
_LONG = 60.0  # seconds of work that are announced
_GROUPS = "electrode_group"  # the column of NWB's units


def encode(
    units: Units,
    encoder: Encoder | str | Path | None = None,
    *,
    epochs: nap.IntervalSet | None = None,
    gaps: Gaps | None = None,
    by: str | None = None,
    return_windows: bool = False,
    max_windows: int | None = None,
    max_seconds: float | None = None,
    tolerance: float | None = None,
    max_population: int | None = MAX_POPULATION,
    device: str = "auto",
    precision: Precision = "float32",
    progress: bool = True,
    name: str = "recording",
) -> xr.Dataset:
    """Embed every unit of a recording; return labelled arrays.

    Parameters
    ----------
    units : TsGroup or TsdFrame
        Spike trains, or calcium traces.
    encoder : Encoder, str or Path, optional
        The encoder, its folder or its hub name. Default: as of `embed`.
    epochs : IntervalSet, optional
        Use only these epochs. Default: the time support.
    gaps : {"split", "join"}, optional
        Windows within one epoch, or of consecutive whole patches across epochs. Default: as the
        encoder was trained.
    by : str, optional
        Metadata column that says which population a unit belongs to, such as its probe
        insertion: each is embedded on its own (the published way). Default: all units of the
        recording are one population.
    return_windows : bool
        Also return the embedding of every unit in every window.
    max_windows, max_seconds, tolerance : optional
        Read fewer windows, spread evenly over the recording: at most `max_windows`; for at most
        `max_seconds`; until the direction of every unit's mean embedding is known to about
        `tolerance` radians (for example 0.1). The log says how many were skipped. Default: read
        all.
    max_population : int, optional
        Largest number of units in one attention population. Larger ones are split at random,
        differently in every window, as in training. None: never.
    device : str
        "auto" (CUDA, then MPS, then CPU) or a torch device.
    precision : {"float32", "bfloat16"}
        Arithmetic of the network.
    progress : bool
        Show a progress bar on long work.
    name : str
        What the recording is called in errors, warnings and the result.

    Returns
    -------
    Dataset
        ``embedding`` (unit, feature), the mean over the windows in which the unit takes part;
        ``stability`` (unit), see `embed`; ``n_windows`` (unit); with
        `return_windows` also ``window_embedding`` (window, unit, feature) and ``start`` (window) in
        seconds. Unit metadata are coordinates; the encoder and all settings are attributes, and
        ``familiarity``: the probability that a recording like those of the encoder's training
        deviates from them as much as this one (NaN if the encoder has no record of its
        training). Below 0.01 there is one warning, which names the largest deviations.

    Raises
    ------
    TypeError, ValueError
        For input that cannot be read, an encoder of the other modality, or epochs shorter than
        a window.

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
    encoder = as_encoder(encoder, units, epochs)
    budget = Budget(max_windows, max_seconds, tolerance)
    settings = EncodeSettings(
        encoder, gaps, budget, max_population, device, precision, progress, return_windows
    )
    dataset = encode_units(units, epochs, by, settings, name)
    warn_about_silent_units(dataset, "n_windows")
    return dataset


class EncodeSettings(NamedTuple):
    """How populations are encoded."""

    encoder: Encoder
    gaps: Gaps | None
    budget: Budget
    max_population: int | None
    device: str
    precision: Precision
    progress: bool
    return_windows: bool = False


def encode_units(
    units: Units,
    epochs: nap.IntervalSet | None,
    by: str | None,
    settings: EncodeSettings,
    name: str,
) -> xr.Dataset:
    """Encode a recording, or each of its populations by itself."""
    recording = as_recording(units, name=name, epochs=epochs)
    _warn_about_copies(recording)
    if by is None:
        dataset = _encode_population(recording, settings)
    else:
        parts = recording.split(by)
        _warn_about_one_population(recording, by, len(parts))
        datasets = [_encode_population(part, settings) for _, part in parts]
        order = np.argsort(np.concatenate([indices for indices, _ in parts]))
        dataset = xr.concat(datasets, "unit", data_vars="minimal", combine_attrs="drop_conflicts")
        dataset = dataset.isel(unit=order).assign_attrs(
            recording=recording.name,
            by=by,
            windows=max(one.attrs["windows"] for one in datasets),
            windows_skipped=max(one.attrs["windows_skipped"] for one in datasets),
            familiarity=min(one.attrs["familiarity"] for one in datasets),
        )
    return dataset.assign_coords(unit_coordinates(metadata_frame(units)))


def _encode_population(recording: Recording, settings: EncodeSettings) -> xr.Dataset:
    encoder, gaps = settings.encoder, settings.gaps
    source = open_patch_reader(recording, encoder.config)
    tiling = tile(source, gaps=gaps)
    chosen = np.sort(settings.budget.windows(len(tiling.starts)))
    comparison = compare(encoder, source, tiling.starts[chosen])
    # Warn before the work: milliseconds taken for seconds make it a thousand times longer.
    warn_if_unfamiliar(comparison, recording.name, encoder)
    embedded = _embed_windows(source, tiling.starts, settings)
    skipped = len(tiling.starts) - embedded.n_read
    if skipped:
        log.warning("%s: read %d windows, skipped %d", recording.name, embedded.n_read, skipped)
    stability = self_rank(embedded.vectors, recording.order(), embedded.total, embedded.count)
    dataset = xr.Dataset(
        {
            "embedding": (("unit", "feature"), embedded.mean.astype(np.float32)),
            "stability": ("unit", stability),
            "n_windows": ("unit", embedded.count),
        },
        coords={"unit": recording.unit_ids, "feature": np.arange(encoder.config.dim)},
        attrs={
            "encoder": encoder.identity,
            "recording": recording.name,
            "gaps": gaps or encoder.config.gaps,
            "precision": settings.precision,
            "device": pick_device(settings.device).type,
            "windows": embedded.n_read,
            "windows_skipped": skipped,
            "unused_seconds": tiling.unused_seconds,
            "familiarity": comparison.familiarity,
            "config": json.dumps(encoder.config.to_dict()),
            "pynapple_nuclr": __version__,
            **source.attributes,
        },
    )
    if settings.return_windows:
        dataset["window_embedding"] = (("window", "unit", "feature"), embedded.vectors)
        seconds = source.seconds(tiling.starts[chosen])[:, 0]
        dataset = dataset.assign_coords(start=("window", seconds))
    return dataset


def _embed_windows(
    source: PatchReader, starts: NDArray[Any], settings: EncodeSettings
) -> EmbeddedWindows:
    """Embed the windows; keep the vectors of all, or of as many as fit in memory."""
    config = settings.encoder.config
    max_kept = max(_KEPT_VALUES // (source.recording.n_units * config.dim), _KEPT_WINDOWS)
    planned = len(settings.budget.windows(len(starts)))
    bar = tqdm(total=planned, desc="embedding", unit="window", disable=not settings.progress)
    advance = bar.update if settings.progress else _estimate(source.recording.name, planned)
    with bar:
        return embed_windows(
            settings.encoder,
            source,
            starts,
            budget=settings.budget,
            keep=planned if settings.return_windows else max_kept,
            max_population=settings.max_population,
            device=pick_device(settings.device),
            precision=settings.precision,
            advance=advance,
        )


def _estimate(name: str, planned: int) -> Callable[[int], None]:
    """Return what says once, where there is no bar, how long the windows that are left will take.

    The first windows are not counted: they prepare what the others use.
    """
    done, first, began, said = 0, 0, 0.0, False

    def advance(windows: int) -> None:
        nonlocal done, first, began, said
        before, done, now = done, done + windows, time.monotonic()
        if not before:
            first, began = done, now
        elif windows and not said:
            said = True
            seconds = (now - began) / (done - first) * (planned - done)
            if seconds > _LONG:
                log.warning(
                    "%s: about %.0f min for %d windows; max_windows, max_seconds or tolerance "
                    "read fewer",
                    name,
                    max(seconds / 60, 1),
                    planned,
                )

    return advance


def warn_about_silent_units(dataset: xr.Dataset, column: str) -> None:
    """Warn once, with the number of units that have no embedding."""
    silent = int((dataset["n_windows"] == 0).sum())
    if silent:
        warn_user(
            f"{silent} of {dataset.sizes['unit']} units have no spike in any window: their "
            f"embedding is NaN and {column} is 0"
        )


def _warn_about_copies(recording: Recording) -> None:
    """Warn once, with the ids of the units whose activity is that of an earlier one."""
    copies = [pair.second for pair in copied_units(recording)]
    if copies:
        warn_user(
            f"{recording.name}: {len(copies)} of {recording.n_units} units have the same activity "
            f"as another one ({list_some(copies)}): leave copies out, or neurons count twice"
        )


def _warn_about_one_population(recording: Recording, by: str, n_populations: int) -> None:
    """Warn if a column names one probe where the groups of electrodes are several."""
    groups = recording.metadata.get(_GROUPS)
    n_groups = 0 if groups is None else groups.astype(str).nunique()
    if n_populations == 1 < n_groups:
        warn_user(
            f"{recording.name}: all units have the same {by!r}, so they are one population; they "
            f"are of {n_groups} groups of electrodes: by={_GROUPS!r} embeds each on its own"
        )
