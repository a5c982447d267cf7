"""Fitted probes as single files that can be read without executing anything."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np

from pynapple_nuclr.atomic_files import atomic_write
from pynapple_nuclr.checkpoints.zip_archives import check_archive
from pynapple_nuclr.nwb.opening import errors_naming_file

PARAMETERS = ("calibrate", "estimator", "features", "standardize", "prefix", "target")
"""What a probe is made with."""

FITTED = (
    "classes_",
    "cv_group_",
    "cv_calibration_",
    "cv_chance_",
    "cv_score_",
    "encoder_",
    "estimator_",
    "n_features_in_",
    "n_units_",
    "training_hashes_",
    "temperature_",
)
"""What a fitted probe knows."""

_FORMAT = "pynapple_nuclr probe 3"
_OLD_FORMAT = "pynapple_nuclr probe 2"
_OLD_NAMES = {"normalize": "standardize", "seen_": "training_hashes_"}
# Beside what skops trusts by itself (scikit-learn's estimators): plain Python classes that hold
# arrays and numbers. Compiled ones (trees) stay out: forged, they can crash the process.
_TRUSTED = [
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
]


def write_probe(path: str | Path, params: dict[str, Any], fitted: dict[str, Any]) -> None:
    """Write a probe's parameters and what it learnt, with skops.

    Raises
    ------
    ValueError
        If they hold types that `read_probe` would refuse.
    """
    import skops.io

    data = skops.io.dumps({"format": _FORMAT, "params": params, "fitted": fitted})
    refused = sorted(set(skops.io.get_untrusted_types(data=data)) - set(_TRUSTED))
    if refused:
        raise ValueError(
            f"a probe with {', '.join(refused)} cannot be shared safely; choose an estimator of "
            "scikit-learn without trees, for example LogisticRegression or SVC"
        )
    with atomic_write(Path(path)) as draft:
        draft.write_bytes(data)


def _check_arrays(path: Path) -> None:
    """Refuse arrays that are larger than what is stored of them: numpy makes room for all."""
    with ZipFile(path) as archive:
        for member in archive.infolist():
            if not member.filename.endswith(".npy"):
                continue
            with archive.open(member) as file:
                version = np.lib.format.read_magic(file)
                read = {1: "read_array_header_1_0", 2: "read_array_header_2_0"}[version[0]]
                shape, _, dtype = getattr(np.lib.format, read)(file)
            if prod(shape) * dtype.itemsize > member.file_size:
                raise ValueError(f"{member.filename} holds less than an array of shape {shape}")


def read_probe(path: str | Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read what `write_probe` wrote: parameters and what was learnt.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is truncated, a pickle, no probe, or holds types that are not trusted.
    """
    import skops.io

    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no file {path}; expected one written by Probe.save")
    with errors_naming_file(path, "load_probe", "a probe that Probe.save wrote"):
        check_archive(Path(path))
        _check_arrays(Path(path))
        content = skops.io.loads(Path(path).read_bytes(), trusted=_TRUSTED)
    is_ours = isinstance(content, dict) and content.get("format") in (_FORMAT, _OLD_FORMAT)
    parts = [content.get(part) for part in ("params", "fitted")] if is_ours else []
    parts = [{_OLD_NAMES.get(k, k): v for k, v in (part or {}).items()} for part in parts]
    if [set(part) for part in parts] != [set(PARAMETERS), set(FITTED)]:
        raise ValueError(f"{path} holds no probe; expected a file written by Probe.save")
    return parts[0], parts[1]
