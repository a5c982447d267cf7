"""A system of another package: one class, found by its entry point."""

import subprocess
import sys

import pytest

from pynapple_nuclr.baselines.registry import find_system

SYSTEM = """
import numpy as np
from dataclasses import dataclass
from pynapple_nuclr.baselines import EmbeddingSystem

@dataclass
class SpikeCount(EmbeddingSystem):
    name = "lab: spike count"
    modalities = ("spikes",)
    power: float = 0.5

    def fit(self, recordings, *, seed=0, progress=False):
        return self

    def embed(self, recordings):
        return {
            name: np.array([[len(units[unit]) ** self.power] for unit in units.index])
            for name, units in recordings.items()
        }
"""
EVALUATE = """
import pynapple_nuclr as nap_nuclr
from pynapple_nuclr.evaluation import evaluate
units = nap_nuclr.simulate("single", n_units=30, duration=30)
names = ["SpikeCount", "lab: spike count"]
for name in names:
    scores = evaluate(units, "cell_type", "transductive", [name], n_shuffles=0, progress=False)
    print(scores["system"].values.tolist()[0], float(scores["macro_f1"][0].squeeze()))
"""


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
    install(tmp_path, SYSTEM, "SpikeCount = lab_systems:SpikeCount")
    result = run(tmp_path, EVALUATE)
    assert result.returncode == 0, result.stderr
    rows = [line.rsplit(" ", 1) for line in result.stdout.splitlines()]
    assert [name for name, _ in rows] == ["lab: spike count"] * 2
    assert all(0 < float(score) <= 1 for _, score in rows)


def test_an_entry_point_that_leads_elsewhere_is_named(tmp_path):
    install(tmp_path, SYSTEM, "Wrong = lab_systems:np")
    find = "from pynapple_nuclr.baselines.registry import find_system\n"
    wrong = run(tmp_path, find + "find_system('wrong')")
    assert "'Wrong' of pynapple_nuclr.systems leads to lab_systems:np" in wrong.stderr
    others = run(tmp_path, find + "print(find_system('nuclr').name, find_system('lolcat-style'))")
    assert others.returncode == 0, others.stderr


def test_our_own_systems_are_found_by_either_name():
    assert find_system("nuclr") is find_system("Nuclr")
    assert find_system("lolcat") is find_system("lolcat-style")
    with pytest.raises(ValueError, match="'oracle' is unknown; there are .*Lolcat.*Nuclr"):
        find_system("oracle")
