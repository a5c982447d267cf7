"""Tables out."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pynapple as nap
import pytest
from nwb_recordings import DIM, embedded, embedded_traces, make_units

from pynapple_nuclr.columns import embeddings
from pynapple_nuclr.io.tables import write_table


@pytest.fixture
def units():
    return embedded(make_units())


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_table_holds_ids_metadata_and_vectors(units, tmp_path, suffix):
    path = write_table(units, tmp_path / f"day1{suffix}")
    read = pd.read_csv if suffix == ".csv" else pd.read_parquet
    table = read(path)
    assert list(table.columns) == ["unit", *units.metadata_columns]
    assert list(table["unit"]) == [2, 5, 9, 11]
    assert list(table["depth"]) == [100, 200, 300, 400]
    assert list(table["nuclr_n_windows"]) == [5, 0, 5, 5]
    assert table["cell_type"].iloc[3] == "é"
    vectors = table[[f"nuclr_{i}" for i in range(DIM)]].to_numpy(dtype=np.float32)
    np.testing.assert_array_equal(vectors, embeddings(units).values)


def test_parquet_keeps_types_and_missing_labels(units, tmp_path):
    units = nap.TsGroup(dict(units.items()), metadata={"label": ["PV", None, "SST", "VIP"]})
    units.set_info(fast=[True, False, True, False])
    table = pd.read_parquet(write_table(units, tmp_path / "day1.parquet"))
    assert table["fast"].dtype == bool
    assert table["label"].isna().tolist() == [False, True, False, False]


def test_traces_have_tables_too(tmp_path):
    traces = embedded_traces()
    table = pd.read_csv(write_table(traces, tmp_path / "rois.csv"))
    assert list(table["unit"]) == [4, 1, 9]
    assert list(table["predicted_cell_type"]) == ["PV", "SST", "PV"]


def test_wrong_targets_are_refused(units, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"ends in \.csv or \.parquet"):
        write_table(units, tmp_path / "day1.xlsx")
    path = write_table(units, tmp_path / "day1.csv")
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match="overwrite=True"):
        write_table(units, path)
    with pytest.raises(TypeError, match="expected a pynapple TsGroup"):
        write_table({"a": 1}, path, overwrite=True)
    with (
        monkeypatch.context() as patch,
        pytest.raises(ImportError, match=r"pip install .*pynapple-nuclr\[parquet\]"),
    ):
        patch.setitem(sys.modules, "pyarrow", None)
        write_table(units, tmp_path / "day1.parquet")
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["day1.csv"]
    write_table(units[[2]], path, overwrite=True)
    assert len(pd.read_csv(path)) == 1
