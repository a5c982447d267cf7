"""Files and Zarr folders: looked at before any long work, and replaced only by whole ones."""

from __future__ import annotations

import ctypes
import errno
import logging
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

logger = logging.getLogger("pynapple_nuclr")

_DRAFTS = ".nuclr-"
_LOCK = ".nuclr.lock"
_STALE = 24 * 3600.0  # s; no writer leaves its draft alone for so long
_LARGE = 1e9  # bytes; a copy that takes long enough to be told of
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FULL_IN_WORDS = re.compile(rf"\berrno = ({'|'.join(map(str, _FULL))})\b")  # HDF5's


def check_output(
    output: str | os.PathLike[str] | None,
    *,
    source: Path | None = None,
    overwrite: bool = False,
    suffix: str | tuple[str, ...] = ".nwb",
) -> Path:
    """Return where to write, default ``<source>_nuclr.nwb``; called before any long work.

    Raises
    ------
    FileNotFoundError, FileExistsError, PermissionError
        If its folder is missing; if it exists and `overwrite` is False; if nothing may be written
        to its folder.
    ValueError
        If its name does not end in `suffix`, or in one of several.
    """
    suffixes = (suffix,) if isinstance(suffix, str) else suffix
    if output is None and source is not None:
        output = source.with_name(f"{source.stem}_nuclr{suffixes[0]}")
    path = Path(output or "")
    if path.suffix not in suffixes:
        expected = " or ".join(suffixes)
        raise ValueError(f"output is {str(path)!r}; expected a name that ends in {expected}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent} to write {path.name} to")
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists; choose another name, or overwrite=True")
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(f"nothing may be written to {path.parent}; choose another folder")
    return path


def existing_file(path: str | os.PathLike[str]) -> Path:
    """Return the path of a file or a Zarr folder; FileNotFoundError if there is none."""
    path = Path(path)
    if not (path.is_file() or (path / ".zgroup").is_file()):
        raise FileNotFoundError(f"there is no file {path}; check the path")
    return path


def copy_whole(source: Path, draft: Path, output: Path) -> None:
    """Copy a file or a Zarr folder, after a look at the free space.

    Raises
    ------
    OSError
        If the disk has too little space: how much is needed and free, and how to need less.
    """
    parts = source.rglob("*") if source.is_dir() else [source]
    size = sum(part.stat().st_size for part in parts if part.is_file())
    free = shutil.disk_usage(draft.parent).free
    if size > free:
        raise OSError(
            f"a copy of {source} needs {_in_words(size)}, and {output.parent} has "
            f"{_in_words(free)} free; raw='link' or raw='drop' writes a small file, and output= "
            "may name another disk"
        )
    if size > _LARGE:
        logger.info(
            "copying %s (%s); raw='link' or 'drop' would be small", source.name, _in_words(size)
        )
    if source.is_dir():
        shutil.copytree(source, draft)
    else:
        shutil.copyfile(source, draft)


