"""`nap-nuclr report`: a page about the neurons of a recording."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from pynapple_nuclr.batch.plan import stem_of
from pynapple_nuclr.cli.commands import app, collect_warnings, print_json
from pynapple_nuclr.cli.options import (
    EMBEDDING,
    READING,
    AsJson,
    Cache,
    Encoder,
    Overwrite,
    Progress,
    drop_unset,
    with_options,
)
from pynapple_nuclr.nwb.opening import is_remote


@app.command("report")
@with_options(reading=READING, embedding=EMBEDDING)
def report_command(
    file: Annotated[str, typer.Argument(help="An NWB file or its address (https://…).")],
    *,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="The page to write: P.html (default: FILE_report.html beside it).",
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(help="Column of labels to show (default: the first that was predicted)."),
    ] = None,
    method: Annotated[
        Literal["pca", "tsne", "umap"] | None,
        typer.Option(help="How the map is made (default: pca)."),
    ] = None,
    encoder: Encoder = None,
    reading: dict[str, Any],
    embedding: dict[str, Any],
    cache: Cache = None,
    overwrite: Overwrite = False,
    no_progress: Progress = False,
    as_json: AsJson = False,
) -> None:
    """Write one HTML page about the neurons of an NWB file: a map, cards, tables, cautions.

    An embedding that the file holds is used, unless an option says how to embed; any other file
    is embedded first. The page needs neither a network nor Python.

    [bold]Examples[/bold]:

    nap-nuclr report session_nuclr.nwb

    nap-nuclr report session.nwb -o report.html --target cell_type
    """
    from pynapple_nuclr.atomic_files import check_output
    from pynapple_nuclr.batch.files import read_or_embed

    path = check_output(output or _beside(file), overwrite=overwrite, suffix=".html")
    notes: list[str] = []
    with collect_warnings(notes):
        units = read_or_embed(
            file,
            reading=reading,
            cache=cache,
            progress=not no_progress,
            **embedding,
            **drop_unset(encoder=encoder),
        )

        from pynapple_nuclr.reporting import report

        how = drop_unset(target=target, method=method, encoder=encoder)
        how |= {name: embedding[name] for name in ("gaps", "by") if name in embedding}
        report(units, path, name=stem_of(file), overwrite=overwrite, **how)
    size = path.stat().st_size / 1e6
    n = len(units["nuclr_n_windows"])
    if as_json:
        print_json({"output": path, "units": n, "megabytes": round(size, 3), "warnings": notes})
        return
    typer.echo(f"written to {path}: {n} units, {size:.1f} MB")
    typer.echo(f"open it: {shlex.join(['xdg-open', str(path)])}, or any browser")


def _beside(file: str) -> Path:
    folder = Path() if is_remote(file) else Path(file).parent
    return folder / f"{stem_of(file)}_report.html"
