"""NWB files, opened with pynwb: in HDF5 or Zarr, on this machine or behind an address."""

from __future__ import annotations

import errno
import gc
import importlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from pynapple_nuclr.atomic_files import existing_file, is_full
from pynapple_nuclr.nwb.other_files import advice
from pynapple_nuclr.nwb.text_heaps import check_heaps
from pynapple_nuclr.nwb.values import check_about

# Bytes of a remote file of one request, and how many such blocks are kept: HDF5 reads
# its tables of contents in small pieces, and comes back to them.
_BLOCK, _BLOCKS = 128 * 1024, 512
# What NWB itself defines; any other namespace in a file is that of an extension.
_OWN_TYPES = {"core", "hdmf-common", "hdmf-experimental"}
_EXPECTED = "expected an NWB file, or another format that is read"


@dataclass(frozen=True)
class OpenNWB:
    """An open NWB file, for several functions to share; usable as its path.

    Examples
    --------
    >>> import tempfile, pynapple as nap, pynapple_nuclr as nap_nuclr
    >>> from pynapple_nuclr.nwb.opening import open_nwb
    >>> from pynapple_nuclr.nwb.stored_embeddings import describe_nwb
    >>> units = nap.TsGroup({3: nap.Ts([0.1, 0.7])})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with open_nwb(nap_nuclr.write_units(units, f"{folder}/day1.nwb")) as file:
    ...         describe_nwb(file)["units"], len(nap_nuclr.read_units(file))
    (1, 1)
    """

    source: str | os.PathLike[str]
    io: Any
    nwbfile: Any

    def __fspath__(self) -> str:
        return str(self.source)

    __str__ = __fspath__


def is_remote(source: str | os.PathLike[str]) -> bool:
    """Return whether a source is an address (http, https, s3 or DANDI's) and no path."""
    return str(source).startswith(("http://", "https://", "s3://", "dandi:"))


def source_name(source: str | os.PathLike[str]) -> str:
    """Return the name of a file; of a URL without its query, which may hold a signature."""
    return Path(urlsplit(str(source)).path if is_remote(source) else source).name


def is_zarr(source: str | os.PathLike[str]) -> bool:
    """Return whether a source is a folder in Zarr, by its name or by what it holds."""
    return str(source).rstrip("/").endswith(".zarr") or (Path(source) / ".zgroup").is_file()


@contextmanager
def open_nwb(source: str | os.PathLike[str] | OpenNWB, mode: str = "r") -> Iterator[OpenNWB]:
    """Open an NWB file with pynwb, which reads nothing but its table of contents."""
    if isinstance(source, OpenNWB):
        yield source
        return
    with suppress(ImportError):  # it brings HDF5 the filters that HDF5 itself has not
        importlib.import_module("hdf5plugin")
    opening = _open_remote if is_remote(source) else _open_zarr if is_zarr(source) else _open_hdf5
    with opening(source, mode) as io:
        with errors_naming_file(source, "pynwb", "NWB"), _naming_filters(source, io):
            if not is_zarr(source):
                check_about(io._file)
            with _naming_texts(source, io):
                nwbfile = io.read()
        with (
            errors_naming_file(source, "pynwb", "NWB") if mode == "r" else nullcontext(),
            _naming_filters(source, io),
        ):
            yield OpenNWB(source, io, nwbfile)


@contextmanager
def _naming_texts(source: str | os.PathLike[str], io: Any) -> Iterator[None]:
    """Name the texts that pynwb cannot decode: it says only which byte."""
    try:
        yield
    except UnicodeDecodeError as error:
        import h5py

        places: list[str] = []

        def look(name: str, item: Any) -> None:
            single = item[()] if isinstance(item, h5py.Dataset) and item.shape == () else b""
            texts = {name: single, **{f"{name}@{key}": one for key, one in item.attrs.items()}}
            for place, text in texts.items():
                if isinstance(text, bytes) and "\ufffd" in text.decode(errors="replace"):
                    places.append(place)

        if not is_zarr(source):
            io._file.visititems(look)
        raise ValueError(
            f"{source} cannot be read by pynwb: not UTF-8 is the text of "
            f"{', '.join(places) or 'an attribute'} ({error}); write it again, with h5py: "
            'file[NAME][()] = file[NAME][()].decode("latin-1")'
        ) from error


