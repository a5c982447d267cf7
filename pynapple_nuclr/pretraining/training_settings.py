"""The knobs of training, and defaults that fit the machine and the data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from pynapple_nuclr.config import EncoderConfig
from pynapple_nuclr.recording import Recording
from pynapple_nuclr.user_warnings import list_some, warn_user
from pynapple_nuclr.windows import ViewSettings
from pynapple_nuclr.windows.views import check_number

# (learning rate, pairs a step on a GPU, largest view distance) of the published recipes.
_PUBLISHED = {"spikes": (5e-4, 128, 30.0), "calcium": (1.25e-4, 16, 240.0)}
_PAIRS_ON_CPU = 4
_DEFAULT_MINUTES = 30.0
_INTERVAL_BINS = 16
_ROUNDING = 1e-6


@dataclass(frozen=True)
class TrainingSettings(ViewSettings):
    """How an encoder is trained; every field is a keyword of `pretrain`.

    The fields of `ViewSettings` belong to it, too.

    Parameters
    ----------
    learning_rate, weight_decay, gradient_clip : float
        AdamW's step size and decay (none on norms and biases), and the largest gradient norm.
    temperature, within_view_temperature : float
        Of the loss, between and within views.
    holdout : float
        Fraction of every recording, a contiguous block, that is never trained on; 0 for none.
        Re-identification is measured between the halves of up to 8 of these blocks.
    checks : int
        How often re-identification is measured in the course of the training.
    patience : int
        Stop after so many checks without improvement.
    keep_checks : bool
        Keep the encoder of every check in `out`, for learning curves.
    """

    learning_rate: float = 5e-4
    weight_decay: float = 0.01
    gradient_clip: float = 1.0
    temperature: float = 0.2
    within_view_temperature: float = 1.0
    holdout: float = 0.1
    checks: int = 20
    patience: int = 8
    keep_checks: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.holdout < 0.9:
            raise ValueError(f"holdout is {self.holdout}; expected 0 to 0.9")
        for name in ("learning_rate", "weight_decay"):
            check_number(name, getattr(self, name))
        if self.learning_rate < 0 or self.weight_decay < 0:
            raise ValueError("learning_rate and weight_decay must not be negative")
        for name in ("gradient_clip", "temperature", "within_view_temperature"):
            check_positive(name, getattr(self, name))
        for name in ("checks", "patience"):
            check_positive(name, getattr(self, name), whole=True)

    @classmethod
    def for_config(cls, config: EncoderConfig, changes: dict[str, Any]) -> TrainingSettings:
        """Return the published settings of the modality, with `changes`.

        TypeError if a change names no setting, ValueError if a value is out of range.
        """
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(changes) - known)
        if unknown:
            raise TypeError(
                f"pretrain got unknown settings {', '.join(unknown)}; known are "
                f"{', '.join(sorted(known))}"
            )
        rate, _, distance = _PUBLISHED[config.modality]
        if "min_view_distance" in changes:
            distance = max(distance, changes["min_view_distance"])
        return cls(**{"learning_rate": rate, "max_view_distance": distance, **changes})


def check_positive(name: str, value: float | None, *, whole: bool = False) -> None:
    """Raise TypeError or ValueError unless the value is None or a (whole) number above 0."""
    if value is None:
        return
    check_number(name, value, whole=whole)
    if not value > 0:
        raise ValueError(f"{name} is {value}; expected more than 0")


def check_seed(seed: int) -> None:
    """Raise TypeError or ValueError unless a seed is a whole number from 0 on."""
    check_number("seed", seed, whole=True)
    if seed < 0:
        raise ValueError(f"seed is {seed}; expected 0 or more")


def warn_of_small_populations(recordings: Sequence[Recording], settings: ViewSettings) -> None:
    """Warn of recordings of which no view has enough units, where others have."""
    small = [one.name for one in recordings if one.n_units <= settings.min_units]
    if small and len(small) < len(recordings):
        warn_user(
            f"{len(small)} of {len(recordings)} recordings have no more than "
            f"min_units={settings.min_units} units, and nothing is learned from them: "
            f"{list_some(small)}; leave them out, or lower min_units"
        )


def default_config(recordings: Sequence[Recording]) -> EncoderConfig:
    """Return the published configuration, made to fit the recordings.

    Trials shorter than a window are joined; a patch fits at least twice into the median trial,
    so that it can lie at any phase of it. Calcium is read at its own rate where that is lower, in
    windows of which at least eight fit into the median recording.
    """
    modality = recordings[0].modality
    if modality == "calcium":
        rate = 1 / float(np.median([recording.frame_period for recording in recordings]))
        config = EncoderConfig(modality="calcium")
        config = replace(config, frame_rate=min(rate, config.frame_rate))
        seconds = float(np.median([len(r.frame_times) * r.frame_period for r in recordings]))
        frames = int(seconds * config.frame_rate + _ROUNDING)
        fitting = max(frames // 8 // config.patch_frames, 1) * config.patch_frames
        return replace(config, window_frames=min(config.window_frames, fitting))
    config = EncoderConfig()
    lengths = np.concatenate([np.diff(r.epochs, axis=1).ravel() for r in recordings])
    if np.median(lengths) >= 2 * config.window_duration:
        return config
    patch = config.patch_duration
    while patch > config.bin_size and np.median(lengths) < 2 * patch - 1e-6:
        patch = max(round(patch / 2 / config.bin_size), 1) * config.bin_size
    window = 10 * patch if patch == config.patch_duration else 20 * patch
    return replace(config, gaps="join", patch_duration=patch, window_duration=window)


def default_encoder_config(recordings: Sequence[Recording], **given: Any) -> EncoderConfig:
    """Return `default_config` but for what is given; of continuous spikes, with intervals.

    By intervals beside the counts, units of rats left out of training were found again most often:
    see the ablations in docs/real_recordings.md.
    """
    config = default_config(recordings)
    continuous = config.modality == "spikes" and config.gaps == "split"
    return replace(config, **{"interval_bins": _INTERVAL_BINS if continuous else 0, **given})


def default_batch_size(config: EncoderConfig, accelerator: str) -> int:
    """Return the pairs of windows a step: the published number on a GPU, few on a CPU."""
    return _PUBLISHED[config.modality][1] if accelerator == "cuda" else _PAIRS_ON_CPU


def default_minutes(steps: int | None, max_minutes: float | None) -> float | None:
    """Return the time limit: half an hour unless steps or minutes are given."""
    return _DEFAULT_MINUTES if steps is None and max_minutes is None else max_minutes
