"""`fetch`: from the name of a data set to pynapple objects."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pandas as pd

from pynapple_nuclr.atomic_files import atomic_write, cache_folder
from pynapple_nuclr.nwb.units import read_recording
from pynapple_nuclr.recording import Units

_REGISTRY = Path(__file__).with_name("registry.json")
_FOLDER_VARIABLE = "PYNAPPLE_NUCLR_DATA"
_FIRST_SEEN = "first_seen.json"  # in the folder: file → sha256, where nobody has published one

_shown: set[str] = set()  # data sets whose licence this process has shown


def datasets() -> pd.DataFrame:
    """Return what `fetch` knows.

    Returns
    -------
    DataFrame
        Indexed by name: ``what``, ``files`` (how many), ``licence`` and ``citation``.

    Examples
    --------
    >>> import pynapple_nuclr as nap_nuclr
    >>> nap_nuclr.datasets()["licence"].head(2).to_dict()
    {'steinmetz2019': 'CC BY 4.0', 'head_direction': ...}
    """
    table = pd.DataFrame(list(_registry().values()), index=list(_registry()))
    table["files"] = table["files"].map(len)
    return table[["what", "files", "licence", "citation"]].rename_axis("name")


def _registry() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(_REGISTRY.read_text(encoding="utf-8"))
    return content


def fetch(
    name: str | None = None,
    *,
    folder: str | os.PathLike[str] | None = None,
    epochs: str | None = None,
    progress: bool = True,
) -> dict[str, Units]:
    """Download the recordings of a public data set, once, and read them.

    Files are checked by their sha256 before they are used and whenever they are used again; what
    arrives incomplete or altered is not kept. Where nobody has published a hash, that of the first
    download counts from then on. Licence and citation are printed; please keep to them.

    ========================== ====================================================== ==========
    ``steinmetz2019``          mouse Neuropixels, one session of the 39 (312 MB)      CC BY 4.0
    ``head_direction``         mouse silicon probes, thalamus, one session (37 MB)    not stated
    ``calcium_head_direction`` mouse one-photon calcium, postsubiculum, one session   not stated
    ``hippocampus``            rat silicon probes, CA1, one session                   not stated
    ========================== ====================================================== ==========

    Parameters
    ----------
    name : str
        A data set of the table, or of `datasets`.
    folder : str or path, optional
        Where its files are kept; made if absent. Default: the environment's
        ``PYNAPPLE_NUCLR_DATA``, else the user's cache.
    epochs : str, optional
        Read only these intervals, by the name of their table in the files, such as ``"trials"``.
    progress : bool
        Show a progress bar while downloading.

    Returns
    -------
    dict
        Name of the recording → TsGroup (spikes) or TsdFrame (calcium).

    Raises
    ------
    ValueError
        If no name is given or there is no such data set; if a file is not what its hash says, or
        the folder's list of first downloads is damaged.
    ConnectionError
        If a file cannot be downloaded. One that you have already may be put into `folder`.

    Examples
    --------
    >>> from pynapple_nuclr.downloads import fetch
    >>> fetch("steinmetz")
    Traceback (most recent call last):
    ...
    ValueError: there is no data set 'steinmetz'; there are steinmetz2019, head_direction, ...
    """
    registry = _registry()
    if name not in registry:
        wrong = "fetch needs a name" if name is None else f"there is no data set {name!r}"
        raise ValueError(f"{wrong}; there are {', '.join(registry)} (see datasets)")
    dataset = registry[name]
    _show_licence(name, dataset)
    where = cache_folder(folder or os.environ.get(_FOLDER_VARIABLE) or None)
    files = {
        file: _download(name, file, source, where, progress)
        for file, source in dataset["files"].items()
    }
    return {path.stem: read_recording(path, epochs=epochs) for path in files.values()}


def _show_licence(name: str, dataset: dict[str, Any]) -> None:
    if name not in _shown:
        print(f"{name}: {dataset['what']}")
        print(f"  licence: {dataset['licence']}\n  cite: {dataset['citation']}")
        _shown.add(name)


def _download(name: str, file: str, source: dict[str, Any], folder: Path, progress: bool) -> Path:
    """Return the path of a file, downloaded unless it is there as it should be."""
    import pooch

    url, published = source["url"], source["sha256"]
    known = published or _read_first_seen(folder).get(file)
    store = pooch.create(folder, base_url="", registry={file: known}, urls={file: url})
    downloader = pooch.HTTPDownloader(progressbar=progress, timeout=60)
    try:
        path = Path(store.fetch(file, downloader=downloader))
    except ValueError as error:  # pooch has thrown the download away
        origin = "the one published" if published else f"that of its first download ({_FIRST_SEEN})"
        raise ValueError(
            f"data set {name!r}: {file} from {url} has another sha256 than {origin}, {known}; it "
            "was not kept. Try again; if it stays so, the file was changed where it came from"
        ) from error
    except OSError as error:  # those of requests too
        raise ConnectionError(
            f"data set {name!r}: {file} could not be downloaded from {url} "
            f"({type(error).__name__}); check the connection, or put the file into {folder}"
        ) from error
    if known is None:
        added = {file: pooch.file_hash(str(path))}
        seen = _read_first_seen(folder) | added  # read again: others may have added theirs
        with atomic_write(folder / _FIRST_SEEN) as draft:
            draft.write_text(json.dumps(seen, indent=2) + "\n", encoding="utf-8")
        print(f"  {file}: no published hash; from now on it must be {seen[file]}")
    return path


def _read_first_seen(folder: Path) -> dict[str, str]:
    path = folder / _FIRST_SEEN
    try:
        seen = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except (ValueError, RecursionError) as error:
        seen = error
    if not isinstance(seen, dict) or not all(isinstance(one, str) for one in seen.values()):
        raise ValueError(
            f"{path} is damaged ({seen}); expected JSON, file → sha256. Put it back from a copy; "
            "without it, what lies in the folder counts as seen for the first time"
        )
    return seen
