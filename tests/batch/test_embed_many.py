"""Many sessions: every one once, here or on a cluster whose workers die."""

import os
import shutil
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pynapple as nap
import pynwb
import pytest
from tally import counts

import pynapple_nuclr as nap_nuclr
from pynapple_nuclr import Encoder, EncoderConfig, embed_many
from pynapple_nuclr.batch import _embed_many
from pynapple_nuclr.batch._embed_many import _embed_once

CONFIG = EncoderConfig(dim=32, heads=2, head_dim=16, window_duration=4.0)


@pytest.fixture(scope="module")
def encoder():
    return Encoder(CONFIG).eval()


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    recordings = nap_nuclr.simulate("single", n_units=6, duration=20, animals=6)
    folder = tmp_path_factory.mktemp("written")
    return [
        nap_nuclr.write_units(units, folder / f"{name}.nwb") for name, units in recordings.items()
    ]


@pytest.fixture
def sessions(written, tmp_path):
    return {path.stem: Path(shutil.copy(path, tmp_path)) for path in written}


def test_every_session_is_embedded_past_a_bad_one(sessions, encoder, tmp_path):
    bad = tmp_path / "bad.nwb"
    bad.write_text("no HDF5")
    done = embed_many([*sessions.values(), bad], tmp_path / "out", encoder, progress=False)
    assert list(done.index) == [*map(str, sessions.values()), str(bad)]
    assert (done["error"] != "").tolist() == [False] * 6 + [True]
    assert "no NWB file" in done["error"].iloc[-1]
    for name, source in sessions.items():
        whole = nap_nuclr.embed(nap_nuclr.read_units(source), encoder, progress=False)
        back = nap_nuclr.read_embedding(tmp_path / "out" / f"{name}_nuclr.nwb")
        np.testing.assert_array_equal(
            nap_nuclr.embeddings(back).values, nap_nuclr.embeddings(whole).values
        )


def test_a_second_call_does_only_what_is_missing(sessions, encoder, tmp_path):
    out = tmp_path / "out"
    some = list(sessions.values())
    embed_many(some[:2], out, encoder, kind="csv", progress=False)
    before = {path: path.stat().st_mtime_ns for path in out.glob("*.csv")}
    again = embed_many(some[:4], out, encoder, kind="csv", progress=False)
    assert again["skipped"].tolist() == [True, True, False, False]
    assert all(path.stat().st_mtime_ns == when for path, when in before.items())
    replaced = embed_many(some[:1], out, encoder, kind="csv", overwrite=True, progress=False)
    assert not replaced["skipped"].any()


def test_a_result_of_another_recording_or_encoder_is_not_taken_for_this_one(
    sessions, encoder, tmp_path
):
    out = tmp_path / "out"
    for name, source in list(sessions.items())[:2]:
        (tmp_path / name).mkdir()
        shutil.copy(source, tmp_path / name / "rec.nwb")
    first, second = (tmp_path / name / "rec.nwb" for name in list(sessions)[:2])
    made = embed_many(first, out, encoder, progress=False)
    again = embed_many(first, out, encoder, progress=False)
    columns = ["output", "units", "silent", "stability", "encoder", "error"]
    assert again["skipped"].item() and again[columns].equals(made[columns])
    assert embed_many(first, out, progress=False)["skipped"].item()
    before = (out / "rec_nuclr.nwb").read_bytes()
    other = embed_many(second, out, encoder, progress=False)
    assert "another recording" in other["error"].item() and not other["skipped"].item()
    wider = Encoder(EncoderConfig(dim=64, heads=2, head_dim=16)).eval()
    other = embed_many(first, out, wider, progress=False)
    assert f"by the encoder {encoder.identity}" in other["error"].item()
    assert (out / "rec_nuclr.nwb").read_bytes() == before
    (out / "rec_nuclr.nwb").write_bytes(before[:5000])
    assert embed_many(first, out, encoder, progress=False)["error"].item()


@pytest.mark.parametrize("kind", ["nwb", "csv"])
def test_a_result_older_than_its_file_is_named(sessions, encoder, tmp_path, kind):
    source = next(iter(sessions.values()))
    embed_many(source, tmp_path / "out", encoder, kind=kind, progress=False)
    later = time.time() + 60
    os.utime(source, (later, later))
    with pytest.warns(UserWarning, match="1 of 1 files gave warnings"):
        done = embed_many(source, tmp_path / "out", encoder, kind=kind, progress=False)
    assert "has changed" in done["warnings"].item() and done["skipped"].item()


def test_out_is_a_folder_whatever_its_name(sessions, encoder, tmp_path):
    source = next(iter(sessions.values()))
    done = embed_many(source, tmp_path / "embedded_v1.0", encoder, progress=False)
    assert done["output"].item() == str(tmp_path / "embedded_v1.0" / f"{source.stem}_nuclr.nwb")
    for name in ("result.nwb", "result.csv"):
        with pytest.raises(ValueError, match="expected a folder"):
            embed_many(source, tmp_path / name, encoder, progress=False)
        assert not (tmp_path / name).exists()


def test_results_in_a_folder_below_the_files_are_not_embedded_again(sessions, encoder, tmp_path):
    out = tmp_path / "embedded"
    for name in list(sessions)[2:]:
        sessions.pop(name).unlink()
    for _ in range(2):
        done = embed_many(f"{tmp_path}/**/*.nwb", out, encoder, progress=False)
        assert list(done.index) == sorted(map(str, sessions.values()))
    assert done["skipped"].all() and len(list(out.glob("*.nwb"))) == len(sessions)
    assert len(embed_many(f"{out}/*.nwb", tmp_path / "more", encoder, progress=False)) == 2


