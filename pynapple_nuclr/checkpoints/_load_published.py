"""Encoders from the weights of the published code."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from pynapple_nuclr.checkpoints._encoder import Encoder, build_encoder
from pynapple_nuclr.config import EncoderConfig
from pynapple_nuclr.nwb.opening import errors_naming_file

_PUBLISHED_SETTINGS = {
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
_PUBLISHED_BLOCKS = {
    ("t_blocks", "0"): "temporal.{i}.attention",
    ("t_blocks", "1"): "temporal.{i}.feed_forward",
    ("st_blocks", "0"): "spatiotemporal.{i}.time.attention",
    ("st_blocks", "1"): "spatiotemporal.{i}.time.feed_forward",
    ("st_blocks", "2"): "spatiotemporal.{i}.population.attention",
    ("st_blocks", "3"): "spatiotemporal.{i}.population.feed_forward",
}


def load_published(
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
    >>> from pynapple_nuclr import load_published
    >>> load_published({}, {"kind": "bin", "dim": 32})
    Traceback (most recent call last):
    ...
    ValueError: the weights lack read_in.bias, read_in.weight, rotary_emb.omega … (75 in all)
    """
    if not isinstance(config, EncoderConfig):
        config = _published_config(config)
    if isinstance(state_dict_or_path, (str, Path)):
        path = Path(state_dict_or_path)
        with errors_naming_file(path, "load_published", "weights of the published code"):
            return _build(_read(path), config, name)
    if not isinstance(state_dict_or_path, Mapping):
        raise TypeError(
            f"state_dict_or_path is a {type(state_dict_or_path).__name__}; expected a state dict "
            "(model.state_dict()) or a file's path"
        )
    return _build(state_dict_or_path, config, name)


load_reference = load_published
"""The first name of `load_published`."""


def _build(content: Mapping[str, Any], config: EncoderConfig, name: str) -> Encoder:
    """Build an encoder from a state dict, or the published trainer's dictionary that holds it."""
    state = {str(key): value for key, value in _state_dict(content).items()}
    with torch.device("meta"):  # shapes alone: nothing is allocated before they agree
        shapes = {_published_name(k): (k, v.shape) for k, v in Encoder(config).state_dict().items()}
    names = {theirs: ours for theirs, (ours, _) in shapes.items()}
    missing, unknown = sorted(set(names) - set(state)), sorted(set(state) - set(names))
    for keys, problem in ((missing, "lack"), (unknown, "have, and the configuration has not,")):
        if keys:
            more = f" … ({len(keys)} in all)" if len(keys) > 3 else ""
            raise ValueError(f"the weights {problem} {', '.join(keys[:3])}{more}")
    tensors = {key: torch.as_tensor(value) for key, value in state.items()}
    for key, value in tensors.items():
        if value.shape != shapes[key][1]:
            raise ValueError(
                f"the weights do not fit the configuration: {key} is {tuple(value.shape)}; "
                f"expected {tuple(shapes[key][1])}"
            )
    ours = {names[key]: value.detach().cpu() for key, value in tensors.items()}
    return build_encoder(config, ours, name=name, card={"origin": "weights of the published code"})


def _state_dict(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the state dict in the published trainer's dictionary, or what is one itself."""
    state: Mapping[str, Any] = content.get("model_state_dict", content)
    return state


def _published_name(key: str) -> str:
    """Return the published name of one of our parameters."""
    for (stack, place), pattern in _PUBLISHED_BLOCKS.items():
        before, after = pattern.split("{i}")
        if key.startswith(before) and after in key:
            index, _, rest = key[len(before) :].partition(after)
            return f"{stack}.{index}.{place}{rest}"
    return key.replace("rotary.", "rotary_emb.")


def _published_config(settings: Mapping[str, Any]) -> EncoderConfig:
    """Translate the published configuration's names."""
    values = {ours: settings[key] for key, ours in _PUBLISHED_SETTINGS.items() if key in settings}
    if settings.get("kind", "bin") == "calcium":
        values.pop("window_duration", None)
        values["modality"] = "calcium"
        patch = values.get("patch_frames", EncoderConfig.patch_frames)
        if "frame_period" in settings:
            values["frame_rate"] = 1 / settings["frame_period"]
        if "num_latents" in settings:
            values["window_frames"] = settings["num_latents"] * patch
    return EncoderConfig.from_dict(values)


def _read(path: Path) -> Mapping[str, Any]:
    """Read a file of the published trainer without executing anything in it."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "GLOBAL" not in str(error):  # damaged, rather than of an object
            raise
        raise ValueError(
            f"{path} holds objects besides tensors (the published trainer stores its "
            "configuration as 'cfg'), which would have to be executed; where it was made, run\n"
            f"    import torch; c = torch.load({path.name!r}, weights_only=False); "
            f"torch.save({{k: c[k] for k in ('model_state_dict', 'loss_state_dict') if k in c}}, "
            f"'weights_{path.name}')\nand load that file"
        ) from None
    if not isinstance(content, Mapping):
        raise ValueError(f"{path} holds a {type(content).__name__}; expected a state dict")
    for key, value in _state_dict(content).items():
        if not isinstance(value, torch.Tensor):
            raise ValueError(f"{path} holds a {type(value).__name__} as {key}; expected a tensor")
    return content
