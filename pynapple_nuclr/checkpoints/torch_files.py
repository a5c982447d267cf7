"""Files of torch.save: looked through before torch reads them, which believes what they say."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from pynapple_nuclr.checkpoints.zip_archives import check_archive

# All opcodes of which torch makes a file, but for those that `_Plan` sees to itself. Of the others
# some allocate as much as a file asks for.
_OPCODES = (
    "PROTO STOP MARK GLOBAL REDUCE BINPERSID BINGET LONG_BINGET BINPUT LONG_BINPUT NONE NEWTRUE "
    "NEWFALSE BININT BININT1 BININT2 LONG1 BINFLOAT BINUNICODE EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 "
    "TUPLE3 EMPTY_LIST APPEND APPENDS EMPTY_DICT"
)
_LARGEST_PLAN = 2**22  # bytes, some 30,000 tensors: each byte may make a list
_MOST_PARTS = 2**18  # that a small plan may unfold to; a large one to ten for each of its bytes
_MOST_DIMENSIONS = 64
_STORAGES = {
    f"{kind}Storage": size
    for size, kinds in {
        8: ("Double", "Long"),
        4: ("Float", "Int"),
        2: ("Half", "BFloat16", "Short"),
        1: ("Char", "Byte", "Bool"),
    }.items()
    for kind in kinds
}


def read_tensors(path: Path) -> Any:
    """Read a file of ``torch.save`` that holds tensors and plain values, and execute nothing.

    Raises
    ------
    pickle.UnpicklingError
        If it names anything else, or is written otherwise than torch does.
    ValueError
        If a tensor is not of the size that the file says, or it unfolds to far more than it is.
    Exception
        Of many kinds, if it is damaged: see `pynapple_nuclr.nwb.opening.errors_naming_file`.
    """
    import torch

    check_archive(path)
    with ZipFile(path) as archive:
        (plan,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
        folder = plan.removesuffix(".pkl")
        sizes = {member.filename: member.file_size for member in archive.infolist()}
        if sizes[plan] > _LARGEST_PLAN:
            raise ValueError(
                f"its plan takes {sizes[plan]:,} bytes; expected {_LARGEST_PLAN:,} at most"
            )
        content = _Plan(io.BytesIO(archive.read(plan)), folder, sizes).load()
    _check_unfolded(content, _MOST_PARTS + 10 * sizes[plan])
    return torch.load(path, map_location="cpu", weights_only=True)


def _check_unfolded(content: Any, most: int) -> None:
    """Refuse lists that hold each other so often that whoever walks through them never ends."""
    rest, parts = [content], 0
    while rest:
        one = rest.pop()
        parts += len(one) if isinstance(one, str) else 1
        if isinstance(one, dict):
            rest += [*one, *one.values()]
        elif isinstance(one, (list, tuple)):
            rest += one
        if parts + len(rest) > most:
            raise ValueError(f"what it holds unfolds to more than {most:,} values")


def _check_tensor(stored: int, offset: int, size: Any, stride: Any, *_: Any) -> None:
    """Refuse a tensor that is larger than its storage: torch would make that, or a copy, as large.

    What stands here for the storage is how many values it holds.
    """
    is_plain = all(type(number) is int for number in (stored, offset, *size, *stride))
    if not is_plain or len(size) > _MOST_DIMENSIONS or min(offset, *size, *stride, 0) < 0:
        raise ValueError("a tensor's shape is no shape")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if prod(size) > stored or (prod(size) and last >= stored):
        raise ValueError(f"a tensor of shape {tuple(size)} is said to lie in {stored} values")


class _Known(dict[int, Any]):
    """What to do at each opcode."""

    def __missing__(self, opcode: int) -> Any:
        raise pickle.UnpicklingError(f"it holds the opcode {opcode}, which torch does not write")


class _Plan(pickle._Unpickler):
    """Follows the plan of a file of tensors, makes none, and sees whether it fits the file.

    In Python, because C's memo takes as much memory as the indices of a forged plan ask for.

    Parameters
    ----------
    plan : BytesIO
        The pickle.
    folder : str
        Of the tensors in the archive.
    sizes : dict
        Member of the archive → its bytes.
    """

    stack: list[Any]
    pop_mark: Callable[[], list[Any]]

    def __init__(self, plan: io.BytesIO, folder: str, sizes: dict[str, int]) -> None:
        super().__init__(plan)
        self._folder = folder
        self._sizes = sizes

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands for a name: nothing that a file could make use of."""
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        if (module, name) not in _BUILDERS:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return _BUILDERS[module, name]

    def persistent_load(self, pid: Any) -> int:
        """Compare what a tensor takes with what is there: torch reads on where that is less."""
        _, each, key, _, count = pid
        if (type(each), type(key), type(count)) != (int, str, int):
            raise pickle.UnpicklingError("a tensor is named otherwise than torch does")
        if each * count != self._sizes.get(f"{self._folder}/{key}"):
            raise ValueError(f"its tensor {key[:20]!r} is not of the size that it says")
        return int(count)

    def _set_items(self) -> None:
        self._fill(self.pop_mark())

    def _set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._fill([key, value])

    def _fill(self, items: list[Any]) -> None:
        """Fill a dictionary, but not by tuples, which torch does not need: to hash takes time."""
        if not all(type(key) in (str, int) for key in items[::2]):
            raise pickle.UnpicklingError("a key is neither a text nor a number")
        self.stack[-1].update(zip(items[::2], items[1::2], strict=True))

    def _set_attributes(self) -> None:
        """Keep what torch sets on a state dict beside its items, so that it is looked at, too."""
        state = self.stack.pop()
        if not isinstance(state, dict) or list(state) != ["_metadata"]:
            raise pickle.UnpicklingError("it sets attributes that torch does not set")
        self.stack[-1].update(state)

    dispatch = _Known(
        {
            getattr(pickle, name)[0]: pickle._Unpickler.dispatch[getattr(pickle, name)[0]]
            for name in _OPCODES.split()
        }
        | {
            pickle.SETITEM[0]: _set_item,
            pickle.SETITEMS[0]: _set_items,
            pickle.BUILD[0]: _set_attributes,
        }
    )


# All that a file of tensors has to name, and what stands for it. torch allows more, some of which
# allocates as much as a file asks for.
_BUILDERS: dict[tuple[str, str], Any] = {
    ("torch._utils", "_rebuild_tensor_v2"): _check_tensor,
    ("torch._utils", "_rebuild_parameter"): lambda *_: None,
    ("torch", "Size"): lambda *_: None,
    ("collections", "OrderedDict"): lambda: {},
}
