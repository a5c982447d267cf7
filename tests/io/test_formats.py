"""The registry of file formats, and formats that other packages bring."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pandas as pd
import pynapple as nap
import pytest

from pynapple_nuclr import (
    read_recording,
    read_units,
    write_units,
)
from pynapple_nuclr.io import formats as registry
from pynapple_nuclr.io.formats import Format, format_of, formats, output_format, stem_of

OWN = ["nwb", "zarr", "phy", "suite2p", "csv", "parquet"]
PAGE = Path(__file__).parents[2] / "docs" / "add_a_file_format.md"
PACKAGE, USE = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture
def third_party(tmp_path):
    """A package of somebody else with a format, installed into a folder, and a file of it."""
    site = tmp_path / "site"
    about = site / "lab_formats-1.0.dist-info"
    about.mkdir(parents=True)
    (site / "lab_formats.py").write_text(PACKAGE)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: lab-formats\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(
        "[pynapple_nuclr.formats]\nspikes = lab_formats:SPIKES\n"
    )
    rng = np.random.default_rng(0)
    trains = {str(unit): np.sort(rng.uniform(0, 30, 200)) for unit in (3, 8, 11)}
    np.savez(tmp_path / "day1.spikes.npz", **trains)
    return site, tmp_path / "day1.spikes.npz"


def run_with(site, *arguments):
    path = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
    )


def test_the_example_of_the_page_runs(third_party, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = run_with(third_party[0], "-c", USE)
    assert run.stdout == "2\n", run.stderr


CODE = """
import json, sys
import pynapple as nap, pynapple_nuclr as nap_nuclr
path, folder = sys.argv[1:]
encoder = nap_nuclr.Encoder(nap_nuclr.EncoderConfig(dim=32, heads=2, head_dim=16), name="tiny")
part = nap_nuclr.read_units(path, epochs=nap.IntervalSet(0, 10))
done = nap_nuclr.embed_many([path], folder, encoder, kind="csv", progress=False)
from pynapple_nuclr.io.recording_cache import open_recordings
names = list(open_recordings([path], cache=f"{folder}/cache"))
try:
    nap_nuclr.read_traces(path)
except ValueError as error:
    said = str(error)
print(json.dumps([part.time_support.end[0], done["units"].tolist(), names, said]))
sys.stdout.flush()
tiny = str(nap_nuclr.save_encoder(encoder, f"{folder}/encoder"))
sys.argv = ["nap-nuclr", "embed", path, "-o", f"{folder}/by_command.csv", "--encoder", tiny]
from pynapple_nuclr.cli import main
main()
"""


def test_a_format_of_another_package_is_read_by_every_function_and_command(third_party, tmp_path):
    site, path = third_party
    run = run_with(site, "-c", CODE, path, tmp_path / "out")
    assert run.returncode == 0, run.stderr
    table = pd.read_csv(tmp_path / "out" / "by_command.csv")
    assert table["unit"].tolist() == [3, 8, 11] and "nuclr_0" in table
    end, units, names, said = json.loads(run.stdout.splitlines()[0])
    assert end == 10 and units == [3] and names == ["day1"]
    assert "is of the format 'npz_spikes', of which units can be read, not traces" in said


@pytest.fixture
def registered(monkeypatch):
    """Register the formats of some entry points; forget them after the test."""

    def register(*points):
        own = registry.entry_points(group=registry.GROUP)
        monkeypatch.setattr(registry, "entry_points", lambda group: [*own, *points])
        formats.cache_clear()

    yield register
    monkeypatch.undo()
    formats.cache_clear()


def test_our_own_formats_are_first_and_registered():
    assert list(formats())[: len(OWN)] == OWN
    assert [name for name, one in formats().items() if one.reads][:4] == OWN[:4]


def test_a_broken_package_stops_nothing(registered, caplog, tmp_path):
    registered(
        EntryPoint("a", "no_such_package:X", registry.GROUP),
        EntryPoint("b", "json:dumps", registry.GROUP),
        EntryPoint("c", "pynapple_nuclr.io.own_formats:NWB", registry.GROUP),
    )
    with caplog.at_level(logging.WARNING, "pynapple_nuclr"):
        assert list(formats()) == OWN
    assert "no_such_package" in caplog.text and "expected a Format" in caplog.text
    assert "another package has the name" in caplog.text


def test_an_older_installation_has_our_own_formats(monkeypatch):
    monkeypatch.setattr(registry, "entry_points", lambda group: [])
    formats.cache_clear()
    assert list(formats()) == OWN
    formats.cache_clear()


@pytest.mark.parametrize(
    ("source", "name", "stem"),
    [
        ("data/day1.nwb", "nwb", "day1"),
        ("data/DAY1.NWB", "nwb", "DAY1"),
        ("day1.nwb.zarr", "zarr", "day1"),
        ("day1.zarr/", "zarr", "day1"),
        ("https://host/a/day1.nwb?download=1", "nwb", "day1"),
        ("https://api.dandiarchive.org/api/assets/8f2a/download/", "nwb", "download"),
        ("day1.csv", "csv", "day1"),
        ("day1.h5", "nwb", "day1.h5"),
    ],
)
def test_formats_are_recognised_by_name(source, name, stem):
    assert format_of(source).name == name
    assert stem_of(source) == stem


def test_formats_to_write():
    assert output_format("nwb").name == "nwb"
    assert output_format("nwb", "day1.zarr").name == "zarr"
    with pytest.raises(ValueError, match=r"kind is 'xlsx'; expected one of 'nwb', 'zarr', 'csv'"):
        output_format("xlsx")


def test_options_go_to_the_reader_and_unknown_ones_are_refused(tmp_path):
    units = nap.TsGroup({3: nap.Ts([0.1, 0.7]), 8: nap.Ts([0.5, 0.9])})
    path = write_units(units, tmp_path / "day1.nwb")
    assert len(read_recording(path, cells="all")) == 2  # units have no ROIs to choose from
    with pytest.raises(TypeError, match=r"'nwb' has no option 'tabel'; it has epochs"):
        read_units(path, tabel="units")
    with pytest.raises(ValueError, match=r"format 'csv', of which nothing can be read"):
        read_recording(tmp_path / "day1.csv")


def test_a_reader_that_returns_something_else_is_named(monkeypatch):
    broken = Format("broken", (".broken",), read_units=lambda path: [1, 2])
    monkeypatch.setattr("pynapple_nuclr.io._read_recording.format_of", lambda source: broken)
    with pytest.raises(TypeError, match=r"format 'broken' returned a list; expected a pynapple"):
        read_units("day1.broken")
