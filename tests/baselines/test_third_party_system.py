"""A system of another package: one class, found by its entry point."""

import re
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from pynapple_nuclr.baselines import registry
from pynapple_nuclr.baselines.registry import find_system

PAGE = Path(__file__).parents[2] / "docs" / "add_a_system.md"
BLOCKS = re.findall(r"```\w+\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
SYSTEM, PYPROJECT, EVALUATE = BLOCKS  # of the documentation: what it shows is what runs


def install(folder, module, entry_points):
    """Lay a package out as an installer does: a module, and its metadata."""
    (folder / "lab_systems.py").write_text(module)
    metadata = folder / "lab_systems-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: lab-systems\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[pynapple_nuclr.systems]\n{entry_points}\n")


def run(folder, script):
    code = f"import sys; sys.path.insert(0, {str(folder)!r})\n{script}"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


def test_a_system_of_another_package_is_evaluated_by_name(tmp_path):
    install(tmp_path, SYSTEM, PYPROJECT.splitlines()[1].replace('"', ""))
    result = run(tmp_path, EVALUATE)
    assert result.returncode == 0, result.stderr
    first, second = map(float, result.stdout.split())
    assert first == second > 0.4


def test_an_entry_point_that_leads_elsewhere_is_named(monkeypatch):
    wrong = EntryPoint("Wrong", "json:dumps", registry.GROUP)
    points = [wrong, *registry.entry_points(group=registry.GROUP)]
    monkeypatch.setattr(registry, "entry_points", lambda group: points)
    with pytest.raises(TypeError, match="'Wrong' of pynapple_nuclr.systems leads to json:dumps"):
        find_system("wrong")
    assert find_system("nuclr").__name__ == "Nuclr"
    assert find_system("lolcat-style").__name__ == "Lolcat"


def test_our_own_systems_are_found_by_either_name():
    assert find_system("nuclr") is find_system("Nuclr")
    assert find_system("lolcat") is find_system("lolcat-style")
    with pytest.raises(ValueError, match="'oracle' is unknown; there are .*Lolcat.*Nuclr"):
        find_system("oracle")
