"""The main job, end to end, on a real trial-structured session, as a user types it."""

import h5py
import numpy as np
import pynapple as nap
import pynwb
import pytest
from typer.testing import CliRunner

import pynapple_nuclr as nap_nuclr
from pynapple_nuclr.cli import app


@pytest.fixture(scope="module")
def session(steinmetz_session):
    """The first 80 trials."""
    return steinmetz_session.restrict(steinmetz_session.time_support[:80])


@pytest.fixture(scope="module")
def written(session, tmp_path_factory):
    folder = tmp_path_factory.mktemp("session")
    nap_nuclr.write_units(session, folder / "session.nwb")
    arguments = ["embed", str(folder / "session.nwb"), "-o", str(folder / "out.nwb")]
    run = CliRunner().invoke(app, [*arguments, "--no-progress"])
    assert run.exit_code == 0, run.output
    return folder / "out.nwb"


def test_pynapple_loads_the_summary(written, session):
    units = nap.load_file(written)["units"]
    identity = nap_nuclr.load_encoder("spikes").identity  # trials: no window of 10 s fits
    embedded_units = units["nuclr_n_windows"].to_numpy() > 0
    assert set(units["nuclr_encoder"][embedded_units]) == {identity}
    assert units["nuclr_stability"][embedded_units].between(0, 1).mean() > 0.9
    assert list(units["brain_area"]) == list(session["brain_area"])
    assert (~embedded_units).sum() >= (~(session["rate"] > 0)).sum()


def test_the_units_table_holds_the_vectors(written, session):
    with h5py.File(written) as file:
        stored = file["units/nuclr_embedding"][:]
    with pytest.warns(UserWarning, match="no spike in any window"):
        direct = nap_nuclr.embed(session, progress=False)
    vectors = nap_nuclr.embeddings(direct).values
    np.testing.assert_allclose(stored, vectors, atol=1e-6)
    back = nap_nuclr.read_embedding(written)
    np.testing.assert_array_equal(nap_nuclr.embeddings(back).values, stored)


def test_the_file_is_valid(written):
    assert pynwb.validate(path=written, use_cached_namespaces=False) == []
