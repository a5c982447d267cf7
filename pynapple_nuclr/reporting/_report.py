"""The whole page: a template, a style, a script, and what they show, in one file."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import pynapple as nap

from pynapple_nuclr import __version__
from pynapple_nuclr.atomic_files import atomic_write, check_output
from pynapple_nuclr.columns import is_embedded
from pynapple_nuclr.columns.waveforms import scale_waveforms
from pynapple_nuclr.nwb.waveforms import mean_waveforms
from pynapple_nuclr.plotting.unit_columns import read_column
from pynapple_nuclr.probe_score import ProbeScore
from pynapple_nuclr.recording import modality_of, name_recordings
from pynapple_nuclr.reporting.cautions import Comparison, at_chance, find_cautions
from pynapple_nuclr.reporting.neurons import read_neurons
from pynapple_nuclr.reporting.overview import Session, overview_parts, page_names
from pynapple_nuclr.reporting.page import Page
from pynapple_nuclr.reporting.sections import card_html, cautions_html, labels_html, summary_html
from pynapple_nuclr.reporting.unit_cards import MIN_MAP_UNITS, as_cards, as_json
from pynapple_nuclr.user_warnings import warn_user

if TYPE_CHECKING:
    import os

    from pynapple_nuclr.checkpoints import Encoder
    from pynapple_nuclr.config import Gaps
    from pynapple_nuclr.recording import Units
    from pynapple_nuclr.reporting.neurons import Neurons

_SCRIPT = ("looks", "filters", "map", "table", "plots", "classes", "card", "start")  # in one scope


def report(
    units: Units | Sequence[Units] | Mapping[str, Units],
    path: str | os.PathLike[str] | None = None,
    *,
    target: str | None = None,
    name: str | None = None,
    probe: Any = None,
    encoder: Encoder | str | Path | None = None,
    method: Literal["pca", "tsne", "umap"] = "pca",
    neighbours: int = 6,
    source: str | os.PathLike[str] | Mapping[str, str] | None = None,
    epochs: nap.IntervalSet | None = None,
    gaps: Gaps | None = None,
    by: str | None = None,
    prefix: str = "nuclr",
    overwrite: bool = False,
) -> Path:
    """Write a page about the units: one HTML file that any browser shows, without a network.

    It holds a summary, what to be careful about, a map of the embeddings on which a click (or the
    keyboard) opens a card of the unit, filters, labels compared by waveform, autocorrelogram and
    depth, tables that sort, and the encoder's card. In a notebook the result shows itself.

    Parameters
    ----------
    units : TsGroup or TsdFrame, or a list or mapping name → of them
        The population, with or without predictions; embedded first, if it is not. Several get a
        page each, and `path` is a page with counts by label and animal, cautions, and links to
        these.
    path : str or path, optional
        The file to write: ``….html``. Default: one in a new temporary folder.
    target : str, optional
        Which labels to show: a metadata column, or what a probe has predicted
        (``predicted_<target>``, its confidence, and ``predicted_<target>_p_…`` where they were
        asked for). Default: the first that was predicted, if any.
    name : str, optional
        What the recording is called on the page, and in errors; not for several. Default: the
        name of the file; without one, "recording in memory".
    probe : Probe, optional
        The fitted probe that predicted the labels, whose cross-validated score the page shows
        beside chance. Default: the score that `Probe.annotate` wrote beside the labels.
    encoder : Encoder, str or Path, optional
        The encoder of the vectors, or its path: for its card, and to compare the recording with its
        training data. Default: found by its signature, if it is bundled or was loaded; else the
        page says that it was not found. Of units that are not embedded: as of `embed`.
    method : {"pca", "tsne", "umap"}
        How the map is made, as in `plot_embedding`.
    neighbours : int
        How many of the nearest units a card names.
    source : str or path, or a mapping name → of them, optional
        The NWB file that the units were read from, for their mean waveforms.
    epochs, gaps : optional
        As given to `embed`, for the comparison with the training data.
    by : str, optional
        As given to `embed`: the column of populations that were embedded apart.
    prefix : str
        Prefix of the embedding's columns.
    overwrite : bool
        Replace an existing file.

    Returns
    -------
    Path
        The file, which a notebook shows: about 2 kB a unit. Cards show up to 20 excerpts of 10 s of
        each unit (or the envelope of its trace), and an autocorrelogram of at most 10,000 of its
        spikes.

    Raises
    ------
    TypeError
        If `units` is neither a ``TsGroup`` nor a ``TsdFrame``.
    ValueError
        If there is no column `target` of labels, `encoder` is not the one that made the vectors,
        `probe` predicts something else or did not predict the labels, or the name does not end in
        ``.html``.
    FileExistsError, FileNotFoundError
        If the file exists, unless `overwrite`; if its folder does not.

    See Also
    --------
    pynapple_nuclr.plot_embedding, pynapple_nuclr.plot_unit : the same as figures.

    Examples
    --------
    >>> import tempfile, pynapple_nuclr as nap_nuclr
    >>> from pynapple_nuclr.reporting import report
    >>> units = nap_nuclr.simulate("single", n_units=20, duration=60, seed=0)
    >>> encoder = nap_nuclr.Encoder(nap_nuclr.EncoderConfig(dim=32, heads=2, head_dim=16))
    >>> units = nap_nuclr.embed(units, encoder, progress=False)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     page = report(units, f"{folder}/day1.html", target="cell_type", name="day 1")
    ...     print(page.name, page.stat().st_size < 100_000)
    day1.html True
    """
    if made_here := path is None:
        path = Path(mkdtemp(prefix="nap-nuclr-")) / "report.html"
    output = check_output(path, overwrite=overwrite, suffix=".html")
    if encoder is not None:
        from pynapple_nuclr.checkpoints import as_encoder  # loads torch

        encoder = as_encoder(encoder)  # read once, for all pages
    options = Options(target, probe, encoder, method, neighbours, source, epochs, gaps, by, prefix)
    if not isinstance(units, (Sequence, Mapping)) or isinstance(units, nap.TsGroup):
        if name is None and not made_here:
            name = output.stem
        _write_session(units, output, name or "recording", options, overwrite)
        return Page(output)
    if name is not None:
        raise ValueError(f"name={name!r} is of one recording; a mapping name → units names several")
    recordings = name_recordings(units)
    pages = page_names(output, list(recordings))
    for page in pages.values():
        check_output(page, overwrite=overwrite, suffix=".html")
    sessions = {
        one: _write_session(recordings[one], page, one, options, overwrite)
        for one, page in pages.items()
    }
    _write(output, "template_overview.html", overwrite, scripts=(), **overview_parts(sessions))
    return Page(output)


class Options(NamedTuple):
    """How a page is made; see `report`."""

    target: str | None
    probe: Any
    encoder: Encoder | None
    method: str
    neighbours: int
    source: Any
    epochs: nap.IntervalSet | None
    gaps: Gaps | None
    by: str | None
    prefix: str


def _write_session(
    units: Units, output: Path, name: str, options: Options, overwrite: bool
) -> Session:
    """Write the page of one recording."""
    target, probe, encoder, method, neighbours, source, epochs, gaps, by, prefix = options
    if not is_embedded(units, prefix):
        from pynapple_nuclr.embedding import embed  # loads torch

        units = embed(units, encoder, epochs=epochs, gaps=gaps, by=by, prefix=prefix, name=name)
    neurons = read_neurons(units, target, prefix, name)
    if by is not None:
        read_column(units, by, "by")
    if probe is not None and probe.target != neurons.target:
        raise ValueError(
            f"probe predicts {probe.target!r}, but the page shows {neurons.target!r}; pass "
            f"target={probe.target!r} and units that it has annotated"
        )
    if probe is not None:
        neurons = neurons._replace(score=_score_of(probe, neurons, name))
    if neurons.score is not None and (caution := at_chance(neurons.score)):
        warn_user(f"recording {name!r}: {caution}")
    file = source.get(name) if isinstance(source, Mapping) else source
    if file is not None and isinstance(units, nap.TsGroup):
        found = mean_waveforms(units, file)
        neurons = neurons._replace(waveforms=None if found is None else scale_waveforms(found))
    if neighbours < 1:
        raise ValueError(f"neighbours={neighbours!r}; expected at least 1")
    maker = _find_encoder(encoder, neurons, name)
    comparison = _compare(units, maker, epochs, gaps)
    cautions = find_cautions(neurons, comparison, by, maker)
    cards = as_cards(units, neurons, method, neighbours)
    _write(
        output,
        "template.html",
        overwrite,
        title="recording in memory" if name == "recording" else escape(name),
        encoder=escape(neurons.encoder),
        modality=modality_of(units),
        summary=summary_html(units, neurons, comparison),
        cautions=cautions_html(cautions),
        labels=labels_html(neurons),
        card=_card_of(maker, neurons),
        no_map=""
        if neurons.embedded.sum() >= MIN_MAP_UNITS
        else f"<p>A map needs at least {MIN_MAP_UNITS} units.</p>",
        data=as_json(cards),
    )
    return Session(output, neurons, cautions)


def _score_of(probe: Any, neurons: Neurons, name: str) -> ProbeScore:
    """Return the score of the probe; ValueError if the labels are those of another one."""
    score = ProbeScore.of(probe)
    if neurons.score not in (None, score):
        raise ValueError(
            f"recording {name!r} was labelled by a probe of another score ({neurons.score}) than "
            f"the one given ({score}); leave out probe=, or annotate the units with it"
        )
    return score


def _find_encoder(encoder: Encoder | None, neurons: Neurons, name: str) -> Encoder | None:
    """Return the encoder of the vectors, if it is bundled, loaded or given."""
    from pynapple_nuclr.checkpoints import find_encoder  # loads torch

    if encoder is None:
        try:
            return find_encoder(neurons.encoder)
        except ValueError:  # neither bundled nor loaded: the page says so
            return None
    if encoder.identity != neurons.encoder:
        raise ValueError(
            f"recording {name!r}: encoder={encoder.identity}, but the units have vectors of "
            f"{neurons.encoder} in {neurons.prefix}_0 …; leave encoder out, or embed them again"
        )
    return encoder


def _compare(units: Units, encoder: Encoder | None, epochs: Any, gaps: Gaps | None) -> Comparison:
    """Compare with the data of training."""
    from pynapple_nuclr.familiarity import MIN_FAMILIARITY, familiarity_report

    def unknown(why: str) -> Comparison:
        return Comparison(float("nan"), why, MIN_FAMILIARITY)

    if encoder is None:
        return unknown("its encoder was not found")
    try:
        found = familiarity_report(units, encoder, epochs=epochs, gaps=gaps)
    except ValueError as error:  # such as one window only with other gaps
        return unknown(str(error))
    if not found.attrs["recordings"]:
        return unknown("the encoder has no record of its training data")
    largest = int(np.argmax(np.nan_to_num(np.abs(found["deviation"].values))))
    one = found.isel(property=largest)
    deviation = (
        f"{one['property'].item()} is {one['value'].item():.2g}, in training "
        f"{one['low'].item():.2g} to {one['high'].item():.2g}"
    )
    return Comparison(found.attrs["familiarity"], deviation, MIN_FAMILIARITY)


def _card_of(encoder: Encoder | None, neurons: Neurons) -> str:
    if encoder is not None:
        return card_html(encoder.describe())
    return (
        f"<p>The vectors were made by {escape(neurons.encoder)}, which was not found when this "
        "page was written: <code>report(units, path, encoder=folder)</code> shows its card.</p>"
    )


def _write(
    output: Path,
    template: str,
    overwrite: bool,
    *,
    scripts: tuple[str, ...] = _SCRIPT,
    **parts: str,
) -> None:
    """Write a page; its content policy allows only its own script and style."""
    style = _read("style.css")
    parts_of_script = "".join(_read(f"script/{part}.js") for part in scripts)
    script = f'"use strict";\n(() => {{\n{parts_of_script}}})();\n'
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; "
        f"script-src '{_digest(script)}'; base-uri 'none'; form-action 'none'"
    )
    parts |= {"style": style, "script": script, "policy": policy, "version": escape(__version__)}
    text = Template(_read("template_head.html") + _read(template)).substitute(parts)
    with atomic_write(output, overwrite=overwrite) as draft:
        # Half of a surrogate pair has no encoding: it becomes a question mark.
        draft.write_text(text, encoding="utf-8", errors="replace", newline="\n")


def _read(name: str) -> str:
    file = resources.files("pynapple_nuclr.reporting").joinpath(name)
    return file.read_text(encoding="utf-8").replace("\r\n", "\n")


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
