"""The systems that are installed, found by name through entry points: ours and those of others."""

from __future__ import annotations

import logging
from importlib.metadata import EntryPoint, entry_points

from pynapple_nuclr.baselines.base import System

logger = logging.getLogger(__name__)

GROUP = "pynapple_nuclr.systems"
"""Entry-point group: name → class, a subclass of `EmbeddingSystem` or `LabelSystem`."""


def find_system(name: str) -> type[System]:
    """Return the class of a system by its entry point (in any case), or its name in tables.

    Examples
    --------
    >>> from pynapple_nuclr.baselines.registry import find_system
    >>> find_system("statistics").name, find_system("prior: most common label").__name__
    ('statistics', 'MostCommonLabel')
    """
    found = entry_points(group=GROUP)
    # Of two packages with the same name ours wins: it comes last.
    ordered = sorted(found, key=lambda point: point.module.startswith("pynapple_nuclr."))
    points = {point.name: point for point in ordered}
    for known, point in points.items():
        if known.lower() == name.lower():
            return _load(point)
    for point in points.values():  # only now: this loads all of them
        try:
            system = _load(point)
        except Exception as error:  # an error in another package must not stop ours
            logger.warning("the system %s (%s) is left out: %s", point.name, point.value, error)
            continue
        if system.name == name:
            return system
    raise ValueError(
        f"system {name!r} is unknown; there are "
        f"{', '.join(sorted(points))} (a new one is found after its package is installed again)"
    )


def _load(point: EntryPoint) -> type[System]:
    kind = point.load()
    if not (isinstance(kind, type) and issubclass(kind, System)):
        raise TypeError(
            f"entry point {point.name!r} of {GROUP} leads to {point.value}, which is no subclass "
            "of EmbeddingSystem or LabelSystem"
        )
    return kind
