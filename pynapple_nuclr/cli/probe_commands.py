"""`nap-nuclr probe`: learn what kind of neurons there are, and tell it of others."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from pynapple_nuclr.cli.commands import app, collect_warnings, print_json, show_table
from pynapple_nuclr.cli.embed_commands import BLANK, check_new, check_raw, summary, write_result
from pynapple_nuclr.cli.many_files import Report, find_sources, plan_outputs, read_all, run_batch
from pynapple_nuclr.cli.options import (
    Animals,
    AsJson,
    By,
    Device,
    Encoder,
    Epochs,
    Files,
    Format,
    GapsOption,
    Output,
    Overwrite,
    Precision,
    Progress,
    RawOption,
    given,
    with_default,
)

if TYPE_CHECKING:
    from pynapple_nuclr.recording import Units

Classifier = Literal["logistic", "lda", "mlp"]

_INIT = "probes._probe.Probe.__init__"

probe_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Learn labels from embedded neurons (fit), and predict them of others (annotate)."
    "\n\n[bold]Example[/bold]: nap-nuclr probe fit labelled.nwb --target cell_type -o types.skops",
)
app.add_typer(probe_app, name="probe")


@probe_app.command("fit")
def fit_command(
    files: Files,
    target: Annotated[str, typer.Option(help="Metadata column with the labels to learn.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The probe to write: P.skops.")],
    classifier: Annotated[
        Classifier | None, typer.Option(help="What learns (default: logistic, Probe's own).")
    ] = None,
    feature: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN", help="Numeric column to join to the embedding; repeat."),
    ] = None,
    standardize: Annotated[
        Literal["none", "recording"] | None,
        typer.Option(help=with_default("Standardise vectors within each", _INIT, "standardize")),
    ] = None,
    calibrate: Annotated[
        bool | None,
        typer.Option(
            "--calibrate/--no-calibrate",
            help=with_default("Make it as sure as it is right", _INIT, "calibrate"),
        ),
    ] = None,
    animals: Animals = None,
    encoder: Encoder = None,
    gaps: GapsOption = None,
    epochs: Epochs = None,
    by: By = None,
    device: Device = None,
    precision: Precision = None,
    overwrite: Overwrite = False,
    no_progress: Progress = False,
    as_json: AsJson = False,
) -> None:
    """Learn labels from NWB files, cross-validate, and save the probe.

    Files that hold an embedding are taken as they are, unless an option says how to embed; the
    others are embedded first. All files are needed: if one is bad, nothing is learnt.

    [bold]Example[/bold]:

    nap-nuclr probe fit "labelled/*.nwb" --target cell_type -o cell_type.skops
    """
    from pynapple_nuclr.atomic_files import check_output

    check_output(output, overwrite=overwrite, suffix=".skops")
    anew = given(encoder=encoder, gaps=gaps, epochs=epochs, by=by, precision=precision)
    sources = find_sources(files)

    def read(source: str) -> Units:
        show = len(sources) == 1
        return read_embedded(source, anew, given(device=device), show=show, column=target)

    recordings, notes = read_all(sources, read, progress=not no_progress)

    from pynapple_nuclr.probes import Probe

    options = given(features=feature, standardize=standardize, calibrate=calibrate)
    probe = Probe(target, estimator=_estimator(classifier), **options)
    with collect_warnings(notes):
        probe.fit(recordings, animals=animals, verbose=False)
    probe.save(output)
    told = {
        "probe": output,
        "target": target,
        "classes": probe.classes_,
        "units": probe.n_units_,
        "recordings": list(recordings),
        "encoder": probe.encoder_,
        "macro_f1": probe.cv_score_,
        "chance": probe.cv_chance_,
        "left_out": probe.cv_group_,
        **{f"calibration_{name}": value for name, value in probe.cv_calibration_.items()},
    }
    if as_json:
        print_json(told | {"warnings": notes})
        return
    show_table(f"{target}, cross-validated", {k: _in_words(v) for k, v in told.items()})


@probe_app.command("annotate")
def annotate_command(
    files: Files,
    probe: Annotated[Path, typer.Option(help="The probe: a file of `nap-nuclr probe fit`.")],
    output: Output = None,
    kind: Format = None,
    threshold: Annotated[
        float | None,
        typer.Option(help='Call neurons of a lower confidence "unknown" (default: none).'),
    ] = None,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Also write a column per class.")
    ] = False,
    encoder: Annotated[
        str | None,
        typer.Option(help="Where the encoder of the probe is, if it is not the bundled one."),
    ] = None,
    gaps: GapsOption = None,
    epochs: Epochs = None,
    by: By = None,
    raw: RawOption = None,
    device: Device = None,
    precision: Precision = None,
    overwrite: Overwrite = False,
    no_progress: Progress = False,
    as_json: AsJson = False,
) -> None:
    """Predict labels of the neurons in NWB files; write the results.

    Files that are not embedded are embedded first, by the encoder that the probe was fitted with.
    A bad file does not stop the others: it is named at the end, and the exit code is 1.

    [bold]Examples[/bold]:

    nap-nuclr probe annotate session.nwb --probe cell_type.skops

    nap-nuclr probe annotate "data/*.nwb" --probe cell_type.skops -o labelled --format csv
    """
    from pynapple_nuclr.atomic_files import existing_file
    from pynapple_nuclr.probes import load_probe

    fitted = load_probe(existing_file(probe))
    sources = find_sources(files)
    outputs = plan_outputs(sources, output, kind)
    for path in outputs.values():
        check_raw(path, raw)
    options = given(gaps=gaps, by=by, device=device, precision=precision, encoder=encoder)
    settings = {"probe": probe.name} | given(gaps=gaps, by=by)
    prefix = fitted.prefix

    def work(source: str) -> Report:
        from pynapple_nuclr.io._read_recording import read_recording
        from pynapple_nuclr.nwb.stored_embeddings import read_embedding

        check_new(source, outputs[source], raw, overwrite)
        if epochs is None and _is_embedded(source, prefix):
            units = read_embedding(source, prefix=prefix)
        else:
            units = read_recording(source, epochs=epochs)
        inner = len(sources) == 1 and not no_progress
        units = fitted.annotate(units, threshold, probabilities, **options, progress=inner)
        write_result(units, source, outputs[source], raw, overwrite, settings, prefix)
        labels = units[f"predicted_{fitted.target}"]
        sure = units[f"predicted_{fitted.target}_confidence"].median()
        counts = dict(Counter(map(str, labels)).most_common())
        told = {"labels": counts, "confidence": float(sure)}
        return summary(units, outputs[source], prefix) | told

    def lines(report: Report) -> list[str]:
        counts = ", ".join(f"{label} {count}" for label, count in report["labels"].items())
        return [
            f"{report['file']}: {counts} (median confidence {report['confidence']:.2f})",
            f"written to {report['output']}",
        ]

    run_batch(
        sources,
        work,
        blank=BLANK | {"labels": None, "confidence": None},
        lines=lines,
        as_json=as_json,
        progress=not no_progress,
    )


def _is_embedded(source: str, prefix: str = "nuclr") -> bool:
    from pynapple_nuclr.nwb.stored_embeddings import describe_nwb

    return prefix in describe_nwb(source)["embeddings"]


def read_embedded(
    source: str,
    anew: dict[str, Any],
    how: dict[str, Any],
    *,
    show: bool,
    column: str | None = None,
) -> Units:
    """Return the embedded units of a file: its own vectors, or new ones if `anew` asks for any.

    A file without the `column` that is needed later is refused before the work.
    """
    from pynapple_nuclr.io._read_recording import read_recording
    from pynapple_nuclr.nwb.stored_embeddings import read_embedding

    if not anew and _is_embedded(source):
        return read_embedding(source)
    from pynapple_nuclr.embedding import embed

    options = {name: value for name, value in anew.items() if name != "epochs"}
    units = read_recording(source, epochs=anew.get("epochs"))
    if column is not None and column not in units.metadata_columns:
        there = ", ".join(map(str, units.metadata_columns)) or "none"
        raise ValueError(f"{source} has no metadata column {column!r}; it has {there}")
    return embed(units, **options, **how, progress=show)


def _estimator(classifier: Classifier | None) -> Any:
    """Return a classifier that `Probe.save` can write; None is the probe's own."""
    if classifier in (None, "logistic"):
        return None
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    learner = LinearDiscriminantAnalysis() if classifier == "lda" else MLPClassifier(random_state=0)
    return make_pipeline(StandardScaler(), learner)


def _in_words(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, (str, int, Path, type(None))):
        return str(value)
    return ", ".join(map(str, value))
