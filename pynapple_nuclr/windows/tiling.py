"""Where windows lie: whole patches of the epochs, in windows that the encoder can read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pynapple as nap
import xarray as xr
from numpy.typing import NDArray

from pynapple_nuclr.config import EncoderConfig, Gaps
from pynapple_nuclr.recording import Units, as_recording
from pynapple_nuclr.windows.patch_readers import PatchReader, open_patch_reader

# s, that a patch may miss at the end of its epoch: pynapple cuts a microsecond from an epoch that
# touches the next, and floats of 1.7e9 s (since 1970) lie a quarter of one apart.
_ROUNDING = 2e-6


@dataclass(frozen=True)
class Tiling:
    """Windows of a recording."""

    # (windows, patches): where each patch begins: seconds (spikes) or frames (calcium)
    starts: NDArray[Any]
    unused_seconds: float  # time of the epochs that no window covers


def whole_patches(reader: PatchReader, phase: NDArray[Any] | float = 0) -> list[NDArray[Any]]:
    """Return the starts of the whole patches of each epoch, the first at `phase` into it.

    `phase` (epochs,) → (patches of the epoch,).
    """
    first = reader.spans[:, 0] + phase
    lengths = (reader.spans[:, 1] - first) / reader.length
    counts = np.floor(lengths + _ROUNDING / reader.config.patch_seconds).astype(np.int64)
    return [
        start + np.arange(max(count, 0)) * reader.length
        for start, count in zip(first, counts, strict=True)
    ]


def tile(reader: PatchReader, *, gaps: Gaps | None = None) -> Tiling:
    """Place consecutive windows in a recording."""
    gaps = check_gaps(gaps or reader.config.gaps)
    patches = whole_patches(reader)
    check_windows_fit(reader, patches, gaps)
    per_window = reader.config.patches
    runs = patches if gaps == "split" else [np.concatenate(patches)]
    windows = [_cut(run, per_window) for run in runs]
    starts = np.concatenate(windows)
    used = len(starts) * reader.config.window_seconds
    return Tiling(starts, max(_seconds(reader) - used, 0.0))


def windows_in(reader: PatchReader) -> int:
    """Return how many windows `tile` finds in a recording, which may be none."""
    counts = [len(run) for run in whole_patches(reader)]
    runs = [sum(counts)] if reader.config.gaps == "join" else counts
    return sum(run // reader.config.patches for run in runs)


def _cut(run: NDArray[Any], per_window: int) -> NDArray[Any]:
    """Cut a run of patches into consecutive windows (windows, patches); drop what is left."""
    windows = len(run) // per_window
    return run[: windows * per_window].reshape(windows, per_window)


def check_gaps(gaps: str) -> Gaps:
    """Return `gaps` if it is one of the two ways, else raise ValueError."""
    if gaps not in ("split", "join"):
        raise ValueError(f'gaps is {gaps!r}; expected "split", "join" or None')
    return gaps  # type: ignore[return-value]


def check_windows_fit(
    reader: PatchReader, patches: list[NDArray[Any]], gaps: Gaps, windows: int = 1
) -> None:
    """Raise ValueError unless the patches of the epochs hold that many windows."""
    config = reader.config
    name = f"recording {reader.recording.name!r}"
    longest = max((float(end - start) for start, end in reader.spans), default=0.0)
    longest *= config.patch_seconds / reader.length  # frames to seconds
    counts = [len(run) for run in patches] or [0]
    if max(counts) == 0:
        raise ValueError(
            f"{name}: no epoch holds one whole patch: the longest found is {longest:g} s, a patch "
            f"needs {config.patch_seconds:g} s; are the epochs inside the time support, in seconds?"
        )
    if gaps == "split" and sum(count // config.patches for count in counts) < windows:
        remedy = 'gaps="join" makes windows of patches across epochs'
        if len(counts) == 1:  # nothing to join
            remedy = "use more of the recording, or shorter windows: encoder.with_window(seconds)"
            if windows > 1:  # to train
                remedy = "leave it out, use more of it, or give shorter windows in config"
        raise ValueError(
            f"{name}: windows of {config.window_seconds:g} s, {windows} needed, but the longest "
            f"epoch is {longest:g} s; {remedy}"
        )
    if gaps == "join" and sum(counts) < windows * config.patches:
        raise ValueError(
            f"{name}: its epochs hold {sum(counts) * config.patch_seconds:g} s of whole patches; "
            f"{windows} window(s) of {config.window_seconds:g} s are needed"
        )


def _seconds(reader: PatchReader) -> float:
    """Return the time that the epochs cover, in seconds."""
    return float(np.diff(reader.spans, axis=1).sum() * reader.config.patch_seconds / reader.length)


def population_tensor(
    units: Units,
    config: EncoderConfig,
    *,
    epochs: nap.IntervalSet | None = None,
    gaps: Gaps | None = None,
) -> xr.DataArray:
    """Return exactly what an encoder reads: every window of a recording, cut into patches.

    Parameters
    ----------
    units : TsGroup or TsdFrame
        Spike trains, or calcium traces.
    config : EncoderConfig
        Sizes of bins, patches and windows; ``encoder.config`` for those of an encoder.
    epochs : IntervalSet, optional
        Use only these epochs. Default: the time support.
    gaps : {"split", "join"}, optional
        Windows within one epoch, or across epochs. Default: ``config.gaps``.

    Returns
    -------
    DataArray (window, unit, patch, bin)
        Spike counts, or scaled traces, in float32. Of a spike recording the encoder reads in
        each window only the units that fire in it. Coordinates: unit ids, and ``start``
        (window, patch), the time of each patch in seconds. Attributes: ``unused_seconds``, and
        for calcium the ``scale`` that the traces were divided by.

    Raises
    ------
    TypeError, ValueError
        For input that cannot be read, epochs too short for a patch, or too few for a window.

    Examples
    --------
    >>> import numpy as np, pynapple as nap
    >>> import pynapple_nuclr as nap_nuclr
    >>> group = nap.TsGroup({7: nap.Ts(np.arange(0.25, 30, 0.5))},
    ...                     time_support=nap.IntervalSet(0, 30))
    >>> tensor = nap_nuclr.population_tensor(group, nap_nuclr.EncoderConfig())
    >>> dict(tensor.sizes), float(tensor.sum())
    ({'window': 3, 'unit': 1, 'patch': 10, 'bin': 50}, 60.0)
    """
    if not isinstance(config, EncoderConfig):
        raise TypeError(
            f"config is a {type(config).__name__}; expected an EncoderConfig, for example "
            "encoder.config"
        )
    reader = open_patch_reader(as_recording(units, epochs=epochs), config)
    tiling = tile(reader, gaps=gaps)
    return xr.DataArray(
        np.stack([reader.read(starts) for starts in tiling.starts]),
        dims=("window", "unit", "patch", "bin"),
        coords={
            "unit": reader.recording.unit_ids,
            "start": (("window", "patch"), reader.seconds(tiling.starts)),
        },
        attrs={
            "unused_seconds": tiling.unused_seconds,
            "config": json.dumps(config.to_dict()),
            **reader.attributes,
        },
    )
