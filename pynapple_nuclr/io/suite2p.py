"""Folders of Suite2p in: fluorescence, neuropil and verdicts of one imaging plane."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pynapple as nap
from numpy.typing import NDArray

from pynapple_nuclr.nwb.delta_f import delta_f_over_f
from pynapple_nuclr.nwb.row_metadata import describe_units
from pynapple_nuclr.nwb.traces import alive_rois, choose_cells, one_value_each, report_of

_FILES = {"fluorescence": "F.npy", "dff": "F.npy", "events": "spks.npy", "background": "Fneu.npy"}


def is_suite2p_folder(path: str) -> bool:
    """Return whether a folder holds a plane of Suite2p, or planes."""
    folder = Path(path)
    return (folder / "F.npy").is_file() or (folder.is_dir() and bool(_planes(folder)))


def _planes(folder: Path) -> list[Path]:
    return sorted(path.parent for path in folder.glob("plane[0-9]*/F.npy"))


def read_suite2p(
    source: str,
    *,
    cells: str | None = "accepted",
    signal: str | None = None,
    frame_rate: float | None = None,
    verbose: bool = False,
) -> nap.TsdFrame:
    """Read the traces (frames, ROIs) of a folder of Suite2p, such as ``suite2p/plane0``."""
    folder = Path(source)
    if not (folder / "F.npy").is_file():
        planes = _planes(folder)
        if len(planes) > 1:
            raise ValueError(
                f"{folder} has {len(planes)} planes ({', '.join(path.name for path in planes)}); "
                "read each by itself: a plane is a population"
            )
        folder = planes[0]
    signal = "dff" if signal is None else signal  # F alone is mostly how bright a cell is
    if signal not in _FILES:
        raise ValueError(f"signal is {signal!r}; expected one of {', '.join(map(repr, _FILES))}")
    values = _array(folder / _FILES[signal]).T
    n_frames, n_rois = values.shape
    rate = _frame_rate(folder) if frame_rate is None else float(frame_rate)
    times = np.arange(n_frames) / rate
    columns = _verdicts(folder, n_rois)
    verdict = choose_cells(columns, cells, str(folder), n_rois)
    kept = np.flatnonzero(verdict.kept)
    traces = np.asarray(values[:, kept], dtype=np.float32)
    if signal == "dff":
        neuropil = None
        if (folder / "Fneu.npy").is_file():
            neuropil = _array(folder / "Fneu.npy", (n_rois, n_frames)).T[:, kept]
        traces = delta_f_over_f(traces, neuropil, times, str(folder), "Fneu.npy")
    alive = alive_rois(traces, np.ones(len(kept), dtype=bool), kept, str(folder))
    frame = nap.TsdFrame(times, traces[:, alive], columns=kept[alive])
    ours = {"signal": signal, "roi_table": folder.name}
    describe_units(frame, {name: np.repeat(text, alive.sum()) for name, text in ours.items()})
    single = one_value_each(columns)
    describe_units(frame, {name: one[kept[alive]] for name, one in single.items()})
    if verbose:
        is_alive = np.ones(n_rois, dtype=bool)
        is_alive[kept[~alive]] = False
        more = {"series": _FILES[signal], "signal": signal, "frame rate": f"{rate:g} Hz"}
        print(report_of(source, folder.name, frame, verdict, is_alive, more))
    return frame


def _array(path: Path, shape: tuple[int, ...] | None = None) -> NDArray[Any]:
    """Map an array of Suite2p (ROIs, …), which must be there."""
    if not path.is_file():
        raise ValueError(f"{path.parent} has no {path.name}; expected a whole folder of Suite2p")
    values = np.load(path, mmap_mode="r", allow_pickle=False)
    if values.ndim != 2 or (shape is not None and values.shape != shape):
        raise ValueError(
            f"{path} has the shape {values.shape}; expected {shape or '(ROIs, frames)'}"
        )
    return np.asarray(values)


def _verdicts(folder: Path, n_rois: int) -> dict[str, NDArray[Any]]:
    if not (folder / "iscell.npy").is_file():
        return {}
    values = np.load(folder / "iscell.npy", allow_pickle=False)
    if len(values) != n_rois or values.ndim not in (1, 2):
        raise ValueError(f"{folder}: iscell.npy is of {len(values)} ROIs, F.npy of {n_rois}")
    return {"iscell": values if values.ndim == 1 or values.shape[1] == 2 else values[:, 0]}


def _frame_rate(folder: Path) -> float:
    """Find the frame rate of a plane in the settings, which are a pickle."""
    for name in ("ops.npy", "settings.npy", "db.npy"):
        if (folder / name).is_file():
            settings = _settings(folder / name)
            if isinstance(settings, dict) and "fs" in settings and float(settings["fs"]) > 0:
                return float(settings["fs"])
    raise ValueError(f"{folder} has no frame rate (fs) in ops.npy; give it: frame_rate=30.0")


class _Skipped(dict[Any, Any]):
    """In place of any object of a pickle but numbers, texts and arrays; it does nothing."""

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...

    def extend(self, items: Any) -> None: ...

    append = add = extend


class _NumbersOnly(pickle.Unpickler):
    """Reads a pickle without running anything of it: only numpy's own arrays and scalars."""

    def find_class(self, module: str, name: str) -> Any:
        is_numpy = module.split(".")[0] == "numpy"
        if is_numpy and name in ("_reconstruct", "scalar", "ndarray", "dtype", "_frombuffer"):
            return super().find_class(module, name)
        return _Skipped


def _settings(path: Path) -> Any:
    """Return what ``np.save`` of a dict wrote."""
    with path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        read = {(1, 0): np.lib.format.read_array_header_1_0}
        read.get(version, np.lib.format.read_array_header_2_0)(file)
        try:
            values = _NumbersOnly(file).load()
        except Exception as error:  # of damage, of which there are many ways
            raise ValueError(
                f"{path} cannot be read ({error}); give the frame rate: frame_rate=30.0"
            ) from error
    return values.item() if isinstance(values, np.ndarray) and values.shape == () else values
