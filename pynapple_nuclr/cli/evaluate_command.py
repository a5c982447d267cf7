"""`nap-nuclr evaluate`: how well systems predict what kind each neuron is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pynapple_nuclr.atomic_files import check_output
from pynapple_nuclr.cli import options as option
from pynapple_nuclr.cli.commands import app, collect_warnings, print_json, say
from pynapple_nuclr.cli.many_files import find_sources, read_all
from pynapple_nuclr.cli.options import EMBEDDING, READING, drop_unset, with_options

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    import xarray as xr


@app.command("evaluate")
@with_options(reading=READING, embedding=EMBEDDING)
def evaluate_command(
    files: option.Files,
    *,
    target: Annotated[str, typer.Option(help="Metadata column with the labels.")],
    protocol: Annotated[
        list[str] | None,
        typer.Option(
            help="transductive, transductive_zero_shot or inductive_zero_shot; repeat for several "
            "(default: transductive)."
        ),
    ] = None,
    systems: Annotated[
        list[str] | None,
        typer.Option(
            help="System of pynapple_nuclr.baselines, by name, or the folder of an encoder; "
            "repeat for several (default: the bundled encoder, and single-unit statistics)."
        ),
    ] = None,
    behaviour: Annotated[
        str | None,
        typer.Option(
            help="For the system Poyo: name of the intervals (with columns) or of the time series, "
            "in every NWB file, that it decodes."
        ),
    ] = None,
    animals: option.Animals = None,
    reading: dict[str, Any],
    embedding: dict[str, Any],
    seeds: Annotated[int | None, typer.Option(help="How many seeds (default: 1).")] = None,
    n_folds: Annotated[
        int | None, typer.Option(help="Folds over units (transductive) (default: 5).")
    ] = None,
    standardize: Annotated[
        list[str] | None, typer.Option(help="none or recording; repeat (default: none).")
    ] = None,
    n_shuffles: Annotated[
        int | None, typer.Option(help="How often to shuffle labels, for chance (default: 100).")
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Folder that keeps fits; an interrupted run goes on.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Scores to write: SCORES.csv.")
    ] = None,
    overwrite: option.Overwrite = False,
    no_progress: option.Progress = False,
    as_json: option.AsJson = False,
) -> None:
    """Measure how well systems predict labels that they have not seen, beside chance.

    [bold]Examples[/bold]:

    nap-nuclr evaluate "data/*.nwb" --target brain_area

    nap-nuclr evaluate mouse*.nwb --target cell_type --protocol inductive_zero_shot --animals mouse
    """
    from pynapple_nuclr.io._read_recording import read_recording

    if output is not None:
        check_output(output, overwrite=overwrite, suffix=".csv")
    sources = find_sources(files)
    recordings, notes = read_all(
        sources, lambda source: read_recording(source, **reading), progress=not no_progress
    )

    from pynapple_nuclr.evaluation import evaluate
    from pynapple_nuclr.evaluation.systems import DEFAULT_SYSTEMS

    shown = _behaviour(behaviour, dict(zip(recordings, sources, strict=True)))
    options = drop_unset(
        systems=[_system(one, recordings, shown, embedding) for one in systems or DEFAULT_SYSTEMS],
        protocol=protocol,
        animals=animals,
        n_folds=n_folds,
        seeds=seeds,
        standardize=standardize,
        n_shuffles=n_shuffles,
        cache=cache,
    )
    with collect_warnings(notes):
        scores = evaluate(recordings, target, progress=not no_progress, **options)
    rows = _rows(scores)
    if output is not None:
        rows.to_csv(output, index=False)
    if as_json:
        about = {"target": target, "recordings": list(recordings), "warnings": notes}
        print_json(about | {"scores": rows.to_dict("records")})
    else:
        typer.echo(scores.nuclr.table().to_string())
        if len(recordings) == 1 and (protocol or ["transductive"]) == ["transductive"]:
            say(
                "note: folds over the units of one recording: the scores say nothing of another "
                "animal (give files of several, and --protocol inductive_zero_shot)"
            )
    if output is not None:
        say(f"written to {output}")


def _behaviour(name: str | None, sources: Mapping[str, str]) -> dict[str, Any]:
    """Return recording → the intervals or time series of this name in its file."""
    if name is None:
        return {}
    import pynapple as nap

    shown = {}
    for recording, source in sources.items():
        file = nap.load_file(source)
        if name not in file:
            raise ValueError(f"{source} has no {name!r} for --behaviour; it has {', '.join(file)}")
        shown[recording] = file[name]
    return shown


def _system(
    name: str,
    recordings: Mapping[str, Any],
    behaviour: Mapping[str, Any],
    embedding: Mapping[str, Any],
) -> Any:
    """Return an encoder's folder as a system; names are looked up by `evaluate`."""
    from pynapple_nuclr.baselines import Nuclr, Poyo

    if behaviour and name.lower() in ("poyo", Poyo.name):
        return Poyo(behaviour=behaviour)
    if embedding and name.lower() == Nuclr.name:
        return replace(Nuclr.for_recordings(recordings), embedding=embedding)
    if not Path(name).is_dir():
        if Path(name).name != name:  # a path, and no name that `evaluate` could know
            raise FileNotFoundError(f"there is no folder {name}; expected that of an encoder")
        return name
    return Nuclr(encoder=name, embedding=embedding, name=Path(name).name)


def _rows(scores: xr.Dataset) -> pd.DataFrame:
    """Return one row per system, protocol, standardisation and seed, a column per score."""
    keys = ("system", "protocol", "standardize", "seed")
    single = [name for name, one in scores.items() if one.dims == keys]
    table = scores[single].to_dataframe().reset_index()
    return table[[*keys, *single]]
