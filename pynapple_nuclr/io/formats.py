"""The file formats that are read and written: one registry, which other packages add to."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from pynapple_nuclr.nwb.opening import is_remote, source_name
from pynapple_nuclr.nwb.other_files import advice
from pynapple_nuclr.user_warnings import log

GROUP = "pynapple_nuclr.formats"
# Reads addresses and files of any other name, with an error that names the problem.
_DEFAULT = "nwb"
_OWN = ("nwb", "zarr", "phy", "suite2p", "csv", "parquet")  # come first, in this order


@dataclass(frozen=True)
class Format:
    """A file format: how to recognise it, and the functions that read and write it.

    Register one under the entry-point group ``pynapple_nuclr.formats``; then `read_recording`,
    `embed_many`, `pretrain` and the command line take files of it.

    Attributes
    ----------
    name : str
        Short name, as ``embed_many(kind=)`` and error messages use it.
    suffixes : tuple of str
        How the names of its files end, with the dot, in lower case.
    recognise : callable, optional
        Takes a path, returns whether it is of this format; for folders, or formats without a
        suffix of their own. Never called with an address.
    read_units, read_traces, read_recording : callable, optional
        Take a path, return a ``TsGroup``, a ``TsdFrame``, or either. Further keyword parameters
        are the options of the format. A reader without a parameter ``epochs`` reads everything;
        the result is then cut to the chosen epochs. `read_recording` is by default the one of
        the other two that is there.
    write : callable, optional
        ``write(units, path, *, source, raw, overwrite)`` writes embedded units; `source` is the
        file they were read from, `raw` as of `write_nwb`.
    describe : callable, optional
        Takes a path, returns a mapping that ``nap-nuclr info`` shows.

    Examples
    --------
    >>> import pynapple as nap
    >>> from pynapple_nuclr.io.formats import Format
    >>> def read_units(path):
    ...     return nap.TsGroup({0: nap.Ts([0.1, 0.7])})
    >>> text = Format("text", suffixes=(".spikes.txt",), read_units=read_units)
    >>> text.matches("day1.spikes.txt"), text.stem("data/day1.spikes.txt")
    (True, 'day1')
    """

    name: str
    suffixes: tuple[str, ...] = ()
    recognise: Callable[[str], bool] | None = None
    read_units: Callable[..., Any] | None = None
    read_traces: Callable[..., Any] | None = None
    read_recording: Callable[..., Any] | None = None
    write: Callable[..., Any] | None = None
    describe: Callable[[str], Mapping[str, Any]] | None = None

    @property
    def reads(self) -> bool:
        """Whether files of this format can be read."""
        return any((self.read_units, self.read_traces, self.read_recording))

    def reader(self, what: str) -> Callable[..., Any] | None:
        """Return the function for "units", "traces" or "recording"; None if there is none."""
        if what == "recording":
            return self.read_recording or self.read_units or self.read_traces
        found: Callable[..., Any] | None = getattr(self, f"read_{what}")
        return found

    def matches(self, source: str | os.PathLike[str]) -> bool:
        """Return whether a file is of this format, by its name or by what it holds."""
        if source_name(source).lower().endswith(self.suffixes or ("/",)):
            return True
        is_here = not is_remote(source) and self.recognise is not None
        return is_here and self.recognise(os.fspath(source))  # type: ignore[misc]

    def stem(self, source: str | os.PathLike[str]) -> str:
        """Return the name of a file without its folder and this format's suffix."""
        name = source_name(source)
        for suffix in sorted(self.suffixes, key=len, reverse=True):
            if name.lower().endswith(suffix):
                return name[: -len(suffix)]
        return name


@cache
def formats() -> dict[str, Format]:
    """Return all formats that are installed, by name: our own first, then those of others."""
    found: dict[str, Format] = {}
    for point in sorted(
        entry_points(group=GROUP),
        key=lambda one: (not one.value.startswith("pynapple_nuclr."), one.name),
    ):
        try:
            one = point.load()
            if not isinstance(one, Format):
                raise TypeError(f"it is a {type(one).__name__}; expected a Format")
        except Exception as error:  # a package of somebody else must not stop ours
            log.warning("the file format %s (%s) is left out: %s", point.name, point.value, error)
            continue
        if one.name in found:
            log.warning("file format %s is left out: another package has the name", point.value)
            continue
        found[one.name] = one
    # A checkout that was not installed again after a change has older entry points, or none.
    own = vars(import_module("pynapple_nuclr.io.own_formats")).values()
    found |= {one.name: one for one in own if isinstance(one, Format) and one.name not in found}
    return {name: found[name] for name in sorted(found, key=_place)}


def _place(name: str) -> int:
    return _OWN.index(name) if name in _OWN else len(_OWN)


def format_of(source: str | os.PathLike[str]) -> Format:
    """Return the format of a file that is to be read, or was written."""
    for one in formats().values():
        if one.matches(source):
            return one
    if not is_remote(source) and Path(source).is_dir():
        readable = ", ".join(name for name, one in formats().items() if one.reads)
        raise ValueError(
            f"{source} is a folder of none of the formats that are read ({readable})"
            + _instead(Path(source))
        )
    return formats()[_DEFAULT]


def _instead(folder: Path) -> str:
    """Return what to do with a folder of no format: a folder in it may be of one."""
    if known := advice(folder):
        return f"; {known}"
    inside = sorted(path for path in folder.glob("*/") if path.is_dir())
    for path in (*inside, *(deeper for one in inside for deeper in sorted(one.glob("*/")))):
        if path.is_dir() and any(one.reads and one.matches(path) for one in formats().values()):
            return f"; {path} is one of {format_of(path).name!r}: give that"
    return ""


def output_format(kind: str, source: str | os.PathLike[str] | None = None) -> Format:
    """Return the format to write: that of the name `kind`; of Zarr files "nwb" means Zarr."""
    known = {name: one for name, one in formats().items() if one.write is not None}
    if kind not in known:
        raise ValueError(f"kind is {kind!r}; expected one of {', '.join(map(repr, known))}")
    if kind == "nwb" and source is not None and format_of(source).name == "zarr":
        return known["zarr"]
    return known[kind]


def stem_of(source: str | os.PathLike[str]) -> str:
    """Return the name of a file without its folder and its format's suffix."""
    return format_of(source).stem(source) if source_name(source) else "remote"
