"""NWB files in Zarr: what is written comes back."""

from __future__ import annotations

import sys

import numpy as np
import pynwb
import pytest
from nwb_recordings import embedded, embedded_traces, imaging_file, make_units

from pynapple_nuclr.columns import embeddings
from pynapple_nuclr.nwb.stored_embeddings import describe_nwb, read_embedding
from pynapple_nuclr.nwb.writing import write_nwb, write_units

hdmf_zarr = pytest.importorskip("hdmf_zarr")


def in_zarr(path):
    """Export an HDF5 file as its owner would."""
    output = path.with_suffix(".zarr")
    with pynwb.NWBHDF5IO(path, "r") as source, hdmf_zarr.NWBZarrIO(str(output), "w") as io:
        io.export(src_io=source, write_args={"link_data": False})
    return output


def assert_embedding_is_back(path, units):
    with hdmf_zarr.NWBZarrIO(str(path), "r") as io:
        nwbfile = io.read()
        assert pynwb.validate(io=io) == []
        (notes,) = nwbfile.processing["nuclr"].data_interfaces.values()
        assert notes["setting"][0] == "software"
    vectors = embeddings(read_embedding(path))
    assert vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors.values, embeddings(units).values)


@pytest.fixture
def source(tmp_path):
    return in_zarr(write_units(make_units(), tmp_path / "day1.nwb"))


def content(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_embedding_comes_back_bit_for_bit(source):
    before = content(source)
    units = embedded(make_units())
    path = write_nwb(units, source, settings={"gaps": "join"})
    assert path.name == "day1_nuclr.zarr"
    assert_embedding_is_back(path, units)
    back = read_embedding(path)
    for column in units.metadata_columns:
        np.testing.assert_array_equal(back[column], units[column])
    assert describe_nwb(path)["embeddings"]["nuclr"]["gaps"] == "join"
    assert content(source) == before


def test_rewriting_in_place_replaces_the_embedding(source):
    write_nwb(embedded(make_units()), source, source, overwrite=True)
    newer = embedded(make_units(), seed=1, labels=False, encoder="new@ffffffff")
    with pytest.warns(UserWarning, match="removed from .*predicted_cell_type"):
        write_nwb(newer, source, source, overwrite=True)
    assert_embedding_is_back(source, newer)
    assert describe_nwb(source)["labels"] == []
    assert sorted(p.name for p in source.parent.iterdir()) == ["day1.nwb", "day1.zarr"]


def test_a_failure_keeps_the_old_folder(source, monkeypatch):
    before = content(source)

    def fail(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr(hdmf_zarr.NWBZarrIO, "write", fail)
    with pytest.raises(OSError, match="disk full"):
        write_nwb(embedded(make_units()), source, source, overwrite=True)
    assert content(source) == before


def test_an_embedding_of_traces(tmp_path):
    traces = embedded_traces()
    path = write_nwb(traces, in_zarr(imaging_file(tmp_path / "movie.nwb")))
    assert_embedding_is_back(path, traces)


def test_what_is_not_possible_with_zarr(source, monkeypatch):
    units = embedded(make_units())
    with pytest.raises(ValueError, match=r"raw='drop' needs an HDF5 file.*expected 'copy'"):
        write_nwb(units, source, raw="drop")
    with pytest.raises(ValueError, match=r"ends in \.zarr"):
        write_nwb(units, source, source.with_name("out.nwb"))
    monkeypatch.setitem(sys.modules, "hdmf_zarr", None)
    with pytest.raises(ImportError, match=r"pip install .*pynapple-nuclr\[zarr\]"):
        write_nwb(units, source)
