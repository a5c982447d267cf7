"""The recipe of the conda package asks for what pyproject.toml asks for."""

import re
from pathlib import Path

import pytest

import pynapple_nuclr

ROOT = Path(__file__).parents[1]
OTHER_NAMES = {"torch": "pytorch", "matplotlib": "matplotlib-base", "fsspec[http]": "fsspec"}
FROM_EXTRAS = {"aiohttp"}  # fsspec[http]


def specifiers(lines):
    """Return name → versions, of lines such as "numpy>=2.0,<2.6"."""
    found = dict(re.fullmatch(r"([\w\-\[\]]+)\s*(.*)", line).groups() for line in lines)
    return {OTHER_NAMES.get(name, name): versions for name, versions in found.items()}


def test_the_recipe_asks_for_what_the_package_asks_for():
    yaml = pytest.importorskip("yaml")
    tomllib = pytest.importorskip("tomllib", reason="comes with Python 3.11")
    recipe = yaml.safe_load((ROOT / ".ci" / "conda" / "recipe.yaml").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = specifiers(recipe["requirements"]["run"])
    assert asked.keys() >= FROM_EXTRAS
    expected = specifiers([*project["dependencies"], f"python{project['requires-python']}"])
    assert {name: one for name, one in asked.items() if name not in FROM_EXTRAS} == expected
    assert recipe["context"]["version"] == pynapple_nuclr.__version__
    (entry,) = recipe["build"]["python"]["entry_points"]
    name, target = entry.split(" = ")
    assert project["scripts"] == {name: target}
