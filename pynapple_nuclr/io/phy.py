"""Folders of Kilosort and phy in: spikes, and the tables of clusters that curation left."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pynapple as nap

from pynapple_nuclr.io.spikeinterface import from_spikeinterface
from pynapple_nuclr.nwb.read_report import ReadReport
from pynapple_nuclr.nwb.row_metadata import columns_called
from pynapple_nuclr.nwb.unit_origin import REGION_COLUMNS
from pynapple_nuclr.user_warnings import log

_GIVE_RATE = "give it: read_units(…, sampling_frequency=30000)"
_CLUSTERS = ("spike_clusters.npy", "spike_templates.npy")  # curated; else as they were sorted


def is_phy_folder(path: str) -> bool:
    """Return whether a folder was written by Kilosort or phy."""
    folder = Path(path)
    return (folder / "spike_times.npy").is_file() and any(
        (folder / name).is_file() for name in _CLUSTERS
    )


def read_phy(
    source: str,
    *,
    cells: str = "accepted",
    sampling_frequency: float | None = None,
    verbose: bool = False,
) -> nap.TsGroup:
    """Read the units of a folder of Kilosort or phy, through SpikeInterface.

    Clusters that have spikes are read; those of the group "noise" only with ``cells="all"``.
    SpikeInterface's own reader of these folders runs ``params.py`` and leaves out clusters that
    have no row in every table; here nothing is run, and such clusters have blanks.
    """
    if cells not in ("accepted", "all"):
        raise ValueError(f"cells={cells!r}; expected 'accepted' or 'all'")
    try:
        from spikeinterface.core import NumpySorting
    except ImportError as error:
        raise ImportError(
            f"{source} is read with SpikeInterface, which is not installed: "
            "pip install 'pynapple-nuclr[spikeinterface]'"
        ) from error
    folder = Path(source)
    samples = _spikes(folder / "spike_times.npy")
    clusters = _spikes(next(folder / name for name in _CLUSTERS if (folder / name).is_file()))
    if len(samples) != len(clusters):
        raise ValueError(
            f"{folder} has {len(samples)} spike times, and {len(clusters)} clusters of spikes; "
            "expected a cluster for each spike"
        )
    rate = _sampling_frequency(folder) if sampling_frequency is None else sampling_frequency
    if not rate > 0:
        raise ValueError(f"{folder} has the sampling frequency {rate} Hz; expected more than 0")
    known = _cluster_table(folder)
    fired = np.unique(clusters)
    table = known.reindex(fired)
    if "group" in table and "quality" not in table:
        table["quality"] = table["group"]
    groups = _count(table["group"]) if "group" in table else ""
    if cells == "accepted" and "group" in table:
        table = table[table["group"].astype(str).str.lower() != "noise"]
    ids = table.index.to_numpy()
    noise, silent = len(fired) - len(ids), len(known.index.difference(fired))
    if not len(ids):
        raise ValueError(f"{folder} has only clusters of noise; cells='all' reads all")
    if noise:
        log.warning("%s: %d clusters of noise left out; cells='all' reads all", folder, noise)
    read = np.isin(clusters, ids)
    samples, clusters = samples[read], clusters[read]
    order = np.argsort(samples, kind="stable")
    sorting = NumpySorting.from_samples_and_labels(
        [samples[order]], [clusters[order]], rate, unit_ids=ids
    )
    for name, values in table.items():
        sorting.set_property(str(name), _for_spikeinterface(values))
    units = from_spikeinterface(sorting)
    if verbose:
        print(
            ReadReport(
                source=str(source),
                table="clusters",
                n_read=len(ids),
                time_support=units.time_support,
                time_from="the first spike to the last",
                region=next(iter(columns_called(map(str, table), REGION_COLUMNS)), None),
                probe=next((name for name in ("sh", "shank", "probe") if name in table), None),
                left_out=tuple(
                    f"{count} clusters: {why}"
                    for count, why in ((noise, "group 'noise'"), (silent, "no spikes"))
                    if count
                ),
                more={"groups": groups} if groups else {},
            )
        )
    return units


def _count(groups: pd.Series) -> str:
    counts = groups.fillna("without a group").value_counts()
    return ", ".join(f"{n} {name}" for name, n in counts.items())


def _for_spikeinterface(values: pd.Series) -> Any:
    """Return a column with "" for the blanks among texts, which it would refuse."""
    if values.dtype.kind in "biuf":
        return values.to_numpy()
    return values.map(lambda one: "" if pd.isna(one) else str(one)).to_numpy(dtype="U")


def _spikes(path: Path) -> Any:
    """Read one number a spike."""
    values = np.load(path, allow_pickle=False).reshape(-1)
    if values.dtype.kind not in "iu" and not (values == np.floor(values)).all():
        raise ValueError(
            f"{path} holds {values.dtype}; expected whole numbers: samples, and clusters. Of times "
            "in seconds make a pynapple TsGroup, and embed that"
        )
    return values.astype(np.int64)


def _sampling_frequency(folder: Path) -> float:
    """Find the sample rate in params.py, which is parsed and never run."""
    path = folder / "params.py"
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    found = None
    for line in text.splitlines():
        name, _, value = line.partition("=")
        # Some write a type ("sample_rate: float"), or end the line with a semicolon.
        if name.split(":")[0].strip().lower() == "sample_rate":
            found = value.split("#")[0].strip().rstrip(";")  # the last counts, as in Python
    if found is None:
        raise ValueError(f"{folder} has no sample_rate in params.py; {_GIVE_RATE}")
    try:
        return float(ast.literal_eval(found))
    except (ValueError, TypeError, SyntaxError):
        raise ValueError(
            f"{path}: sample_rate is {found}, which is no number; {_GIVE_RATE}"
        ) from None


def _cluster_table(folder: Path) -> pd.DataFrame:
    """Read what is known of the clusters, a row each: of all tables, phy's own first."""
    paths = sorted(path for path in folder.iterdir() if path.suffix in (".tsv", ".csv"))
    table = pd.DataFrame(index=pd.Index([], dtype=np.int64))
    for path in sorted(paths, key=lambda path: path.stem != "cluster_info"):
        # Old versions of phy call the key of their own table "id"; elsewhere that may be anything.
        keys = ("cluster_id", "id") if path.stem == "cluster_info" else ("cluster_id",)
        one = _rows_of_clusters(path, keys)
        if one is not None:
            table = _filled(table, one, path)
        elif path.stem.startswith("cluster"):
            log.warning("%s has no column cluster_id, and is not read", path)
    return table


