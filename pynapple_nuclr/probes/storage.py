"""Fitted probes as single files that can be read without executing anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

PARAMETERS = ("calibrate", "estimator", "features", "normalize", "prefix", "target")
"""What a probe is made with."""

FITTED = (
    "classes_",
    "cv_by_",
    "cv_calibration_",
    "cv_chance_",
    "cv_score_",
    "encoder_",
    "estimator_",
    "n_features_in_",
    "n_units_",
    "temperature_",
)
"""What a fitted probe knows."""

_FORMAT = "pynapple_nuclr probe 1"
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
    Path(path).write_bytes(data)


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
    data = Path(path).read_bytes()
    try:
        content = skops.io.loads(data, trusted=_TRUSTED)
    except Exception as error:  # whatever a broken or forged file makes of the reader
        raise ValueError(
            f"{path} is no probe that can be read safely ({type(error).__name__}: {error}); "
            "expected a whole file written by Probe.save"
        ) from error
    is_ours = isinstance(content, dict) and content.get("format") == _FORMAT
    parts = [content.get(part) for part in ("params", "fitted")] if is_ours else []
    if [set(part or ()) for part in parts] != [set(PARAMETERS), set(FITTED)]:
        raise ValueError(f"{path} holds no probe; expected a file written by Probe.save")
    return parts[0], parts[1]
