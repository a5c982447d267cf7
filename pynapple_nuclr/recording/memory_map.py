"""Arrays that stay in their file."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Mapped:
    """An array in a file, mapped into memory while a part of it is read, and no longer.

    No file stays open and no memory stays in use between reads, so that thousands of recordings can
    be opened at once; a pickle holds only the path. Indexing returns an array.
    """

    path: str
    offset: int
    dtype: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of values."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the whole array."""
        return self.size * np.dtype(self.dtype).itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> NDArray[Any]:
        if not self.size:  # an empty file cannot be mapped
            return np.empty(self.shape, self.dtype)[key]
        dtype = np.dtype(self.dtype)
        try:
            whole = np.memmap(self.path, dtype, mode="r", offset=self.offset, shape=self.shape)
        except (OSError, ValueError) as error:
            raise OSError(
                f"{self.path}, which holds a recording that is being read, is gone or damaged "
                f"({error}); open the recordings again to write it again"
            ) from error
        return np.array(whole[key])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[...], dtype)