def _in_words(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"


@contextmanager
def atomic_write(output: Path, *, overwrite: bool | None = None) -> Iterator[Path]:
    """Give a file or folder to write that takes the place of `output` once whole, or goes.

    Parameters
    ----------
    output : Path
        What to replace.
    overwrite : bool, optional
        What may stand there at the end: nothing (False), or what stood there at the start (True).
        Default: anything; of two writers the last one wins.

    Raises
    ------
    FileExistsError, BlockingIOError
        If another has written `output` meanwhile, up to a moment before the end, and `overwrite`
        is given; it is as the other left it.
    OSError
        If the disk is full; `output` is as it was.
    """
    remove_drafts(output.parent, older=_STALE)
    before = version_of(output) if overwrite else None
    with (
        _saying_if_full(output),
        tempfile.TemporaryDirectory(dir=output.parent, prefix=_DRAFTS) as folder,
    ):
        draft = Path(folder) / output.name
        yield draft
        if draft.is_file():
            _to_disk(draft)  # else a power cut could leave the new name with an empty file
        if overwrite is not None:
            _check_unchanged(output, before)
        if draft.is_dir():
            _put_folder(draft, output, Path(folder) / "previous")
        else:
            os.replace(draft, output)


def write_together(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write files (name → content) of a folder, which belong together.

    The first one takes its place when all are on the disk: who is stopped before changes nothing.

    Raises
    ------
    OSError
        If the disk is full; all is as it was.
    """
    remove_drafts(folder, older=_STALE)
    with tempfile.TemporaryDirectory(dir=folder, prefix=_DRAFTS) as drafts:
        for name, content in contents.items():
            with _saying_if_full(folder / name):
                (Path(drafts) / name).write_bytes(content)
                _to_disk(Path(drafts) / name)
        for name in contents:
            os.replace(Path(drafts) / name, folder / name)


def version_of(path: Path) -> list[int] | None:
    """Return what tells a file or folder from one that is written in its place; None: no file."""
    if not path.exists():
        return None
    status = path.stat()
    return [status.st_ino, status.st_mtime_ns]


def _check_unchanged(output: Path, before: list[int] | None) -> None:
    now = version_of(output)
    if now in (None, before):
        return
    if before is None:
        raise FileExistsError(
            f"{output} was written by another meanwhile, and is as they left it; choose another "
            "name, or do the same again with overwrite=True"
        )
    raise BlockingIOError(
        f"{output} was changed by another while this was written, and is as they left it; do the "
        "same again"
    )


def is_full(error: BaseException) -> bool:
    """Say whether an error, the system's or HDF5's, means that the disk is full."""
    return getattr(error, "errno", None) in _FULL or bool(_FULL_IN_WORDS.search(str(error)))


@contextmanager
def _saying_if_full(output: Path) -> Iterator[None]:
    """Say what a full disk means for a file; how HDF5 says it, few can read."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        if not is_full(error):
            raise
        raise OSError(
            errno.ENOSPC,
            f"the disk is full: {output.name} could not be written to {output.parent}, where all "
            "is as it was; make space, and do the same again",
        ) from (error.__cause__ or error)  # it may have been said once


def check_space(output: Path, size: int) -> None:
    """Refuse to begin a file of so many bytes where the disk has no place for them.

    They are taken for a moment: quotas count as well. From then on HDF5 writes, which a full disk
    may let crash this process, even later.

    Raises
    ------
    OSError
        If there is no place.
    """
    if hasattr(os, "posix_fallocate"):
        with _saying_if_full(output), tempfile.TemporaryFile(dir=output.parent) as place:
            os.posix_fallocate(place.fileno(), 0, size)


@contextmanager
def folder_lock(folder: Path | None) -> Iterator[None]:
    """Hold a folder, made if absent, against other writers; None: there is nothing to hold.

    The lock goes with the process, however that ends; its file stays, and means nothing.

    Raises
    ------
    BlockingIOError
        If another writer holds it.
    PermissionError
        If it, or the file of its lock, is another user's, and not for all to write.
    """
    if folder is None:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / _LOCK, mode=0o666)  # whoever writes here next may be another user
    try:
        lock.acquire(blocking=False)
    except PermissionError as error:
        raise PermissionError(
            error.errno,
            f"you may not write to {folder}, or to its {_LOCK}; choose another out, or have its "
            "owner allow it (chmod a+rw)",
        ) from error
    except Timeout:
        raise BlockingIOError(
            f"another process is writing to {folder}; choose another out, or wait until it is done"
        ) from None
    try:
        yield
    finally:
        lock.release()


def _put_folder(draft: Path, output: Path, aside: Path) -> None:
    """Put a folder in its place, or in that of another, which then goes with the draft's."""
    try:
        os.rename(draft, output)
    except OSError:  # there is one, perhaps another writer's and since a moment ago
        if not output.exists():
            raise
    else:
        return
    if _exchange(draft, output):
        return
    aside.mkdir()  # elsewhere in two steps; `remove_drafts` knows what a kill between them leaves
    os.rename(output, aside / output.name)
    try:
        os.rename(draft, output)
    except BaseException:
        os.rename(aside / output.name, output)
        raise


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two names in one step, as Linux can; say whether it was done."""
    if not sys.platform.startswith("linux"):
        return False
    library = ctypes.CDLL(None)
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    if not hasattr(library, "renameat2"):
        return False
    return bool(library.renameat2(here, bytes(one), here, bytes(other), exchange) == 0)


def _to_disk(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def remove_drafts(folder: Path, older: float = 0.0) -> None:
    """Remove what writers left that were killed `older` seconds ago or before.

    What they had set aside is put back first.
    """
    for left in folder.glob(f"{_DRAFTS}*"):
        with suppress(OSError):  # another writer has just finished, or it is another user's
            changed = max(path.stat().st_mtime for path in (left, *left.iterdir()))
            if time.time() - changed < older:
                continue
            for previous in left.glob("previous/*"):
                if not (folder / previous.name).exists():
                    os.rename(previous, folder / previous.name)
            logger.info("removing %s, left by a writer that was interrupted", left.name)
            shutil.rmtree(left, ignore_errors=True)
