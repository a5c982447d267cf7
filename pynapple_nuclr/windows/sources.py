"""Recordings made readable in patches: spike counts per bin, or calcium frames."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pynapple_nuclr.config import EncoderConfig
    from pynapple_nuclr.recording import Recording

# pynapple keeps times to the nanosecond: a spike on an edge belongs to the bin that it opens.
EDGE = 0.5e-9
# Frame rates that differ by less than this fraction count as the same.
_SAME_RATE = 0.01


@dataclass(frozen=True)
class SpikeSource:
    """Patches of spike counts; a patch is named by its start in seconds."""

    recording: Recording
    config: EncoderConfig

    @property
    def length(self) -> float:
        """Length of a patch, in seconds."""
        return self.config.patch_duration

    @property
    def spans(self) -> NDArray[np.float64]:
        """Start and end of each epoch, in seconds (epochs, 2)."""
        return self.recording.epochs

    @property
    def attributes(self) -> dict[str, float]:
        """What was done to the data."""
        return {}

    def read(self, starts: NDArray[Any]) -> NDArray[np.float32]:
        """Return the counts of the patches that begin at `starts` (units, patches, bins)."""
        shape = (self.recording.n_units, len(starts), self.config.features)
        times = self.recording.times
        first = np.searchsorted(times, starts - EDGE)
        last = np.searchsorted(times, starts + self.length - EDGE)
        spikes = np.concatenate([np.arange(a, b) for a, b in zip(first, last, strict=True)])
        patch = np.repeat(np.arange(len(starts)), last - first)
        since = times[spikes] - starts[patch] + EDGE
        bins = np.clip((since / self.config.bin_size).astype(np.int64), 0, shape[2] - 1)
        cells = (self.recording.units[spikes].astype(np.int64) * shape[1] + patch) * shape[2] + bins
        counts = np.bincount(cells, minlength=int(np.prod(shape)))
        return counts.reshape(shape).astype(np.float32)

    def present(self, patches: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Return which units (units,) take part in a window: those that fire in it."""
        return np.asarray(patches.any(axis=(1, 2)))

    def seconds(self, starts: NDArray[Any]) -> NDArray[np.float64]:
        """Return the times of patches, in seconds."""
        return starts


@dataclass(frozen=True)
class TraceSource:
    """Patches of calcium frames; a patch is named by the index of its first frame.

    The recording's traces are at the encoder's frame rate, divided by their `scale`.
    """

    recording: Recording
    config: EncoderConfig
    spans: NDArray[np.int64]
    scale: float

    @property
    def length(self) -> int:
        """Length of a patch, in frames."""
        return self.config.patch_frames

    @property
    def attributes(self) -> dict[str, float]:
        """What was done to the data."""
        return {"scale": self.scale, "frame_rate": self.config.frame_rate}

    def read(self, starts: NDArray[Any]) -> NDArray[np.float32]:
        """Return the frames of the patches that begin at `starts` (units, patches, frames)."""
        frames = np.asarray(starts, dtype=np.int64)[:, None] + np.arange(self.length)
        return np.ascontiguousarray(self.recording.traces[frames].transpose(2, 0, 1))

    def present(self, patches: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Return which units (units,) take part in a window: all of them."""
        return np.ones(len(patches), dtype=bool)

    def seconds(self, starts: NDArray[Any]) -> NDArray[np.float64]:
        """Return the times of patches, in seconds."""
        return self.recording.frame_times[np.asarray(starts, dtype=np.int64)]


Source = SpikeSource | TraceSource


def open_source(recording: Recording, config: EncoderConfig) -> Source:
    """Make a recording readable in the patches of an encoder's configuration.

    Raises
    ------
    ValueError
        If the encoder is for the other modality, or calcium traces have no scale.
    """
    if recording.modality != config.modality:
        kinds = {"spikes": "spikes (a TsGroup)", "calcium": "calcium traces (a TsdFrame)"}
        raise ValueError(
            f"recording {recording.name!r} holds {kinds[recording.modality]}, but the encoder "
            f"reads {kinds[config.modality]}; use an encoder trained on {recording.modality}"
        )
    if config.modality == "spikes":
        return SpikeSource(recording, config)
    resampled, spans = _resample(recording, config)
    scale = _scale(resampled, config)
    _warn_of_another_signal(recording, config)
    scaled = replace(resampled, traces=resampled.traces / np.float32(scale))
    return TraceSource(scaled, config, spans, scale)


def _warn_of_another_signal(recording: Recording, config: EncoderConfig) -> None:
    """Warn of events given to an encoder of fluorescence, or the reverse."""
    traces = recording.traces
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


def _resample(recording: Recording, config: EncoderConfig) -> tuple[Recording, NDArray[np.int64]]:
    """Bring traces to the encoder's frame rate, epoch by epoch; return the spans of frames too.

    Within an epoch frames count as evenly spaced: jitter of the clock is no gap.
    """
    ratio = recording.frame_period * config.frame_rate  # new frames for an old one
    traces, times = [], []
    for start, end in recording.epochs:
        first, last = np.searchsorted(recording.frame_times, (start - EDGE, end + EDGE))
        old, old_times = recording.traces[first:last], recording.frame_times[first:last]
        if abs(ratio - 1) >= _SAME_RATE and len(old):
            old = _sum_events(old, ratio) if config.signal == "events" else _interpolate(old, ratio)
            old_times = old_times[0] + np.arange(len(old)) / config.frame_rate
        traces.append(old)
        times.append(old_times)
    ends = np.cumsum([0, *map(len, traces)])
    resampled = replace(
        recording,
        traces=np.concatenate([recording.traces[:0], *traces]),
        frame_times=np.concatenate([recording.frame_times[:0], *times]),
    )
    return resampled, np.stack((ends[:-1], ends[1:]), axis=1)


def _interpolate(traces: NDArray[np.float32], ratio: float) -> NDArray[np.float32]:
    """Read traces (frames, units) at `ratio` new frames for an old one, linearly."""
    position = np.arange(_whole(len(traces) * ratio)) / ratio
    before = np.minimum(position.astype(np.int64), len(traces) - 1)
    after = np.minimum(before + 1, len(traces) - 1)
    weight = (position - before).astype(np.float32)[:, None]
    return traces[before] * (1 - weight) + traces[after] * weight


def _sum_events(events: NDArray[np.float32], ratio: float) -> NDArray[np.float32]:
    """Sum events (frames, units) into `ratio` new frames for an old one."""
    summed = np.zeros((_whole(len(events) * ratio), events.shape[1]), dtype=np.float32)
    target = np.array([_whole(frame * ratio) for frame in range(len(events))], dtype=np.int64)
    kept = target < len(summed)
    np.add.at(summed, target[kept], events[kept])
    return summed


def _whole(frames: float) -> int:
    return int(np.floor(frames + 1e-6))


def _scale(recording: Recording, config: EncoderConfig) -> float:
    """Return the 99th percentile over all frames and units; of the non-zero values for events."""
    values = recording.traces
    if not len(values):
        return 1.0  # no frame in any epoch: whoever lays windows says so
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
