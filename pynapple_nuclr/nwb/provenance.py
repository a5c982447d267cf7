"""How the columns in an NWB file were made: a table of names and values in the file itself."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone

import pandas as pd
import pynapple as nap
import pynwb
from hdmf.common import DynamicTable, VectorData

from pynapple_nuclr import __version__
from pynapple_nuclr.columns import is_missing, metadata_frame
from pynapple_nuclr.nwb.values import read_values
from pynapple_nuclr.recording import Units

MODULE = "nuclr"
"""The processing module that holds the notes: a table for each embedded table and prefix."""


def notes_name(prefix: str, table: str) -> str:
    """Return the name of the notes about one embedding; `table` is that of the neurons."""
    name = table.replace("/", "_")  # a place, of one of several tables of that name
    return f"{prefix}_provenance" + ("" if table == "units" else f"_{name}")


def add_provenance(
    nwbfile: pynwb.NWBFile,
    units: Units,
    prefix: str,
    settings: Mapping[str, object],
    table: str = "units",
) -> None:
    """Note in ``processing/nuclr`` how the columns of a table of neurons were made."""
    metadata = metadata_frame(units)
    encoders = metadata.get(f"{prefix}_encoder", pd.Series(dtype=object))
    support = units.time_support
    kind = "units" if isinstance(units, nap.TsGroup) else "ROIs"
    notes = {
        "software": f"pynapple-nuclr {__version__}",
        "encoder": ", ".join(sorted({str(name) for name in encoders[~is_missing(encoders)]})),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "units": f"{len(metadata)} {kind} given",
        "time_support": f"{support.tot_length():g} s in {len(support)} epochs",
        **{name: str(value) for name, value in settings.items()},
    }
    if MODULE not in nwbfile.processing:
        description = "Neuron identity by NuCLR: how columns of the table of neurons were made."
        nwbfile.create_processing_module(name=MODULE, description=description)
    rows = DynamicTable(
        name=notes_name(prefix, table),
        description=f"How the columns {prefix}_* and predicted_* of the table {table} were made.",
        columns=[
            VectorData(name="setting", description="Name", data=list(notes)),
            VectorData(name="value", description="Value", data=list(notes.values())),
        ],
    )
    nwbfile.processing[MODULE].add(rows)


def read_provenance(nwbfile: pynwb.NWBFile, prefix: str, table: str) -> dict[str, str]:
    """Read the notes of `add_provenance`; empty if there are none."""
    module, name = nwbfile.processing.get(MODULE), notes_name(prefix, table)
    if module is None or name not in module.data_interfaces:
        return {}
    notes = module[name]
    settings, values = (read_values(notes[name].data).tolist() for name in ("setting", "value"))
    return dict(zip(settings, values, strict=True))


def sign(nwbfile: pynwb.NWBFile, version: str | None = None) -> None:
    """Note in a new file that this package made it, if its `version` of NWB has a place for it."""
    parts = (version or "2.8").split(".")[:2]
    if tuple(int(part) for part in parts) >= (2, 8) and not nwbfile.was_generated_by:
        nwbfile.was_generated_by = [["pynapple-nuclr", __version__]]
