"""Checkpoints of a training: one safetensors file, with all but the tensors as JSON in its header.

One file is replaced in one step, so that tensors and counters always belong together.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lightning.fabric.plugins import CheckpointIO
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

_FORMAT = "pynapple-nuclr training checkpoint 1"
_TENSOR, _ITEMS = "__tensor__", "__items__"


class SafetensorsCheckpoints(CheckpointIO):
    """Lightning's checkpoints as safetensors: reading one executes nothing."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write a checkpoint."""
        write_checkpoint(checkpoint, Path(path))

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint, on the CPU; Lightning moves what belongs elsewhere."""
        return read_checkpoint(Path(path))

    def remove_checkpoint(self, path: str | Path) -> None:
        """Remove a checkpoint."""
        Path(path).unlink()


def write_checkpoint(checkpoint: dict[str, Any], path: Path) -> None:
    """Write nested dictionaries and lists of tensors and plain values."""
    tensors: dict[str, Tensor] = {}
    text = json.dumps(_without_tensors(checkpoint, tensors))
    path.write_bytes(save(tensors, metadata={"format": _FORMAT, "checkpoint": text}))


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read what `write_checkpoint` wrote; tuples come back as lists.

    Exceptions of many kinds if the file is damaged or of another kind.
    """
    with safe_open(path, framework="pt") as file:
        header = file.metadata() or {}
        if header.get("format") != _FORMAT:
            raise ValueError(f"its format is not {_FORMAT!r}")
        content: dict[str, Any] = _with_tensors(json.loads(header["checkpoint"]), file)
    return content


def _without_tensors(value: Any, tensors: dict[str, Tensor]) -> Any:
    """Move the tensors of a nested value into `tensors`; in their place stand their names."""
    if isinstance(value, Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach().cpu().contiguous()
        return {_TENSOR: name}
    if isinstance(value, dict):
        items = [[key, _without_tensors(one, tensors)] for key, one in value.items()]
        # The keys of a JSON object are text; an optimizer's are numbers.
        return dict(items) if all(isinstance(key, str) for key in value) else {_ITEMS: items}
    if isinstance(value, (list, tuple)):
        return [_without_tensors(one, tensors) for one in value]
    return value


def _with_tensors(value: Any, file: Any) -> Any:
    """Put the tensors of a file into the places of their names."""
    if isinstance(value, list):
        return [_with_tensors(one, file) for one in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {_TENSOR}:
        return file.get_tensor(value[_TENSOR])
    items = value[_ITEMS] if value.keys() == {_ITEMS} else value.items()
    return {key: _with_tensors(one, file) for key, one in items}
