"""Texts of an HDF5 file and their heaps, checked before HDF5 reads them.

Without these checks tests/test_damaged_files.py fails. `check_heaps`: HDF5 does not return for
"NWB files of spikes", seeds 1503, 2006, 2156, 2160 and 2942. `check_lengths`: "NWB files of
calcium", seed 1416, takes 134 MB for a file of 0.16 MB.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

_HEAP = b"GCOL\x01\x00\x00\x00"  # as the format says: signature, version, reserved
_LARGEST = 200e6  # bytes; larger files take too long to look through
_EIGHTS = b"\x08\x08"  # addresses and lengths of eight bytes, as everybody writes


def check_heaps(path: Path) -> None:
    """Refuse a file with a heap that has no end: HDF5 2.0 would never return."""
    if not 100 < path.stat().st_size < _LARGEST:
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        start = 13 if content[8] < 2 else 9  # by the version of the file's first block
        if content[start : start + 2] != _EIGHTS:
            return
        place = content.find(_HEAP)
        while place >= 0:
            _walk(content, place)
            place = content.find(_HEAP, place + len(_HEAP))


def _walk(content: mmap.mmap, heap: int) -> None:
    if heap + 16 > len(content):
        return
    end = heap + struct.unpack_from("<Q", content, heap + 8)[0]
    if end > len(content):
        return  # HDF5 finds this itself
    place = heap + 16
    while place + 16 <= end:
        number, size = struct.unpack_from("<H6xQ", content, place)
        step = 16 + -(-size // 8) * 8 if number else size  # number 0: what is free
        if not 0 < step <= end - place:
            raise ValueError(f"the heap of texts at byte {heap} has no end: it is damaged")
        place += step


def check_lengths(dataset: Any) -> None:
    """Refuse a dataset with a text or array that is said to be longer than its file.

    HDF5 reserves memory for as many bytes, and then looks for them.
    """
    path, size = Path(dataset.file.filename), dataset.file.id.get_filesize()
    if not path.is_file():
        return
    address, _ = dataset.file.id.get_create_plist().get_sizes()
    reference = np.dtype([("length", "<u4"), ("heap", f"<u{address}"), ("entry", "<u4")])
    with path.open("rb") as file:
        for start, n_bytes in _stretches(dataset, reference.itemsize):
            file.seek(start)
            stored = file.read(min(n_bytes, size))
            count = len(stored) // reference.itemsize
            longest = np.frombuffer(stored, reference, count)["length"].max(initial=0)
            if longest > size:
                raise ValueError(
                    f"{dataset.name} is said to hold a text (or array) of {longest:,}, and its "
                    f"file has {size:,} bytes: it is damaged"
                )


def _stretches(dataset: Any, each: int) -> Iterator[tuple[int, int]]:
    """Yield where the references of a dataset are stored: first byte, number of bytes."""
    if dataset.chunks is None:
        if (start := dataset.id.get_offset()) is not None:
            yield start, (dataset.size or 0) * each
    elif dataset.id.get_create_plist().get_nfilters() == 0:
        found: list[Any] = []
        dataset.id.chunk_iter(found.append)
        yield from ((chunk.byte_offset, chunk.size) for chunk in found)
