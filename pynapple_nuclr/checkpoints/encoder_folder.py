"""An encoder's folder: weights as safetensors, settings as JSON, a card; nothing is executed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from pynapple_nuclr.atomic_files import write_together
from pynapple_nuclr.config import EncoderConfig

WEIGHTS = "model.safetensors"
SETTINGS = "config.json"
CARD = "README.md"
FILES = [WEIGHTS, SETTINGS, CARD]
_FORMAT = "pynapple-nuclr encoder 1"
_LARGEST_SETTINGS = 1_000_000  # bytes


def write_folder(
    folder: Path, weights: Mapping[str, Tensor], settings: Mapping[str, Any], card: str
) -> None:
    """Write the weights, settings (JSON) and card (Markdown) of an encoder, all or none."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"format": _FORMAT, **settings}, indent=2) + "\n"
    contents = {
        WEIGHTS: save(dict(weights), metadata={"format": "pt"}),
        SETTINGS: text.encode(),
        CARD: card.encode(),
    }
    write_together(folder, contents)


def read_settings(folder: Path) -> dict[str, Any]:
    """Read the settings of an encoder's folder; FileNotFoundError or ValueError if they are bad."""
    path = _existing(folder / SETTINGS)
    if path.stat().st_size > _LARGEST_SETTINGS:
        raise ValueError(f"{path} is larger than any encoder's settings")
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no readable JSON: {error}") from None
    if not isinstance(settings, dict) or settings.get("format") != _FORMAT:
        raise ValueError(f"{path} does not say {_FORMAT!r}; expected an encoder's settings")
    try:
        EncoderConfig.from_dict(settings.get("config"))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return settings


def read_weights(folder: Path, expected: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Read weights, once their names and shapes are those expected; else ValueError."""
    path = _existing(folder / WEIGHTS)
    try:
        with safe_open(path, framework="pt") as file:
            keys = list(file.keys())
            found = {key: tuple(file.get_slice(key).get_shape()) for key in keys}
            wrong = sorted(set(found.items()) ^ set(expected.items()))
            if wrong:
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


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; expected the folder that save_encoder writes")
    return path
