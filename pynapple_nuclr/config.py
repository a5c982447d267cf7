"""What an encoder reads and the size of its network: stored beside the weights."""

from __future__ import annotations

import html
import json
import reprlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

Modality = Literal["spikes", "calcium"]
Gaps = Literal["split", "join"]
Signal = Literal["dff", "events"]
AttentionScope = Literal["patch", "window"]

_CHOICES = {
    "modality": ("spikes", "calcium"),
    "gaps": ("split", "join"),
    "signal": ("dff", "events"),
    "attention_scope": ("patch", "window"),
}
_OLD_NAMES = {"population_scores": "attention_scope"}  # in files of 0.1.0 and in every hash
# Settings added later: at this value they are not part of the signature, so that hashes stay.
_ADDED = {"attention_scope": "patch", "population_dropout": 0.0, "max_gap": 3.0}
_ADDED["interval_bins"] = 0
# Wide enough for any encoder of this kind, narrow enough that a forged file cannot ask for a
# model that does not fit into memory.
_LARGEST = {"dim": 4096, "heads": 64, "head_dim": 512, "temporal_layers": 64}
_LARGEST["spatiotemporal_layers"] = _LARGEST["temporal_layers"]
_LARGEST_PRODUCT = 100_000


_OTHER_MODALITY = {
    "spikes": {"frame_rate", "patch_frames", "window_frames", "signal"},
    "calcium": {"bin_size", "patch_duration", "window_duration", "interval_bins"},
}