@contextmanager
def _naming_filters(source: str | os.PathLike[str], io: Any) -> Iterator[None]:
    """Name the filter that HDF5 lacks: it says only that there is no plugin, or none for it."""
    try:
        yield
    except OSError as error:
        said = "plugin" in str(error) or "filter" in str(error)
        lacking = _lacking_filter(io._file) if said and not is_zarr(source) else None
        if lacking is None:
            raise
        raise ValueError(
            f"{source} cannot be read here: {lacking}, which HDF5 does not have by itself; "
            "pip install hdf5plugin, and do the same again"
        ) from error


def _lacking_filter(file: Any) -> str | None:
    """Return which dataset needs which filter that is not here, in words; None: none does."""
    import h5py

    def look(name: str, item: Any) -> str | None:
        if isinstance(item, h5py.Dataset):
            packing = item.id.get_create_plist()
            for place in range(packing.get_nfilters()):
                number, _, _, label = packing.get_filter(place)
                if not h5py.h5z.filter_avail(number):
                    called = label.decode(errors="replace") or "unnamed"
                    return f"{name} is packed with filter {number} ({called})"
        return None

    found: str | None = file.visititems(look)
    return found


@contextmanager
def errors_naming_file(source: str | os.PathLike[str], reader: str, kind: str) -> Iterator[None]:
    """Let whatever a damaged or forged file makes of its readers be one error that names it."""
    try:
        yield
    except (ConnectionError, ImportError, Warning):
        raise
    except Exception as error:
        if isinstance(error, (ValueError, OSError)) and str(source) in str(error):
            raise
        if is_full(error):
            raise
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise  # the system's: no space left, no such folder
        said = str(error)
        if len(said) > 500:  # pynwb shows what it has read before it says what is wrong
            said = f"{said[:150]} … {said[-300:]}"
        raise (OSError if isinstance(error, OSError) else ValueError)(
            f"{reader} cannot read {source} as {kind}; it may be damaged, or was never one: "
            f"{type(error).__name__}: {said}"
        ) from error


@contextmanager
def _open_hdf5(source: str | os.PathLike[str], mode: str) -> Iterator[Any]:
    import h5py
    import pynwb

    path = existing_file(source)
    if not os.access(path, os.R_OK):
        raise PermissionError(f"{path} may not be read by you; change its permissions, or copy it")
    if not h5py.is_hdf5(path):
        raise ValueError(f"{path} is no NWB file (HDF5); {advice(path) or _EXPECTED}")
    try:
        with errors_naming_file(path, "pynwb", "NWB"):
            check_heaps(path)
            io = pynwb.NWBHDF5IO(path, mode, manager=manager_of_types(path=str(path)))
    except OSError as error:  # cut off, or open for writing elsewhere: h5py names no file
        raise OSError(
            f"{path} cannot be opened ({error}); expected a whole file that no program is "
            "writing to: copy or download it again"
        ) from error
    with io:
        if "nwb_version" not in io._file.attrs and (instead := advice(path)):
            raise ValueError(f"{path} is no file of NWB 2; {instead}")
        yield io


@contextmanager
def _open_zarr(source: str | os.PathLike[str], mode: str) -> Iterator[Any]:
    path = Path(source)
    if not path.is_dir():
        raise FileNotFoundError(f"there is no folder {path}; check the path")
    try:
        from hdmf_zarr import NWBZarrIO
    except ImportError as error:
        raise ImportError(
            f"{path} is in Zarr, which hdmf-zarr reads: pip install pynapple-nuclr[zarr]"
        ) from error
    if instead := advice(path):
        raise ValueError(f"{path} is no NWB; {instead}")
    with NWBZarrIO(str(path), mode) as io:
        yield io


@contextmanager
def _open_remote(source: str | os.PathLike[str], mode: str) -> Iterator[Any]:
    import h5py
    import pynwb

    if mode != "r":
        raise ValueError(f"{source} is an address, which can only be read; download it to write")
    if is_zarr(source):
        raise ValueError(
            f"{source} is in Zarr; of remote files only HDF5 is read: download it first"
        )
    with _remote_file(resolve_address(str(source))) as stream:
        try:
            # As large as a chunk may well be: else h5py would unpack it once for every unit.
            file = h5py.File(stream, "r", rdcc_nbytes=64 * 1024**2)
        except OSError as error:
            raise ValueError(f"{source} is no NWB file (HDF5); {_EXPECTED}") from error
        types = manager_of_types(file=file)
        with file, pynwb.NWBHDF5IO(file=file, mode="r", manager=types) as io:
            yield io


