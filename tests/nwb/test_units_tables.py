"""Tables of units wherever they are in a file, addresses, and what was read."""

from __future__ import annotations

import sys
import types

import h5py
import numpy as np
import pynapple as nap
import pynwb
import pynwb.spec
import pytest
from foreign_files import quietly, session, trains, units_file, write
from hdmf.build import BuildManager
from nwb_recordings import embedded

from pynapple_nuclr.nwb.opening import open_nwb, resolve_address
from pynapple_nuclr.nwb.stored_embeddings import describe_nwb, read_embedding
from pynapple_nuclr.nwb.units import read_recording, read_units, units_and_report
from pynapple_nuclr.nwb.writing import write_nwb, write_units

# --- tables --------------------------------------------------------------------------------------


def sorted_elsewhere(nwbfile, place, name="sorted", seed=0):
    table = pynwb.misc.Units(name=name, description="x")
    for times in trains(3, seed=seed):
        table.add_unit(spike_times=times)
    if place == "scratch":
        nwbfile.add_scratch(table)
    elif place == "analysis":
        nwbfile.add_analysis(table)
    else:
        module = nwbfile.processing.get(place) or nwbfile.create_processing_module(place, "x")
        module.add(table)


@pytest.mark.parametrize("place", ["ecephys", "spikes", "scratch", "analysis"])
def test_a_table_of_units_elsewhere_is_read_and_written(tmp_path, place):
    nwbfile = session()
    sorted_elsewhere(nwbfile, place)
    path = write(nwbfile, tmp_path / "x.nwb")
    units = read_units(path)
    np.testing.assert_allclose(units[2].t, trains(3)[2], atol=1e-9)
    for raw in ("copy", "drop"):
        output = write_nwb(embedded(units), path, tmp_path / f"{raw}.nwb", raw=raw)
        with h5py.File(output) as file:
            where = f"processing/{place}" if place not in ("scratch", "analysis") else place
            assert "nuclr_embedding" in file[f"{where}/sorted"] and "units" not in file
        np.testing.assert_array_equal(
            read_embedding(output)["nuclr_1"], embedded(units)["nuclr_1"].astype(np.float32)
        )


def test_of_several_tables_of_units_one_is_named(tmp_path):
    nwbfile = session()
    for i, (place, name) in enumerate([("ecephys", "a"), ("ecephys", "b"), ("scratch", "c")]):
        sorted_elsewhere(nwbfile, place, name, seed=i)
    path = write(nwbfile, tmp_path / "x.nwb")
    with pytest.raises(ValueError, match=r"3 tables of units: 'processing/ecephys/a', .*table="):
        read_units(path)
    with pytest.raises(ValueError, match=r"no table of units .*'d'; it has 'processing/ecephys/a'"):
        read_units(path, table="d")
    for table in ("b", "processing/ecephys/b"):
        units = read_units(path, table=table)
        np.testing.assert_allclose(units[1].t, trains(3, seed=1)[1], atol=1e-9)
    output = write_nwb(embedded(units), path, tmp_path / "y.nwb")
    with h5py.File(output) as file:
        assert "nuclr_embedding" in file["processing/ecephys/b"]
        assert "nuclr_embedding" not in file["processing/ecephys/a"]


def test_units_are_preferred_to_other_tables_and_it_is_said(tmp_path):
    path = units_file(tmp_path / "x.nwb", change=lambda one: sorted_elsewhere(one, "scratch"))
    units, said = quietly(read_units, path)
    assert len(units) == 4 and any("there are also scratch/sorted" in one for one in said)
    assert len(read_units(path, table="sorted")) == 3


def test_tables_of_units_without_spikes_are_passed_over(tmp_path):
    silent = [np.array([])] * 2
    path = units_file(tmp_path / "x.nwb", silent, change=lambda one: sorted_elsewhere(one, "x"))
    units, said = quietly(read_units, path)
    assert len(units) == 3 and not said
    write_nwb(embedded(units), path, tmp_path / "y.nwb")
    with h5py.File(tmp_path / "y.nwb") as file:
        assert "nuclr_embedding" in file["processing/x/sorted"]


# --- addresses -----------------------------------------------------------------------------------


def test_addresses_on_s3():
    expected = "https://bucket.s3.amazonaws.com/a/b%20c.nwb"
    assert resolve_address("s3://bucket/a/b c.nwb") == expected
    assert resolve_address("s3://my.data/a.nwb") == "https://s3.amazonaws.com/my.data/a.nwb"
    assert resolve_address("https://x.org/a.nwb") == "https://x.org/a.nwb"
    with pytest.raises(ValueError, match="expected s3://BUCKET/PATH"):
        read_units("s3://bucket")


