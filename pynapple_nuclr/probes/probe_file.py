"""Fitted probes as single files that can be read without executing anything."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np

from pynapple_nuclr.atomic_files import atomic_write
from pynapple_nuclr.checkpoints.zip_archives import check_archive
from pynapple_nuclr.nwb.opening import errors_naming_file
from pynapple_nuclr.probes.tree_check import check_trees

PARAMETERS = (
    "calibrate",
    "estimator",
    "features",
    "inputs",
    "missing_labels",
    "n_shuffles",
    "prefix",
    "standardize",
    "target",
    "threshold",
)
"""What a probe is made with."""

FITTED = (
    "class_shares_",
    "classes_",
    "cv_group_",
    "cv_calibration_",
    "cv_chance_",
    "cv_chance_sd_",
    "cv_inputs_",
    "cv_score_",
    "encoder_",
    "estimator_",
    "inputs_",
    "n_features_in_",
    "n_units_",
    "temperature_",
    "training_hashes_",
    "training_recordings_",
)
"""What a fitted probe knows."""

FILE = "probe.skops"
"""The probe's file in a folder or on the hub, beside its card README.md."""

_FORMAT = "pynapple_nuclr probe 5"
_OLD_NAMES = {"normalize": "standardize", "seen_": "training_hashes_"}
# What files of the old formats do not hold. In format 2, only "" and "nan" were missing labels.
_ADDED_TO_4: dict[str, Any] = {"threshold": None, "training_recordings_": {}}
_ADDED_TO_3 = _ADDED_TO_4 | {
    "inputs": "embedding",
    "inputs_": "embedding",
    "cv_inputs_": {},
    "class_shares_": 0.0,  # the share is then taken to be 1 / classes
}
_ADDED_TO_2 = _ADDED_TO_3 | {
    "missing_labels": ("", "nan"),
    "n_shuffles": 5,
    "cv_chance_sd_": float("nan"),
}
_ADDED: dict[str, dict[str, Any]] = {
    _FORMAT: {},
    "pynapple_nuclr probe 4": _ADDED_TO_4,
    "pynapple_nuclr probe 3": _ADDED_TO_3,
    "pynapple_nuclr probe 2": _ADDED_TO_2,
}
# Beside what skops trusts by itself (scikit-learn's estimators, numpy): Python classes that hold
# arrays and numbers, and trees, whose nodes `check_trees` looks at. Other compiled classes stay
# out: forged numbers in them could crash the process.
_TRUSTED = (
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.tree._tree.Tree",
)


def write_probe(path: Path, params: dict[str, Any], fitted: dict[str, Any]) -> list[str]:
    """Write a probe with skops; return the types for which a reader must state trust."""
    import skops.io

    data = skops.io.dumps({"format": _FORMAT, "params": params, "fitted": fitted})
    with atomic_write(path) as draft:
        draft.write_bytes(data)
    return sorted(set(skops.io.get_untrusted_types(data=data)) - set(_TRUSTED))


def _check_arrays(path: Path) -> None:
    """Refuse arrays that are larger than what is stored of them: numpy reserves memory for all."""
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


def read_probe(
    path: Path, trusted: Sequence[str] | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read what `write_probe` wrote: parameters and fitted attributes."""
    import skops.io

    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}; expected one written by Probe.save")
    with errors_naming_file(path, "load_probe", "a probe that Probe.save wrote"):
        check_archive(path)
        _check_arrays(path)
        data = path.read_bytes()
        unknown = set(skops.io.get_untrusted_types(data=data)) - {*_TRUSTED, *(trusted or ())}
    if unknown:
        needed = sorted({*unknown, *(trusted or ())})
        raise ValueError(
            f"{path} holds types that are not trusted: {', '.join(sorted(unknown))}. If you trust "
            f"its author: load_probe(…, trusted={needed})"
        )
    with errors_naming_file(path, "load_probe", "a probe that Probe.save wrote"):
        content = skops.io.loads(data, trusted=[*_TRUSTED, *(trusted or ())])
        if not isinstance(content, dict):
            raise ValueError(f"it holds a {type(content).__name__}")
        check_trees(content)
    added = _ADDED.get(content.get("format", ""))
    stored = (content.get("params") or {}) | (content.get("fitted") or {})
    stored = {_OLD_NAMES.get(name, name): value for name, value in stored.items()}
    found = (added or {}) | stored
    if added is None or set(found) != {*PARAMETERS, *FITTED}:
        raise ValueError(f"{path} holds no probe; expected a file written by Probe.save")
    return {name: found[name] for name in PARAMETERS}, {name: found[name] for name in FITTED}