def manager_of_types(**source: Any) -> Any:
    """Return NWB's own types for a file to read (`path` or `file`), or for one to write.

    None where a file has types of an extension, which pynwb then loads from it. By itself pynwb
    copies all types for each file: a third of the time in which a small one is read.
    """
    import pynwb
    from hdmf.build import BuildManager

    stored = pynwb.NWBHDF5IO.get_namespaces(**source) if source else {}
    return BuildManager(_type_map()) if stored.keys() <= _OWN_TYPES else None


@cache
def _type_map() -> Any:
    import pynwb

    return pynwb.get_type_map()


def resolve_address(source: str) -> str:
    """Return the address (http or https) of a source that is on S3 or of the DANDI archive."""
    if source.startswith("s3://"):
        bucket, _, key = source.removeprefix("s3://").partition("/")
        if not (bucket and key):
            raise ValueError(f"{source} names no file; expected s3://BUCKET/PATH")
        key = quote(key, safe="/~")
        if "." in bucket:  # no certificate covers it as part of a host's name
            return f"https://s3.amazonaws.com/{bucket}/{key}"
        return f"https://{bucket}.s3.amazonaws.com/{key}"
    if source.startswith("dandi:"):
        return _resolve_dandi(source)
    return source


_DANDI = re.compile(
    r"dandi:(?://(?P<instance>[^/]+)/)?(?P<dandiset>\d+)(?:@(?P<version>[^/]+))?/+(?P<path>.+)"
)


def _resolve_dandi(source: str) -> str:
    found = _DANDI.fullmatch(source)
    if found is None:
        raise ValueError(
            f"{source} names no file of DANDI; expected dandi:DANDISET/PATH, such as "
            "dandi:000006/sub-anm372795/sub-anm372795_ses-20170718.nwb"
        )
    try:
        api = importlib.import_module("dandi.dandiapi")
        not_found: Any = importlib.import_module("dandi.exceptions").NotFoundError
    except ImportError as error:
        raise ImportError(
            f"{source} is in the DANDI archive, whose addresses the package dandi resolves: "
            "pip install dandi; or give the https address that the archive's page of the file shows"
        ) from error
    try:
        with api.DandiAPIClient.for_dandi_instance(found["instance"] or "dandi") as client:
            dandiset = client.get_dandiset(found["dandiset"], found["version"])
            asset = dandiset.get_asset_by_path(found["path"])
            return str(asset.get_content_url(follow_redirects=1, strip_query=True))
    except not_found as error:
        raise FileNotFoundError(f"the DANDI archive has no file {source}: {error}") from error


@contextmanager
def _remote_file(url: str) -> Iterator[Any]:
    """Open an address as a file that is read in blocks, by requests for ranges of bytes."""
    import aiohttp
    import fsspec
    from fsspec.implementations.http import HTTPFile

    timeout = aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=60)
    web = fsspec.filesystem("http", client_kwargs={"timeout": timeout, "trust_env": True})
    try:
        stream = web.open(url, block_size=_BLOCK)
    except OSError as error:  # fsspec makes every failure a FileNotFoundError
        cause = error.__cause__ or error
        if getattr(cause, "status", None) == 404:
            raise FileNotFoundError(f"there is no file {url}; check the address") from error
        raise ConnectionError(f"{url} cannot be read: {cause}; check the address") from error
    with stream:
        try:
            if not isinstance(stream, HTTPFile):
                raise ValueError("it answers as a stream")
            stream.cache = _blocks(stream)
            stream.seek(_BLOCK)  # only what is not at the start shows that ranges are heeded
            stream.read(1)
            stream.seek(0)
        except ValueError as error:
            raise ValueError(
                f"the server of {url} cannot send parts of a file (HTTP range requests), and all "
                "of it could be very large; download it and give its path"
            ) from error
        yield stream


def _blocks(stream: Any) -> Any:
    """Return a cache of blocks for a remote file, which requests long ranges at once.

    h5py holds its lock while it waits for bytes, and fsspec fetches them in a thread of its own.
    If Python collected garbage there, h5py objects among it, both would wait for ever.
    """
    from fsspec.caching import BlockCache

    def fetch(start: int, end: int) -> bytes:
        collects = gc.isenabled()
        gc.disable()
        try:
            return bytes(stream._fetch_range(start, end))
        finally:
            if collects:
                gc.enable()

    class Blocks(BlockCache):
        def _fetch(self, start: int, end: int) -> bytes:
            if end - start > 8 * self.blocksize:  # spike times: no request for every block
                return self.fetcher(start, min(end, self.size))
            return super()._fetch(start, end)

    return Blocks(_BLOCK, fetch, stream.size, maxblocks=_BLOCKS)
