"""What `nap-nuclr info` shows of a probe, read without the seconds that scikit-learn takes."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np

_LARGEST = 64 * 1024**2  # bytes of a part that is unpacked here


def summarize_probe(path: str) -> dict[str, Any]:
    """Return target, classes, size, encoder and score of a probe; errors as of `load_probe`."""
    try:
        found = _read(Path(path))
    except Exception:  # whatever is odd about it: the whole reader says what
        found = _load(path)
    spread = f" ± {found['cv_chance_sd_']:.2f}" if found["cv_chance_sd_"] >= 0 else ""
    chance = f"chance {found['cv_chance_']:.2f}{spread}"
    return {
        "target": found["target"],
        "classes": ", ".join(map(str, found["classes_"])),
        "units": found["n_units_"],
        "encoder": found["encoder_"],
        "macro F1": f"{found['cv_score_']:.2f} by {found['cv_group_']} ({chance})",
    }


_FITTED = (
    "classes_",
    "n_units_",
    "encoder_",
    "cv_score_",
    "cv_group_",
    "cv_chance_",
    "cv_chance_sd_",
)


def _read(path: Path) -> dict[str, Any]:
    """Take the values from the JSON and the one array that skops wrote; nothing is executed."""
    with ZipFile(path) as archive:
        content = json.loads(_unpack(archive, "schema.json"))["content"]
        if not json.loads(content["format"]["content"]).startswith("pynapple_nuclr probe "):
            raise ValueError("it is no probe")
        fitted = content["fitted"]["content"]
        array = io.BytesIO(_unpack(archive, fitted["classes_"]["file"]))
    found = {name: json.loads(fitted[name]["content"]) for name in _FITTED[1:]}
    return found | {
        "classes_": np.load(array, allow_pickle=False),
        "target": json.loads(content["params"]["content"]["target"]["content"]),
    }


def _unpack(archive: ZipFile, name: str) -> bytes:
    if archive.getinfo(name).file_size > _LARGEST:
        raise ValueError(f"{name} is too large")
    return archive.read(name)


def _load(path: str) -> dict[str, Any]:
    from pynapple_nuclr.probes import load_probe

    probe = load_probe(path)
    return {name: getattr(probe, name) for name in ("target", *_FITTED)}
