"""Reads of bad files in a process of their own: crash, hang and memory are found, and end nothing.

The process reports every read to its parent; one that is silent for too long is killed, one that
dies is replaced, and both count as failures.
"""

from __future__ import annotations

import logging
import resource
import shutil
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ready_processes import READY

LIMIT = 20.0  # s, for one read; the longest that ends takes less than one
PREPARATION = 240.0  # s, to import all and to make the good files, also on a busy machine
ADDRESSES = 1024**3  # bytes that a read, its threads too, may reserve beyond what is there
SLACK = 16 * 1024**2  # bytes: code of libraries that only an error needs, and its message
_RESET = "5"  # makes Linux restart the measurement of the peak


class Kind(NamedTuple):
    """A kind of file: where a good one lies, how it is damaged, how it is read.

    Attributes
    ----------
    good : Path
        A folder with all that is read.
    damage : callable (folder, Generator) → str
        Damages a copy of it, and says how.
    read : callable (folder)
        Reads, and asserts that what it got is what the files may hold.
    """

    good: Path
    damage: Callable[[Path, np.random.Generator], str]
    read: Callable[[Path], object]


Make = Callable[[Path], Kind]


def try_all(make: Make, seeds: Sequence[int], work: Path) -> tuple[Counter[str], list[str]]:
    """Damage and read once for every seed; return how often it ended how, and the failures."""
    outcomes: Counter[str] = Counter()
    failures = []
    left = list(seeds)
    while left:
        for seed, outcome, detail in _apart(make, left, work / f"from_{left[0]}"):
            left.remove(seed)
            outcomes[outcome] += 1
            if outcome not in ("read", "refused"):
                failures.append(f"seed {seed}: {outcome}: {detail}")
    return outcomes, failures


def _apart(make: Make, seeds: Sequence[int], work: Path):
    """Yield (seed, outcome, words) until all are tried, or the process is lost."""
    work.mkdir()
    mine, its = READY.Pipe(duplex=False)
    process = READY.Process(target=_work, args=(make, list(seeds), work, its), daemon=True)
    process.start()
    its.close()
    seed, what = None, "nothing yet"
    try:
        while mine.poll(PREPARATION if seed is None else LIMIT):
            match mine.recv():
                case "broken", problem:  # the tests, not what they test
                    raise RuntimeError(problem)
                case "ready" | "done" as state:
                    if state == "done":
                        return
                case seed, what:
                    pass
                case answer:
                    yield answer
                    seed = None
        process.kill()
        ending = "hang", f"too long: {what}"
    except EOFError:
        process.join()
        ending = "crash", f"exit code {process.exitcode}: {what}"
    finally:
        mine.close()
        process.join()
    if seed is None:
        raise RuntimeError(f"no file was being read: {ending}")
    yield seed, *ending


def _work(make: Make, seeds: Sequence[int], work: Path, parent: Connection) -> None:
    """Try seeds one after the other, and send what came of it."""
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    try:
        kind = make(work)
        _try_each(kind, seeds, work, parent)
    except BaseException:
        parent.send(("broken", traceback.format_exc()))


def _try_each(kind: Kind, seeds: Sequence[int], work: Path, parent: Connection) -> None:
    kind.read(_fresh(kind.good, work))  # loads what is loaded once
    # Of addresses, not of memory in use: no read reserves gigabytes, used or not.
    most = _status("VmSize") + ADDRESSES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    for _ in range(3):
        problem, used = _try(kind.read, _fresh(kind.good, work))
        assert problem is None, f"the good file: {problem!r}"
    parent.send("ready")
    for seed in seeds:
        folder = _fresh(kind.good, work)
        what = kind.damage(folder, np.random.default_rng(seed))
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        parent.send((seed, what))
        problem, more = _try(kind.read, folder)
        outcome, detail = _judge(problem, folder)
        if more > used + 2 * size + SLACK:
            outcome, detail = "memory", f"{more / 1e6:.1f} MB for a file of {size / 1e6:.2f} MB"
        parent.send((seed, outcome, f"{detail}: {what}"))
    parent.send("done")


def _try(read: Callable[[Path], object], folder: Path) -> tuple[BaseException | None, int]:
    """Read; return what went wrong, and by how many bytes this process grew at its largest.

    That is the peak of what it holds in memory (resident), of this read alone.
    """
    Path("/proc/self/clear_refs").write_text(_RESET)
    before = _status("VmRSS")
    problem: BaseException | None = None
    try:
        read(folder)
    except BaseException as error:
        problem = error.with_traceback(None)
    return problem, _status("VmHWM") - before


def _judge(problem: BaseException | None, folder: Path) -> tuple[str, str]:
    """Say whether files were read, or refused as they should be: by an error that names them."""
    if problem is None:
        return "read", ""
    detail = f"{type(problem).__name__}: {problem}"
    if not isinstance(problem, (ValueError, OSError)):
        return "wrong error", detail
    if not any(path.name in detail for path in (folder, *folder.rglob("*"))):
        return "names no file", detail
    return "refused", detail


def _fresh(good: Path, work: Path) -> Path:
    folder = work / "damaged"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(good, folder)
    return folder


def _status(field: str) -> int:
    """Return a size that Linux reports of this process, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith(f"{field}:")]
    return int(line.split()[1]) * 1024
