"""Options that several commands share.

What is not given is left to the Python functions; their defaults are stated in the help, and a
test compares the two.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import typer

from pynapple_nuclr.config import Gaps

Files = Annotated[
    list[str],
    typer.Argument(
        help='Files (NWB, phy, Suite2p …), quoted patterns ("data/*.nwb") or addresses (https://…).'
    ),
]
Encoder = Annotated[
    str | None,
    typer.Option(
        help="Folder, hub name, rats, spikes or calcium (default: the one that fits the recording)."
    ),
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
        help="Metadata column with each unit's population (default: all units are one).",
    ),
]
MaxSeconds = Annotated[
    float | None,
    typer.Option(help="Of each file, read windows for so many seconds (default: all)."),
]
Tolerance = Annotated[
    float | None,
    typer.Option(
        help="Stop when every unit's direction is known to so many radians (default: read all)."
    ),
]
MaxWindows = Annotated[
    int | None,
    typer.Option(help="Of each file, read so many windows, spread evenly (default: all)."),
]
Cells = Annotated[
    Literal["accepted", "all"] | None,
    typer.Option(help="all: rejected ROIs, and phy's noise, too (default: accepted)."),
]
Signal = Annotated[
    Literal["dff", "fluorescence", "events", "background"] | None,
    typer.Option(
        help="Of calcium files, which series; dff is computed if there is none (default: dff, "
        "then what the file has; of Suite2p dff)."
    ),
]
Only = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN=VALUE",
        help="Only neurons with this metadata, such as group=good (default: all).",
    ),
]
Table = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Of several tables of neurons, or traces, in a file, this."),
]
Clock = Annotated[
    Literal["continuous", "restart"] | None,
    typer.Option(help="restart: a clock that starts again has parts (default: continuous)."),
]
Device = Annotated[str | None, typer.Option(help="cpu, cuda or mps (default: auto).")]
Precision = Annotated[
    Literal["float32", "bfloat16"] | None,
    typer.Option(help="Arithmetic of the network (default: float32)."),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        help="Of one file: OUT.nwb, OUT.csv or OUT.parquet; of several: a folder "
        "(default: FILE_nuclr.nwb beside each; of Suite2p FILE_nuclr.csv).",
    ),
]
Format = Annotated[
    str | None,
    typer.Option(
        "--format",
        help="nwb, csv, parquet, or a format of an installed package (default: nwb; of Suite2p "
        "csv).",
    ),
]
RawOption = Annotated[
    Literal["copy", "link", "drop"] | None,
    typer.Option(help="Raw data in the new file (default: copy; drop for an address)."),
]
Cache = Annotated[
    Path | None, typer.Option(help="Folder that keeps embeddings (default: the user's cache).")
]
Animals = Annotated[
    str | None,
    typer.Option(metavar="COLUMN", help="Column with the animal (default: animal, or subject)."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing output.")]
Progress = Annotated[bool, typer.Option("--no-progress", help="Show no progress bar.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document, for scripts.")]

READING = {
    "epochs": Epochs,
    "cells": Cells,
    "signal": Signal,
    "only": Only,
    "table": Table,
    "clock": Clock,
}
"""Options of `read_recording`."""

EMBEDDING = {
    "gaps": GapsOption,
    "by": By,
    "max_seconds": MaxSeconds,
    "max_windows": MaxWindows,
    "tolerance": Tolerance,
    "device": Device,
    "precision": Precision,
}
"""Options of `embed`, but for its encoder."""


def drop_unset(**options: Any) -> dict[str, Any]:
    """Return the options that the user gave; a function's own defaults hold for the others."""
    return {name: value for name, value in options.items() if value not in (None, [])}


def with_options(**bundles: dict[str, Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Let a command take options in bundles: an argument ``reading`` is what the user gave of them.

    Typer reads the options from a function's signature; this one writes them there.
    """

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        hints = get_type_hints(function, include_extras=True)
        parameters: list[Parameter] = []
        for name, one in signature(function).parameters.items():
            options = bundles.get(name, {name: hints[name]})
            default = None if name in bundles else one.default
            parameters += [
                Parameter(option, Parameter.KEYWORD_ONLY, default=default, annotation=hint)
                for option, hint in options.items()
            ]

        @wraps(function)
        def command(**given: Any) -> None:
            taken = {
                bundle: drop_unset(**{option: given.pop(option) for option in options})
                for bundle, options in bundles.items()
            }
            function(**taken, **given)

        command.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {one.name: one.annotation for one in parameters}
        return command

    return decorate
