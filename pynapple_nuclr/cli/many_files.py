"""Many files in one call: which they are, where each result goes, what to do about a bad one."""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import typer

from pynapple_nuclr.cli.commands import MENDABLE, as_options, collect_warnings, print_json, say
from pynapple_nuclr.nwb.opening import is_remote, is_zarr

if TYPE_CHECKING:
    from pynapple_nuclr.recording import Units

_WRITTEN = "_nuclr"
_SUFFIXES = (".nwb", ".zarr", ".csv", ".parquet")

Report = dict[str, Any]


def find_sources(patterns: Sequence[str]) -> list[str]:
    """Return the files that were asked for, each once, in the order given.

    Those that this command has written itself (``x_nuclr.nwb`` beside ``x.nwb``, both asked for)
    are left out, else a pattern would count every neuron twice once its files are embedded.

    Raises
    ------
    ValueError
        If no file matches a pattern.
    """
    sources: dict[str, None] = {}
    for pattern in patterns:
        is_pattern = glob.has_magic(pattern) and not is_remote(pattern)
        if not is_pattern or Path(pattern).exists():
            sources[pattern] = None
            continue
        found = sorted(glob.glob(pattern, recursive=True))
        if not found:
            raise ValueError(f"no file matches {pattern!r}; check the pattern")
        sources.update(dict.fromkeys(found))
    among = {Path(one) for one in sources}
    written = [one for one in sources if _is_written(Path(one), among)]
    if named := [one for one in written if one in patterns]:  # by a user, or a shell's pattern
        say(f"note: left out {', '.join(named)}: written from files that are read here, too")
    return [one for one in sources if one not in written]


def _is_written(path: Path, among: Collection[Path]) -> bool:
    if not path.stem.endswith(_WRITTEN):
        return False
    return path.with_name(f"{path.stem.removesuffix(_WRITTEN)}{path.suffix}") in among


def stem_of(source: str) -> str:
    """Return the name of a source without folder and suffix, and without our own ending."""
    path = Path(urlsplit(source).path if is_remote(source) else source)
    return path.stem.removesuffix(_WRITTEN) or "remote"


def name_recordings(sources: Sequence[str]) -> list[str]:
    """Return names for recordings: of their files, if these differ, else the whole paths."""
    stems = [stem_of(source) for source in sources]
    return stems if len(set(stems)) == len(stems) else list(sources)


def plan_outputs(sources: Sequence[str], output: Path | None, kind: str | None) -> dict[str, Path]:
    """Return source → where its result goes; a folder of results is made.

    Raises
    ------
    ValueError
        If the output is no folder and there are several files, is of no kind that can be written,
        or contradicts --format; if two results would be one file.
    """
    if output is None:
        planned = {one: _beside(one) / f"{stem_of(one)}{_suffix(one, kind)}" for one in sources}
    elif output.suffix and not output.is_dir():
        planned = {one: _one_file(output, kind, sources) for one in sources}
    else:
        stems = Counter(map(stem_of, sources))
        planned = {
            one: output / f"{_parent(one) if stems[stem_of(one)] > 1 else ''}{stem_of(one)}"
            f"{_suffix(one, kind)}"
            for one in sources
        }
        output.mkdir(parents=True, exist_ok=True)
    for path, count in Counter(planned.values()).items():
        if count > 1:
            same = ", ".join(one for one in sources if planned[one] == path)
            raise ValueError(f"{same} would all be written to {path}; run them apart")
    return planned


def _beside(source: str) -> Path:
    return Path() if is_remote(source) else Path(source).parent


def _parent(source: str) -> str:
    """Return what tells apart files of the same name: their folder."""
    path = urlsplit(source).path if is_remote(source) else Path(source).absolute()
    return f"{Path(path).parent.name}_"


def _suffix(source: str, kind: str | None) -> str:
    zarr = kind in (None, "nwb") and not is_remote(source) and is_zarr(source)
    return f"{_WRITTEN}.{'zarr' if zarr else kind or 'nwb'}"


