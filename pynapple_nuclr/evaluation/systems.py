"""Which systems are compared: given as themselves or by name, with the floors always beside."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pynapple_nuclr import baselines
from pynapple_nuclr.baselines import base
from pynapple_nuclr.baselines._nuclr import Nuclr
from pynapple_nuclr.baselines._priors import CorrelatedNeighbours, MostCommonLabel
from pynapple_nuclr.baselines._statistics import Statistics
from pynapple_nuclr.baselines.base import EmbeddingSystem, LabelSystem, System

if TYPE_CHECKING:
    from pynapple_nuclr.config import Modality

SHUFFLED = "shuffled labels"
"""The row of the probe on shuffled labels: chance."""


def resolve_systems(systems: Any, modality: Modality, *, priors: bool = True) -> dict[str, System]:
    """Return row → system, in the order of the table.

    Parameters
    ----------
    systems : sequence or mapping, optional
        Systems, or their names (of the class or of the row); a mapping names the rows. Default:
        the encoder that comes with the package, and single-unit statistics.
    modality : {"spikes", "calcium"}
        What the recordings are.
    priors : bool
        Add the two priors, where they are not among them.

    Returns
    -------
    dict
        Of systems that can read this modality.

    Raises
    ------
    TypeError, ValueError
        If a name is unknown, a row occurs twice, or a system that was asked for cannot read the
        recordings.
    """
    rows = _rows([Nuclr(modality), Statistics()] if systems is None else systems)
    for row, system in rows.items():
        if modality not in system.modalities:
            raise ValueError(
                f"system {row!r} reads {' and '.join(system.modalities)}; the recordings hold "
                f"{modality}; leave it out, or choose another"
            )
    there = {type(one) for one in rows.values()}
    for kind in (MostCommonLabel, CorrelatedNeighbours) if priors else ():
        if kind not in there and modality in kind.modalities:
            rows[kind.name] = kind()
    return rows


def tells(system: System, protocol: str) -> bool:
    """Say whether a system exists in a protocol: a prior needs labels of the same recording."""
    zero_shot = protocol != "transductive"
    return not (zero_shot and isinstance(system, LabelSystem) and system.uses_test_recording_labels)


def shuffled_system(rows: Mapping[str, System]) -> EmbeddingSystem:
    """Return whose vectors the probe gets with shuffled labels: the first that has any."""
    own = [one for one in rows.values() if isinstance(one, EmbeddingSystem)]
    return own[0] if own else Statistics()


def _rows(systems: Any) -> dict[str, System]:
    if isinstance(systems, (str, System)):
        systems = [systems]
    if isinstance(systems, Mapping):
        return {str(row): _as_system(one) for row, one in systems.items()}
    if not isinstance(systems, Iterable):
        raise TypeError(
            f"systems is a {type(systems).__name__}; expected a list of systems or their names, "
            "or a mapping row → system"
        )
    rows: dict[str, System] = {}
    for one in map(_as_system, systems):
        if one.name in rows or one.name == SHUFFLED:
            raise ValueError(
                f"two systems are called {one.name!r}; name the rows: "
                "systems={'dim 64': …, 'dim 128': …}"
            )
        rows[one.name] = one
    if not rows:
        raise ValueError("systems is empty; expected at least one")
    return rows


def _as_system(one: Any) -> System:
    if isinstance(one, System):
        return one
    if isinstance(one, str):
        return _by_name(one)
    raise TypeError(
        f"a system is a {type(one).__name__}; expected an EmbeddingSystem, a LabelSystem or a name"
    )


def _by_name(name: str) -> Any:
    names = sorted(one for one in baselines.__all__ if not hasattr(base, one))
    for known in names:
        if known.lower() == name.lower():
            return getattr(baselines, known)()
    for known in names:  # only now: this loads all of them
        if getattr(getattr(baselines, known), "name", None) == name:
            return getattr(baselines, known)()
    raise ValueError(f"system {name!r} is unknown; there are {', '.join(names)}")
