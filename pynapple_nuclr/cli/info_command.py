"""`nap-nuclr info` and `nap-nuclr demo`: what a file holds, and how the package works."""

from __future__ import annotations

import io
import shlex
import sys
from contextlib import redirect_stdout
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from pynapple_nuclr import __version__
from pynapple_nuclr.batch.files import open_once
from pynapple_nuclr.batch.plan import stem_of
from pynapple_nuclr.bundled import PROBES
from pynapple_nuclr.cli import options as option
from pynapple_nuclr.cli.commands import app, print_json, say, show_table
from pynapple_nuclr.cli.options import drop_unset
from pynapple_nuclr.cli.probe_summary import summarize_probe
from pynapple_nuclr.io.formats import format_of, formats


@app.command("demo")
def demo_command(
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for its files (default: nuclr_demo).")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the simulation (default: 0).")] = None,
    no_progress: option.Progress = False,
) -> None:
    """Simulate a recording, embed it, predict cell types, and show the result (3 minutes).

    [bold]Example[/bold]: nap-nuclr demo -o nuclr_demo
    """
    from pynapple_nuclr.demo import run_demo

    run_demo(**drop_unset(out=out, seed=seed), progress=not no_progress)


@app.command("info")
def info_command(
    what: Annotated[
        str | None,
        typer.Argument(help="An encoder (folder or hub name), a recording or a probe (.skops)."),
    ] = None,
    cells: option.Cells = None,
    table: option.Table = None,
    clock: option.Clock = None,
    as_json: option.AsJson = False,
) -> None:
    """Describe an encoder, a recording or a probe, and list the versions installed.

    Of a recording it shows what is read, from where, and what is left out.

    [bold]Examples[/bold]:

    nap-nuclr info

    nap-nuclr info my_encoder

    nap-nuclr info out.nwb

    nap-nuclr info waveform-type
    """
    about: dict[str, Any]
    text = ""
    if what is not None and (what.endswith(".skops") or what in PROBES):
        about = {"probe": summarize_probe(str(PROBES.get(what, what)))}
        if not as_json:
            show_table(Path(what).name, about["probe"])
    elif what is not None and _is_recording(what):
        about = _about_file(what, drop_unset(cells=cells, table=table, clock=clock))
        if not as_json:
            _show_file(about)
    else:
        about, text = _about_encoder(what)
    versions = _versions()
    if as_json:
        print_json(about | {"versions": versions})
        return
    if text:
        typer.echo(text)
    show_table("Versions", versions)


def _is_recording(what: str) -> bool:
    return any(one.reads and one.matches(what) for one in formats().values())


def _about_encoder(source: str | None) -> tuple[dict[str, Any], str]:
    """Return what scripts and what people read about an encoder."""
    from pynapple_nuclr.checkpoints import load_encoder

    encoder = load_encoder(source)
    config = encoder.config.to_dict()
    about = {"encoder": encoder.identity, "config": config, "card": encoder.card}
    return about, encoder.describe(source)


def _about_file(source: str, reading: dict[str, Any]) -> dict[str, Any]:
    from pynapple_nuclr.columns import PREDICTED, SCORE
    from pynapple_nuclr.columns.metadata import unit_ids
    from pynapple_nuclr.io._read_recording import read_recording
    from pynapple_nuclr.recording import as_recording

    printed = io.StringIO()
    describe = format_of(source).describe
    with open_once(source) as file:
        with redirect_stdout(printed):
            units = read_recording(file, verbose=True, **reading)
        stored = {} if describe is None else describe(cast(str, file))  # an open one, too
    try:  # warns of times that are not in seconds, and of time without spikes
        as_recording(units, name=stem_of(source))
    except ValueError as error:
        say(f"note: {error}")
    support = units.time_support
    names = [name for name in units.metadata_columns if name.startswith(PREDICTED)]
    scores = {
        name: ", ".join(sorted({*units[f"{name}{SCORE}"]} - {""}))
        for name in names
        if f"{name}{SCORE}" in names
    }
    return {
        "file": source,
        "units": len(unit_ids(units)),
        "columns": list(map(str, units.metadata_columns)),
        "labels": [],
        "scores": scores,
        "embeddings": {},
        **stored,
        "observed": {"seconds": float(support.tot_length()), "epochs": len(support)},
        "read": printed.getvalue().strip(),
    }


def _show_file(content: dict[str, Any]) -> None:
    observed, path = content["observed"], content["file"]
    labels = content["labels"]
    labels = [name for name in labels if f"{name}_confidence" in labels] or labels
    facts = {
        "units": content["units"],
        "observed": f"{observed['seconds']:.1f} s, epochs: {observed['epochs']}",
        "columns": ", ".join(content["columns"]),
        "predicted": ", ".join(labels) or "nothing",
        **{f"probe of {name}": score for name, score in content["scores"].items()},
        "embedded": ", ".join(content["embeddings"])
        or f"no: {shlex.join(['nap-nuclr', 'embed', path])}",
    }
    show_table(Path(path).name, facts)
    if content["read"]:
        typer.echo(f"\n{content['read']}")
    for prefix, notes in content["embeddings"].items():
        show_table(f"Embedding {prefix!r}", notes)


def _versions() -> dict[str, str]:
    packages = ("pynapple", "torch", "lightning", "pynwb", "scikit-learn", "numpy")
    return {
        "pynapple-nuclr": __version__,
        "python": sys.version.split()[0],
        **{name: version(name) for name in packages},
    }
