"""Where encoders come from: the package, a folder, the hub, the published code."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from pynapple_nuclr.checkpoints._encoder import Encoder, Stored, build_encoder, encoder_in_use
from pynapple_nuclr.checkpoints.torch_files import read_tensors
from pynapple_nuclr.config import EncoderConfig, Modality
from pynapple_nuclr.nwb.opening import errors_naming_file

_WEIGHTS = Path(__file__).parents[1] / "weights"
BUNDLED = {modality: _WEIGHTS / modality for modality in ("spikes", "calcium")}
"""The encoders that come with the package."""

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
    dtype: Stored = "float32",
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
    encoder.write(Path(folder), dtype)
    return Path(folder)


def load_encoder(source: str | Path | None = None, *, revision: str | None = None) -> Encoder:
    """Load an encoder.

    Parameters
    ----------
    source : str or Path, optional
        A folder written by `save_encoder` or `pretrain`, or ``"owner/name"`` on the Hugging Face
        hub; ``"spikes"`` or ``"calcium"``: the demonstrations that come with the package.
        Default: that of spikes.
    revision : str, optional
        Branch, tag or commit on the hub. Default: the newest. What was loaded once is kept on
        this machine and needs no connection any more.

    Returns
    -------
    Encoder
        In evaluation mode, on the CPU, in float32.

    Raises
    ------
    ValueError
        If the files are truncated, of another kind, a pickle, or do not fit together; or if a
        revision is asked of a folder.
    FileNotFoundError
        If there is no such folder and no such hub repository, or the hub cannot be reached.

    Examples
    --------
    >>> import pynapple_nuclr as nap_nuclr
    >>> nap_nuclr.load_encoder().config.modality
    'spikes'
    """
    source = "spikes" if source is None else source
    folder = BUNDLED.get(str(source), source)
    with errors_naming_file(folder, "load_encoder", "an encoder"):
        return Encoder.from_pretrained(folder, revision=revision)


def as_encoder(encoder: Encoder | str | Path | None, modality: Modality = "spikes") -> Encoder:
    """Return an encoder given as itself, its source, or None: the bundled one of a modality."""
    if isinstance(encoder, Encoder):
        return encoder
    return load_encoder(modality if encoder is None else encoder)


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
    bundled = {one.identity: one for one in map(load_encoder, BUNDLED)}
    if identity in bundled:
        return bundled[identity]
    raise ValueError(
        f"the encoder {identity} is not at hand (bundled are {' and '.join(bundled)}); load it "
        "with load_encoder(folder) and pass it as encoder="
    )


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
        config = _reference_config(config)
    if isinstance(state_dict_or_path, (str, Path)):
        path = Path(state_dict_or_path)
        with errors_naming_file(path, "load_published", "weights of the published code"):
            return _build_reference(_read_reference(path), config, name)
    if not isinstance(state_dict_or_path, Mapping):
        raise TypeError(
            f"state_dict_or_path is a {type(state_dict_or_path).__name__}; expected a state dict "
            "(model.state_dict()) or a file's path"
        )
    return _build_reference(state_dict_or_path, config, name)


def _build_reference(content: Mapping[str, Any], config: EncoderConfig, name: str) -> Encoder:
    """Build an encoder from a state dict, or the published trainer's dictionary that holds it."""
    state = {str(key): value for key, value in _state_dict(content).items()}
    with torch.device("meta"):  # shapes alone: nothing is allocated before they agree
        shapes = {_published(k): (k, v.shape) for k, v in Encoder(config).state_dict().items()}
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
        content = read_tensors(path)
    except pickle.UnpicklingError:
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
