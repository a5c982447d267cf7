"""Write docs/versions.md: the versions the tests were run with. Called by `nox`."""

from __future__ import annotations

import argparse
import json
import platform
from importlib.metadata import requires, version
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from page import markdown

ROOT = Path(__file__).parents[1]
NOTES = ROOT / "benchmarks" / "runs" / "versions"
PAGE = ROOT / "docs" / "versions.md"
EXTRAS = ("dask", "parquet", "spikeinterface", "zarr")

TEXT = """\
# Tested versions

The tests of `make test`, run with the oldest and the newest versions that `pyproject.toml` allows.
Python, numpy, pynapple and torch are limited to tested versions; the others have no upper bound.
Written by `nox` ({machine}).

{tests}

{table}

The table lists direct dependencies ("extra": optional ones). Development uses the exact versions of
`constraints.txt`, on Python 3.11.
"""


def dependencies() -> dict[str, tuple[SpecifierSet, bool]]:
    """Return the dependencies: name → (allowed versions, whether required without an extra)."""
    found = {}
    for line in requires("pynapple-nuclr") or ():
        needed = Requirement(line)
        extra = next(
            (e for e in EXTRAS if needed.marker and needed.marker.evaluate({"extra": e})), ""
        )
        if needed.name == "pynapple-nuclr" or (needed.marker and not extra):
            continue
        found[needed.name] = (needed.specifier, not extra)
    return found


def note(session: str, result: Path) -> None:
    """Store the installed versions and the outcome of the tests."""
    suite = ElementTree.parse(result).getroot().find("testsuite")
    assert suite is not None
    failed = [
        f"`{case.get('name')}`"
        for case in suite.iter("testcase")
        if case.find("failure") is not None or case.find("error") is not None
    ]
    ran, skipped = int(suite.get("tests", 0)), int(suite.get("skipped", 0))
    outcome: dict[str, Any] = {"passed": ran - skipped - len(failed), "skipped": skipped}
    outcome["failed"] = ", ".join(failed) or "none"
    installed = {name: version(name) for name in dependencies()}
    if session.startswith("oldest"):
        check_lowest(installed)
    NOTES.mkdir(parents=True, exist_ok=True)
    found = {"python": platform.python_version(), "installed": installed, "outcome": outcome}
    (NOTES / f"{session}.json").write_text(json.dumps(found, indent=1), encoding="utf-8")


def check_lowest(installed: dict[str, str]) -> None:
    """Check that every lower bound was tested."""
    for name, (allowed, _) in dependencies().items():
        lowest = next(one.version for one in allowed if one.operator == ">=")
        if installed[name].split(".")[: lowest.count(".") + 1] != lowest.split("."):
            raise SystemExit(f"{name}>={lowest} is allowed, but {installed[name]} was tested")


def page() -> None:
    """Write the page from all stored results."""
    found: dict[str, dict[str, Any]] = {
        path.stem: json.loads(path.read_text(encoding="utf-8")) for path in NOTES.glob("*.json")
    }
    found = dict(sorted(found.items(), key=lambda one: (not one[0].startswith("oldest"), one[0])))
    columns = {name: f"{name.split('-')[0]}, Python {one['python']}" for name, one in found.items()}
    tests = markdown([{"with": columns[name], **one["outcome"]} for name, one in found.items()])
    rows = [
        {"package": name if core else f"{name} (extra)", "allowed": str(allowed) or "any"}
        | {columns[key]: one["installed"][name] for key, one in found.items()}
        for name, (allowed, core) in sorted(dependencies().items(), key=lambda one: not one[1][1])
    ]
    machine = f"{platform.system()} {platform.machine()}"
    text = TEXT.format(machine=machine, tests=tests, table=markdown(rows))
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["note", "page"])
    parser.add_argument("of", nargs="*", help="session and its JUnit file")
    arguments = parser.parse_args()
    if arguments.what == "note":
        note(arguments.of[0], Path(arguments.of[1]))
    else:
        page()
