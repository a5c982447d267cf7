"""Calcium traces made readable in patches, at the frame rate of an encoder, and scaled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pynapple_nuclr.config import EncoderConfig
from pynapple_nuclr.recording import Recording
from pynapple_nuclr.user_warnings import warn_user
from pynapple_nuclr.windows.frame_times import frame_periods, runs_of_frames

_EDGE = 0.5e-9  # s, pynapple keeps times to the nanosecond
# Frames count as taken at the encoder's rate if their mean rate, and each interval between two of
# them, differs from it by less than these fractions: then they are read as they are.
_SAME_RATE, _JITTER = 0.01, 0.15


@dataclass(frozen=True)
class Frames:
    """The frames that an encoder reads, each a weighted sum of frames that were recorded."""

    recorded: NDArray[np.int64]  # (terms, frames): index of the recorded frames
    weights: NDArray[np.float32]  # (terms, frames): what each counts for
    times: NDArray[np.float64]  # (frames,): time of each frame, in seconds


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
        """Return the frames of the patches that begin at `starts` (units, patches, frames)."""
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
    """Make calcium traces readable in the patches of an encoder's configuration."""
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
    """Warn of events given to an encoder of dF/F, or the reverse, and of raw fluorescence."""
    traces = np.asarray(recording.traces)
    zeros, negative = float((traces == 0).mean()), bool((traces < 0).any())
    if config.signal == "dff" and zeros > 0.5 and not negative:
        seen = f"{zeros:.0%} of its values are zero and none is negative: these look like events"
    elif config.signal == "events" and negative:
        seen = "some of its values are negative, which events never are: these look like traces"
    elif config.signal == "dff" and "fluorescence" in set(recording.metadata.get("signal", ())):
        seen = "it was read as raw fluorescence, which is mostly how bright each cell is"
    else:
        return
    warn_user(
        f"recording {recording.name!r}: {seen}, but the encoder reads signal={config.signal!r}; "
        f"read this series of the file (read_traces(…, signal={config.signal!r})), or use an "
        "encoder of the signal you have"
    )


def _resample(recording: Recording, config: EncoderConfig) -> tuple[Frames, NDArray[np.int64]]:
    """Place frames at the encoder's rate in each epoch; return the spans of frames too.

    An epoch ends where no frame was taken for more than `config.max_gap` frame periods, of the
    recording or of the encoder. Within it, frames are read at the times they have: clocks
    jitter, frames are dropped, rates change.
    """
    nothing = np.empty((1, 0), np.int64), np.empty((1, 0), np.float32), np.empty(0)
    parts: list[_Placed] = [nothing]  # no epoch may hold a frame
    for start, end in recording.epochs:
        first, last = np.searchsorted(recording.frame_times, (start - _EDGE, end + _EDGE))
        times = recording.frame_times[first:last]
        periods = frame_periods(times) if last - first > 1 else [recording.frame_period]
        for begin, until in runs_of_frames(times, config.max_gap, 1 / config.frame_rate):
            # The last frame lasts as long as those before it.
            period = float(periods[max(min(until - 2, len(periods) - 1), 0)])
            recorded, weights, new_times = _place(times[begin:until], period, config)
            parts.append((first + begin + recorded, weights, new_times))
    ends = np.cumsum([len(times) for *_, times in parts])
    most = max(len(recorded) for recorded, *_ in parts)
    recorded, weights = (
        np.concatenate([np.pad(part[i], ((0, most - len(part[i])), (0, 0))) for part in parts], 1)
        for i in (0, 1)
    )
    frames = Frames(recorded, weights, np.concatenate([times for *_, times in parts]))
    return frames, np.stack((ends[:-1], ends[1:]), axis=1)


_Placed = tuple["NDArray[np.int64]", "NDArray[np.float32]", "NDArray[np.float64]"]


def _place(times: NDArray[np.float64], period: float, config: EncoderConfig) -> _Placed:
    """Place new frames: the recorded ones that each is made of, their weights, its time."""
    relative = np.append(np.diff(times), period) * config.frame_rate
    if (np.abs(relative - 1) < _JITTER).all() and abs(relative.mean() - 1) < _SAME_RATE:
        return np.arange(len(times))[None], np.ones((1, len(times)), np.float32), times
    lasting = times[-1] - times[0] + period
    new_times = times[0] + np.arange(int(lasting * config.frame_rate + 1e-6)) / config.frame_rate
    terms = _sum_events if config.signal == "events" else _interpolate
    return *terms(times, new_times), new_times


def _interpolate(times: Any, new_times: Any) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Read traces at new times, linearly between the frames before and after."""
    before = np.searchsorted(times, new_times + _EDGE, side="right") - 1
    after = np.minimum(before + 1, len(times) - 1)
    between = np.maximum(times[after] - times[before], _EDGE)  # 0 after the last frame
    weight = np.clip((new_times - times[before]) / between, 0, 1) * (after > before)
    return np.stack((before, after)), np.stack((1 - weight, weight)).astype(np.float32)


def _sum_events(times: Any, new_times: Any) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Sum events into the new frames that their frames begin in."""
    first = np.searchsorted(times, new_times - _EDGE)
    last = np.append(first[1:], len(times)) if len(first) else first
    term = np.arange(max((last - first).max(initial=0), 1))[:, None]
    recorded = np.minimum(first + term, len(times) - 1)
    return recorded, (first + term < last).astype(np.float32)


def _scale(recording: Recording, frames: Frames, config: EncoderConfig) -> float:
    """Return the 99th percentile over all frames and units; of the non-zero values for events."""
    if not len(frames.times):
        return 1.0  # no frame in any epoch: an error follows where windows are placed
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
