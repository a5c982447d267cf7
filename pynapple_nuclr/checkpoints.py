"""Encoders on disk and on the hub: weights are safetensors, settings JSON, nothing is executed."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from pynapple_nuclr.config import EncoderConfig
from pynapple_nuclr.encoder import Encoder, encoder_in_use

WEIGHTS = "model.safetensors"
SETTINGS = "config.json"
CARD = "README.md"
_BUNDLED = Path(__file__).parent / "weights"
_FORMAT = "pynapple-nuclr encoder 1"
_LARGEST_SETTINGS = 1_000_000  # bytes

_REFERENCE_SETTINGS = {
    "bin_size": "bin_size",
    "latent_step": "patch_duration",
    "ctx_duration": "window_duration",
    "patch_size": "patch_frames",
    "dim": "dim",
    "self_heads": "heads",
    "dim_head": "head_dim",
    "t_layers": "temporal_layers",
    "st_layers": "spatiotemporal_layers",
    "rot_ratio": "rotary_fraction",
}
# In the published blocks 0 and 1 are the temporal pair and 2 and 3 the population pair, although
# they run in the order 2, 3, 0, 1.
_REFERENCE_BLOCKS = {
    ("t_blocks", "0"): "temporal.{i}.attention",
    ("t_blocks", "1"): "temporal.{i}.feed_forward",
    ("st_blocks", "0"): "spatiotemporal.{i}.time.attention",
    ("st_blocks", "1"): "spatiotemporal.{i}.time.feed_forward",
    ("st_blocks", "2"): "spatiotemporal.{i}.population.attention",
    ("st_blocks", "3"): "spatiotemporal.{i}.population.feed_forward",
}


def save_encoder(
    encoder: Encoder,
    folder: str | Path,
    *,
    dtype: Literal["float32", "float16"] = "float32",
) -> Path:
    """Write an encoder to a folder: weights, settings and a card for people.

    Parameters
    ----------
    encoder : Encoder
        The encoder; it is not changed.
    folder : str or Path
        Where to write; made if absent, its encoder files replaced.
    dtype : {"float32", "float16"}
        Precision of the stored weights. The hash is that of the weights as stored.

    Returns
    -------
    Path
        The folder.

    Examples
    --------
    >>> import tempfile
    >>> from pynapple_nuclr import Encoder, EncoderConfig, load_encoder, save_encoder
    >>> encoder = Encoder(EncoderConfig(dim=32, heads=2, head_dim=16), name="tiny")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     load_encoder(save_encoder(encoder, folder)).identity == encoder.identity
    True
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    kind = {"float32": torch.float32, "float16": torch.float16}[dtype]
    state = {k: v.detach().cpu().to(kind).contiguous() for k, v in encoder.state_dict().items()}
    stored = Encoder(encoder.config, name=encoder.name, card=encoder.card)
    stored.load_state_dict({key: value.float() for key, value in state.items()})
    settings = {
        "format": _FORMAT,
        "name": encoder.name,
        "hash": stored.hash,
        "config": encoder.config.to_dict(),
        "card": encoder.card,
    }
    save_file(state, folder / f"{WEIGHTS}.part", metadata={"format": "pt"})
    (folder / f"{WEIGHTS}.part").replace(folder / WEIGHTS)
    (folder / SETTINGS).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    (folder / CARD).write_text(describe(stored), encoding="utf-8")
    return folder


def load_encoder(source: str | Path | None = None) -> Encoder:
    """Load an encoder.

    Parameters
    ----------
    source : str or Path, optional
        A folder written by `save_encoder` or `pretrain`, or ``"owner/name"`` on the Hugging Face
        hub. Default: the encoder that comes with the package.

    Returns
    -------
    Encoder
        In evaluation mode, on the CPU, in float32.

    Raises
    ------
    ValueError
        If the files are truncated, of another kind, a pickle, or do not fit together.
    FileNotFoundError
        If there is no such folder and no such hub repository.

    Examples
    --------
    >>> import pynapple_nuclr as nap_nuclr
    >>> nap_nuclr.load_encoder().config.modality
    'spikes'
    """
    folder = _BUNDLED if source is None else Path(source)
    if source is not None and not folder.exists():
        folder = _download(str(source))
    if folder.is_file():
        raise ValueError(
            f"{folder} is a file; expected the folder that save_encoder writes ({SETTINGS} and "
            f"{WEIGHTS}); for a file of the published code see load_reference"
        )
    settings = _read_settings(folder / SETTINGS)
    try:
        config = EncoderConfig.from_dict(settings["config"])
        name, expected, card = settings["name"], settings["hash"], settings.get("card", {})
    except (KeyError, TypeError) as error:
        raise ValueError(f"{folder / SETTINGS} lacks an encoder's settings: {error!r}") from None
    if not isinstance(name, str) or not isinstance(card, dict):
        raise ValueError(f"{folder / SETTINGS}: name or card are not of an encoder")
    encoder = _build(config, _read_weights(folder / WEIGHTS, config), name=name, card=card)
    if encoder.hash != expected:
        raise ValueError(
            f"{folder}: the weights have hash {encoder.hash}, the settings say {expected}; the "
            "files do not belong together"
        )
    return encoder


