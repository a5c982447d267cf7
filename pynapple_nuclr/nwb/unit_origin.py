"""Where each unit was recorded: brain region, electrode group and probe; the region of ROIs."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from hdmf.common import DynamicTableRegion, VectorIndex
from numpy.typing import NDArray

from pynapple_nuclr.columns import is_missing_label
from pynapple_nuclr.nwb.peak_channels import (
    PEAK_COLUMNS,
    Rows,
    Texts,
    at_largest_waveform,
    peak_rows,
    refers_to_all,
)
from pynapple_nuclr.nwb.read_notes import ReadNotes
from pynapple_nuclr.nwb.row_metadata import columns_called, texts_of
from pynapple_nuclr.nwb.values import read_ragged, read_values

REGION_COLUMNS = (
    "location",
    "brain_area",
    "brain_region",
    "region",
    "area",
    "acronym",
    "brain_acronym",
    "ecephys_structure_acronym",
    "structure_acronym",
    "region_acronym",
    "area_acronym",
    "brain_area_name",
    "brain_region_name",
    "region_name",
    "area_name",
    "structure_name",
    "anatomical_location",
    "anatomical_region",
    "anatomical_area",
    "anatomy",
    "brain_location",
    "brain_structure",
    "structure",
    "cortical_area",
    "allen_location",
    "allen_acronym",
    "ccf_location",
    "ccf_acronym",
    "ccf_region",
    "beryl_location",
    "beryl_acronym",
    "beryl",
    "cosmos_location",
    "cosmos_acronym",
    "cosmos",
    "anno_name",
)
"""Columns that name a brain region, in the order in which they are looked at, in any spelling."""

_FIELD = r"(\w+) ?: ?([^,;:{}]+?) ?(?=[,;]| \w+ ?:|$)"
_OF_A_ROI = ("area", "structure")  # its size, and whether it is a soma, say
GROUP_NAME = "Name of the electrode group of the unit"
"""Describes the column ``group_name`` of `write_units`, read back as ``electrode_group``."""


def unit_origin(
    nwbfile: Any, table: Any, columns: Mapping[str, NDArray[Any]], notes: ReadNotes
) -> dict[str, NDArray[Any]]:
    """Return ``location``, ``electrode_group`` and ``probe`` of the units, where known.

    The region is the unit's own column, else that of its electrodes (of the peak channel, else
    the most common one), else that of its electrode group, else that in which all electrodes of
    the file lie; texts such as "unknown" count as none at every step. All electrodes of a group
    say nothing of where in it a unit is: then its mean waveforms do, or the region is not known.
    """
    n_units = len(table.id)
    if not n_units:
        return {}
    electrodes, rows = _electrodes(nwbfile, table, columns, notes)
    own = columns_called([name for name in table.colnames if name in columns], REGION_COLUMNS)
    sources = [
        (f"units: {name}", _named(columns[name])) for name in own if columns[name].dtype == object
    ]
    if electrodes is not None:
        regions = _regions_of(electrodes)
        vague = _vague(electrodes, regions, rows)
        if vague.any():
            rows = at_largest_waveform(table, rows, vague)
            vague = _vague(electrodes, regions, rows)
            known = [~is_missing_label(values) for _, values in sources]
            _warn_of_vague(vague & ~np.any(known, axis=0), notes)
        for name, values in regions.items():
            found = [
                _most_common(values[row], or_none=is_vague)
                for row, is_vague in zip(rows, vague, strict=True)
            ]
            sources.append((f"electrodes: {name}", np.array(found, dtype=object)))
    groups = _groups(nwbfile, table, electrodes, rows)
    places = [_common_text([str(one.location) for one in of_unit]) for of_unit in groups]
    if any(groups):
        sources.append(("electrode groups: location", _named(np.array(places, dtype=object))))
    if electrodes is not None:  # of units that refer to none of them
        for name, values in regions.items():
            place = _common_text(values.tolist())
            sources.append((f"all electrodes: {name}", np.array([place] * n_units, dtype=object)))
    origin = _region(sources, n_units, columns.get("location"), notes)
    return origin | _probes(groups, columns, notes)


def roi_origin(
    table: Any, columns: Mapping[str, NDArray[Any]], n_rois: int, notes: ReadNotes
) -> dict[str, NDArray[Any]]:
    """Return the ``location`` of ROIs, where known: their own column, else of the imaging plane."""
    wanted = (name for name in REGION_COLUMNS if name not in _OF_A_ROI)
    own = columns_called(columns, wanted)
    sources = [
        (f"ROIs: {name}", _named(columns[name])) for name in own if columns[name].dtype == object
    ]
    plane = getattr(table, "imaging_plane", None)
    place = str(getattr(plane, "location", "")).strip()
    if not is_missing_label([place])[0]:
        places = _named(np.full(n_rois, place, dtype=object))
        sources.append(("imaging plane: location", places))
    return _region(sources, n_rois, columns.get("location"), notes)


def _region(
    sources: Sequence[tuple[str, Texts]], n_units: int, own: NDArray[Any] | None, notes: ReadNotes
) -> dict[str, NDArray[Any]]:
    """Fill the region of each unit from the first source that names it."""
    region = np.full(n_units, "", dtype=object)
    used = []
    for name, values in sources:
        new = is_missing_label(region) & ~is_missing_label(values)
        if new.any():
            region[new] = values[new]
            used.append(name)
    if used:
        notes.columns["region"] = ", then ".join(used)
    if not sources or (own is not None and own.dtype != object):
        return {}
    if own is not None:  # what the file says stays where nothing better is known
        region = np.where(is_missing_label(region), own, region)
    return {"location": region}


def _probes(
    groups: Sequence[Sequence[Any]], columns: Mapping[str, NDArray[Any]], notes: ReadNotes
) -> dict[str, NDArray[Any]]:
    """Return the names of the electrode group and of the device of each unit."""
    names = [list(dict.fromkeys(str(one.name) for one in of_unit)) for of_unit in groups]
    several = [i for i, one in enumerate(names) if len(one) > 1]
    if several:
        notes.warn(
            f"{len(several)} of {len(names)} units have electrodes of several groups, such as "
            f"{' and '.join(names[several[0]])}; electrode_group names all of them"
        )
    devices = [
        list(dict.fromkeys(str(one.device.name) for one in of_unit if one.device is not None))
        for of_unit in groups
    ]
    found = {"electrode_group": names, "probe": devices}
    result = {
        key: np.array([" + ".join(one) for one in values], dtype=object)
        for key, values in found.items()
        if any(values) and key not in columns
    }
    if result:
        notes.columns["probe"] = "electrode groups: device" if "probe" in result else "name"
    return result


def _electrodes(
    nwbfile: Any, table: Any, columns: Mapping[str, NDArray[Any]], notes: ReadNotes
) -> tuple[Any, list[NDArray[np.int64]]]:
    """Return the table of electrodes, and those of each unit (its peak channel if known)."""
    electrodes, rows = None, [np.empty(0, np.int64)] * len(table.id)
    peaks: Any = None
    for name in sorted(table.colnames, key=lambda name: name == "electrodes"):  # it wins
        column = table[name]
        target = column.target if isinstance(column, VectorIndex) else column
        if not isinstance(target, DynamicTableRegion) or "group_name" not in target.table.colnames:
            continue
        if isinstance(column, VectorIndex):
            electrodes = target.table
            rows = [row.astype(np.int64) for row in read_ragged(column)]
        else:
            referred = [np.array([row]) for row in read_values(column.data).astype(np.int64)]
            if name.lower() in PEAK_COLUMNS or "peak" in name or "max" in name:
                peaks, electrodes = referred, electrodes or target.table
            elif electrodes is None or name == "electrodes":
                electrodes, rows = target.table, referred
    electrodes = electrodes if electrodes is not None else nwbfile.electrodes
    if electrodes is None:
        return None, rows
    n = len(electrodes.id)
    rows = [row[(row >= 0) & (row < n)] for row in rows]
    peaks = peaks or peak_rows(table, electrodes, columns, rows, notes)
    for i, peak in enumerate(peaks or []):
        if len(peak) and 0 <= peak[0] < n:
            rows[i] = peak
    return electrodes, rows


def _groups(nwbfile: Any, table: Any, electrodes: Any, rows: Rows) -> list[list[Any]]:
    """Return the electrode groups of each unit."""
    if "electrode_group" in table.colnames:
        return [[group] for group in table["electrode_group"][:]]
    names = None if electrodes is None else texts_of(electrodes, "group_name")
    if names is None:
        return [[] for _ in rows]
    known = {name.strip(): group for name, group in nwbfile.electrode_groups.items()}
    used = np.unique(np.concatenate(rows))
    if "group" in electrodes.colnames and not set(names[used]) <= set(known):
        groups = electrodes["group"][:]  # of which group_name should be the name
        known = {str(one.name): one for one in groups}
        names = np.array([str(one.name) for one in groups], dtype=object)
    found = [list(dict.fromkeys(names[row])) for row in rows]
    return [[known[name] for name in of_unit if name in known] for of_unit in found]


def _regions_of(electrodes: Any) -> dict[str, Texts]:
    """Return the columns of regions of the electrodes (electrodes,): "" where one is not known."""
    columns = {
        name: texts_of(electrodes, name)
        for name in columns_called(electrodes.colnames, REGION_COLUMNS)
    }
    named = {name: _named(values) for name, values in columns.items() if values is not None}
    return {
        name: np.where(is_missing_label(values), "", values).astype(object)
        for name, values in named.items()
    }


def _named(texts: Texts) -> Texts:
    """Return regions; of texts of several fields, "area: VISp, depth: 175", the region of these."""
    named = np.empty(len(texts), dtype=object)
    named[:] = [_region_in_fields(text) if ":" in text else text for text in texts]
    return named


def _region_in_fields(text: str) -> str:
    """Return the region that fields name, of JSON or a dict of Python "" if there is none."""
    fields, without = dict(re.findall(_FIELD, text)), text
    if text.startswith("{"):
        for written in (text.replace("'", '"'), text):
            with contextlib.suppress(ValueError):
                fields, without = json.loads(written), ""
    found = columns_called(fields, (*REGION_COLUMNS, "brain_regions"))
    return next((fields[name].strip() for name in found if isinstance(fields[name], str)), without)


def _vague(electrodes: Any, regions: Mapping[str, Texts], rows: Rows) -> NDArray[np.bool_]:
    """Return which units refer to all electrodes of a group that lies in several regions."""
    several = [any(len({*values[row]} - {""}) > 1 for values in regions.values()) for row in rows]
    return refers_to_all(electrodes, rows) & several


def _warn_of_vague(units: NDArray[np.bool_], notes: ReadNotes) -> None:
    if units.any():
        said = f"{units.sum()} of {len(units)} units refer to all electrodes of their group"
        notes.warn(
            f"{said}, which lie in several regions, and to no peak channel: so the region is not "
            "taken from them",
            left_out=f"the region of electrodes: {said}",
        )


def _most_common(values: Texts, *, or_none: bool = False) -> str:
    """Return the most common text; "" if two are, or if there is another, if so asked."""
    names, counts = np.unique(values[values != ""].astype(str), return_counts=True)
    most = names[counts == counts.max(initial=0)]
    return str(most[0]) if len(most) == 1 and not (or_none and len(names) > 1) else ""


def _common_text(values: Sequence[str]) -> str:
    different = set(values)
    return different.pop() if len(different) == 1 else ""