def _one_file(output: Path, kind: str | None, sources: Sequence[str]) -> Path:
    if output.suffix not in _SUFFIXES:
        raise ValueError(
            f"output is {str(output)!r}; expected a folder, or a name that ends in .nwb, .csv or "
            ".parquet"
        )
    if len(sources) > 1:
        raise ValueError(
            f"output is one file, {output}, for {len(sources)} files; expected a folder, with "
            f"--format {output.suffix[1:]} if you like"
        )
    if kind is not None and output.suffix != f".{kind}":
        raise ValueError(f"output is {output}, and --format {kind}; leave one of them out")
    return output


def run_batch(
    sources: Sequence[str],
    work: Callable[[str], Report],
    *,
    blank: Report,
    lines: Callable[[Report], list[str]],
    as_json: bool,
    progress: bool,
) -> None:
    """Do the same for every file, past bad ones; say at the end what came of each.

    Parameters
    ----------
    sources : sequence of str
        The files.
    work : callable
        Source → what to report of it.
    blank : dict
        What the report of a bad file says in its place.
    lines : callable
        A good report → what to print of it.
    as_json : bool
        Print all reports as one JSON document in place of lines.
    progress : bool
        Show a bar over the files, if there are several.

    Raises
    ------
    typer.Exit
        With 1 if any file was bad, with 130 if Ctrl-C was pressed.
    """
    reports, stopped = _each(sources, work, blank, progress)
    good = [one for one in reports if one["error"] is None]
    bad = [one for one in reports if one["error"] is not None]
    if as_json:
        print_json(reports)
    else:
        for report in good:
            for line in lines(report):
                typer.echo(line)
    _say_bad(bad, len(sources))
    if stopped:
        written = ", ".join(str(one["output"]) for one in good)
        say(f"interrupted at {stopped}; written: {written or 'nothing'}")
        raise typer.Exit(130)
    if bad:
        raise typer.Exit(1)


def read_all(
    sources: Sequence[str], read: Callable[[str], Units], *, progress: bool
) -> tuple[dict[str, Units], list[str]]:
    """Read every file; a bad one ends the command, because what is learnt needs them all.

    Returns
    -------
    dict, list
        Name → recording, and the warnings met.

    Raises
    ------
    typer.Exit
        As `run_batch`, after naming every bad file.
    """
    recordings: dict[str, Units] = {}
    names = dict(zip(sources, name_recordings(sources), strict=True))

    def keep(source: str) -> Report:
        recordings[names[source]] = read(source)
        return {}

    reports, stopped = _each(sources, keep, {}, progress)
    bad = [one for one in reports if one["error"] is not None]
    _say_bad(bad, len(sources))
    if stopped:
        say(f"interrupted at {stopped}; nothing was written")
    if stopped or bad:
        raise typer.Exit(130 if stopped else 1)
    return recordings, [note for one in reports for note in one["warnings"]]


def _each(
    sources: Sequence[str], work: Callable[[str], Report], blank: Report, progress: bool
) -> tuple[list[Report], str]:
    """Return a report per file, and at which file Ctrl-C was pressed ("": at none)."""
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    several = len(sources) > 1
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    reports: list[Report] = []
    shown = several and progress and console.is_terminal
    with Progress(*columns, console=console, disable=not shown) as bar:
        task = bar.add_task("", total=len(sources))
        for source in sources:
            bar.update(task, description=escape(stem_of(source)))
            report: Report = {"file": source, **blank, "warnings": [], "error": None}
            try:
                with collect_warnings(report["warnings"], f"{source}: " if several else ""):
                    report |= work(source)
            except KeyboardInterrupt:
                return reports, source
            except Exception as error:  # in a long run no odd file may cost the others
                if not several and not isinstance(error, MENDABLE):
                    raise
                report["error"] = _reason(error)
            reports.append(report)
            bar.advance(task)
    return reports, ""


def _reason(error: Exception) -> str:
    kind = "" if isinstance(error, MENDABLE) else f"{type(error).__name__}: "
    return kind + as_options(str(error))


def _say_bad(bad: Sequence[Report], total: int) -> None:
    if not bad:
        return
    if total == 1:
        say(f"error: {bad[0]['error']}")
        return
    say(f"error: {len(bad)} of {total} files failed:")
    for one in bad:
        say(f"  {one['file']}: {one['error']}")
