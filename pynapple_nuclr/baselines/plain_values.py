"""Values of any kind as plain values of JSON, so that they can be hashed and shown in a table."""

from __future__ import annotations

import hashlib
import json
import pickle
import uuid
from dataclasses import fields, is_dataclass
from pathlib import PurePath
from types import MappingProxyType, SimpleNamespace
from typing import Any, Protocol, runtime_checkable

import numpy as np

from pynapple_nuclr.config import EncoderConfig


@runtime_checkable
class HasSettings(Protocol):
    """What describes itself by plain settings: a system."""

    def settings(self) -> dict[str, Any]:
        """Return plain values."""


@runtime_checkable
class HasIdentity(Protocol):
    """What has a name and a hash: an encoder."""

    @property
    def identity(self) -> str:
        """``name@hash``."""


@runtime_checkable
class HasCard(Protocol):
    """What has a card that names its training data: an encoder."""

    card: Any


def as_plain_value(value: Any) -> Any:
    """Return a value as a plain value of JSON; two values that differ never become the same."""
    value = value.item() if isinstance(value, np.generic) else value
    kind = type(value).__qualname__
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, EncoderConfig):
        return json.loads(value.signature())  # unchanged by settings that came later
    if isinstance(value, (dict, MappingProxyType)):  # others (a TsGroup) hold more than items
        return {str(key): as_plain_value(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_plain_value(item) for item in value]
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, HasSettings):
        return {kind: value.settings()}
    if isinstance(value, HasIdentity) and value.identity:
        return str(value.identity)
    if is_dataclass(value) and not isinstance(value, type):
        return {kind: {name: as_plain_value(item) for name, item in _held(value).items()}}
    return f"{kind}@{_digest(value)}"


def _held(value: Any) -> dict[str, Any]:
    """Return the arguments of a dataclass, and all other attributes that are not learned."""
    names = [one.name for one in fields(value) if one.init]
    names += [name for name in getattr(value, "__dict__", {}) if not name.endswith("_")]
    return {name: getattr(value, name) for name in names}


class _Reader(pickle.Pickler):
    """Serialises all that an object holds, to hash it; nothing is ever loaded."""

    def reducer_override(self, obj: Any) -> Any:
        """Take a tensor's values: its pickle names their address in memory."""
        if not hasattr(type(obj), "untyped_storage"):
            return NotImplemented
        import torch

        content = obj.detach().cpu().reshape(-1).view(torch.uint8).numpy()
        return np.asarray, (content, str(obj.dtype), tuple(obj.shape))


def _digest(value: Any) -> str:
    """Return the hash of all that an object holds; where it cannot be read, one of its own."""
    digest = hashlib.sha256()
    try:
        _Reader(SimpleNamespace(write=digest.update), protocol=5).dump(value)
    except Exception:  # objects refuse to be read in many ways
        return uuid.uuid4().hex[:16]
    return digest.hexdigest()[:16]
