"""What tests of forged files share: a pickle that reports when it runs, and a limit of memory."""

import time
import tracemalloc

import pytest
from tally import counts

MOST = 100e6  # bytes; what the forged files claim is a thousand times as much


class Trap:
    """Says when it is unpickled."""

    sprung: list[str] = []

    def __reduce__(self):
        return Trap.sprung.append, ("pickle",)


@pytest.fixture(autouse=True)
def nothing_runs_and_little_is_asked_for():
    Trap.sprung.clear()
    tracemalloc.start()
    begin = time.monotonic()
    yield
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert not Trap.sprung
    assert most < MOST
    assert time.monotonic() - begin < 120  # a hang takes longer, a busy machine does not
    counts["forged files refused"] += 1
