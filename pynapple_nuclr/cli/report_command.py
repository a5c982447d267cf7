"""`nap-nuclr report` and `nap-nuclr view`: a page about the neurons of a recording."""

from __future__ import annotations

import shlex
import webbrowser
from pathlib import Path
from tempfile import mkdtemp
from typing import Annotated, Any, Literal

import typer

from pynapple_nuclr.atomic_files import check_output
from pynapple_nuclr.batch.files import read_or_embed
from pynapple_nuclr.batch.plan import source_format, stem_of
from pynapple_nuclr.cli import options as option
from pynapple_nuclr.cli.commands import app, collect_warnings, print_json
from pynapple_nuclr.cli.many_files import find_sources, read_all
from pynapple_nuclr.cli.options import EMBEDDING, READING, with_options
from pynapple_nuclr.nwb.opening import is_remote

Target = Annotated[
    str | None,
    typer.Option(help="Column of labels to show (default: the first that was predicted)."),
]
Method = Annotated[
    Literal["pca", "tsne", "umap"] | None, typer.Option(help="How the map is made (default: pca).")
]
ProbeFile = Annotated[
    str | None,
    typer.Option(
        help="Predict labels that the file does not have; shows the probe's score (default: none)."
    ),
]
PAGE = {"target": Target, "method": Method, "probe": ProbeFile, "encoder": option.Encoder}


@app.command("report")
@with_options(page=PAGE, reading=READING, embedding=EMBEDDING)
def report_command(
    files: option.Files,
    *,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="The page to write: P.html (default: FILE_report.html beside it; of several "
            "report.html).",
        ),
    ] = None,
    page: dict[str, Any],
    reading: dict[str, Any],
    embedding: dict[str, Any],
    cache: option.Cache = None,
    overwrite: option.Overwrite = False,
    no_progress: option.Progress = False,
    as_json: option.AsJson = False,
) -> None:
    """Write one HTML page about the neurons of a recording: a map, cards, tables, cautions.

    Several recordings get a page each, P_NAME.html, and P.html counts labels by recording and
    animal.

    An embedding that the file holds is used, unless an option says how to embed; any other file
    is embedded first. The page needs neither a network nor Python.

    [bold]Examples[/bold]:

    nap-nuclr report session_nuclr.nwb

    nap-nuclr report session.nwb --probe waveform-type

    nap-nuclr report session.nwb -o report.html --target cell_type

    nap-nuclr report mouse*.nwb -o mice.html
    """
    sources = find_sources(files)
    path = check_output(output or _beside(sources), overwrite=overwrite, suffix=".html")
    notes: list[str] = []
    with collect_warnings(notes):
        n, of_files = _write_page(
            sources, path, page, reading, embedding, cache, not no_progress, overwrite
        )
    pages = [path, *path.parent.glob(f"{path.stem}_*.html")] if len(sources) > 1 else [path]
    size = sum(page.stat().st_size for page in pages) / 1e6
    if as_json:
        print_json(
            {"output": path, "units": n, "megabytes": round(size, 3), "warnings": of_files + notes}
        )
        return
    typer.echo(f"written to {path}: {n} units, {size:.1f} MB")
    typer.echo(f"open it: {shlex.join(['xdg-open', str(path)])}, or any browser")


@app.command("view")
@with_options(page=PAGE, reading=READING, embedding=EMBEDDING)
def view_command(
    files: option.Files,
    *,
    page: dict[str, Any],
    reading: dict[str, Any],
    embedding: dict[str, Any],
    cache: option.Cache = None,
    no_progress: option.Progress = False,
) -> None:
    """Open the page of `nap-nuclr report` in a browser, without writing it beside the recording.

    [bold]Example[/bold]: nap-nuclr view session_nuclr.nwb
    """
    sources = find_sources(files)
    path = Path(mkdtemp(prefix="nap-nuclr-")) / _beside(sources).name
    _write_page(sources, path, page, reading, embedding, cache, not no_progress)
    opened = webbrowser.open(path.absolute().as_uri())
    typer.echo(f"opened {path}" if opened else f"no browser was found; open {path}")


def _write_page(
    sources: list[str],
    path: Path,
    page: dict[str, Any],
    reading: dict[str, Any],
    embedding: dict[str, Any],
    cache: Path | None,
    progress: bool,
    overwrite: bool = False,
) -> tuple[int, list[str]]:
    """Write the page of recordings, embedded first where they must be; return units, warnings."""
    how = embedding | ({"encoder": page["encoder"]} if "encoder" in page else {})

    def read(source: str) -> Any:
        inner = progress and len(sources) == 1
        return read_or_embed(source, reading=reading, cache=cache, progress=inner, **how)

    recordings, notes = read_all(sources, read, progress=progress)

    from pynapple_nuclr.probes import load_probe
    from pynapple_nuclr.reporting import report

    if "probe" in page:
        probe = load_probe(page["probe"])
        page = {"target": probe.target} | page | {"probe": probe}
        recordings = {
            name: units
            if f"predicted_{probe.target}" in units.metadata_columns
            else probe.annotate(units, name=name)
            for name, units in recordings.items()
        }
    options = page | {name: how[name] for name in ("encoder", "gaps", "by") if name in how}
    options["source"] = {
        name: source
        for name, source in zip(recordings, sources, strict=True)
        # With another clock the units' spikes are not those of the file.
        if source_format(source).name in ("nwb", "zarr") and "clock" not in reading
    }
    if len(recordings) == 1:
        ((name, units),) = recordings.items()
        report(units, path, name=name, overwrite=overwrite, **options)
    else:
        report(recordings, path, overwrite=overwrite, **options)
    return sum(len(units["nuclr_n_windows"]) for units in recordings.values()), notes


def _beside(sources: list[str]) -> Path:
    if len(sources) > 1:
        return Path("report.html")
    (source,) = sources
    folder = Path() if is_remote(source) else Path(source).parent
    return folder / f"{stem_of(source)}_report.html"
