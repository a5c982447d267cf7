"""Public recordings: downloaded once, checked, licensed; from a server on this machine."""

from __future__ import annotations

import hashlib
import json
import re

import numpy as np
import pooch
import pynapple as nap
import pytest
from loopback import QuietHandler, serving
from nwb_recordings import make_units

from pynapple_nuclr import atomic_files
from pynapple_nuclr.downloads import _fetch, datasets, fetch
from pynapple_nuclr.nwb.writing import write_units

FILE = "day1.nwb"


class Archive(QuietHandler):
    """Serves one file, whole or cut off, and counts how many requests came."""

    content = b""
    cut = False
    requests = 0

    def do_GET(self):
        Archive.requests += 1
        if self.path != f"/{FILE}":
            return self.answer(404)
        if not self.cut:
            return self.answer(200, self.content)
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        self.wfile.write(self.content[: len(self.content) // 2])
        self.close_connection = True


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    return write_units(make_units(), tmp_path_factory.mktemp("made") / FILE).read_bytes()


@pytest.fixture
def archive(content, monkeypatch, tmp_path):
    """An archive with one data set; gives a function that states its hash (None: unknown)."""
    Archive.content, Archive.cut, Archive.requests = content, False, 0
    monkeypatch.setattr(_fetch, "_shown", set())
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving(Archive) as address:

        def register(sha256, file=FILE):
            source = {"url": f"{address}/{file}", "sha256": sha256}
            entry = {"what": "a test", "licence": "CC BY 4.0", "citation": "Us 2026"}
            registry = tmp_path / "registry.json"
            registry.write_text(json.dumps({"small": entry | {"files": {FILE: source}}}))
            monkeypatch.setattr(_fetch, "_REGISTRY", registry)

        yield register


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "data"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_a_data_set_comes_once_and_is_read(archive, content, folder, capsys):
    archive(sha256(content))
    recordings = fetch("small", folder=folder, progress=False)
    assert list(recordings) == ["day1"]
    expected, units = make_units(), recordings["day1"]
    assert isinstance(units, nap.TsGroup)
    np.testing.assert_allclose(units[2].t, expected[2].t)
    assert list(units["depth"]) == list(expected["depth"])
    said = capsys.readouterr().out
    assert "licence: CC BY 4.0" in said and "cite: Us 2026" in said
    again = fetch("small", folder=folder, progress=False)
    assert Archive.requests == 1  # nothing went over the line
    assert list(again) == ["day1"]
    assert capsys.readouterr().out == ""
    assert [path.name for path in folder.iterdir()] == [FILE]


def test_the_folder_may_be_set_in_the_environment(archive, content, folder, monkeypatch):
    archive(sha256(content))
    monkeypatch.setenv("PYNAPPLE_NUCLR_DATA", str(folder))
    fetch("small", progress=False)
    assert (folder / FILE).read_bytes() == content


def test_another_file_than_published_is_refused(archive, folder):
    archive("0" * 64)
    with pytest.raises(ValueError, match="'small': day1.nwb .* another sha256 than the one publi"):
        fetch("small", folder=folder, progress=False)
    assert list(folder.iterdir()) == []


def test_a_file_that_was_damaged_here_is_downloaded_again(archive, content, folder):
    archive(sha256(content))
    fetch("small", folder=folder, progress=False)
    (folder / FILE).write_bytes(content[:100])
    fetch("small", folder=folder, progress=False)
    assert (folder / FILE).read_bytes() == content
    assert Archive.requests == 2


@pytest.mark.parametrize("known", [True, False])
def test_an_interrupted_download_leaves_nothing(archive, content, folder, known):
    archive(sha256(content) if known else None)
    Archive.cut = True
    with pytest.raises((ConnectionError, ValueError), match="day1.nwb"):
        fetch("small", folder=folder, progress=False)
    assert list(folder.iterdir()) == []
    Archive.cut = False
    assert list(fetch("small", folder=folder, progress=False)) == ["day1"]


def test_ctrl_c_leaves_nothing(archive, content, folder, monkeypatch):
    archive(sha256(content))

    def interrupted(self, url, output, *_, **__):
        with open(output, "wb") as file:
            file.write(content[:100])
        raise KeyboardInterrupt

    monkeypatch.setattr("pooch.HTTPDownloader.__call__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetch("small", folder=folder, progress=False)
    assert list(folder.iterdir()) == []


def test_without_a_published_hash_the_first_download_counts(archive, content, folder, capsys):
    archive(None)
    fetch("small", folder=folder, progress=False)
    assert f"from now on it must be {sha256(content)}" in capsys.readouterr().out
    (folder / FILE).unlink()
    Archive.content = content + b"changed"
    with pytest.raises(ValueError, match="first download"):
        fetch("small", folder=folder, progress=False)
    assert not (folder / FILE).exists()
    Archive.content = content
    fetch("small", folder=folder, progress=False)
    assert (folder / FILE).exists()


def test_a_damaged_list_of_first_downloads_is_named(archive, folder):
    archive(None)
    folder.mkdir()
    for text in ('{"day1.nwb": "0a', "[1]", '{"day1.nwb": 1}', "[" * 100_000):
        (folder / "first_seen.json").write_text(text)
        with pytest.raises(ValueError, match=r"first_seen\.json is damaged .*copy"):
            fetch("small", folder=folder, progress=False)
    assert Archive.requests == 0


def test_a_list_of_first_downloads_is_whole_and_keeps_what_another_added(
    archive, folder, monkeypatch
):
    archive(None)
    seen, said = folder / "first_seen.json", "0a" * 32
    hashed = pooch.file_hash

    def slow(path):
        seen.write_text(json.dumps({"theirs.nwb": said}))
        return hashed(path)

    monkeypatch.setattr(pooch, "file_hash", slow)
    fetch("small", folder=folder, progress=False)
    before = seen.read_bytes()
    assert set(json.loads(before)) == {"theirs.nwb", FILE}
    seen.unlink()

    def stopped(*_, **__):
        raise KeyboardInterrupt

    seen.write_bytes(json.dumps({"theirs.nwb": said}).encode())
    monkeypatch.setattr(pooch, "file_hash", hashed)
    monkeypatch.setattr(atomic_files, "_to_disk", stopped)
    with pytest.raises(KeyboardInterrupt):
        fetch("small", folder=folder, progress=False)
    assert json.loads(seen.read_bytes()) == {"theirs.nwb": said}


def test_what_cannot_be_downloaded_is_named(archive, content, folder):
    archive(sha256(content), file="gone.nwb")
    with pytest.raises(ConnectionError, match=r"'small': day1.nwb .*gone.nwb \(HTTPError\)"):
        fetch("small", folder=folder, progress=False)
    (folder / FILE).write_bytes(content)  # what the message advises
    assert list(fetch("small", folder=folder, progress=False)) == ["day1"]


def test_the_data_sets_are_listed(archive):
    archive(None)
    table = datasets()
    assert table.loc["small"].tolist() == ["a test", 1, "CC BY 4.0", "Us 2026"]
    with pytest.raises(ValueError, match="fetch needs a name; there are small"):
        fetch()


def test_every_data_set_says_where_it_comes_from():
    registry = json.loads(_fetch._REGISTRY.read_text())
    assert "steinmetz2019" in registry
    for dataset in registry.values():
        assert dataset["licence"] and dataset["citation"] and dataset["what"]
        for file, source in dataset["files"].items():
            assert file.endswith(".nwb")  # NWB is read without executing anything
            assert source["url"].startswith("https://")
            assert re.fullmatch(r"[0-9a-f]{64}", source["sha256"]) and source["sha256_from"]
    for name in registry:
        assert f"``{name}``" in fetch.__doc__
