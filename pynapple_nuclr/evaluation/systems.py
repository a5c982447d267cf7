"""Which systems are compared: given as objects or by name; the priors are always added."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pynapple_nuclr.baselines.base import EmbeddingSystem, LabelSystem, Recordings, System
from pynapple_nuclr.baselines.registry import find_system
from pynapple_nuclr.evaluation.task import Task

DEFAULT_SYSTEMS = ("Nuclr", "Statistics")
PRIORS = ("MostCommonLabel", "CorrelatedNeighbours")
SHUFFLED = "shuffled labels"
"""The row of the probe on shuffled labels: chance."""


def resolve_systems(systems: Any, task: Task, *, priors: bool = True) -> dict[str, System]:
    """Return row → system, in the order of the table."""
    rows = _rows(DEFAULT_SYSTEMS if systems is None else systems, task.units)
    modality = task.modality
    for row, system in rows.items():
        if modality not in system.modalities:
            raise ValueError(
                f"system {row!r} reads {' and '.join(system.modalities)}; the recordings hold "
                f"{modality}; leave it out, or choose another"
            )
    there = {type(one) for one in rows.values()}
    for kind in map(find_system, PRIORS if priors else ()):
        if kind not in there and modality in kind.modalities:
            rows[kind.name] = kind()
    return rows


def supports_protocol(system: System, protocol: str) -> bool:
    """Return whether a system exists in a protocol: a prior needs labels of the same recording."""
    zero_shot = protocol != "transductive"
    return not (zero_shot and isinstance(system, LabelSystem) and system.uses_test_recording_labels)


def shuffled_system(rows: Mapping[str, System]) -> EmbeddingSystem:
    """Return the system whose vectors the probe gets with shuffled labels: the first with any."""
    own = [one for one in rows.values() if isinstance(one, EmbeddingSystem)]
    if own:
        return own[0]
    statistics = find_system("Statistics")()
    assert isinstance(statistics, EmbeddingSystem)
    return statistics


def _rows(systems: Any, recordings: Recordings) -> dict[str, System]:
    if isinstance(systems, (str, System)):
        systems = [systems]
    if isinstance(systems, Mapping):
        return {str(row): _as_system(one, recordings) for row, one in systems.items()}
    if not isinstance(systems, Iterable):
        raise TypeError(
            f"systems is a {type(systems).__name__}; expected a list of systems or their names, "
            "or a mapping row → system"
        )
    rows: dict[str, System] = {}
    for one in (_as_system(one, recordings) for one in systems):
        name = one.row_name(recordings)
        if name in rows or name == SHUFFLED:
            raise ValueError(
                f"two systems are called {name!r}; name the rows: "
                "systems={'dim 64': …, 'dim 128': …}"
            )
        rows[name] = one
    if not rows:
        raise ValueError("systems is empty; expected at least one")
    return rows


def _as_system(one: Any, recordings: Recordings) -> System:
    if isinstance(one, System):
        return one
    if isinstance(one, str):
        return find_system(one).for_recordings(recordings)
    raise TypeError(
        f"a system is a {type(one).__name__}; expected an EmbeddingSystem, a LabelSystem or a name"
    )
