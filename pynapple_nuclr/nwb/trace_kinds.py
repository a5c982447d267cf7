"""What series of ROI traces hold, by the words of their names; which of several is read."""

from __future__ import annotations

import logging
import re
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from pynapple_nuclr.user_warnings import log

Kind: TypeAlias = Literal["dff", "fluorescence", "events", "background"]

# In this order of preference; within fluorescence, what is corrected or denoised comes before
# raw traces. Background is read only by name.
PREFERRED: tuple[Kind, ...] = ("dff", "fluorescence", "events")
# Whole words, in lower case, joined by "_".
_EVENTS = r"deconv\w*|events?|spikes?|spks?|inferred|inferredspikes|firing|oasis|mlspike|cascade"
_DFF = r"(d|delta|δ)_?f_?(o|over)?_?(f|f0|f_0)|rel(ative)?_fluorescence"
_BACKGROUND = r"f?_?neu|f?neuropils?|npil|f?backgrounds?|bg|bkg|baselines?|f0|surround|annulus"
# Words, beside those of the background, by which F and its neuropil are named differently.
_RECORDED = r"f|raw|fluorescence|rois?|responses?|series|traces?|signals?|data"
_CORRECTED = r"(correct|subtract|remov|denois|detrend|demix)\w*|minus|without|free"
# What is no calcium of single cells: fibres, the whole cortex, the face; and membrane voltage.
_NO_CELLS = (
    r"(\w+_)?photometry|fib(er|re)s?|wide_?field|svd|pca|(spatial|temporal)_components?|"
    r"motion_energy|pupil|voltage|voltron\w*|archon\w*|quas_?ar\w*|asap\w*|jedi"
)


def roi_responses(nwbfile: Any) -> dict[str, Any]:
    """Return all series of ROI traces of an open file, by path (``a/b/c``), sorted by it."""
    from pynwb.ophys import RoiResponseSeries

    found = {
        "/".join(_names(series)): series
        for series in nwbfile.objects.values()
        if isinstance(series, RoiResponseSeries) and len(np.shape(series.data)) in (1, 2)
    }
    return dict(sorted(found.items()))


def kind_of(series: Any) -> Kind:
    """Return what a series holds: by its own name, those of its containers, then its unit."""
    container = series.parent
    names = [series.name, container.name]
    is_corrected_series = any(_has(_CORRECTED, name) for name in names)
    # The F0 of dF/F0 is no series of its own.
    beside_dff = [re.sub(f"(^|_)({_DFF})(?=_|$)", "_", _in_words(name)) for name in names]
    if any(_has(_BACKGROUND, name) for name in beside_dff) and not is_corrected_series:
        return "background"
    for text in (*names, container.neurodata_type, str(series.unit)):
        if _has(_EVENTS, text):
            return "events"
        if _has(_DFF, text):
            return "dff"
    return "fluorescence"


def other_than_cells(series: Any) -> str:
    """Return the name by which traces are no calcium of single cells; "" if there is none."""
    table = series.rois.table
    plane = getattr(table, "imaging_plane", None)
    of_plane = [str(getattr(plane, key, "")) for key in ("name", "indicator")]
    names = [*_names(series), table.name, *of_plane]
    return next((name for name in names if _has(_NO_CELLS, name)), "")


