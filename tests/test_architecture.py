"""The rules of the project, checked by tests."""

import ast
import logging.config
import re
import subprocess
import sys
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

import pynapple_nuclr

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "pynapple_nuclr"
HEAVY = {"torch", "lightning", "pytorch_lightning", "matplotlib", "sklearn", "pynwb"}


def _tracked() -> list[Path]:
    """List every file that is, or is about to be, in the repository."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if listing.returncode != 0:
        pytest.skip("not a git checkout: nothing is tracked")
    paths = [ROOT / name for name in listing.stdout.split("\0") if name]
    return [path for path in paths if path.is_file()]


def _loaded_after(code: str) -> set[str]:
    """Run code in a fresh interpreter and return the top-level modules that it loaded."""
    report = "\nimport sys; print('LOADED', *{name.split('.')[0] for name in sys.modules})"
    run = subprocess.run(
        [sys.executable, "-c", code + report], cwd=ROOT, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    return set(run.stdout.rsplit("LOADED", 1)[1].split())


def test_no_file_is_above_400_lines():
    suffixes = {".py", ".pyi", ".md", ".toml", ".cff"}
    texts = {
        str(path.relative_to(ROOT)): path.read_text()
        for path in _tracked()
        if path.suffix in suffixes
    }
    lengths = {
        name: len(text.splitlines())
        for name, text in texts.items()
        # A page of measurements is as long as its tables.
        if not (name.startswith("docs/") and "Written by `python benchmarks/" in text)
    }
    assert {name: lines for name, lines in lengths.items() if lines > 400} == {}


def test_import_loads_nothing_heavy():
    assert _loaded_after("import pynapple_nuclr") & HEAVY == set()


def test_embedding_by_a_loaded_encoder_loads_neither_lightning_nor_matplotlib():
    loaded = _loaded_after(
        """
import numpy as np, pynapple as nap, pynapple_nuclr as nap_nuclr
rng = np.random.default_rng(0)
units = nap.TsGroup(
    {unit: nap.Ts(np.sort(rng.uniform(0, 40, 300))) for unit in range(3)},
    time_support=nap.IntervalSet(0, 40),
)
config = nap_nuclr.EncoderConfig(
    dim=8, heads=1, head_dim=8, temporal_layers=1, spatiotemporal_layers=1
)
units = nap_nuclr.embed(units, nap_nuclr.Encoder(config), progress=False)
assert "nuclr_stability" in units.metadata_columns
nap_nuclr.load_encoder()
"""
    )
    assert "torch" in loaded
    assert loaded & {"lightning", "pytorch_lightning", "matplotlib"} == set()


def test_every_public_name_can_be_had():
    assert "embed" in pynapple_nuclr.__all__
    missing = [name for name in pynapple_nuclr.__all__ if not hasattr(pynapple_nuclr, name)]
    assert missing == []


def test_the_stub_exports_what_it_imports():
    tree = ast.parse((PACKAGE / "__init__.pyi").read_text())
    imported = {
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    (exported,) = (
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    )
    assert set(exported) == imported


def test_no_import_runs_upward(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(logging.config, "dictConfig", lambda _: None)  # it would disable loggers
    failed = lint_imports(config_filename="pyproject.toml", no_cache=True)
    assert not failed, capsys.readouterr().out


def test_no_machine_path_is_tracked():
    # Weights, arrays and figures too: a path hides easily in their headers.
    path_of_a_machine = re.compile(rb"(?<![\w.~/-])/(?:work|root|tmp|home|Users)/[\w.-]")
    found = {
        str(path.relative_to(ROOT)): match.group()
        for path in _tracked()
        if (match := path_of_a_machine.search(path.read_bytes()))
    }
    assert found == {}


def test_versions_agree():
    version = pynapple_nuclr.__version__
    citation = re.search(r"^version: (\S+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    changes = re.search(r"^## \[([^]]+)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert 'dynamic = ["version"]' in (ROOT / "pyproject.toml").read_text()
    assert citation and citation.group(1) == version
    assert changes and changes.group(1) == version
