"""Options that several commands share; what is not given is left to the Python functions."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from pynapple_nuclr.config import Gaps

_PACKAGE = Path(__file__).parents[1]


def given(**options: Any) -> dict[str, Any]:
    """Return the options that the user gave."""
    return {name: value for name, value in options.items() if value not in (None, [])}


def with_default(text: str, function: str, argument: str) -> str:
    """Return a help text that ends in the default of a Python function's argument.

    It is read from the function's source: importing the function would take seconds.

    Parameters
    ----------
    text : str
        What the option is, without a full stop.
    function : str
        Such as ``"embedding._embed.embed"``, ``"probes._probe.Probe.__init__"``.
    argument : str
        Its argument.

    Examples
    --------
    >>> from pynapple_nuclr.cli.options import with_default
    >>> with_default("Arithmetic", "embedding._embed.embed", "precision")
    'Arithmetic (default: float32).'
    """
    return f"{text} (default: {_defaults(function)[argument]})."


@cache
def _defaults(function: str) -> dict[str, Any]:
    """Return argument → default of a function or method, without importing it."""
    path, names = _PACKAGE, function.split(".")
    while not path.is_file():
        path = path / names.pop(0)
        if path.with_suffix(".py").is_file():
            path = path.with_suffix(".py")
    node: Any = ast.parse(path.read_text(encoding="utf-8"))
    constants = {
        one.targets[0].id: one.value
        for one in node.body
        if isinstance(one, ast.Assign) and isinstance(one.targets[0], ast.Name)
    }
    for name in names:
        node = next(one for one in node.body if getattr(one, "name", None) == name)
    arguments = node.args
    places = [*arguments.posonlyargs, *arguments.args]
    first = len(places) - len(arguments.defaults)
    pairs = [*zip(places[first:], arguments.defaults, strict=True)]
    pairs += zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    defaults = {one.arg: value for one, value in pairs if value is not None}
    return {
        name: ast.literal_eval(constants[value.id] if isinstance(value, ast.Name) else value)
        for name, value in defaults.items()
    }


Files = Annotated[
    list[str],
    typer.Argument(help='NWB files, quoted patterns ("data/*.nwb") or addresses (https://…).'),
]
Encoder = Annotated[
    str | None, typer.Option(help="Folder or hub name (default: the bundled encoder).")
]
GapsOption = Annotated[
    Gaps | None,
    typer.Option(help="join: windows across trials; split: within an epoch (default: as trained)."),
]
Epochs = Annotated[
    str | None, typer.Option(help='Intervals of the file to use, by name, such as "trials".')
]
By = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN",
        help="Metadata column that says a unit's population (default: all units are one).",
    ),
]
MaxSeconds = Annotated[
    float | None,
    typer.Option(help="Of each file, read windows for so long, spread evenly (default: all)."),
]
Tolerance = Annotated[
    float | None,
    typer.Option(
        help="Stop when every unit's direction is known to so many radians (default: read all)."
    ),
]
Device = Annotated[
    str | None,
    typer.Option(help=with_default("cpu, cuda or mps", "embedding._embed.embed", "device")),
]
Precision = Annotated[
    Literal["float32", "bfloat16"] | None,
    typer.Option(
        help=with_default("Arithmetic of the network", "embedding._embed.embed", "precision")
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        help="Of one file: OUT.nwb, OUT.csv or OUT.parquet; of several: a folder "
        "(default: FILE_nuclr.nwb beside each).",
    ),
]
Format = Annotated[
    Literal["nwb", "csv", "parquet"] | None,
    typer.Option("--format", help="What to write, where --output does not say it (default: nwb)."),
]
RawOption = Annotated[
    Literal["copy", "link", "drop"] | None,
    typer.Option(help="Raw data in the new file (default: copy; drop for an address)."),
]
Animals = Annotated[
    str | None,
    typer.Option(metavar="COLUMN", help="Metadata column that says the animal (default: animal)."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing output.")]
Progress = Annotated[bool, typer.Option("--no-progress", help="Show no progress bar.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document, for scripts.")]