def choose_series(
    found: dict[str, Any], source: Any, name: str | None = None, signal: str | None = None
) -> tuple[str, Any, bool]:
    """Return path, series, and whether ΔF/F is to be made of it.

    It is the series of a name, which must be of the kind `signal` if that is given; or the first
    of the preferred (or given) kind, of cells if there are any. Where ΔF/F is asked for,
    fluorescence will do.
    """
    if not found:
        raise ValueError(
            f"{source} has no traces of ROIs (RoiResponseSeries with data); expected a file of "
            "extracted calcium traces"
        )
    listed = ", ".join(f"{path} ({kind_of(series)})" for path, series in found.items())
    if name is not None:
        path = _path_of_name(found, source, name, listed)
        held = kind_of(found[path])
        is_made = signal == "dff" and held == "fluorescence"
        if signal not in (None, held) and not is_made:
            raise ValueError(
                f"{source}: {path} holds {held}, not signal={signal!r}; leave signal out to read "
                f"it as it is, or name another series: {listed}"
            )
        return path, found[path], is_made
    is_made = signal == "dff" and not any(kind_of(one) == "dff" for one in found.values())
    wanted = "fluorescence" if is_made else signal
    for kind in PREFERRED if wanted is None else (wanted,):
        of_kind = [path for path in found if kind_of(found[path]) == kind]
        of_kind.sort(key=lambda at: (other_than_cells(found[at]) != "", not _has(_CORRECTED, at)))
        if of_kind:
            if len(found) > 1:
                level = logging.WARNING if len(of_kind) > 1 else logging.INFO
                log.log(level, "%s: reading %s of %s", source, of_kind[0], listed)
            return of_kind[0], found[of_kind[0]], is_made
    if wanted is not None:
        raise ValueError(f"{source} has no series of the kind signal={wanted!r}; it has {listed}")
    raise ValueError(f"{source} has only {listed}; to read one all the same, give its name=")


def _path_of_name(found: dict[str, Any], source: Any, name: str, listed: str) -> str:
    """Return the path that ends with a name, or else has it as a part; there must be one."""
    wanted = f"/{name.strip('/')}/"
    named = [path for path in found if wanted in f"/{path}/"]
    exact = [path for path in named if f"/{path}/".endswith(wanted)]
    if len(exact or named) != 1:
        how_many = "more than one series" if named else "no series"
        raise ValueError(f"{source} has {how_many} of the name {name!r}; it has {listed}")
    return (exact or named)[0]


def check_signal(signal: str | None) -> None:
    """Refuse a kind of signal that there is not."""
    if signal is not None and signal not in get_args(Kind):
        kinds = ", ".join(map(repr, get_args(Kind)))
        raise ValueError(f"signal is {signal!r}; expected one of {kinds} or None")


def neuropil_of(found: dict[str, Any], source: Any, path: str) -> str | None:
    """Return the path of the neuropil of a series: the background of the same ROIs.

    Of several, as of two channels, it is the one whose path differs only in words of the kind.
    """
    series = found[path]
    same = [
        other
        for other, one in found.items()
        if kind_of(one) == "background"
        and re.search("neu|npil", other, re.IGNORECASE)
        and np.shape(one.data) == np.shape(series.data)
        and one.rois.table is series.rois.table
        and np.array_equal(one.rois.data[:], series.rois.data[:])
    ]
    if len(same) < 2:
        return same[0] if same else None
    alike = [other for other in same if _other_words(other) == _other_words(path)]
    if len(alike) != 1:
        raise ValueError(
            f"{source}: dF/F of {path} needs its neuropil, which may be any of {', '.join(same)}; "
            "read both (without signal, by name=) and make dF/F yourself"
        )
    return alike[0]


def _other_words(path: str) -> list[str]:
    """Return the words of a path, without those of fluorescence and background."""
    words = re.findall(r"[^\W\d_]+|\d+", _in_words(path))
    return [word for word in words if not re.fullmatch(f"{_RECORDED}|{_BACKGROUND}", word)]


def is_corrected(path: str) -> bool:
    """Return whether a series' name says that its background was removed."""
    return _has(_CORRECTED, path)


def _has(pattern: str, text: str) -> bool:
    """Return whether a text has a whole word of a pattern; "DfOverF" are three words."""
    return re.search(rf"(^|_)({pattern})(_|$)", _in_words(text)) is not None


def _in_words(text: str) -> str:
    """Return the words of a text in lower case, joined by "_"."""
    # "FCorrected" are two words, and "ROIs" is one.
    text = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z]{2})", "_", text)
    return re.sub(r"[^a-z0-9δ]+", "_", text.replace("Δ", "δ").lower())


def _names(series: Any) -> list[str]:
    """Return the names of a series and its containers, from the outermost below the file."""
    names: list[str] = []
    while series is not None and series.name != "root":
        names.insert(0, series.name)
        series = series.parent
    return names
