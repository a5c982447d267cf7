"""Files and folders that are replaced only by complete ones, and checks before long work."""

from __future__ import annotations

import errno
import logging
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

logger = logging.getLogger("pynapple_nuclr")

_DRAFTS = ".nuclr-"
_LOCK = ".nuclr.lock"
_STALE = 24 * 3600.0  # s; a draft unchanged for so long was left by a writer that was killed
_LARGE = 1e9  # bytes; a longer copy is logged
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FULL_MESSAGE = re.compile(rf"\berrno = ({'|'.join(map(str, _FULL))})\b")  # HDF5's


def check_output(
    output: str | os.PathLike[str] | None,
    *,
    source: Path | None = None,
    overwrite: bool = False,
    suffix: str | tuple[str, ...] = ".nwb",
) -> Path:
    """Return where to write, default ``<source>_nuclr.nwb``; OSError or ValueError if nowhere."""
    suffixes = (suffix,) if isinstance(suffix, str) else suffix
    if output is None and source is not None:
        output = source.with_name(f"{source.stem}_nuclr{suffixes[0]}")
    path = Path(output or "")
    if path.suffix not in suffixes:
        expected = " or ".join(suffixes)
        raise ValueError(f"output is {str(path)!r}; expected a name that ends in {expected}")
    _check_folder(path)
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists; choose another name, or overwrite=True")
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(f"nothing may be written to {path.parent}; choose another folder")
    return path


def _check_folder(path: Path) -> None:
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent} to write {path.name} to")


def cache_folder(given: str | os.PathLike[str] | None, name: str = "") -> Path:
    """Return the folder to keep files in: the one given, else of this name in the user's cache."""
    if given is not None:
        return Path(given)
    import pooch

    return Path(pooch.os_cache("pynapple-nuclr"), name)


def existing_file(path: str | os.PathLike[str]) -> Path:
    """Return the path of a file or a Zarr folder; FileNotFoundError if there is none."""
    path = Path(path)
    if not (path.is_file() or (path / ".zgroup").is_file()):
        raise FileNotFoundError(f"there is no file {path}; check the path")
    return path


def copy_whole(source: Path, draft: Path, output: Path) -> None:
    """Copy a file or a Zarr folder; OSError, with the sizes, if the disk has too little space."""
    parts = source.rglob("*") if source.is_dir() else [source]
    size = sum(part.stat().st_size for part in parts if part.is_file())
    free = shutil.disk_usage(draft.parent).free
    if size > free:
        raise OSError(
            f"a copy of {source} needs {_size_text(size)}, and {output.parent} has "
            f"{_size_text(free)} free; raw='link' or raw='drop' writes a small file, and output= "
            "may name another disk"
        )
    if size > _LARGE:
        logger.info(
            "copying %s (%s); raw='link' or 'drop' would be small", source.name, _size_text(size)
        )
    if source.is_dir():
        shutil.copytree(source, draft)
    else:
        shutil.copyfile(source, draft)


def _size_text(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"


@contextmanager
def atomic_write(output: Path, *, overwrite: bool | None = None) -> Iterator[Path]:
    """Yield a draft, a file or folder to write; without an error it then replaces `output`.

    A folder is replaced in two steps: the old one is renamed, then the new one takes its name. If
    the process is killed between them, `remove_drafts` (called by the next writer) puts the old one
    back. `overwrite` says whether `output` may exist at the end: no (False), only unchanged since
    the start (True), or in any case (None); else FileExistsError or BlockingIOError.
    """
    _check_folder(output)
    remove_drafts(output.parent, older=_STALE)
    before = version_of(output) if overwrite else None
    with (
        _explain_full_disk(output),
        tempfile.TemporaryDirectory(dir=output.parent, prefix=_DRAFTS) as folder,
    ):
        draft = Path(folder) / output.name
        yield draft
        if draft.is_file():
            _to_disk(draft)  # otherwise a power cut could leave the new name with an empty file
        if overwrite is not None:
            _check_unchanged(output, before)
        if draft.is_dir():
            _replace_folder(draft, output, Path(folder) / "previous")
        else:
            os.replace(draft, output)


def write_together(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write files (name → content) of a folder, which belong together.

    They are renamed when all are on the disk: a writer that is stopped before changes nothing.
    """
    remove_drafts(folder, older=_STALE)
    with tempfile.TemporaryDirectory(dir=folder, prefix=_DRAFTS) as drafts:
        for name, content in contents.items():
            with _explain_full_disk(folder / name):
                (Path(drafts) / name).write_bytes(content)
                _to_disk(Path(drafts) / name)
        for name in contents:
            os.replace(Path(drafts) / name, folder / name)


def version_of(path: Path) -> list[int] | None:
    """Return what changes when a file or folder is replaced; None: there is none."""
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
    """Return whether an error, the system's or HDF5's, means that the disk is full."""
    return getattr(error, "errno", None) in _FULL or bool(_FULL_MESSAGE.search(str(error)))


@contextmanager
def _explain_full_disk(output: Path) -> Iterator[None]:
    """Turn the errors of a full disk into one that says which file, and what to do."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        if not is_full(error):
            raise
        raise OSError(
            errno.ENOSPC,
            f"the disk is full: {output.name} could not be written to {output.parent}, where all "
            "is as it was; make space, and do the same again",
        ) from (error.__cause__ or error)  # it may be explained already


def check_space(output: Path, size: int) -> None:
    """Raise OSError if the disk has no space for a file of so many bytes.

    The space is allocated for a moment, so that quotas count as well. HDF5 has to be kept from a
    full disk: it may crash the process, even later.
    """
    if hasattr(os, "posix_fallocate"):
        with _explain_full_disk(output), tempfile.TemporaryFile(dir=output.parent) as trial:
            os.posix_fallocate(trial.fileno(), 0, size)


@contextmanager
def folder_lock(folder: Path | None) -> Iterator[None]:
    """Lock a folder, made if absent, against other writers; None: no lock.

    BlockingIOError if another writer holds it. The lock ends with the process; its file stays.
    """
    if folder is None:
        yield
        return
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file; expected a folder to write to")
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / _LOCK, mode=0o666)  # the next writer may be another user
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


def _replace_folder(draft: Path, output: Path, aside: Path) -> None:
    """Rename a draft to `output`, whose old folder goes into `aside`."""
    aside.mkdir()
    if output.exists():
        os.rename(output, aside / output.name)
    try:
        os.rename(draft, output)
    except BaseException:
        if (aside / output.name).exists():
            os.rename(aside / output.name, output)
        raise


def _to_disk(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def remove_drafts(folder: Path, older: float = 0.0) -> None:
    """Remove drafts left by writers that were killed `older` seconds ago or before.

    A folder that one of them had renamed, to replace it, is put back first.
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
