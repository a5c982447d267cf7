"""NWB files, opened with pynwb."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def open_nwb(path: Path, mode: str) -> Iterator[tuple[Any, Any]]:
    """Open an NWB file with pynwb; ValueError if it cannot read it."""
    import pynwb

    with pynwb.NWBHDF5IO(path, mode) as io:
        try:
            nwbfile = io.read()
        except Exception as error:  # whatever pynwb meets in a file that is HDF5 but no NWB
            raise ValueError(f"pynwb cannot read {path} as NWB: {error}") from error
        yield io, nwbfile
