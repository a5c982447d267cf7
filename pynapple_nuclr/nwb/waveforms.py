"""Mean waveforms of the units of a file."""

from __future__ import annotations

import os

import numpy as np
import pynapple as nap
from hdmf.common import VectorIndex
from numpy.typing import NDArray

from pynapple_nuclr.nwb.neuron_tables import match_rows, table_of
from pynapple_nuclr.nwb.opening import OpenNWB, open_nwb
from pynapple_nuclr.nwb.values import read_values

_COLUMN = "waveform_mean"


def mean_waveforms(
    units: nap.TsGroup, source: str | os.PathLike[str] | OpenNWB
) -> NDArray[np.float64] | None:
    """Return the mean waveform of each unit (units, samples) in the file that they were read from.

    Of several channels, that of the largest amplitude. None if the file has no such column.
    """
    with open_nwb(source) as file:
        table = table_of(units, file.nwbfile, file)
        rows = match_rows(units, table, file)
        if _COLUMN not in table.colnames or isinstance(table[_COLUMN], VectorIndex):
            return None
        values = read_values(table[_COLUMN].data)
    if values.dtype.kind not in "fiu" or values.ndim not in (2, 3) or values.shape[1] < 2:
        return None
    values = values[rows].astype(np.float64)
    if values.ndim == 3:
        largest = np.nan_to_num(np.ptp(values, axis=1)).argmax(axis=1)
        values = values[np.arange(len(values)), :, largest]
    return values
