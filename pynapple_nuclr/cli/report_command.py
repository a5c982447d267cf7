"""`nap-nuclr report` and `nap-nuclr view`: a page about the neurons of a recording."""

from __future__ import annotations

import shlex
import webbrowser
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from pynapple_nuclr.atomic_files import check_output, existing_file
from pynapple_nuclr.batch.files import read_or_embed
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
    with_options,
)
from pynapple_nuclr.nwb.opening import is_remote

if TYPE_CHECKING:
    from pynapple_nuclr.recording import Units


File = Annotated[str, typer.Argument(help="A recording (NWB, phy …) or its address (https://…).")]
Target = Annotated[
    str | None,
    typer.Option(help="Column of labels to show (default: the first that was predicted)."),
]
Method = Annotated[
    Literal["pca", "tsne", "umap"] | None,
    typer.Option(help="How the map is made (default: pca)."),
]
ProbeFile = Annotated[
    Path | None,
    typer.Option(help="The probe that predicted the labels: shows its score (default: none)."),
]
PAGE = {"target": Target, "method": Method, "probe": ProbeFile, "encoder": Encoder}


@app.command("report")
@with_options(page=PAGE, reading=READING, embedding=EMBEDDING)
def report_command(
    file: File,
    *,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="The page to write: P.html (default: FILE_report.html beside it).",
        ),
    ] = None,
    page: dict[str, Any],
    reading: dict[str, Any],
    embedding: dict[str, Any],
    cache: Cache = None,
    overwrite: Overwrite = False,
    no_progress: Progress = False,
    as_json: AsJson = False,
) -> None:
    """Write one HTML page about the neurons of a recording: a map, cards, tables, cautions.

    An embedding that the file holds is used, unless an option says how to embed; any other file
    is embedded first. The page needs neither a network nor Python.

    [bold]Examples[/bold]:

    nap-nuclr report session_nuclr.nwb

    nap-nuclr report session.nwb -o report.html --target cell_type
    """
    path = check_output(output or _beside(file), overwrite=overwrite, suffix=".html")
    notes: list[str] = []
    with collect_warnings(notes):
        units = _write_page(file, path, page, reading, embedding, cache, not no_progress, overwrite)
    size = path.stat().st_size / 1e6
    n = len(units["nuclr_n_windows"])
    if as_json:
        print_json({"output": path, "units": n, "megabytes": round(size, 3), "warnings": notes})
        return
    typer.echo(f"written to {path}: {n} units, {size:.1f} MB")
    typer.echo(f"open it: {shlex.join(['xdg-open', str(path)])}, or any browser")


@app.command("view")
@with_options(page=PAGE, reading=READING, embedding=EMBEDDING)
def view_command(
    file: File,
    *,
    page: dict[str, Any],
    reading: dict[str, Any],
    embedding: dict[str, Any],
    cache: Cache = None,
    no_progress: Progress = False,
) -> None:
    """Open the page of `nap-nuclr report` in a browser, without writing it beside the recording.

    [bold]Example[/bold]: nap-nuclr view session_nuclr.nwb
    """
    path = Path(mkdtemp(prefix="nap-nuclr-")) / f"{stem_of(file)}_report.html"
    _write_page(file, path, page, reading, embedding, cache, not no_progress)
    opened = webbrowser.open(path.absolute().as_uri())
    typer.echo(f"opened {path}" if opened else f"no browser was found; open {path}")


def _write_page(
    file: str,
    path: Path,
    page: dict[str, Any],
    reading: dict[str, Any],
    embedding: dict[str, Any],
    cache: Path | None,
    progress: bool,
    overwrite: bool = False,
) -> Units:
    """Write the page of a recording, embedded first where it must be; return its units."""
    how = embedding | ({"encoder": page["encoder"]} if "encoder" in page else {})
    units = read_or_embed(file, reading=reading, cache=cache, progress=progress, **how)

    from pynapple_nuclr.probes import load_probe
    from pynapple_nuclr.reporting import report

    if "probe" in page:
        probe = load_probe(existing_file(page["probe"]))
        page = {"target": probe.target} | page | {"probe": probe}
    how = {name: how[name] for name in ("encoder", "gaps", "by") if name in how}
    report(units, path, name=stem_of(file), overwrite=overwrite, **(page | how))
    return units


def _beside(file: str) -> Path:
    folder = Path() if is_remote(file) else Path(file).parent
    return folder / f"{stem_of(file)}_report.html"