def as_encoder(encoder: Encoder | str | Path | None) -> Encoder:
    """Return an encoder given as itself, its source, or None (the bundled one)."""
    return encoder if isinstance(encoder, Encoder) else load_encoder(encoder)


def find_encoder(identity: str) -> Encoder:
    """Return the encoder that signs as `identity` (name@hash).

    Parameters
    ----------
    identity : str
        As in the column ``nuclr_encoder``.

    Raises
    ------
    ValueError
        If neither this process nor the package holds it.
    """
    encoder = encoder_in_use(identity)
    if encoder is not None:
        return encoder
    bundled = load_encoder()
    if bundled.identity == identity:
        return bundled
    raise ValueError(
        f"the encoder {identity} is not at hand (the bundled one is {bundled.identity}); load it "
        "with load_encoder(folder) and pass it as encoder="
    )


def load_reference(
    state_dict_or_path: Mapping[str, Any] | str | Path,
    config: EncoderConfig | Mapping[str, Any],
    *,
    name: str = "nuclr_reference",
) -> Encoder:
    """Build an encoder from the published code's weights.

    Parameters
    ----------
    state_dict_or_path : mapping, str or Path
        The model's state dict, the dictionary that the published trainer saves (with its
        ``model_state_dict``), or a ``.pt`` file of either. Files are read without executing
        anything in them.
    config : EncoderConfig or mapping
        Its configuration; a mapping may use the published names (``ctx_duration``, …).
    name : str
        Name to sign with.

    Returns
    -------
    Encoder
        In evaluation mode.

    Raises
    ------
    ValueError
        If the file holds objects that would have to be executed (the published trainer's
        ``cfg``), or the weights do not fit the configuration.

    Examples
    --------
    >>> from pynapple_nuclr import load_reference
    >>> load_reference({}, {"kind": "bin", "dim": 32})
    Traceback (most recent call last):
    ...
    ValueError: the weights lack read_in.bias, read_in.weight, rotary_emb.omega … (99 in all)
    """
    if isinstance(state_dict_or_path, (str, Path)):
        state_dict_or_path = _read_reference(Path(state_dict_or_path))
    state = dict(state_dict_or_path.get("model_state_dict", state_dict_or_path))
    if not isinstance(config, EncoderConfig):
        config = _reference_config(config)
    names = {_published(key): key for key in Encoder(config).state_dict()}
    missing, unknown = sorted(set(names) - set(state)), sorted(set(state) - set(names))
    for keys, problem in ((missing, "lack"), (unknown, "have, and the configuration has not,")):
        if keys:
            more = f" … ({len(keys)} in all)" if len(keys) > 3 else ""
            raise ValueError(f"the weights {problem} {', '.join(keys[:3])}{more}")
    ours = {names[key]: torch.as_tensor(np.asarray(value)) for key, value in state.items()}
    return _build(config, ours, name=name, card={"origin": "weights of the published code"})


def describe(encoder: Encoder) -> str:
    """Return the encoder's card as Markdown."""
    lines = [f"# {encoder.identity}", ""]
    lines += [f"A NuCLR encoder for {encoder.config.modality} (pynapple-nuclr).", ""]
    for heading, value in encoder.card.items():
        lines += [f"## {heading.replace('_', ' ').capitalize()}", "", _as_text(value), ""]
    lines += ["## Configuration", "", _as_text(encoder.config.to_dict()), ""]
    return "\n".join(lines)


def _as_text(value: Any, indent: str = "") -> str:
    """Return a value of the card as Markdown: mappings and lists as bullets."""
    if isinstance(value, list):
        return "\n".join(f"{indent}- {_in_line(item)}" for item in value)
    if not isinstance(value, Mapping):
        return str(value)
    lines = []
    for key, item in value.items():
        text = "\n" + _as_text(item, indent + "  ") if isinstance(item, list) else _in_line(item)
        lines.append(f"{indent}- {key}: {text}")
    return "\n".join(lines)


