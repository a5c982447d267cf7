"""Many sessions: every one once, here or on a cluster whose workers die."""

import os
import signal
import threading
import time

import numpy as np
import pytest

import pynapple_nuclr as nap_nuclr
from pynapple_nuclr import Encoder, EncoderConfig, embed_many

CONFIG = EncoderConfig(dim=32, heads=2, head_dim=16, window_duration=4.0)


@pytest.fixture(scope="module")
def encoder():
    return Encoder(CONFIG).eval()


@pytest.fixture
def sessions(tmp_path):
    recordings = nap_nuclr.simulate("single", n_units=6, duration=20, animals=6)
    return {
        name: nap_nuclr.write_units(units, tmp_path / f"{name}.nwb")
        for name, units in recordings.items()
    }


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
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    again = embed_many(some[:4], out, encoder, kind="csv", progress=False)
    assert again["was_there"].tolist() == [True, True, False, False]
    assert all(path.stat().st_mtime_ns == when for path, when in before.items())
    anew = embed_many(some[:1], out, encoder, kind="csv", overwrite=True, progress=False)
    assert not anew["was_there"].any()


def test_two_sessions_of_one_name_are_refused(sessions, encoder, tmp_path):
    with pytest.raises(ValueError, match="both be written to"):
        embed_many(["a/day.nwb", "b/day.nwb"], tmp_path, encoder)
    with pytest.raises(ValueError, match="sources is empty"):
        embed_many([], tmp_path, encoder)


@pytest.mark.slow
def test_a_cluster_whose_worker_is_killed_does_every_session_once(sessions, encoder, tmp_path):
    distributed = pytest.importorskip("distributed")
    out = tmp_path / "out"
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        victim = next(iter(client.run(os.getpid).values()))
        killing = threading.Thread(target=kill_in_the_middle, args=(victim, out))
        killing.start()
        done = embed_many(list(sessions.values()), out, encoder, client=client, progress=False)
        killing.join()
        assert victim not in client.run(os.getpid).values()
    assert (done["error"] == "").all()
    assert {path.stem for path in out.glob("*.nwb")} == {f"{name}_nuclr" for name in sessions}
    for path in out.glob("*.nwb"):
        assert np.isfinite(nap_nuclr.embeddings(nap_nuclr.read_embedding(path))).all()


def kill_in_the_middle(pid, out):
    """Kill a process when the first results stand there."""
    begun = time.monotonic()
    while not list(out.glob("*.nwb")) and time.monotonic() < begun + 120:
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
