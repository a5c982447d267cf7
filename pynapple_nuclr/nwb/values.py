"""Values of an open NWB file, with a check of how much memory a dataset needs before it is read."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pynapple_nuclr.nwb.text_heaps import check_lengths
from pynapple_nuclr.user_warnings import warn_user

# What a file declares but does not hold costs it nothing, and a reader as much as is declared.
_FREE = 2**16  # bytes that may be declared all the same: fill values of small columns
_MOST_PACKED = 1032  # deflate makes one byte of that many at most
_MOST_PACKED_OTHERWISE = 2**15  # Zstandard; some others have no limit
_MOST_PLAIN = 4  # of a dataset that is not packed a part may be unwritten
_AT_ONCE = 2**26  # bytes of texts that are read before they are counted, if one alone is not more


def read_values(data: Any) -> NDArray[Any]:
    """Read all values of a dataset, which must be there."""
    check_stored(data)
    values = _read_counted(data) if has_any_length(data) else np.asarray(data[:])
    if values.dtype.kind == "S" or (
        values.dtype == object and any(isinstance(one, bytes) for one in values.flat)
    ):
        texts, as_latin = decode(values.ravel())
        if as_latin:
            example = next(one for one in texts if isinstance(one, str) and not one.isascii())
            where = f"{data.file.filename}: {data.name}" if hasattr(data, "file") else "a column"
            warn_user(
                f"{where} holds {as_latin} texts that are not UTF-8, such as {example!r}; they "
                "were read as Latin-1"
            )
        values = np.array([*texts, None], dtype=object)[:-1].reshape(values.shape)
    return in_our_byte_order(values)


def in_our_byte_order(values: NDArray[Any]) -> NDArray[Any]:
    """Return numbers as this machine holds them: pandas, pyarrow and torch take no others."""
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def decode(values: Any) -> tuple[list[Any], int]:
    """Return values with bytes as texts, and how many were no UTF-8 but read as Latin-1."""
    texts, as_latin = [], 0
    for value in values:
        if isinstance(value, bytes):
            try:
                value = value.decode()
            except UnicodeDecodeError:
                value, as_latin = value.decode("latin-1"), as_latin + 1
        texts.append(value)
    return texts, as_latin


def has_any_length(data: Any) -> bool:
    """Return whether each value of a dataset (HDF5) has its own length: a text, or an array."""
    import h5py

    return isinstance(data, h5py.Dataset) and h5py.check_vlen_dtype(data.dtype) is not None


def _read_counted(data: Any) -> NDArray[Any]:
    """Read values of any length, some at a time: all of them may point to the same long one."""
    import h5py

    data = h5py.Dataset(data.id)  # past hdmf, which stops at a text that is not UTF-8
    in_file, size = data.file.id.get_filesize(), 0
    values = np.empty(data.shape, dtype=object)
    step = max(1, _AT_ONCE // in_file)
    for start in range(0, len(data), step):
        values[start : start + step] = part = data[start : start + step]
        size += sum(getattr(one, "nbytes", None) or len(one) for one in part.flat)
        if size > in_file:
            raise ValueError(
                f"the values of {data.name} are together longer than their file ({in_file:,} "
                "bytes); expected a dataset of which each value is stored"
            )
    return values


def read_ragged(index: Any) -> list[NDArray[Any]]:
    """Read a ragged column by its index (VectorIndex): an array for each row.

    A column without an index has one value, or one array, in each row.
    """
    if not hasattr(index, "target"):
        return list(read_values(index.data))
    values, ends = read_values(index.target.data), read_values(index.data).reshape(-1)
    limits = np.concatenate([[0], ends, [len(values)]])
    where = f"{index.container_source}: the rows of {index.target.name!r} end at "
    where += np.array2string(ends, threshold=8)
    if ends.dtype.kind not in "iu" or (limits[1:] < limits[:-1]).any():
        raise ValueError(f"{where}; expected places in order, up to its {len(values)} values")
    if rest := int(limits[-1] - limits[-2]):
        where += f", so {rest} of its {len(values)} values are in no row"
        if not limits[1]:  # where each row starts, or nothing was written
            raise ValueError(f"{where}; expected where each row ends, as in a VectorIndex of NWB")
        warn_user(f"{where}, and are left out")
    return np.split(values, ends.astype(np.int64))[: len(ends)]


def check_stored(data: Any) -> None:
    """Refuse a dataset (HDF5 or Zarr) that declares far more values than it holds bytes for."""
    dataset = getattr(data, "dataset", data)  # hdmf wraps those of references
    if not (hasattr(dataset, "chunks") and hasattr(dataset, "dtype")):
        return  # in memory already
    values = max(prod(dataset.shape), prod(dataset.chunks or ()))  # a chunk is read as a whole
    size, stored = values * dataset.dtype.itemsize, _stored(dataset)
    in_hdf5 = hasattr(dataset, "id")
    if in_hdf5 and stored > dataset.file.id.get_filesize():  # HDF5 would reserve memory for it
        raise ValueError(f"{dataset.name} is said to take up {stored:,} bytes, more than its file")
    if size > _FREE + _most_packed(dataset) * stored:
        raise ValueError(
            f"{dataset.name} declares {values:,} values ({size:,} bytes) and holds "
            f"{stored:,} bytes; expected a dataset that was written"
        )


def check_about(file: Any) -> None:
    """Refuse an HDF5 file in which what pynwb reads by itself is declared, and not there.

    That may be anything but the data of a series. How much a dataset holds takes time to find out
    if it is large, and is of interest if it is small, or larger than the file.
    """
    import h5py

    most = _FREE + file.id.get_filesize()

    def look(name: str, item: Any) -> None:
        if not isinstance(item, h5py.Dataset) or name.endswith("/data"):
            return
        if has_any_length(item):
            check_lengths(item)
        if not _FREE < item.nbytes <= most:
            check_stored(item)

    file.visititems(look)


def _most_packed(dataset: Any) -> int:
    """Return how many bytes one byte of a dataset may become."""
    if not hasattr(dataset, "id"):
        return _MOST_PACKED_OTHERWISE  # Zarr
    from h5py import h5z

    plan = dataset.id.get_create_plist()
    filters = {plan.get_filter(i)[0] for i in range(plan.get_nfilters())}
    if not filters:
        return _MOST_PLAIN
    known = {h5z.FILTER_DEFLATE, h5z.FILTER_SHUFFLE, h5z.FILTER_FLETCHER32}
    return _MOST_PACKED if filters <= known else _MOST_PACKED_OTHERWISE


def _stored(dataset: Any) -> int:
    """Return the bytes that a dataset takes up in its file."""
    if hasattr(dataset, "id"):
        return int(dataset.id.get_storage_size())
    stored = dataset.nbytes_stored  # Zarr: a method since version 3
    return int(stored() if callable(stored) else stored)