def _in_line(value: Any) -> str:
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {item}" for key, item in value.items())
    return str(value)


def _download(name: str) -> Path:
    """Fetch an encoder's files from the hub into its cache."""
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise FileNotFoundError(
            f"no encoder at {name!r}; expected a folder written by save_encoder, or a hub name "
            '"owner/name"'
        )
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise ImportError(
            f"{name!r} is no folder; to load it from the hub: pip install 'pynapple-nuclr[hub]'"
        ) from None
    try:
        return Path(snapshot_download(name, allow_patterns=[WEIGHTS, SETTINGS, CARD]))
    except Exception as error:  # the hub's errors are many; all mean the same to the user
        raise FileNotFoundError(f"no folder and no hub repository {name!r}: {error}") from error


def _read_settings(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; expected the folder that save_encoder writes")
    if path.stat().st_size > _LARGEST_SETTINGS:
        raise ValueError(f"{path} is larger than any encoder's settings")
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no readable JSON: {error}") from None
    if not isinstance(settings, dict) or settings.get("format") != _FORMAT:
        raise ValueError(f"{path} does not say {_FORMAT!r}; expected an encoder's settings")
    return settings


def _read_weights(path: Path, config: EncoderConfig) -> dict[str, torch.Tensor]:
    """Read weights whose names and shapes are those of the configuration, before allocating."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; expected the folder that save_encoder writes")
    with torch.device("meta"):
        expected = {k: tuple(v.shape) for k, v in Encoder(config).state_dict().items()}
    try:
        with safe_open(path, framework="pt") as file:
            keys = list(file.keys())
            found = {key: tuple(file.get_slice(key).get_shape()) for key in keys}
            if found != expected:
                wrong = sorted(set(found.items()) ^ set(expected.items()))
                raise ValueError(
                    f"{path} does not fit its settings: {len(wrong)} differences, the first at "
                    f"{wrong[0][0]}"
                )
            return {key: file.get_tensor(key) for key in keys}
    except SafetensorError as error:
        raise ValueError(
            f"{path} is no whole safetensors file ({error}); it may be truncated, or a pickle, "
            "which is never loaded"
        ) from None


def _build(
    config: EncoderConfig, state: Mapping[str, torch.Tensor], *, name: str, card: dict[str, Any]
) -> Encoder:
    encoder = Encoder(config, name=name, card=card)
    try:
        encoder.load_state_dict({key: value.float() for key, value in state.items()})
    except RuntimeError as error:
        raise ValueError(f"the weights do not fit the configuration: {error}") from None
    if not all(value.isfinite().all() for value in encoder.state_dict().values()):
        raise ValueError("the weights are not all finite; expected those of a trained encoder")
    return encoder.eval()


def _published(key: str) -> str:
    """Return the published name of one of our parameters."""
    for (stack, place), pattern in _REFERENCE_BLOCKS.items():
        before, after = pattern.split("{i}")
        if key.startswith(before) and after in key:
            index, _, rest = key[len(before) :].partition(after)
            return f"{stack}.{index}.{place}{rest}"
    return key.replace("rotary.", "rotary_emb.")


def _reference_config(settings: Mapping[str, Any]) -> EncoderConfig:
    """Translate the published configuration's names."""
    values = {ours: settings[key] for key, ours in _REFERENCE_SETTINGS.items() if key in settings}
    if settings.get("kind", "bin") == "calcium":
        values.pop("window_duration", None)
        values["modality"] = "calcium"
        patch = values.get("patch_frames", EncoderConfig.patch_frames)
        if "frame_period" in settings:
            values["frame_rate"] = 1 / settings["frame_period"]
        if "num_latents" in settings:
            values["window_frames"] = settings["num_latents"] * patch
    return EncoderConfig.from_dict(values)


def _read_reference(path: Path) -> Mapping[str, Any]:
    """Read a file of the published trainer without executing anything in it."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise ValueError(
            f"{path} holds objects besides tensors (the published trainer stores its "
            "configuration as 'cfg'), which would have to be executed; where it was made, run\n"
            f"    import torch; c = torch.load({path.name!r}, weights_only=False); "
            f"torch.save({{k: c[k] for k in ('model_state_dict', 'loss_state_dict') if k in c}}, "
            f"'weights_{path.name}')\nand load that file"
        ) from None
    except (RuntimeError, EOFError, ValueError, KeyError) as error:
        raise ValueError(f"{path} is no readable torch file: {error}") from None
    if not isinstance(content, Mapping):
        raise ValueError(f"{path} holds a {type(content).__name__}; expected a state dict")
    return content
