"""Fitted probes back from their files."""

from __future__ import annotations

import reprlib
from pathlib import Path

import numpy as np

from pynapple_nuclr.nwb.opening import errors_naming_file
from pynapple_nuclr.probes._probe import Probe
from pynapple_nuclr.probes.inputs import check_parameters
from pynapple_nuclr.probes.probe_file import read_probe


def load_probe(path: str | Path) -> Probe:
    """Read a probe that `Probe.save` wrote. Nothing in the file is ever executed.

    Parameters
    ----------
    path : str or Path
        The file.

    Returns
    -------
    Probe
        Fitted.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is truncated, a pickle, no probe, or holds types that are not trusted.

    Examples
    --------
    >>> import os, tempfile
    >>> from pynapple_nuclr.probes import Probe, load_probe
    >>> x = [[0.0], [0.1], [0.2], [1.0], [1.1], [1.2]]
    >>> probe = Probe("layer").fit(x, ["L4", "L4", "L4", "L5", "L5", "L5"], verbose=False)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "layer.skops")
    ...     probe.save(path)
    ...     load_probe(path).predict([[0.3], [0.9]]).tolist()
    ['L4', 'L5']
    """
    params, fitted = read_probe(path)
    probe = Probe(**params)
    for name, value in fitted.items():
        setattr(probe, name, value)
    with errors_naming_file(path, "load_probe", "a probe that Probe.save wrote"):
        _try(probe, Path(path).stat().st_size)
    return probe


def _try(probe: Probe, size: int) -> None:
    """Let a probe out of a file of `size` bytes predict once: else it would fail much later."""
    check_parameters(probe)
    n_columns, classes = probe.n_features_in_, probe.classes_
    if not isinstance(classes, np.ndarray) or classes.ndim != 1:
        raise ValueError(f"its classes are {reprlib.repr(classes)}")
    if not np.array_equal(probe.estimator_.classes_, classes):
        raise ValueError("its estimator tells other classes than it names")
    if not isinstance(n_columns, int) or not 0 < n_columns < size:
        raise ValueError(f"it asks for {reprlib.repr(n_columns)} columns")
    if not isinstance(probe.encoder_, str | None):
        raise ValueError(f"its encoder is {reprlib.repr(probe.encoder_)}")
    x = np.zeros((2, n_columns))
    if not np.isin(probe.predict(x), classes).all():
        raise ValueError("it predicts what is none of its classes")
    if hasattr(probe, "predict_proba"):
        chances = probe.predict_proba(x)
        if chances.shape != (2, len(classes)) or not np.isfinite(chances).all():
            raise ValueError("its probabilities are not finite, or not one a class")
