"""`nap-nuclr embed` and `nap-nuclr pretrain`: recordings in, embeddings or an encoder out."""

from __future__ import annotations

import json
import math
import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pynapple_nuclr.cli.commands import app, print_json
from pynapple_nuclr.cli.many_files import (
    Report,
    find_sources,
    plan_outputs,
    read_all,
    run_batch,
)
from pynapple_nuclr.cli.options import (
    AsJson,
    By,
    Device,
    Encoder,
    Epochs,
    Files,
    Format,
    GapsOption,
    MaxSeconds,
    Output,
    Overwrite,
    Precision,
    Progress,
    RawOption,
    Tolerance,
    given,
    with_default,
)

if TYPE_CHECKING:
    from pynapple_nuclr.nwb.writing import Raw
    from pynapple_nuclr.recording import Units

BLANK: Report = dict.fromkeys(("output", "units", "silent", "stability", "encoder"))
"""What the report of a file that could not be embedded says."""

_TABLES = (".csv", ".parquet")


@app.command("embed")
def embed_command(
    files: Files,
    output: Output = None,
    kind: Format = None,
    encoder: Encoder = None,
    gaps: GapsOption = None,
    epochs: Epochs = None,
    by: By = None,
    raw: RawOption = None,
    max_seconds: MaxSeconds = None,
    tolerance: Tolerance = None,
    device: Device = None,
    precision: Precision = None,
    overwrite: Overwrite = False,
    no_progress: Progress = False,
    as_json: AsJson = False,
) -> None:
    """Embed the neurons of NWB files (units, or else calcium traces); write the results.

    A bad file does not stop the others: it is named at the end, and the exit code is 1.

    [bold]Examples[/bold]:

    nap-nuclr embed session.nwb

    nap-nuclr embed session.nwb -o out.nwb --gaps join --encoder my_encoder

    nap-nuclr embed "data/*.nwb" -o embedded --raw link

    nap-nuclr embed session.nwb -o embedding.csv
    """
    from pynapple_nuclr.checkpoints import as_encoder, load_encoder

    sources = find_sources(files)
    outputs = plan_outputs(sources, output, kind)
    for path in outputs.values():
        check_raw(path, raw)
    asked = None if encoder is None else load_encoder(encoder)
    options = given(
        gaps=gaps,
        by=by,
        max_seconds=max_seconds,
        tolerance=tolerance,
        device=device,
        precision=precision,
    )

    def work(source: str) -> Report:
        import pynapple as nap

        from pynapple_nuclr.embedding import embed
        from pynapple_nuclr.io._read_recording import read_recording

        check_new(source, outputs[source], raw, overwrite)
        units = read_recording(source, epochs=epochs)
        inner = len(sources) == 1 and not no_progress
        model = as_encoder(asked, "spikes" if isinstance(units, nap.TsGroup) else "calcium")
        config = model.config.to_dict() | given(gaps=gaps)
        settings = {"gaps": config["gaps"], "config": json.dumps(config)} | given(by=by)
        units = embed(units, model, **options, progress=inner)
        write_result(units, source, outputs[source], raw, overwrite, settings)
        return summary(units, outputs[source])

    def lines(report: Report) -> list[str]:
        embedded = report["units"] - report["silent"]
        if len(sources) > 1:
            return [
                f"{report['file']}: {embedded} units embedded, {report['silent']} silent, "
                f"{_stability(report)}, written to {report['output']}"
            ]
        return [
            f"{embedded} units embedded by {report['encoder']}, {report['silent']} silent",
            _stability(report),
            f"written to {report['output']}",
        ]

    run_batch(sources, work, blank=BLANK, lines=lines, as_json=as_json, progress=not no_progress)


