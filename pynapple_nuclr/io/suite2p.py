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
from pynapple_nuclr.nwb.traces import (
    alive_rois,
    choose_cells,
    imaged_time,
    one_value_each,
    report_of,
)
from pynapple_nuclr.user_warnings import log
from pynapple_nuclr.windows.frame_times import MAX_GAP

_FILES = {"fluorescence": "F.npy", "dff": "F.npy", "events": "spks.npy", "background": "Fneu.npy"}
_SETTINGS = ("ops.npy", "settings.npy", "db.npy")  # the first that has a setting decides
_PAUSE = 1.0  # s between recordings that Suite2p joined; the time between them is not known


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
    settings = _all_settings(folder, is_needed=frame_rate is None)
    rate = _frame_rate(folder, settings.get("fs") if frame_rate is None else float(frame_rate))
    times = _times(rate, _joined_recordings(folder, settings, n_frames))
    _name_bad_frames(folder, settings, n_frames)
    support = imaged_time(times, None, str(folder), MAX_GAP)
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
    frame = nap.TsdFrame(times, traces[:, alive], columns=kept[alive], time_support=support)
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
    """Read which ROIs are cells, and which are red, where a second channel was imaged."""
    found: dict[str, NDArray[Any]] = {}
    for path in (folder / name for name in ("iscell.npy", "redcell.npy")):
        if path.is_file():
            values = np.load(path, allow_pickle=False)
            if len(values) != n_rois or values.ndim not in (1, 2):
                raise ValueError(
                    f"{folder}: {path.name} is of {len(values)} ROIs, F.npy of {n_rois}"
                )
            is_plain = values.ndim == 1 or values.shape[1] == 2
            found[path.stem] = values if is_plain else values[:, 0]
    return found


def _all_settings(folder: Path, is_needed: bool) -> dict[str, Any]:
    """Return the settings of a plane; files that cannot be read are an error if it is needed."""
    found: dict[str, Any] = {}
    for path in (folder / name for name in _SETTINGS if (folder / name).is_file()):
        try:
            settings = _settings(path)
        except ValueError as error:
            if is_needed and "fs" not in found:
                raise
            log.warning("%s; whether it joins several recordings is not known", error)
            continue
        if isinstance(settings, dict):
            found = settings | found
    return found


def _numbers(value: Any) -> NDArray[np.float64]:
    """Return a setting as numbers (n,), as Suite2p and MATLAB write them; none if it has none."""
    values = np.ravel(np.asarray(value))
    return values.astype(np.float64) if values.dtype.kind in "biuf" else np.empty(0)


def _frame_rate(folder: Path, rate: Any) -> float:
    """Check the frame rate of a plane, from its settings or as it was given."""
    values = _numbers(rate)
    if not len(values):
        raise ValueError(f"{folder} has no frame rate (fs) in ops.npy; give it: frame_rate=30.0")
    if len(values) > 1 or not (np.isfinite(values) & (values > 0)).all():
        raise ValueError(
            f"{folder}: the frame rate (fs in ops.npy, or frame_rate=) is {rate}; expected one "
            "positive number in Hz, such as frame_rate=30.0"
        )
    return float(values[0])


def _joined_recordings(folder: Path, settings: dict[str, Any], n_frames: int) -> list[int]:
    """Return how many frames each recording has that Suite2p joined; each was a folder."""
    lengths = [int(n) for n in _numbers(settings.get("frames_per_folder")) if n > 0]
    if len(lengths) < 2:
        return [n_frames]
    listed = ", ".join(map(str, lengths))
    if sum(lengths) != n_frames:
        log.warning(
            "%s: frames_per_folder is %s, but there are %s frames; they are read as one recording",
            *(folder, listed, n_frames),
        )
        return [n_frames]
    log.warning(
        "%s: recordings of %s folders were joined (%s frames); each is an epoch, and the time "
        "between them is not known",
        *(folder, len(lengths), listed),
    )
    return lengths


def _times(rate: float, lengths: list[int]) -> NDArray[np.float64]:
    """Return the time of each frame, from 0 s, with a pause between recordings."""
    pause = max(_PAUSE, (MAX_GAP + 1) / rate)  # a shorter one would be no interruption
    before = np.repeat(np.arange(len(lengths)), lengths)  # recordings before that of the frame
    return np.arange(sum(lengths)) / rate + before * (pause - 1 / rate)


def _name_bad_frames(folder: Path, settings: dict[str, Any], n_frames: int) -> None:
    """Log frames that Suite2p left out when it looked for ROIs; F.npy has them all the same."""
    bad = _numbers(settings.get("badframes"))
    if len(bad) == n_frames and bad.any():
        log.warning(
            "%s: %s of %s frames are badframes of Suite2p (badly registered); they are read as "
            "the others, and epochs= leaves them out",
            *(folder, np.count_nonzero(bad), n_frames),
        )


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
