"""What needs its own environments: other versions, and what is released.

`nox` tries the oldest and the newest of what pyproject.toml allows, and writes docs/versions.md.
`nox -s release` builds what is uploaded, and uses it where nothing else is installed.
"""

import tempfile
from pathlib import Path

import nox

nox.options.default_venv_backend = "uv"
nox.options.sessions = ["oldest", "newest", "versions"]

LARGEST_WHEEL = 20e6  # bytes


@nox.session(python="3.10")
def oldest(session: nox.Session) -> None:
    """Run the tests with the lowest version of everything."""
    try_with(session, "lowest-direct")


@nox.session(python=["3.12", "3.13"])
def newest(session: nox.Session) -> None:
    """Run the tests with the highest version of everything."""
    try_with(session, "highest")


def try_with(session: nox.Session, resolution: str) -> None:
    """Install with a resolution, run the tests, and note what they ran with."""
    session.install("--resolution", resolution, "-e", ".[test]")
    result = Path(session.create_tmp()) / "tests.xml"
    # In the usual folder for what is temporary: nox has one whose name is long.
    tests = ("python", "-m", "pytest", "-q", "-n", "2", "-m", "not slow")
    usual = {"TMPDIR": tempfile.gettempdir()}
    # What failed is noted as well.
    session.run(*tests, f"--junitxml={result}", env=usual, success_codes=[0, 1])
    session.run("python", "benchmarks/versions.py", "note", session.name, str(result))


@nox.session(venv_backend="none")
def versions(session: nox.Session) -> None:
    """Write docs/versions.md from what was noted."""
    session.run("python", "benchmarks/versions.py", "page")


@nox.session(python="3.11")
def release(session: nox.Session) -> None:
    """Build, check, install from the wheel alone, and run the demonstration in another folder."""
    out = Path(session.create_tmp()).resolve()
    for old in (*out.glob("*.whl"), *out.glob("*.tar.gz")):
        old.unlink()
    session.run("uv", "build", "--out-dir", str(out), external=True)
    (wheel,), (source,) = out.glob("*.whl"), out.glob("*.tar.gz")
    if wheel.stat().st_size > LARGEST_WHEEL:
        session.error(f"{wheel.name} has {wheel.stat().st_size / 1e6:.1f} MB")
    session.install("twine")
    session.run("twine", "check", "--strict", str(wheel), str(source))
    session.install("-c", "constraints.txt", str(wheel))
    session.chdir(out)
    session.run("nap-nuclr", "demo")
    session.log(f"{wheel.name}: {wheel.stat().st_size / 1e6:.2f} MB")
