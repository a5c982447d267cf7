"""Which files are read, under which names, and where each result is written."""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from pynapple_nuclr.io.formats import Format, format_of, formats, output_format
from pynapple_nuclr.nwb.opening import is_remote

_WRITTEN, _ANNOTATED = "_nuclr", "_annotated"


class Sources(NamedTuple):
    """Files to read, and those that were left out because they are results of these."""

    read: list[str]
    left_out: list[str]


def find_sources(patterns: Sequence[str], output: Path | None = None) -> Sources:
    """Return the files that patterns name, each once, in the order given.

    Results (``x_nuclr.nwb`` beside ``x.nwb``, both named, or in the folder `output` beside any
    other file) are left out: a pattern would else count every neuron twice once its files are
    embedded. ValueError if nothing matches.
    """
    if not patterns:
        raise ValueError("sources is empty; expected at least one file")
    found: dict[str, None] = {}
    for pattern in patterns:
        is_pattern = glob.has_magic(pattern) and not is_remote(pattern)
        if not is_pattern or Path(pattern).exists():
            found[pattern] = None
            continue
        matches = sorted(glob.glob(pattern, recursive=True))
        if not matches:
            raise ValueError(f"no file matches {pattern!r}; check the pattern")
        found.update(dict.fromkeys(matches))
    originals = {_key(one) for one in found if not _is_result(one)}
    left_out = [
        one
        for one in found
        if _is_result(one) and (_key(one) in originals or (originals and _lies_in(one, output)))
    ]
    return Sources([one for one in found if one not in left_out], left_out)


def _lies_in(source: str, folder: Path | None) -> bool:
    return (
        folder is not None
        and not is_remote(source)
        and Path(source).parent.resolve() == folder.resolve()
    )


def _is_result(source: str) -> bool:
    return _name(source).endswith(_WRITTEN)


def _key(source: str) -> tuple[Path, str, str]:
    """Return what a file and our result of it have in common."""
    return Path(source).parent, stem_of(source), source_format(source).name


def _name(source: str) -> str:
    return source_format(source).stem(source)


def source_format(source: str) -> Format:
    """Return the format of a file; NWB where there is no telling: its reader says what is wrong."""
    try:
        return format_of(source)
    except ValueError:
        return formats()["nwb"]


def stem_of(source: str) -> str:
    """Return the name of a source without folder and suffix, and without our own ending."""
    name = _name(source)
    if name.endswith(_WRITTEN):
        name = name.removesuffix(_WRITTEN).removesuffix(_ANNOTATED)
    return name or "remote"


def name_recordings(sources: Sequence[str]) -> list[str]:
    """Return names for recordings: of their files, if these differ, else the whole paths."""
    stems = [stem_of(source) for source in sources]
    return stems if len(set(stems)) == len(stems) else list(sources)


def plan_outputs(
    sources: Sequence[str], output: Path | None, kind: str | None, *, in_folder: bool = False
) -> dict[str, Path]:
    """Return source → file of its result.

    `output` is a file for one source, a folder for several (made later; `in_folder`: in any case),
    or None: beside each source, for an address in the current folder. `kind` is a format that can
    be written; by default as `output` says, else "nwb" ("csv" for traces that come from no NWB
    file). ValueError if these contradict each other, or two results would be one file.
    """
    if kind is not None:
        output_format(kind)
    if output is not None and output.suffix and not (in_folder or output.is_dir()):
        _check_one_file(output, kind, sources)
        return dict.fromkeys(sources, output)
    stems = Counter(map(stem_of, sources))
    planned = {}
    for one in sources:
        # Files of the same name in one folder of results are distinguished by their own folder.
        twice = output is not None and stems[stem_of(one)] > 1
        name = f"{_parent(one)}_{stem_of(one)}" if twice else stem_of(one)
        folder = output or (Path() if is_remote(one) else Path(one).parent)
        planned[one] = folder / f"{name}{_WRITTEN}{_suffix(one, kind)}"
    for path, count in Counter(planned.values()).items():
        if count > 1:
            same = ", ".join(one for one in sources if planned[one] == path)
            raise ValueError(f"{same} would all be written to {path}; run them apart")
    return planned


def annotated_path(source: str, planned: Path) -> Path:
    """Return where labels are written by default: a result of `embed` stays as it is."""
    if is_remote(source) or planned != Path(source):
        return planned
    return planned.with_name(f"{stem_of(source)}{_ANNOTATED}{_WRITTEN}{planned.suffix}")


def _parent(source: str) -> str:
    path = urlsplit(source).path if is_remote(source) else Path(source).absolute()
    return Path(path).parent.name


def _suffix(source: str, kind: str | None) -> str:
    if kind is None:
        read_from = source_format(source)
        only_traces = read_from.write is None and read_from.reader("units") is None
        kind = "csv" if only_traces else "nwb"
    return output_format(kind, source).suffixes[-1]


def written_format(output: Path) -> Format | None:
    """Return the format in which a file of this name is written; None: there is none."""
    able = (one for one in formats().values() if one.write is not None)
    return next((one for one in able if output.name.lower().endswith(one.suffixes)), None)


def _check_one_file(output: Path, kind: str | None, sources: Sequence[str]) -> None:
    found = written_format(output)
    if found is None:
        able = [one.suffixes[-1] for one in formats().values() if one.write is not None]
        raise ValueError(
            f"output is {str(output)!r}; expected a name that ends in {', '.join(able[:-1])} or "
            f"{able[-1]}, or a folder (which has to exist if there is a dot in its name)"
        )
    if len(sources) > 1:
        raise ValueError(
            f"output is one file, {output}, for {len(sources)} files; expected a folder, with "
            f"kind='{found.name}' if you like"
        )
    if kind is not None and found != output_format(kind, sources[0]):
        raise ValueError(f"output is {output}, and kind={kind!r}; leave one of them out")
