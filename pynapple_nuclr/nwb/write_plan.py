"""What `write_nwb` writes into a copy of a file, and where: planned first, then applied."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pynapple_nuclr.nwb import neuron_tables
from pynapple_nuclr.nwb.opening import OpenNWB, open_nwb, source_name
from pynapple_nuclr.nwb.provenance import add_provenance, read_provenance, sign
from pynapple_nuclr.nwb.table_columns import Columns, scatter_rows
from pynapple_nuclr.recording import Units


@dataclass(frozen=True)
class WritePlan:
    """What is written into a copy of a file."""

    place: str  # where the table of neurons is, such as `units`
    table_id: str  # the `object_id` of that table
    columns: list[dict[str, Any]]  # as of `add_column`; one of the same name is replaced
    outdated: list[str]  # columns of an earlier embedding to remove
    units: Units  # what the notes are about
    prefix: str  # of the columns, and in the name of the notes
    notes: Mapping[str, object]  # name → value, for `processing/nuclr`
    is_new: bool  # whether the file is signed as made by this package


def plan_write(
    units: Units,
    file: OpenNWB,
    columns: Columns,
    prefix: str,
    settings: Mapping[str, object] | None,
    *,
    is_new: bool,
) -> WritePlan:
    """Plan what is written for these units into a copy of an open file."""
    table = neuron_tables.table_of(units, file.nwbfile, file)
    rows = neuron_tables.match_rows(units, table, file)
    notes = {"source": source_name(file), **(settings or {})}
    if neuron_tables.keeps_embedding(table, columns, rows, prefix):
        notes |= read_provenance(file.nwbfile, prefix, neuron_tables.name_of(table))
        notes |= settings or {}
    kept, outdated = neuron_tables.reconcile(table, columns, prefix)
    n_rows = len(table.id)
    new = [
        {
            "name": name,
            "description": description,
            "data": scatter_rows(values, rows, n_rows, zero=name.endswith("_n_windows")),
        }
        for name, (values, description) in kept.items()
    ]
    place = neuron_tables.location(table)
    return WritePlan(place, table.object_id, new, outdated, units, prefix, notes, is_new)


def apply_plan(plan: WritePlan, draft: Path) -> None:
    """Write into a file what was planned."""
    from hdmf.backends.warnings import BrokenLinkWarning

    names = [column["name"] for column in plan.columns]
    neuron_tables.remove_columns(draft, plan.place, [*names, *plan.outdated], plan.prefix)
    with warnings.catch_warnings():
        # A relative link leads nowhere from the draft's folder; in its place it will again.
        warnings.simplefilter("ignore", BrokenLinkWarning)
        with open_nwb(draft, "r+") as file:
            nwbfile = file.nwbfile
            tables = neuron_tables.neuron_tables(nwbfile)
            (table,) = (one for one in tables if neuron_tables.location(one) == plan.place)
            for column in plan.columns:
                table.add_column(**column)
            name = neuron_tables.name_of(table)
            add_provenance(nwbfile, plan.units, plan.prefix, plan.notes, name)
            if plan.is_new:
                sign(nwbfile, table.id.data.file.attrs["nwb_version"])
            file.io.write(nwbfile)
