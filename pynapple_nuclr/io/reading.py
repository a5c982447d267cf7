"""NWB files in: recordings, with the time in which they were observed."""

from __future__ import annotations

import os
import warnings

import pynapple as nap

from pynapple_nuclr.io import units_table
from pynapple_nuclr.io.files import existing_file
from pynapple_nuclr.io.opening import open_nwb


def read_units(
    path: str | os.PathLike[str], *, epochs: str | nap.IntervalSet | None = None
) -> nap.TsGroup:
    """Read the units of an NWB file with the time in which they were observed.

    Like ``nap.load_file(path)["units"]``, except that the time support is the file's
    ``obs_intervals``, where it has them; pynapple itself takes the time from the first spike to
    the last, gaps between trials included. Where units were observed at different times, it is
    the time that all share, with a warning; if they share none, it is pynapple's.

    Parameters
    ----------
    path : str or path
        An NWB file with a units table.
    epochs : str or IntervalSet, optional
        Use only these epochs; or the name of a table of intervals in the file, such as
        ``"trials"``.

    Returns
    -------
    TsGroup

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no NWB file, has no units with spikes, or no intervals of the name `epochs`.

    Examples
    --------
    >>> import tempfile, pynapple as nap, pynapple_nuclr as nap_nuclr
    >>> trials = nap.IntervalSet([0, 10], [1, 11])
    >>> units = nap.TsGroup({3: nap.Ts([0.1, 0.7, 10.2])}, time_support=trials)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = nap_nuclr.write_units(units, f"{folder}/day1.nwb")
    ...     nap_nuclr.read_units(path).time_support
      index    start    end
          0        0      1
          1       10     11
    shape: (2, 2), time unit: sec.
    """
    path = existing_file(path)
    with units_table.open_table(path) as table:
        support = units_table.observed(table)
    with open_nwb(path, "r") as (_, nwbfile):
        loaded = nap.NWBFile(nwbfile)
        with warnings.catch_warnings():  # of units with one spike, whose support has no duration
            warnings.simplefilter("ignore")
            units = loaded["/units"]
        if isinstance(epochs, str):
            tables = [key for key, kind in loaded._view if kind == "IntervalSet"]
            if epochs not in tables:
                raise ValueError(
                    f"{path} has no intervals {epochs!r}; it has {', '.join(tables) or 'none'}"
                )
            epochs = loaded[epochs]
    if not isinstance(units, nap.TsGroup):  # it gives the NWB table
        raise ValueError(
            f"pynapple cannot read the units table of {path}; has any unit two spikes or more?"
        )
    if epochs is not None:
        # Without observation intervals the epochs are taken as they are: pynapple's support
        # would cut the first and the last at a spike.
        support = epochs if support is None else support.intersect(epochs)
    return units if support is None else units.restrict(support)
