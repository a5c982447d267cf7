"""The command itself: how it is called, how it fails, what it prints."""

from __future__ import annotations

import json
import logging
import math
import re
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from pynapple_nuclr import __version__
from pynapple_nuclr.batch.reports import EXPECTED, record_warnings
from pynapple_nuclr.user_warnings import log

# Everything heavy is imported inside the commands: `--help` answers at once.


class _Commands(TyperGroup):
    """Commands whose errors and warnings are one line each."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command; exit with 1 on an error that says what to do, 130 on Ctrl-C."""
        with warnings.catch_warnings(), collect_warnings(), _log_as_notes():
            warnings.simplefilter("ignore")  # those of other packages are not for this user
            warnings.filterwarnings("always", category=UserWarning, module="pynapple_nuclr")
            try:
                return super().invoke(ctx)
            except (typer.Exit, typer.Abort):  # RuntimeErrors themselves
                raise
            except EXPECTED as error:
                say(f"error: {as_options(str(error))}")
                raise typer.Exit(1) from None
            except KeyboardInterrupt as interrupt:
                say(str(interrupt) or "interrupted")
                raise typer.Exit(130) from None


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="rich",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"nap-nuclr {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Know what kind of neurons you recorded: NuCLR embeddings for NWB recordings.

    [bold]Example[/bold]: nap-nuclr embed session.nwb
    """


def main() -> None:
    """Run the command."""
    app()


@contextmanager
def collect_warnings(notes: list[str] | None = None) -> Iterator[None]:
    """Print every warning as one line; keep it in `notes`, too."""
    found: list[str] = []
    with record_warnings(found, lambda message: say(f"note: {as_options(message)}")):
        yield
    if notes is not None:
        notes += map(as_options, found)


@contextmanager
def _log_as_notes() -> Iterator[None]:
    """Print what the package logs as warnings are printed."""
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: say(f"note: {as_options(record.getMessage())}")  # type: ignore[method-assign]
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)


def as_options(message: str) -> str:
    """Write an error's advice as options of the command line, on one line."""
    message = re.sub(r"\boverwrite=True\b", "--overwrite", message)
    message = re.sub(r"\bforce=True\b", "probe annotate --force", message)  # `report` has none
    message = re.sub(r"\bresume=False\b", "--no-resume", message)
    message = re.sub(r"\bkind=", "format=", message)
    names = "gaps|epochs|steps|encoder|probe|raw|by|init|output|format|name|clock|cells|cache"
    names += "|only|signal"
    message = re.sub(rf"\b({names})=([\"'])(.+?)\2", r"--\1 \3", message)
    message = re.sub(rf"\b({names})=(\w+)", r"--\1 \2", message)
    message = re.sub(rf"\b({names})=(?=\W|$)", r"--\1", message)
    return " ".join(message.split())


def say(line: str) -> None:
    """Print a line for people, not for the next program: to stderr."""
    print(line, file=sys.stderr)  # typer.echo would write across a progress bar


def print_json(value: Any) -> None:
    """Print the one JSON document of a command; NaN, which JSON has not, is null."""
    typer.echo(json.dumps(_plain(value), indent=2, ensure_ascii=False))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):  # numpy's
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def show_table(title: str, rows: Mapping[str, Any]) -> None:
    """Print names and values below a title."""
    from rich.console import Console
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    for name, value in rows.items():
        table.add_row(name, str(value))
    console = Console(markup=False, highlight=False)
    console.print(f"\n{title}", style="bold")
    console.print(table)
