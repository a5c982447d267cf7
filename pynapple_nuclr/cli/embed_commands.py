"""`nap-nuclr embed` and `nap-nuclr pretrain`: recordings in, embeddings or an encoder out."""

from __future__ import annotations

import math
import shlex
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from pynapple_nuclr.batch.files import embed_file, report_earlier
from pynapple_nuclr.batch.plan import plan_outputs
from pynapple_nuclr.batch.reports import Report
from pynapple_nuclr.cli import options as option
from pynapple_nuclr.cli.commands import app, print_json
from pynapple_nuclr.cli.many_files import find_sources, read_all, run_batch
from pynapple_nuclr.cli.options import EMBEDDING, READING, drop_unset, with_options
from pynapple_nuclr.nwb.opening import is_remote


@app.command("embed")
@with_options(reading=READING, embedding=EMBEDDING)
def embed_command(
    files: option.Files,
    output: option.Output = None,
    kind: option.Format = None,
    encoder: option.Encoder = None,
    *,
    reading: dict[str, Any],
    embedding: dict[str, Any],
    raw: option.RawOption = None,
    overwrite: option.Overwrite = False,
    no_progress: option.Progress = False,
    as_json: option.AsJson = False,
) -> None:
    """Embed the neurons of NWB files (units, or else calcium traces); write the results.

    Of several files, those whose result exists are skipped. A bad file does not stop the others: it
    is named at the end, and the exit code is 1.

    [bold]Examples[/bold]:

    nap-nuclr embed session.nwb

    nap-nuclr embed session.nwb -o out.nwb --gaps join --encoder my_encoder

    nap-nuclr embed "data/*.nwb" -o embedded --raw link

    nap-nuclr embed session.nwb -o embedding.csv
    """
    sources = find_sources(files, output)
    outputs = plan_results(sources, output, kind, raw)

    from pynapple_nuclr.checkpoints import load_encoder

    model = None if encoder is None else load_encoder(encoder)
    several = len(sources) > 1

    def work(source: str) -> Report:
        if several and not overwrite and outputs[source].exists():
            return report_earlier(source, outputs[source], model)
        return embed_file(
            source,
            outputs[source],
            model,
            reading=reading,
            raw=raw,
            overwrite=overwrite,
            progress=not several and not no_progress,
            **embedding,
        )

    def lines(report: Report) -> list[str]:
        if report["skipped"]:
            return [f"{report['file']}: skipped, {report['output']} exists (--overwrite renews it)"]
        silent = f", {report['silent']} silent" if report["silent"] else ""
        embedded = f"{report['units'] - report['silent']} units embedded"
        written = f"written to {report['output']}"
        if several:
            stability = _stability(report["stability"])
            return [f"{report['file']}: {embedded}{silent}, {stability}, {written}"]
        counts = f"{embedded} by {report['encoder']}{silent}"
        return [counts, _stability(report["stability"]), written]

    run_batch(sources, work, lines, as_json=as_json, progress=not no_progress)


@app.command("pretrain")
@with_options(reading=READING)
def pretrain_command(
    files: option.Files,
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for encoder and checkpoints.")],
    steps: Annotated[int | None, typer.Option(help="Steps to take at most.")] = None,
    max_minutes: Annotated[float | None, typer.Option(help="Minutes to train at most.")] = None,
    init: Annotated[str | None, typer.Option(help="Encoder to fine-tune: folder or name.")] = None,
    gaps: option.GapsOption = None,
    reading: dict[str, Any],
    by: option.By = None,
    batch_size: Annotated[int | None, typer.Option(help="Pairs of windows per step.")] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of weights and views (default: 0).")
    ] = None,
    dim: Annotated[int | None, typer.Option(help="Width of the embedding.")] = None,
    bin_size: Annotated[float | None, typer.Option(help="Bin, in seconds.")] = None,
    patch_duration: Annotated[float | None, typer.Option(help="Patch, in seconds.")] = None,
    window_duration: Annotated[float | None, typer.Option(help="Window, in seconds.")] = None,
    precision: Annotated[str | None, typer.Option(help="As in Lightning (default: auto).")] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Folder for indices of the files, as large as their spikes.")
    ] = None,
    no_resume: Annotated[
        bool, typer.Option("--no-resume", help="Start again instead of resuming from the folder.")
    ] = False,
    no_progress: option.Progress = False,
    as_json: option.AsJson = False,
) -> None:
    """Train an encoder on unlabelled recordings; run again to resume.

    Opening the files, measuring and saving count in --max-minutes.

    [bold]Examples[/bold]:

    nap-nuclr pretrain mouse*.nwb -o my_encoder --max-minutes 30

    nap-nuclr pretrain day1.nwb -o tuned --init my_encoder --steps 2000
    """
    began = time.monotonic()
    sizes = drop_unset(
        dim=dim, bin_size=bin_size, patch_duration=patch_duration, window_duration=window_duration
    )
    if init is not None and sizes:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in sizes)
        raise ValueError(f"--init keeps the sizes of its encoder; leave out {options}, or --init")

    from pynapple_nuclr.io._read_recording import read_recording
    from pynapple_nuclr.io.recording_cache import open_recordings

    def read(source: str) -> Any:
        if reading or is_remote(source):
            return read_recording(source, **reading)
        open_recordings(source, by=by, cache=cache)  # indexed here, so that a bad file is named
        return source

    sources = find_sources(files)
    recordings, _ = read_all(sources, read, progress=not no_progress)

    from pynapple_nuclr.pretraining import pretrain
    from pynapple_nuclr.pretraining.held_out_time import describe_reidentification
    from pynapple_nuclr.pretraining.training_settings import default_encoder_config

    config = None
    if sizes:  # the others are made to fit the recordings, as without sizes
        opened = open_recordings(recordings, by=by, cache=cache)
        config = default_encoder_config(list(opened.values()), **sizes)
    if max_minutes is not None:  # reading counts, and leaves a second at least
        max_minutes = max(max_minutes - (time.monotonic() - began) / 60, min(max_minutes, 1 / 60))
    encoder = pretrain(
        recordings,
        config,
        out=out,
        resume=not no_resume,
        progress=not no_progress,
        **drop_unset(
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
    took = f"trained for {training['steps']} steps, {training['minutes']} min"
    typer.echo(f"encoder {encoder.identity} written to {out}")
    typer.echo("; ".join(filter(None, (took, describe_reidentification(training)))))
    typer.echo(f"use it: {shlex.join(['nap-nuclr', 'embed', sources[0], '--encoder', str(out)])}")


def plan_results(
    sources: list[str], output: Path | None, kind: str | None, raw: str | None
) -> dict[str, Path]:
    """Return source → file of its result, whose folder is made; refuse --raw for tables."""
    outputs = plan_outputs(sources, output, kind)
    for path in outputs.values():
        if raw is not None and path.suffix not in (".nwb", ".zarr"):
            raise ValueError(f"--raw is about NWB files, and {path} is none; leave it out")
    if output is not None and output not in outputs.values():
        output.mkdir(parents=True, exist_ok=True)
    return outputs


def _stability(value: float) -> str:
    """Return the median stability in words; a recording of one window, or one unit, has none."""
    if math.isnan(value):
        return "stability unknown: it takes two windows, and two units"
    return f"median stability {value:.2f} (0.5 is chance)"
