"""Calcium traces made readable in patches, at the frame rate of an encoder, and scaled."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pynapple_nuclr.config import EncoderConfig
    from pynapple_nuclr.recording import Recording

_EDGE = 0.5e-9  # s, pynapple keeps times to the nanosecond
# Frame rates that differ by less than this fraction count as the same.
_SAME_RATE = 0.01


@dataclass(frozen=True)
class Frames:
    """The frames that an encoder reads, each a weighted sum of frames that were recorded.

    Attributes
    ----------
    recorded : ndarray (terms, frames)
        Index of the recorded frames.
    weights : ndarray (terms, frames)
        What each counts for.
    times : ndarray (frames,)
        Time of each frame, in seconds.
    """

    recorded: NDArray[np.int64]
    weights: NDArray[np.float32]
    times: NDArray[np.float64]


@dataclass(frozen=True)
class TracePatchReader:
    """Patches of calcium frames; a patch is named by the index of its first frame.

    Frames are at the encoder's frame rate, and divided by `scale` when they are read.
    """

    recording: Recording
    config: EncoderConfig
    spans: NDArray[np.int64]
    frames: Frames
    scale: float

    @property
    def length(self) -> int:
        """Length of a patch, in frames."""
        return self.config.patch_frames

    @property
    def attributes(self) -> dict[str, float]:
        """What was done to the data."""
        return {"scale": self.scale, "frame_rate": self.config.frame_rate}

    def read(
        self, starts: NDArray[Any], units: NDArray[np.int64] | None = None
    ) -> NDArray[np.float32]:
        """Return the frames of the patches that begin at `starts` (units, patches, frames).

        Parameters
        ----------
        starts : ndarray (patches,)
            Index of the first frame of each.
        units : ndarray, optional
            Indices of the units to read. Default: all.
        """
        frames = np.asarray(starts, dtype=np.int64)[:, None] + np.arange(self.length)
        values = _read_frames(self.recording, self.frames, frames)
        values = values if units is None else values[..., units]
        return np.ascontiguousarray((values / np.float32(self.scale)).transpose(2, 0, 1))

    def present(self, patches: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Return which units (units,) take part in a window: all of them."""
        return np.ones(len(patches), dtype=bool)

    def seconds(self, starts: NDArray[Any]) -> NDArray[np.float64]:
        """Return the times of patches, in seconds."""
        return self.frames.times[np.asarray(starts, dtype=np.int64)]


def open_traces(recording: Recording, config: EncoderConfig) -> TracePatchReader:
    """Make calcium traces readable in the patches of an encoder's configuration.

    Raises
    ------
    ValueError
        If the traces have no scale.
    """
    frames, spans = _resample(recording, config)
    scale = _scale(recording, frames, config)
    _warn_of_another_signal(recording, config)
    return TracePatchReader(recording, config, spans, frames, scale)


def _read_frames(
    recording: Recording, frames: Frames, which: NDArray[np.int64] | slice
) -> NDArray[np.float32]:
    """Return frames by their index: its shape, and an axis of units."""
    read = np.float32(0)
    for recorded, weights in zip(frames.recorded, frames.weights, strict=True):
        read = read + recording.traces[recorded[which]] * weights[which][..., None]
    return np.asarray(read)


def _warn_of_another_signal(recording: Recording, config: EncoderConfig) -> None:
    """Warn of events given to an encoder of fluorescence, or the reverse."""
    traces = np.asarray(recording.traces)
    zeros, negative = float((traces == 0).mean()), bool((traces < 0).any())
    if config.signal == "dff" and zeros > 0.5 and not negative:
        seen = f"{zeros:.0%} of its values are zero and none is negative: these look like events"
    elif config.signal == "events" and negative:
        seen = "some of its values are negative, which events never are: these look like traces"
    else:
        return
    warnings.warn(
        f"recording {recording.name!r}: {seen}, but the encoder reads signal={config.signal!r}; "
        "give it the other series of the file, or use an encoder of this signal",
        UserWarning,
        stacklevel=2,
    )


def _resample(recording: Recording, config: EncoderConfig) -> tuple[Frames, NDArray[np.int64]]:
    """Lay frames at the encoder's rate over each epoch; return the spans of frames too.

    Within an epoch frames count as evenly spaced: jitter of the clock is no gap.
    """
    ratio = recording.frame_period * config.frame_rate  # new frames for an old one
    same = abs(ratio - 1) < _SAME_RATE
    lay = _keep if same else _sum_events if config.signal == "events" else _interpolate
    terms, times = [lay(0, ratio)], [np.empty(0)]
    for start, end in recording.epochs:
        first, last = np.searchsorted(recording.frame_times, (start - _EDGE, end + _EDGE))
        recorded, weights = lay(int(last - first), ratio)
        terms.append((first + recorded, weights))
        new_times = recording.frame_times[first:last]
        if not same and len(new_times):
            new_times = new_times[0] + np.arange(recorded.shape[1]) / config.frame_rate
        times.append(new_times)
    ends = np.cumsum([recorded.shape[1] for recorded, _ in terms])
    recorded, weights = (np.concatenate(part, axis=1) for part in zip(*terms, strict=True))
    frames = Frames(recorded, weights.astype(np.float32), np.concatenate(times))
    return frames, np.stack((ends[:-1], ends[1:]), axis=1)


_Terms = tuple["NDArray[np.int64]", "NDArray[Any]"]


def _keep(n: int, ratio: float) -> _Terms:
    """Read n frames as they are."""
    return np.arange(n)[None], np.ones((1, n))


def _interpolate(n: int, ratio: float) -> _Terms:
    """Read n frames at `ratio` new frames for an old one, linearly."""
    position = np.arange(_whole(n * ratio)) / ratio
    before = np.minimum(position.astype(np.int64), n - 1)
    after = np.minimum(before + 1, n - 1)
    weight = (position - before).astype(np.float32)
    return np.stack((before, after)), np.stack((1 - weight, weight))


def _sum_events(n: int, ratio: float) -> _Terms:
    """Sum events of n frames into `ratio` new frames for an old one."""
    target = np.floor(np.arange(n) * ratio + 1e-6).astype(np.int64)
    new = np.arange(_whole(n * ratio))
    first, last = np.searchsorted(target, new), np.searchsorted(target, new, side="right")
    term = np.arange(int(np.ceil(1 / ratio)) + 1)[:, None]
    return np.minimum(first + term, max(n - 1, 0)), first + term < last


def _whole(frames: float) -> int:
    return int(np.floor(frames + 1e-6))


def _scale(recording: Recording, frames: Frames, config: EncoderConfig) -> float:
    """Return the 99th percentile over all frames and units; of the non-zero values for events."""
    if not len(frames.times):
        return 1.0  # no frame in any epoch: whoever lays windows says so
    values = _read_frames(recording, frames, slice(None))
    if config.signal == "events":
        values = values[values != 0]
    scale = float(np.percentile(values, 99)) if values.size else 0.0
    if not scale > 0:
        raise ValueError(
            f"recording {recording.name!r}: the 99th percentile of its traces, which they are "
            f"divided by, is {scale:g}; expected a positive number: are the traces empty, or "
            f"negative, or is the signal (now {config.signal!r}) deconvolved events?"
        )
    return scale
