"""`nap-nuclr info` and `nap-nuclr demo`: what there is, and how it works."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from pynapple_nuclr.cli.commands import app, print_json, show_table
from pynapple_nuclr.cli.options import AsJson, Progress, drop_unset


@app.command("demo")
def demo_command(
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder for its files (default: nuclr_demo)."),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(help="Seed of the simulation (default: 0)."),
    ] = None,
    no_progress: Progress = False,
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
        typer.Argument(help="An encoder (folder or hub name), an NWB file or a probe (.skops)."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what an encoder, an NWB file or a probe is, and which versions are installed.

    [bold]Examples[/bold]: nap-nuclr info; nap-nuclr info my_encoder; nap-nuclr info out.nwb
    """
    about: dict[str, Any]
    text = ""
    if what is not None and what.rstrip("/").endswith((".nwb", ".zarr")):
        about = _about_file(what)
    elif what is not None and what.endswith(".skops"):
        about = {"probe": _about_probe(what)}
    else:
        about, text = _about_encoder(what)
    versions = _versions()
    if as_json:
        print_json(about | {"versions": versions})
        return
    if "file" in about:
        _show_file(about)
    elif "probe" in about:
        show_table(Path(str(what)).name, about["probe"])
    else:
        typer.echo(text)
    show_table("Versions", versions)


def _about_encoder(source: str | None) -> tuple[dict[str, Any], str]:
    """Return what scripts and what people read about an encoder."""
    from pynapple_nuclr.checkpoints import load_encoder

    encoder = load_encoder(source)
    config = encoder.config.to_dict()
    about = {"encoder": encoder.identity, "config": config, "card": encoder.card}
    return about, encoder.describe(source or "spikes")


def _about_file(source: str) -> dict[str, Any]:
    from pynapple_nuclr.io._read_recording import read_recording
    from pynapple_nuclr.nwb.stored_embeddings import describe_nwb

    support = read_recording(source).time_support
    observed = {"seconds": float(support.tot_length()), "epochs": len(support)}
    return {"file": source, **describe_nwb(source), "observed": observed}


def _about_probe(path: str) -> dict[str, Any]:
    from pynapple_nuclr.probes import load_probe

    probe = load_probe(path)
    return {
        "target": probe.target,
        "classes": ", ".join(map(str, probe.classes_)),
        "units": probe.n_units_,
        "encoder": probe.encoder_,
        "macro F1": f"{probe.cv_score_:.2f} by {probe.cv_group_} (chance {probe.cv_chance_:.2f})",
    }


def _show_file(content: dict[str, Any]) -> None:
    observed, path = content["observed"], content["file"]
    facts = {
        "units": content["units"],
        "observed": f"{observed['seconds']:.1f} s in {observed['epochs']} epochs",
        "columns": ", ".join(content["columns"]),
        "predicted": ", ".join(content["labels"]) or "nothing",
        "embedded": ", ".join(content["embeddings"])
        or f"no: {shlex.join(['nap-nuclr', 'embed', path])}",
    }
    show_table(Path(path).name, facts)
    for prefix, notes in content["embeddings"].items():
        show_table(f"Embedding {prefix!r}", notes)


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    from pynapple_nuclr import __version__

    packages = ("pynapple", "torch", "lightning", "pynwb", "scikit-learn", "numpy")
    return {
        "pynapple-nuclr": __version__,
        "python": sys.version.split()[0],
        **{name: version(name) for name in packages},
    }
