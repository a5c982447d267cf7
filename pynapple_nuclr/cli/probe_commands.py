"""`nap-nuclr probe`: learn what kind of neurons there are, and predict it for others."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from pynapple_nuclr.atomic_files import check_output
from pynapple_nuclr.batch.files import (
    check_writable,
    open_once,
    read_or_embed,
    read_stored,
    write_result,
)
from pynapple_nuclr.batch.plan import annotated_path, stem_of
from pynapple_nuclr.batch.reports import Report, summarize
from pynapple_nuclr.cli import options as option
from pynapple_nuclr.cli.commands import app, collect_warnings, print_json, show_table
from pynapple_nuclr.cli.embed_commands import plan_results
from pynapple_nuclr.cli.many_files import find_sources, read_all, run_batch
from pynapple_nuclr.cli.options import EMBEDDING, READING, drop_unset, with_options
from pynapple_nuclr.cli.probe_summary import summarize_probe
from pynapple_nuclr.probe_score import ProbeScore

Classifier = Literal["logistic", "lda", "mlp"]

probe_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Learn labels from embedded neurons (fit), and predict them for others (annotate)."
    "\n\n[bold]Example[/bold]: nap-nuclr probe fit labelled.nwb --target cell_type -o types.skops",
)
app.add_typer(probe_app, name="probe")


@probe_app.command("fit")
@with_options(reading=READING, embedding=EMBEDDING)
def fit_command(
    files: option.Files,
    *,
    target: Annotated[str, typer.Option(help="Metadata column with the labels to learn.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The probe to write: P.skops.")],
    classifier: Annotated[
        Classifier | None, typer.Option(help="The classifier (default: logistic, Probe's own).")
    ] = None,
    feature: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN", help="Numeric column to join to the embedding; repeat."),
    ] = None,
    inputs: Annotated[
        Literal["auto", "embedding", "statistics", "both"] | None,
        typer.Option(help="What describes a neuron; auto: the best (default: auto)."),
    ] = None,
    standardize: Annotated[
        Literal["none", "recording"] | None,
        typer.Option(help="Standardise vectors within each (default: none)."),
    ] = None,
    calibrate: Annotated[
        bool | None,
        typer.Option(
            "--calibrate/--no-calibrate",
            help="Let its confidence match how often it is right (default: calibrate).",
        ),
    ] = None,
    animals: option.Animals = None,
    encoder: option.Encoder = None,
    reading: dict[str, Any],
    embedding: dict[str, Any],
    cache: option.Cache = None,
    overwrite: option.Overwrite = False,
    no_progress: option.Progress = False,
    as_json: option.AsJson = False,
) -> None:
    """Learn labels from NWB files, cross-validate, and save the probe.

    Embeddings that a file holds are used, unless an option says how to embed; other files are
    embedded first, and the result is kept for the next time. All files are needed: if one is bad,
    nothing is learnt.

    [bold]Example[/bold]:

    nap-nuclr probe fit "labelled/*.nwb" --target cell_type -o cell_type.skops
    """
    check_output(output, overwrite=overwrite, suffix=".skops")
    sources = find_sources(files)
    options = embedding | drop_unset(encoder=encoder)

    def read(source: str) -> Any:
        return read_or_embed(
            source,
            reading=reading,
            column=target,
            cache=cache,
            progress=len(sources) == 1 and not no_progress,
            **options,
        )

    recordings, notes = read_all(sources, read, progress=not no_progress)

    from pynapple_nuclr.probes import Probe

    settings = drop_unset(
        inputs=inputs, features=feature, standardize=standardize, calibrate=calibrate
    )
    probe = Probe(target, estimator=_estimator(classifier), **settings)
    with collect_warnings(notes):
        probe.fit(recordings, animals=animals, verbose=False)
    probe.save(output)
    result = {
        "probe": output,
        "target": target,
        "classes": probe.classes_,
        "units": probe.n_units_,
        "recordings": list(recordings),
        "encoder": probe.encoder_,
        "inputs": probe.inputs_,
        **{f"macro_f1_{name}": score for name, score in probe.cv_inputs_.items()},
        "macro_f1": probe.cv_score_,
        "chance": probe.cv_chance_,
        "chance_sd": probe.cv_chance_sd_,
        "left_out": probe.cv_group_,
        **{f"calibration_{name}": value for name, value in probe.cv_calibration_.items()},
    }
    if as_json:
        print_json(result | {"warnings": notes})
        return
    rows = summarize_probe(str(output)) | {
        "recordings": ", ".join(recordings),
        "written to": output,
    }
    show_table(f"{target}, cross-validated", rows)


@probe_app.command("annotate")
@with_options(reading=READING, embedding=EMBEDDING)
def annotate_command(
    files: option.Files,
    *,
    probe: Annotated[
        str,
        typer.Option(
            help="The probe: a file of `nap-nuclr probe fit`, a hub name, or the bundled "
            "waveform-type."
        ),
    ],
    output: option.Output = None,
    kind: option.Format = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            help='Call neurons "unknown" below it: 0 like a guess, 1 certain (default: that of '
            "the probe)."
        ),
    ] = None,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Also write a column per class.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Write labels of a probe that is not above chance, too.")
    ] = False,
    encoder: Annotated[
        str | None,
        typer.Option(help="Where the encoder of the probe is, if it is not the bundled one."),
    ] = None,
    reading: dict[str, Any],
    embedding: dict[str, Any],
    raw: option.RawOption = None,
    overwrite: option.Overwrite = False,
    no_progress: option.Progress = False,
    as_json: option.AsJson = False,
) -> None:
    """Predict labels of the neurons in NWB files; write the results.

    Files that are not embedded are embedded first, by the encoder that the probe was fitted with.
    A bad file does not stop the others: it is named at the end, and the exit code is 1.

    [bold]Examples[/bold]:

    nap-nuclr probe annotate session.nwb --probe waveform-type

    nap-nuclr probe annotate session.nwb --probe cell_type.skops

    nap-nuclr probe annotate "data/*.nwb" --probe cell_type.skops -o labelled --format csv
    """
    sources = find_sources(files, output)
    outputs = plan_results(sources, output, kind, raw)
    if output is None and not overwrite:
        outputs = {source: annotated_path(source, path) for source, path in outputs.items()}

    from pynapple_nuclr.probes import load_probe

    fitted = load_probe(probe)
    options = embedding | drop_unset(encoder=encoder)
    settings = {"probe": Path(probe).name}
    settings |= {name: embedding[name] for name in ("gaps", "by") if name in embedding}
    column = f"predicted_{fitted.target}"
    if not as_json:
        typer.echo(f"probe of {fitted.target}: {ProbeScore.of(fitted)}")

    def work(source: str) -> Report:
        path = outputs[source]
        check_writable(source, path, raw, overwrite)
        inner = len(sources) == 1 and not no_progress
        with open_once(source) as file:
            units = read_stored(file, reading, prefix=fitted.prefix)
            named = options | {"progress": inner, "name": stem_of(source)}
            units = fitted.annotate(units, threshold, probabilities, force=force, **named)
            write_result(
                units,
                file,
                path,
                raw=raw,
                overwrite=overwrite,
                settings=settings,
                prefix=fitted.prefix,
            )
        return summarize(units, path, fitted.prefix) | {
            "labels": dict(Counter(map(str, units[column])).most_common()),
            "confidence": float(units[f"{column}_confidence"].median()),
        }

    def lines(report: Report) -> list[str]:
        counts = ", ".join(f"{label} {count}" for label, count in report["labels"].items())
        return [
            f"{report['file']}: {counts} (median confidence {report['confidence']:.2f})",
            f"written to {report['output']}",
        ]

    results = ("labels", "confidence")
    run_batch(sources, work, lines, results=results, as_json=as_json, progress=not no_progress)


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
