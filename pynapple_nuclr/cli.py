"""The `nap-nuclr` command: the package's main functions from a terminal.

Options that are not given are not passed on, so every default is that of the Python function.
"""

from __future__ import annotations

import json
import re
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from pynapple_nuclr.config import Gaps

# Everything heavy is imported inside the commands: `--help` answers at once.


class _Commands(TyperGroup):
    """Commands whose errors and warnings are one line each."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command; exit with 1 on an error that says what to do, 130 on Ctrl-C."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # those of other packages are not for this user
            warnings.filterwarnings("always", category=UserWarning, module="pynapple_nuclr")
            warnings.showwarning = _show_warning
            try:
                return super().invoke(ctx)
            except (typer.Exit, typer.Abort):  # RuntimeErrors themselves
                raise
            except (ValueError, TypeError, OSError, ImportError, RuntimeError) as error:
                _say(f"error: {_as_options(str(error))}")
                raise typer.Exit(1) from None
            except KeyboardInterrupt as interrupt:
                _say(str(interrupt) or "interrupted")
                raise typer.Exit(130) from None


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    help="Know what kind of neurons you recorded: NuCLR embeddings for NWB recordings.",
)

Progress = Annotated[bool, typer.Option("--no-progress", help="Show no progress bar.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing output.")]
Epochs = Annotated[
    str | None, typer.Option(help='Intervals of the file to use, by name, such as "trials".')
]
GapsOption = Annotated[
    Gaps | None,
    typer.Option(help="join: windows across trials; split: within an epoch (default: as trained)."),
]
Device = Annotated[str | None, typer.Option(help="cpu, cuda or mps (default: auto).")]


@app.command("demo")
def demo_command(
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for its files.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the simulation.")] = None,
    no_progress: Progress = False,
) -> None:
    """Simulate a recording, embed it, predict cell types, and show the result (3 minutes).

    [bold]Example[/bold]: nap-nuclr demo -o nuclr_demo
    """
    from pynapple_nuclr.demo import run_demo

    run_demo(**_given(out=out, seed=seed), progress=not no_progress)


@app.command("embed")
def embed_command(
    file: Annotated[Path, typer.Argument(help="NWB file with sorted units.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="OUT.nwb or OUT.csv (default: FILE_nuclr.nwb)."),
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(help="Folder or hub name (default: the bundled one)."),
    ] = None,
    gaps: GapsOption = None,
    epochs: Epochs = None,
    device: Device = None,
    overwrite: Overwrite = False,
    no_progress: Progress = False,
) -> None:
    """Embed the units of an NWB file and write the result beside it.

    [bold]Examples[/bold]:

    nap-nuclr embed session.nwb

    nap-nuclr embed session.nwb -o out.nwb --gaps join --encoder my_encoder

    nap-nuclr embed session.nwb -o embedding.csv
    """
    from pynapple_nuclr.columns import metadata_frame
    from pynapple_nuclr.io.files import check_output
    from pynapple_nuclr.io.reading import read_units
    from pynapple_nuclr.io.writing import write_nwb

    as_table = output is not None and output.suffix == ".csv"
    if as_table and output is not None:
        check_output(output, suffix=".csv", overwrite=overwrite)
    else:
        output = check_output(output, source=file, overwrite=overwrite)
    units = read_units(file, epochs=epochs)

    from pynapple_nuclr.checkpoints import load_encoder
    from pynapple_nuclr.embedding import embed

    model = load_encoder(encoder)
    options = _given(gaps=gaps, device=device)
    units = embed(units, model, **options, progress=not no_progress)
    if as_table:
        metadata_frame(units).to_csv(output, index_label="unit")
    else:
        config = model.config.to_dict() | _given(gaps=gaps)
        settings = {"gaps": config["gaps"], "config": json.dumps(config)}
        write_nwb(units, file, output, overwrite=overwrite, settings=settings)
    silent = int((units["nuclr_n_windows"] == 0).sum())
    typer.echo(f"{len(units) - silent} units embedded by {model.identity}, {silent} silent")
    typer.echo(f"median stability {units['nuclr_stability'].median():.2f} (0.5 is chance)")
    typer.echo(f"written to {output}")


@app.command("pretrain")
def pretrain_command(
    files: Annotated[list[Path], typer.Argument(help="NWB files with sorted units.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for encoder and checkpoints.")],
    steps: Annotated[int | None, typer.Option(help="Steps to take at most.")] = None,
    max_minutes: Annotated[float | None, typer.Option(help="Minutes to train at most.")] = None,
    init: Annotated[str | None, typer.Option(help="Encoder to fine-tune: folder or name.")] = None,
    gaps: GapsOption = None,
    epochs: Epochs = None,
    batch_size: Annotated[int | None, typer.Option(help="Pairs of windows per step.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of weights and views.")] = None,
    dim: Annotated[int | None, typer.Option(help="Width of the embedding.")] = None,
    bin_size: Annotated[float | None, typer.Option(help="Bin, in seconds.")] = None,
    patch_duration: Annotated[float | None, typer.Option(help="Patch, in seconds.")] = None,
    window_duration: Annotated[float | None, typer.Option(help="Window, in seconds.")] = None,
    precision: Annotated[str | None, typer.Option(help="As in Lightning (default: auto).")] = None,
    no_resume: Annotated[
        bool, typer.Option("--no-resume", help="Start anew instead of resuming from the folder.")
    ] = False,
    no_progress: Progress = False,
) -> None:
    """Train an encoder on unlabelled recordings; run again to resume.

    [bold]Examples[/bold]:

    nap-nuclr pretrain mouse*.nwb -o my_encoder --max-minutes 30

    nap-nuclr pretrain day1.nwb -o tuned --init my_encoder --steps 2000
    """
    sizes = _given(
        dim=dim, bin_size=bin_size, patch_duration=patch_duration, window_duration=window_duration
    )
    if init is not None and sizes:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in sizes)
        raise ValueError(f"--init keeps the sizes of its encoder; leave out {options}, or --init")

    from pynapple_nuclr.io.reading import read_units

    stems = [file.stem for file in files]
    names = stems if len(set(stems)) == len(stems) else [str(file) for file in files]
    recordings = {
        name: read_units(file, epochs=epochs) for name, file in zip(names, files, strict=True)
    }

    from pynapple_nuclr.pretraining import pretrain
    from pynapple_nuclr.pretraining.settings import default_config
    from pynapple_nuclr.recording import as_recordings

    config = None
    if sizes:  # the others are made to fit the recordings, as without sizes
        config = replace(default_config(list(as_recordings(recordings).values())), **sizes)
    encoder = pretrain(
        recordings,
        config,
        out=out,
        resume=not no_resume,
        progress=not no_progress,
        **_given(
            init=init,
            steps=steps,
            max_minutes=max_minutes,
            gaps=gaps,
            batch_size=batch_size,
            seed=seed,
            precision=precision,
        ),
    )
    typer.echo(f"encoder {encoder.identity} written to {out}")
    typer.echo(f"use it: nap-nuclr embed {files[0]} --encoder {out}")


@app.command("info")
def info_command(
    what: Annotated[
        str | None, typer.Argument(help="An encoder (folder or hub name) or an NWB file.")
    ] = None,
) -> None:
    """Say what an encoder is, or what an NWB file holds, and which versions are installed.

    [bold]Examples[/bold]: nap-nuclr info; nap-nuclr info my_encoder; nap-nuclr info out.nwb
    """
    if what is not None and what.endswith(".nwb"):
        _show_file(Path(what))
    else:
        from pynapple_nuclr.checkpoints import load_encoder

        typer.echo(load_encoder(what).describe())
    _show_table("Versions", _versions())


def main() -> None:
    """Run the command."""
    app()


def _show_file(path: Path) -> None:
    from pynapple_nuclr.io.reading import read_units
    from pynapple_nuclr.io.stored import describe_nwb

    content = describe_nwb(path)
    support = read_units(path).time_support
    facts = {
        "units": content["units"],
        "observed": f"{support.tot_length():.1f} s in {len(support)} epochs",
        "columns": ", ".join(content["columns"]),
        "predicted": ", ".join(content["labels"]) or "nothing",
        "embedded": ", ".join(content["embeddings"]) or f"no: nap-nuclr embed {path}",
    }
    _show_table(path.name, facts)
    for prefix, notes in content["embeddings"].items():
        _show_table(f"Embedding {prefix!r}", notes)


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    from pynapple_nuclr import __version__

    packages = ("pynapple", "torch", "lightning", "pynwb", "scikit-learn", "numpy")
    return {
        "pynapple-nuclr": __version__,
        "python": sys.version.split()[0],
        **{name: version(name) for name in packages},
    }


def _show_table(title: str, rows: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    for name, value in rows.items():
        table.add_row(name, str(value))
    console = Console(markup=False, highlight=False)
    console.print(f"\n{title}", style="bold")
    console.print(table)


def _given(**options: Any) -> dict[str, Any]:
    """Return the options that the user gave."""
    return {name: value for name, value in options.items() if value is not None}


def _as_options(message: str) -> str:
    """Write an error's advice as options of the command line, on one line."""
    message = re.sub(r"\boverwrite=True\b", "--overwrite", message)
    message = re.sub(r"\bresume=False\b", "--no-resume", message)
    message = re.sub(r"\b(gaps|epochs|steps|encoder)=\"?(\w*)\"?", r"--\1 \2", message)
    return " ".join(message.split())


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    _say(f"note: {_as_options(str(message))}")


def _say(line: str) -> None:
    typer.echo(line, err=True)


if __name__ == "__main__":
    main()
