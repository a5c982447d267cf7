"""Fitted probes back from their files."""

from __future__ import annotations

from pathlib import Path

from pynapple_nuclr.probes.classifier import Probe
from pynapple_nuclr.probes.storage import read_probe


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
    >>> probe = Probe("layer").fit(x, ["L4", "L4", "L4", "L5", "L5", "L5"], progress=False)
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
    return probe