@dataclass(frozen=True, repr=False)
class EncoderConfig:
    """The windows that an encoder reads and the size of its network.

    Parameters
    ----------
    modality : {"spikes", "calcium"}
        What the encoder was trained on.
    bin_size, patch_duration, window_duration : float
        Spikes: width of a bin, a patch (a token of one unit) and a window, in seconds.
    interval_bins : int
        Spikes: bins of each of two histograms of a patch's intervals between spikes, which are
        joined to its counts (`pynapple_nuclr.windows.interval_histograms`); 0, as published: none.
    frame_rate : float
        Calcium: frames per second that the encoder reads; other recordings are resampled.
    patch_frames, window_frames : int
        Calcium: frames in a patch and in a window.
    signal : {"dff", "events"}
        Calcium: fluorescence traces (interpolated) or deconvolved events (summed).
    gaps : {"split", "join"}
        Whether windows stay within one epoch, or are made of consecutive whole patches across
        epochs (trial-structured recordings). No patch ever crosses a gap.
    dim, heads, head_dim : int
        Width of the embedding, attention heads, and width of a head.
    temporal_layers, spatiotemporal_layers : int
        Blocks over a unit's own time, then blocks over the population and time.
    rotary_fraction : float
        Fraction of a head's frequencies that encode the patch index.
    attention_scope : {"patch", "window"}
        Whether attention among units has weights of its own at every patch (as published), or one
        set for the whole window.
    dropout : float
        Dropout probability in training.
    population_dropout : float
        Largest fraction of the population that is left out in training; 0 as published.
    max_gap : float
        Calcium: where no frame was taken for longer than this many frame periods (the
        recording's running median, or 1 / `frame_rate` if that is longer), an epoch ends; over
        shorter intervals traces are interpolated.

    Raises
    ------
    ValueError
        If a value is out of range, or a window does not hold whole patches of whole bins.

    References
    ----------
    "Know Thyself by Knowing Others: Learning Neuron Identity from Population Context",
    NeurIPS 2025, arXiv:2512.01199.

    Examples
    --------
    >>> from pynapple_nuclr.config import EncoderConfig
    >>> config = EncoderConfig(patch_duration=0.5, window_duration=5.0)
    >>> config.patches, config.features
    (10, 25)
    """

    modality: Modality = "spikes"
    bin_size: float = 0.02
    patch_duration: float = 1.0
    window_duration: float = 10.0
    frame_rate: float = 4.283719
    patch_frames: int = 4
    window_frames: int = 128
    signal: Signal = "dff"
    gaps: Gaps = "split"
    dim: int = 256
    heads: int = 4
    head_dim: int = 64
    temporal_layers: int = 2
    spatiotemporal_layers: int = 2
    rotary_fraction: float = 0.5
    dropout: float = 0.2
    attention_scope: AttentionScope = "patch"
    population_dropout: float = 0.0
    max_gap: float = 3.0
    interval_bins: int = 0

    def __post_init__(self) -> None:
        self._check_types()
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"config.{name} is {reprlib.repr(getattr(self, name))}; expected {allowed}"
                )
        for name in ("bin_size", "patch_duration", "window_duration", "frame_rate"):
            if not 0 < getattr(self, name) < 1e6:
                raise ValueError(f"config.{name} is {getattr(self, name)}; expected a value > 0")
        for name in ("patch_frames", "window_frames", "dim", "heads", "head_dim"):
            if getattr(self, name) < 1:
                raise ValueError(f"config.{name} is {getattr(self, name)}; expected at least 1")
        for name in ("temporal_layers", "spatiotemporal_layers", "interval_bins"):
            if getattr(self, name) < 0:
                raise ValueError(f"config.{name} is {getattr(self, name)}; expected at least 0")
        if self.head_dim % 2:
            raise ValueError(f"config.head_dim is {self.head_dim}; rotary needs an even number")
        for name in ("rotary_fraction", "dropout", "population_dropout"):
            value = getattr(self, name)
            if not 0 <= value <= 1 or (name != "rotary_fraction" and value == 1):
                raise ValueError(f"config.{name} is {getattr(self, name)}; expected 0 to 1")
        if not self.max_gap >= 1:
            raise ValueError(f"config.max_gap is {self.max_gap}; expected at least 1 frame period")
        self._check_whole_patches()
        self._check_size()

    def _check_types(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            kind = type(field.default)
            accepted = (int, float) if kind is float else kind
            if isinstance(value, bool) or not isinstance(value, accepted):
                raise ValueError(
                    f"config.{field.name} is {reprlib.repr(value)}; expected {kind.__name__}"
                )

    def _check_whole_patches(self) -> None:
        parts = {
            "spikes": (
                ("patch_duration", self.patch_duration, "bin_size", self.bin_size),
                ("window_duration", self.window_duration, "patch_duration", self.patch_duration),
            ),
            "calcium": (("window_frames", self.window_frames, "patch_frames", self.patch_frames),),
        }[self.modality]
        for whole_name, whole, part_name, part in parts:
            times = whole / part
            if times < 1 - 1e-6 or abs(times - round(times)) > 1e-6 * times:
                raise ValueError(
                    f"config.{whole_name} ({whole:g}) is not a whole multiple of "
                    f"config.{part_name} ({part:g})"
                )

    def _check_size(self) -> None:
        for name, largest in _LARGEST.items():
            if getattr(self, name) > largest:
                raise ValueError(f"config.{name} is {getattr(self, name)}; at most {largest}")
        if self.patches * self.features > _LARGEST_PRODUCT:
            raise ValueError(
                f"config asks for windows of {self.patches} patches of {self.features} values; "
                f"at most {_LARGEST_PRODUCT} values a unit"
            )

    @property
    def patches(self) -> int:
        """Patches in a window."""
        if self.modality == "spikes":
            return round(self.window_duration / self.patch_duration)
        return self.window_frames // self.patch_frames

    @property
    def bins(self) -> int:
        """Bins of spike counts in a patch."""
        return round(self.patch_duration / self.bin_size)

    @property
    def features(self) -> int:
        """Values in a patch: bins and those of two histograms (spikes), or frames (calcium)."""
        if self.modality == "spikes":
            return self.bins + 2 * self.interval_bins
        return self.patch_frames

    @property
    def patch_seconds(self) -> float:
        """Duration of a patch, in seconds."""
        if self.modality == "spikes":
            return self.patch_duration
        return self.patch_frames / self.frame_rate

    @property
    def window_seconds(self) -> float:
        """Duration of a window, in seconds (joined time under ``gaps="join"``)."""
        return self.patches * self.patch_seconds

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={value!r}" for name, value in self.relevant().items())
        return f"EncoderConfig({values})"

    def _repr_html_(self) -> str:
        return html_table(self.relevant())

    def relevant(self) -> dict[str, Any]:
        """Return the settings that have an effect on this modality."""
        unused = _OTHER_MODALITY[self.modality]
        return {name: value for name, value in self.to_dict().items() if name not in unused}

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as a plain dictionary (for JSON)."""
        return asdict(self)

    def signature(self) -> str:
        """Return the settings as text, the same in every version that knows them."""
        values = {k: v for k, v in self.to_dict().items() if _ADDED.get(k, ...) != v}
        for old, new in _OLD_NAMES.items():
            if new in values:
                values[old] = values.pop(new)
        return json.dumps(values, sort_keys=True)

    @classmethod
    def from_dict(cls, values: Any) -> EncoderConfig:
        """Build a configuration from a dictionary.

        Raises
        ------
        ValueError
            If it is no dictionary, or names a parameter that no configuration has.
        """
        if not isinstance(values, dict):
            raise ValueError(
                f"the encoder settings are {reprlib.repr(values)}; expected a dictionary"
            )
        values = {_OLD_NAMES.get(name, name): value for name, value in values.items()}
        unknown = set(values) - {field.name for field in fields(cls)}
        if unknown:
            names = ", ".join(map(repr, sorted(unknown)[:5]))
            raise ValueError(f"unknown encoder settings: {names}")
        return cls(**values)


def html_table(rows: Mapping[str, Any]) -> str:
    """Return names and values as a table for notebooks."""
    texts = ((html.escape(name), html.escape(str(value))) for name, value in rows.items())
    cells = (f"<tr><th>{name}</th><td>{value}</td></tr>" for name, value in texts)
    return f"<table>{''.join(cells)}</table>"