def _filled(table: pd.DataFrame, other: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Return a table with the columns, rows and values that it lacks and the other one has."""
    shared = [name for name in other if name in table]
    filled = table.join(other.drop(columns=shared), how="outer")
    for name in shared:
        own, others = filled[name], other[name].reindex(filled.index)
        if own.dtype.kind not in "biuf":  # numbers may differ by how they were rounded
            different = int((own.notna() & others.notna() & (own != others)).sum())
            if different:
                log.warning(
                    "%s: %r of %d clusters differs from a table read before it, which is used",
                    *(path, name, different),
                )
        filled[name] = own.where(own.notna(), others)
    return filled


def _rows_of_clusters(path: Path, keys: tuple[str, ...]) -> pd.DataFrame | None:
    """Read a table by the first of the keys that it has; None without any."""
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        header = file.readline().strip()
    separator = "\t" if "\t" in header else ","  # phy 1 wrote tabs into .csv
    names = [name.strip('"') for name in header.split(separator)]
    key = next((one for one in keys if one in names), None)
    if key is None:
        return None
    table = pd.read_csv(path, sep=separator).drop_duplicates()
    several = table[key][table[key].duplicated()].unique()
    if len(several):
        log.warning(
            "%s has several rows of %d clusters, such as %s; the first of each is read",
            *(path, len(several), several[0]),
        )
    return table.drop_duplicates(key).set_index(key)