@pytest.mark.parametrize(
    "address",
    [
        "dandi:000006/sub-1/x.nwb",
        "dandi://dandi/000006/sub-1/x.nwb",
        "dandi:6@0.2/sub-1/x.nwb",
    ],
)
def test_addresses_of_dandi(monkeypatch, address):
    monkeypatch.setitem(sys.modules, "dandi", None)
    with pytest.raises(ImportError, match="pip install dandi"):
        read_units(address)
    asked = []

    class Client:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        @classmethod
        def for_dandi_instance(cls, name):
            asked.append(name)
            return cls()

        def get_dandiset(self, *which):
            asked.extend(which)
            return self

        def get_asset_by_path(self, path):
            asked.append(path)
            return self

        def get_content_url(self, **_):
            return "https://dandiarchive.s3.amazonaws.com/blobs/x"

    modules = {
        "dandi": types.ModuleType("dandi"),
        "dandi.dandiapi": types.SimpleNamespace(DandiAPIClient=Client),
        "dandi.exceptions": types.SimpleNamespace(NotFoundError=KeyError),
    }
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    assert resolve_address(address) == "https://dandiarchive.s3.amazonaws.com/blobs/x"
    is_old = "@" in address
    which = ("6", "0.2") if is_old else ("000006", None)
    assert asked == ["dandi", *which, "sub-1/x.nwb"]
    with pytest.raises(ValueError, match="expected dandi:DANDISET/PATH"):
        read_units("dandi:sub-1")


# --- what was read -------------------------------------------------------------------------------


WHOLE = [[0.0, 20.0]]


def test_what_was_read_is_printed(tmp_path, capsys):
    times = [one.copy() for one in trains()]
    times[0][0] = np.nan
    path = units_file(tmp_path / "x.nwb", times, location=["CA1"] * 4, obs_intervals=[WHOLE] * 4)
    with pytest.warns(UserWarning, match="1 of 1000 spike times"):
        read_units(path, verbose=True)
    shown = capsys.readouterr().out
    for text in ("table 'units'", "20 s in 1 epoch", "obs_intervals", "units: location", "NaN"):
        assert text in shown
    with open_nwb(path) as file:
        (_, report), _ = quietly(units_and_report, file)
    assert report.n_read == 4 and report.time_support.values.tolist() == WHOLE


def test_one_opening_serves_several_functions(tmp_path, monkeypatch):
    path = write_units(
        embedded(nap.TsGroup(dict(enumerate(map(nap.Ts, trains()))))), tmp_path / "x.nwb"
    )
    opened = []
    original = pynwb.NWBHDF5IO.__init__

    def count(self, *args, **kwargs):
        opened.append(args)
        original(self, *args, **kwargs)

    monkeypatch.setattr(pynwb.NWBHDF5IO, "__init__", count)
    with open_nwb(path) as file:
        assert describe_nwb(file)["units"] == 4
        units = read_embedding(file)
        assert len(read_units(file)) == len(read_recording(file)) == 4
        assert len(opened) == 1
        write_nwb(units, file, tmp_path / "y.nwb")
    assert len(opened) == 2  # the new file


@pytest.mark.parametrize("place", ["session_description", "units@description"])
def test_texts_that_pynwb_cannot_decode_are_named(tmp_path, place):
    path = units_file(tmp_path / "x.nwb")
    with h5py.File(path, "r+") as file:
        name, _, attribute = place.partition("@")
        if attribute:
            file[name].attrs[attribute] = np.bytes_(b"caf\xe9")
        else:
            del file[name]
            file.create_dataset(name, data=b"caf\xe9", dtype=h5py.string_dtype("utf-8"))
    with pytest.raises(ValueError, match=rf"x\.nwb cannot be read by pynwb: .*{place}.*latin-1"):
        read_units(path)


def test_types_of_an_extension_are_those_of_its_file_alone(tmp_path):
    """A type that pynwb does not know, and that only the file itself defines."""
    known = pynwb.get_type_map()
    builder = pynwb.spec.NWBNamespaceBuilder("of a laboratory", "own", version="0.1.0")
    kind = {"neurodata_type_def": "Laser", "neurodata_type_inc": "NWBContainer"}
    builder.add_spec("own.yaml", pynwb.spec.NWBGroupSpec("x", **kind))
    builder.include_type("NWBContainer", namespace="core")
    builder.export("own.namespace.yaml", outdir=str(tmp_path))
    known.load_namespaces(str(tmp_path / "own.namespace.yaml"))
    nwbfile = session()
    nwbfile.add_unit(spike_times=[0.1, 0.7])
    nwbfile.add_scratch(known.get_dt_container_cls("Laser", "own")(name="laser"))
    with pynwb.NWBHDF5IO(tmp_path / "x.nwb", "w", manager=BuildManager(known)) as io:
        io.write(nwbfile)
    with open_nwb(tmp_path / "x.nwb") as file:
        assert file.nwbfile.scratch["laser"].data_type == "Laser"
        assert len(read_units(file)) == 1
    assert "own" not in pynwb.get_type_map().namespace_catalog.namespaces
