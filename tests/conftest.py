"""What several tests share: small populations, a small encoder, and the way to real recordings."""

import os

# Before torch and matplotlib are imported: small work is quicker on one thread, and no window.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pynapple as nap
import pytest
import tally

import recordings as readers  # benchmarks/recordings.py
from pynapple_nuclr.config import EncoderConfig

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What is kept between calls goes to a folder of the tests', not to the user's."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real recordings, which stands beside the repository and not in it."""
    folder = Path(os.environ.get("NUCLR_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("no real recordings here: set NUCLR_DATA to the folder that holds them")
    return folder


@pytest.fixture(scope="session")
def steinmetz_session(data_dir: Path) -> nap.TsGroup:
    """A trial-structured recording: 0.4 s trials, many regions, some silent units."""
    (units,) = readers.steinmetz(data_dir, sessions=["cori_20161214"]).values()
    return units


@pytest.fixture(scope="session")
def tiny_units() -> nap.TsGroup:
    """Twelve Poisson units of 2 to 20 Hz for a minute; their ids are neither 0, 1, … nor sorted."""
    rng = np.random.default_rng(0)
    epochs = nap.IntervalSet(0, 60)
    ids = [40, 3, 17, 8, 25, 1, 33, 12, 5, 28, 21, 9]
    rates = np.linspace(2, 20, len(ids))
    trains = {
        unit: nap.Ts(np.sort(rng.uniform(0, 60, rng.poisson(60 * rate))), time_support=epochs)
        for unit, rate in zip(ids, rates, strict=True)
    }
    metadata = pd.DataFrame(
        {"cell_type": ["PV", "SST", "Pyr"] * 4, "depth": np.arange(12.0) * 20}, index=ids
    )
    return nap.TsGroup(trains, time_support=epochs, metadata=metadata)


@pytest.fixture(scope="session")
def tiny_config() -> EncoderConfig:
    """The smallest encoder that still has every part."""
    return EncoderConfig(
        dim=32, heads=2, head_dim=16, temporal_layers=1, spatiotemporal_layers=1, dropout=0.0
    )


@pytest.fixture
def terminal_of_80_columns(monkeypatch):
    """What a user sees in a terminal of the usual width."""

    def no_terminal(*_):
        raise OSError

    monkeypatch.setattr(os, "get_terminal_size", no_terminal)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--tally", metavar="PAGE", help="write what was tried to a page")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Send what a worker has tried to the process that prints it."""
    if (output := getattr(session.config, "workeroutput", None)) is not None:
        output["tried"] = dict(tally.counts)


@pytest.hookimpl(optionalhook=True)  # of pytest-xdist
def pytest_testnodedown(node: Any) -> None:
    """Add what a worker has tried."""
    tally.counts.update(getattr(node, "workeroutput", {}).get("tried", {}))


def pytest_terminal_summary(terminalreporter: Any, exitstatus: int, config: pytest.Config) -> None:
    """Print what was tried; an interrupted run writes no page."""
    if not tally.counts:
        return
    terminalreporter.section("what was tried")
    for line in tally.lines():
        terminalreporter.line(line)
    if (page := config.getoption("tally", None)) and exitstatus in (0, 1):
        outcomes = ("passed", "skipped", "failed")
        found = {how: len(terminalreporter.stats.get(how, ())) for how in outcomes}
        tally.write_page(Path(page), found)
