"""Fitted probes back from their files."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pynapple_nuclr.bundled import PROBES
from pynapple_nuclr.checkpoints.hub import local_folder
from pynapple_nuclr.nwb.opening import errors_naming_file
from pynapple_nuclr.probes._probe import Probe
from pynapple_nuclr.probes.inputs import check_parameters
from pynapple_nuclr.probes.probe_file import FILE, read_probe


def load_probe(path: str | Path, trusted: Sequence[str] | None = None, **hub: Any) -> Probe:
    """Read a probe from a file, a folder or the Hugging Face hub, without executing anything.

    Parameters
    ----------
    path : str or Path
        A file or folder that `Probe.save` wrote, or ``"owner/name"`` on the hub; or one that
        comes with the package: ``"waveform-type"`` (narrow, as of putative fast-spiking
        interneurons, or broad; from spikes alone).
    trusted : sequence of str, optional
        Types in the file to trust beside those of scikit-learn and numpy that are trusted by
        default: linear models, SVC, decision trees and forests, pipelines of these. An error
        prints the list to pass. A type's own code then runs: do so only if you trust the author.
    **hub
        Passed to ``huggingface_hub.snapshot_download``: ``revision``, ``token``,
        ``local_files_only`` and the like.

    Returns
    -------
    Probe
        Fitted.

    Raises
    ------
    FileNotFoundError
        If there is no such file or repository, or the hub cannot be reached.
    TypeError
        If `trusted` is no list of names.
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
    is_list = isinstance(trusted, (list, tuple, set))
    if trusted is not None and not (is_list and all(isinstance(one, str) for one in trusted)):
        raise TypeError(f"trusted={trusted!r}; expected names of types: ['module.Class', …]")
    file = _find(PROBES.get(str(path), path), hub)
    params, fitted = read_probe(file, trusted)
    probe = Probe(**params)
    for name, value in fitted.items():
        setattr(probe, name, value)
    with errors_naming_file(file, "load_probe", "a probe that Probe.save wrote"):
        _check_usable(probe, file.stat().st_size)
    return probe


def _find(path: str | Path, hub: dict[str, Any]) -> Path:
    local = Path(path)
    if not local.exists() and isinstance(path, str) and local.suffix != ".skops":
        written_by = f"Probe.save, a bundled one ({', '.join(PROBES)})"
        local = local_folder(path, (FILE, "README.md"), "probe", written_by, hub)
    return local / FILE if local.is_dir() else local


def _check_usable(probe: Probe, size: int) -> None:
    """Let a probe from a file of `size` bytes predict once: else it would fail much later."""
    check_parameters(probe)
    n_columns, classes = probe.n_features_in_, probe.classes_
    if not isinstance(classes, np.ndarray) or classes.ndim != 1:
        raise ValueError(f"its classes are {reprlib.repr(classes)}")
    if not np.array_equal(probe.estimator_.classes_, classes):
        raise ValueError("its estimator has other classes than it states")
    if not isinstance(n_columns, int) or not 0 < n_columns < size:
        raise ValueError(f"it needs {reprlib.repr(n_columns)} columns")
    if not isinstance(probe.encoder_, str | None):
        raise ValueError(f"its encoder is {reprlib.repr(probe.encoder_)}")
    means = np.asarray(probe.training_recordings_.get("means", np.empty((0, n_columns))))
    if means.ndim != 2 or means.shape[1] != n_columns:
        raise ValueError(f"it knows {means.shape} means of recordings")
    x = np.zeros((2, n_columns))
    if not np.isin(probe.predict(x), classes).all():
        raise ValueError("it predicts other labels than its classes")
    if hasattr(probe, "predict_proba"):
        probabilities = probe.predict_proba(x)
        if probabilities.shape != (2, len(classes)) or not np.isfinite(probabilities).all():
            raise ValueError("its probabilities are not finite, or not one a class")
