"""Many files in one command: a bar over them, bad ones named at the end, Ctrl-C."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from pynapple_nuclr.batch import plan
from pynapple_nuclr.batch.reports import Report, process
from pynapple_nuclr.cli.commands import as_options, print_json, say
from pynapple_nuclr.nwb.opening import is_remote

if TYPE_CHECKING:
    from pynapple_nuclr.recording import Units


def find_sources(patterns: Sequence[str], output: Path | None = None) -> list[str]:
    """Return the files to read; say which results were left out.

    FileNotFoundError if there is only one and it is missing: at once, before torch is loaded.
    """
    sources, left_out = plan.find_sources(patterns, output)
    if len(sources) == 1 and not (is_remote(sources[0]) or Path(sources[0]).exists()):
        raise FileNotFoundError(f"there is no file {sources[0]}; check the path")
    if named := [one for one in left_out if one in patterns]:  # by a user, or a shell's pattern
        say(f"note: left out {', '.join(named)}: written from files that are read here, too")
    return sources


def run_batch(
    sources: Sequence[str],
    work: Callable[[str], Report],
    lines: Callable[[Report], list[str]],
    *,
    results: Sequence[str] = (),
    as_json: bool,
    progress: bool,
) -> None:
    """Do the same for every file, past bad ones; print at the end what came of each.

    `work` returns the results of a file (which are named in `results`, beside the usual ones);
    `lines` turns a good report into text. Exit code 1 if any file was bad, 130 after Ctrl-C.
    """
    reports: list[Report] = []
    stopped = ""
    try:
        for report in _process_all(sources, work, results, progress):
            reports.append(report)
    except KeyboardInterrupt:
        stopped = sources[len(reports)]
    good = [one for one in reports if one["error"] is None]
    if as_json:
        print_json(reports)
    else:
        for report in good:
            for line in lines(report):
                typer.echo(line)
    any_bad = _say_bad(reports, len(sources))
    if stopped:
        written = ", ".join(one["output"] for one in good)
        say(f"interrupted at {stopped}; written: {written or 'nothing'}")
        raise typer.Exit(130)
    if any_bad:
        raise typer.Exit(1)


def read_all(
    sources: Sequence[str], read: Callable[[str], Units], *, progress: bool
) -> tuple[dict[str, Units], list[str]]:
    """Return name → recording, and the warnings; a bad file ends the command, once all are read."""
    recordings: dict[str, Units] = {}
    names = dict(zip(sources, plan.name_recordings(sources), strict=True))

    def keep(source: str) -> Report:
        recordings[names[source]] = read(source)
        return {}

    reports: list[Report] = []
    try:
        for report in _process_all(sources, keep, (), progress):
            reports.append(report)
    except KeyboardInterrupt:
        _say_bad(reports, len(sources))
        say(f"interrupted at {sources[len(reports)]}; nothing was written")
        raise typer.Exit(130) from None
    if _say_bad(reports, len(sources)):
        raise typer.Exit(1)
    return recordings, [note for one in reports for note in one["warnings"]]


def _process_all(
    sources: Sequence[str], work: Callable[[str], Report], results: Sequence[str], progress: bool
) -> Iterator[Report]:
    """Yield a report per file, with a bar over them if they are several."""
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    several = len(sources) > 1
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    shown = several and progress and console.is_terminal
    with Progress(*columns, console=console, disable=not shown) as bar:
        task = bar.add_task("", total=len(sources))
        for source in sources:
            bar.update(task, description=escape(plan.stem_of(source)))
            label = f"{source}: " if several else ""
            report = process(
                source,
                partial(work, source),
                results=results,
                show=partial(_note, label),
                reraise=not several,
            )
            report["warnings"] = [as_options(one) for one in report["warnings"]]
            if report["error"] is not None:
                report["error"] = as_options(report["error"])
            yield report
            bar.advance(task)


def _note(label: str, message: str) -> None:
    say(f"note: {label}{as_options(message)}")


def _say_bad(reports: Sequence[Report], total: int) -> bool:
    """Name the files that failed; return whether there are any."""
    bad: list[Any] = [one for one in reports if one["error"] is not None]
    if bad and total == 1:
        say(f"error: {bad[0]['error']}")
    elif bad:
        say(f"error: {len(bad)} of {total} files failed:")
        for one in bad:
            say(f"  {one['file']}: {one['error']}")
    return bool(bad)
