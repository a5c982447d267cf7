"""Files: looked at before any long work, and replaced only by whole ones."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def check_output(
    output: str | os.PathLike[str] | None,
    *,
    source: Path | None = None,
    overwrite: bool = False,
    suffix: str = ".nwb",
) -> Path:
    """Return where to write, default ``<source>_nuclr.nwb``; called before any long work.

    Raises
    ------
    FileNotFoundError, FileExistsError
        If its folder is missing; if it exists and `overwrite` is False.
    ValueError
        If its name does not end in `suffix`.
    """
    if output is None and source is not None:
        output = source.with_name(f"{source.stem}_nuclr{suffix}")
    path = Path(output or "")
    if path.suffix != suffix:
        raise ValueError(f"output is {str(path)!r}; expected a name that ends in {suffix}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent} to write {path.name} to")
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists; choose another name, or overwrite=True")
    return path


def existing_file(path: str | os.PathLike[str]) -> Path:
    """Return the path of a file; FileNotFoundError if there is none."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}; check the path")
    return path


@contextmanager
def replacing(output: Path) -> Iterator[Path]:
    """Give a file to write that takes the place of `output` once it is whole, or goes."""
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".nuclr-") as folder:
        draft = Path(folder) / output.name
        yield draft
        os.replace(draft, output)