@app.command("pretrain")
def pretrain_command(
    files: Files,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for encoder and checkpoints.")],
    steps: Annotated[int | None, typer.Option(help="Steps to take at most.")] = None,
    max_minutes: Annotated[float | None, typer.Option(help="Minutes to train at most.")] = None,
    init: Annotated[str | None, typer.Option(help="Encoder to fine-tune: folder or name.")] = None,
    gaps: GapsOption = None,
    epochs: Epochs = None,
    by: By = None,
    batch_size: Annotated[int | None, typer.Option(help="Pairs of windows per step.")] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            help=with_default("Seed of weights and views", "pretraining._pretrain.pretrain", "seed")
        ),
    ] = None,
    dim: Annotated[int | None, typer.Option(help="Width of the embedding.")] = None,
    bin_size: Annotated[float | None, typer.Option(help="Bin, in seconds.")] = None,
    patch_duration: Annotated[float | None, typer.Option(help="Patch, in seconds.")] = None,
    window_duration: Annotated[float | None, typer.Option(help="Window, in seconds.")] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            help=with_default("As in Lightning", "pretraining._pretrain.pretrain", "precision")
        ),
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Folder for indices of the files, as large as their spikes.")
    ] = None,
    no_resume: Annotated[
        bool, typer.Option("--no-resume", help="Start anew instead of resuming from the folder.")
    ] = False,
    no_progress: Progress = False,
    as_json: AsJson = False,
) -> None:
    """Train an encoder on unlabelled recordings; run again to resume.

    [bold]Examples[/bold]:

    nap-nuclr pretrain mouse*.nwb -o my_encoder --max-minutes 30

    nap-nuclr pretrain day1.nwb -o tuned --init my_encoder --steps 2000
    """
    sizes = given(
        dim=dim, bin_size=bin_size, patch_duration=patch_duration, window_duration=window_duration
    )
    if init is not None and sizes:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in sizes)
        raise ValueError(f"--init keeps the sizes of its encoder; leave out {options}, or --init")

    from pynapple_nuclr.io._read_recording import read_recording
    from pynapple_nuclr.io.recording_cache import open_recordings
    from pynapple_nuclr.nwb.opening import is_remote

    def read(source: str) -> Any:
        if epochs is not None or is_remote(source):
            return read_recording(source, epochs=epochs)
        open_recordings(source, by=by, cache=cache)  # indexed here, so that a bad file is named
        return source

    sources = find_sources(files)
    recordings, _ = read_all(sources, read, progress=not no_progress)

    from pynapple_nuclr.pretraining import pretrain
    from pynapple_nuclr.pretraining.training_settings import default_config

    config = None
    if sizes:  # the others are made to fit the recordings, as without sizes
        opened = open_recordings(recordings, by=by, cache=cache)
        config = replace(default_config(list(opened.values())), **sizes)
    encoder = pretrain(
        recordings,
        config,
        out=out,
        resume=not no_resume,
        progress=not no_progress,
        **given(
            init=init,
            steps=steps,
            max_minutes=max_minutes,
            gaps=gaps,
            by=by,
            cache=cache,
            batch_size=batch_size,
            seed=seed,
            precision=precision,
        ),
    )
    training = encoder.card["training"]
    if as_json:
        print_json({"encoder": encoder.identity, "output": out, "training": training})
        return
    known = training["best_held_out_reidentification"]
    again = "" if known is None else f"; {known:.0%} of held-out units are known again"
    typer.echo(f"encoder {encoder.identity} written to {out}")
    typer.echo(f"trained for {training['steps']} steps, {training['minutes']} min{again}")
    typer.echo(f"use it: {shlex.join(['nap-nuclr', 'embed', sources[0], '--encoder', str(out)])}")


def check_raw(output: Path, raw: str | None) -> None:
    """Refuse --raw for tables, which hold none."""
    if raw is not None and output.suffix in _TABLES:
        raise ValueError(f"--raw is about NWB files, and {output} is a table; leave it out")


def check_new(source: str, output: Path, raw: Raw | None, overwrite: bool) -> None:
    """Look at an output before any work: its folder is there, and it is not, or may go."""
    from pynapple_nuclr.atomic_files import check_output
    from pynapple_nuclr.nwb.writing import resolve_arguments

    if output.suffix in _TABLES:
        check_output(output, overwrite=overwrite, suffix=_TABLES)
    else:
        resolve_arguments(source, output, raw, overwrite)


def write_result(
    units: Units,
    source: str,
    output: Path,
    raw: str | None,
    overwrite: bool,
    settings: dict[str, Any],
    prefix: str = "nuclr",
) -> None:
    """Write units as a new NWB file of their recording or as a table, by the output's name."""
    from pynapple_nuclr.io.tables import write_table
    from pynapple_nuclr.nwb.writing import write_nwb

    if output.suffix in _TABLES:
        write_table(units, output, overwrite=overwrite)
    else:
        options = given(raw=raw) | {"overwrite": overwrite, "prefix": prefix}
        write_nwb(units, source, output, settings=settings, **options)


def summary(units: Units, output: Path, prefix: str = "nuclr") -> Report:
    """Return what is reported of embedded units."""
    windows = units[f"{prefix}_n_windows"]
    return {
        "output": output,
        "units": len(windows),
        "silent": int((windows == 0).sum()),
        "stability": float(units[f"{prefix}_stability"].median()),
        "encoder": str(units[f"{prefix}_encoder"].iloc[0]),
    }


def _stability(report: Report) -> str:
    """Say the median stability; a recording of one window, or of one unit, has none."""
    value = report["stability"]
    if math.isnan(value):
        return "stability unknown: it takes two windows, and two units"
    return f"median stability {value:.2f} (0.5 is chance)"