def test_a_session_in_zarr_is_embedded_by_the_defaults(sessions, encoder, tmp_path):
    hdmf_zarr = pytest.importorskip("hdmf_zarr")
    source, first = tmp_path / "day1.zarr", next(iter(sessions.values()))
    with pynwb.NWBHDF5IO(first, "r") as old, hdmf_zarr.NWBZarrIO(str(source), "w") as new:
        new.export(src_io=old, write_args={"link_data": False})
    done = embed_many([source, first], tmp_path / "out", encoder, progress=False)
    assert done["error"].tolist() == ["", ""]
    assert done["output"].iloc[0] == str(tmp_path / "out" / "day1_nuclr.zarr")
    vectors = [nap_nuclr.embeddings(nap_nuclr.read_embedding(path)) for path in done["output"]]
    np.testing.assert_array_equal(vectors[0].values, vectors[1].values)
    table = embed_many([source], tmp_path / "out", encoder, kind="csv", progress=False)
    assert table["output"].tolist() == [str(tmp_path / "out" / "day1_nuclr.csv")]
    assert embed_many([source], tmp_path / "out", encoder, progress=False)["skipped"].all()


def test_paths_mean_the_same_to_a_worker_in_another_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert _embed_many._absolute("day1.nwb") == str(tmp_path / "day1.nwb")
    assert _embed_many._absolute("https://example.org/a.nwb") == "https://example.org/a.nwb"


def test_files_of_one_name_get_results_of_their_own(sessions, encoder, tmp_path):
    source = next(iter(sessions.values()))
    for day in ("day1", "day2"):
        (tmp_path / day).mkdir()
        shutil.copy(source, tmp_path / day / "session.nwb")
    done = embed_many(f"{tmp_path}/day*/*.nwb", tmp_path / "out", encoder, kind="csv")
    names = ["day1_session_nuclr.csv", "day2_session_nuclr.csv"]
    assert done["output"].tolist() == [str(tmp_path / "out" / name) for name in names]
    assert (done["units"] == 6).all()
    with pytest.raises(ValueError, match="would all be written to"):
        embed_many(["x/a/day.nwb", "y/a/day.nwb"], tmp_path, encoder)
    with pytest.raises(ValueError, match="sources is empty"):
        embed_many([], tmp_path, encoder)
    with pytest.raises(ValueError, match="kind is 'xlsx'"):
        embed_many([source], tmp_path, encoder, kind="xlsx")


def test_warnings_are_in_the_table(encoder, tmp_path):
    units = nap_nuclr.simulate("single", n_units=6, duration=20)
    trains = {i: nap.Ts([]) if i == units.index[0] else units[i] for i in units.index}
    units = nap.TsGroup(trains, time_support=units.time_support)
    path = nap_nuclr.write_units(units, tmp_path / "day.nwb")
    with pytest.warns(UserWarning, match="1 of 1 files gave warnings"):
        done = embed_many([path], tmp_path / "out", encoder, progress=False)
    assert "1 of 6 units have no spike" in done["warnings"].item()
    assert done["silent"].item() == 1


def test_a_worker_takes_over_what_a_dead_one_has_done(sessions, encoder, tmp_path):
    source, output = next(iter(sessions.values())), tmp_path / "day_nuclr.csv"
    how = {"raw": "drop", "reading": {}, "overwrite": True, "encoder": encoder}
    work = (str(source), output, tmp_path / "0.json", {**how, "options": {"progress": False}})
    first = _embed_once(*work)
    assert first["units"] == 6 and not first["error"]
    written = output.stat()
    assert _embed_once(*work) == first
    assert output.stat() == written


@pytest.mark.slow
@pytest.mark.parametrize("deaths", [1, 2])
def test_a_cluster_whose_workers_are_killed_does_every_session_once(
    sessions, encoder, tmp_path, deaths
):
    """Both of two workers: what was handed to the first ones must not die with them."""
    distributed = pytest.importorskip("distributed")
    out = tmp_path / "out"
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        victims = list(client.run(os.getpid).values())[:deaths]
        watching = Watching(out, victims)
        watching.start()
        options = {"client": client, "overwrite": True, "progress": False}
        done = embed_many(list(sessions.values()), out, encoder, **options)
        watching.over.set()
        watching.join()
        assert not set(victims) & set(client.run(os.getpid).values())
    assert not watching.victims, "nobody was killed"
    counts["workers of a cluster killed, whose sessions were done once"] += deaths
    assert (done["error"] == "").all()
    assert (done["units"] == 6).all() and not done["skipped"].any()
    names = {f"{name}_nuclr.nwb" for name in sessions}
    # The lock and half-written files are hidden; those go with who writes there a day later.
    results = [path for path in out.iterdir() if not path.name.startswith(".nuclr")]
    assert {path.name for path in results} == names
    assert {name: len(versions) for name, versions in watching.seen.items()} == dict.fromkeys(
        names, 1
    )
    for path in results:
        assert np.isfinite(nap_nuclr.embeddings(nap_nuclr.read_embedding(path))).all()


class Watching(threading.Thread):
    """Kill a process whenever another result appears; count how often each is written."""

    def __init__(self, out, victims):
        super().__init__()
        self.out, self.victims = out, list(victims)
        self.seen, self.over = {}, threading.Event()

    def run(self):
        begun = time.monotonic()
        while not self.over.wait(0.005) and time.monotonic() < begun + 120:
            results = list(self.out.glob("*_nuclr.nwb"))
            for path in results:
                self.seen.setdefault(path.name, set()).add(path.stat().st_ino)
            if self.victims and len(results) + len(self.victims) > 2:
                os.kill(self.victims.pop(), signal.SIGKILL)
