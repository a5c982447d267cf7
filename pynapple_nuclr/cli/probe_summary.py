"""What `nap-nuclr info` shows of a probe, read without the seconds that scikit-learn takes."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zipfile import ZipFile

import numpy as np

from pynapple_nuclr.probe_score import ProbeScore

_LARGEST = 64 * 1024**2  # bytes of a part that is unpacked here


def summarize_probe(path: str) -> dict[str, Any]:
    """Return target, classes, size, inputs and score of a probe; errors as of `load_probe`."""
    try:
        found = _read(Path(path))
    except Exception:  # whatever is odd about it: the whole reader says what
        found = _load(path)
    score = ProbeScore.of(SimpleNamespace(**found))
    inputs, tried = _INPUTS[found["inputs_"]], found["cv_inputs_"]
    if len(tried) > 1:
        each = ", ".join(f"{name} {one:.2f}" for name, one in tried.items())
        inputs += f" (macro F1 before the choice: {each})"
    return {
        "target": found["target"],
        "classes": ", ".join(map(str, found["classes_"])),
        "units": found["n_units_"],
        "inputs": inputs,
        "needs columns": ", ".join(found["features"]) or "none",
        "encoder": found["encoder_"],
        "macro F1": f"{score.f1} by {score.left_out}",
        **({"expect less in": score.expect_less_in} if score.expect_less_in else {}),
        "chance": score.chance,
        "calibration": _calibration(found["cv_calibration_"]),
        "above chance": "yes" if score.above_chance else "no: annotate writes 'unknown'",
    }


def _calibration(found: dict[str, float]) -> str:
    if "ece" not in found:
        return "none: the classifier gives no probabilities"
    off = f"probabilities {found['ece']:.2f} off on average"
    if "ece_rejected" in found:
        return f"none, {off} (calibrated: {found['ece_rejected']:.2f})"
    if "ece_uncalibrated" not in found:
        return f"none, {off}"
    return f"{off} (before calibration: {found['ece_uncalibrated']:.2f})"


_INPUTS = {
    "embedding": "embedding",
    "statistics": "statistics of single units",
    "both": "embedding, and statistics of single units",
}
_FITTED = (
    "n_units_",
    "inputs_",
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
    params = content["params"]["content"]
    features = params["features"]["content"]
    return {name: json.loads(fitted[name]["content"]) for name in _FITTED} | {
        "classes_": np.load(array, allow_pickle=False),
        "target": json.loads(params["target"]["content"]),
        "features": [json.loads(one["content"]) for one in features],
        **{
            name: {key: json.loads(one["content"]) for key, one in fitted[name]["content"].items()}
            for name in ("cv_inputs_", "cv_calibration_")
        },
    }


def _unpack(archive: ZipFile, name: str) -> bytes:
    if archive.getinfo(name).file_size > _LARGEST:
        raise ValueError(f"{name} is too large")
    return archive.read(name)


def _load(path: str) -> dict[str, Any]:
    from pynapple_nuclr.probes import load_probe

    probe = load_probe(path)
    others = ("target", "features", "classes_", "cv_inputs_", "cv_calibration_")
    return {name: getattr(probe, name) for name in (*others, *_FITTED)}
