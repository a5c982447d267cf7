"""The parts of a page that need no script, as HTML in which all that comes from files is text."""

from __future__ import annotations

import re
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pynapple_nuclr.recording import Units
from pynapple_nuclr.reporting.cautions import Comparison, chance_of
from pynapple_nuclr.reporting.neurons import Neurons, label_groups

_FIRST = ("What it is", "Licence", "Data", "Data licence", "Limits")  # of an encoder's card


def summary_html(units: Units, neurons: Neurons, comparison: Comparison) -> str:
    """Return the numbers that describe the recording, as a list of terms."""
    n, embedded = len(neurons.vectors), int(neurons.embedded.sum())
    support = units.time_support
    entries = [
        (
            "Units",
            f"{n:,}",
            _plural(n - embedded, "silent unit") if n > embedded else "all embedded",
        ),
        ("Recorded", _duration(support.tot_length()), _plural(len(support), "epoch")),
    ]
    windows, stability = neurons.summary("n_windows"), neurons.summary("stability")
    if windows is not None:
        used = windows[windows > 0]
        entries.append(("Windows", *_middle(used, "{:,.0f}", "a unit, median")))
    if stability is not None:
        entries.append(("Stability", *_middle(stability, "{:.2f}", "median; 0.5 is chance")))
    if np.isfinite(comparison.familiarity):
        note = f"below {comparison.least:g}: unlike the training"
        entries.append(("Familiarity", f"{comparison.familiarity:.2g}", note))
    if (rate := neurons.numbers("rate")) is not None:
        entries.append(("Rate", *_middle(rate, "{:.2g} Hz", "median")))
    if neurons.score is not None:
        entries.append(("Probe, macro F1", neurons.score.f1, chance_of(neurons.score)))
    if neurons.confidence is not None:
        entries.append(("Confidence", *_middle(neurons.confidence, "{:.2f}", "median")))
    items = [
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}<small>{escape(note)}</small></dd></div>"
        for name, value, note in entries
    ]
    return "\n".join(items)


def cautions_html(cautions: list[str]) -> str:
    """Return what to be careful about, or that there is nothing."""
    if not cautions:
        return '<p class="calm">Nothing unusual was found in this recording.</p>'
    items = "\n".join(f"<li>{escape(one)}</li>" for one in cautions)
    return f'<ul class="cautions">\n{items}\n</ul>'


def labels_html(neurons: Neurons) -> str:
    """Return a table of the labels: how many units, how sure."""
    labels, sure = neurons.labels, neurons.confidence
    if labels is None:
        return ""
    target = escape(str(neurons.target).replace("_", " "))
    caption = (
        f"Predicted {target}" if neurons.predicted is not None else f"{target}, as in the file"
    )
    names = ["Label", "Units", "Share"] + ["Confidence"] * (sure is not None)
    heads = "".join(f'<th scope="col">{one}</th>' for one in names)
    rows = []
    for name, mine in label_groups(labels):
        count = int(mine.sum())
        cells = [_cell(name, name, head=True), _cell(count, f"{count:,}")]
        cells.append(_cell(count, f"{count / len(mine):.0%}"))
        if sure is not None:
            text = median_text(sure[mine], "{:.6g}", none="")
            cells.append(_cell(text, median_text(sure[mine])))
        rows.append(f"<tr>{''.join(cells)}</tr>")
    body = "\n".join(rows)
    return (
        f"<table data-sorts><caption>{caption}</caption>\n"
        f"<thead><tr>{heads}</tr></thead>\n"
        f"<tbody>\n{body}\n</tbody></table>"
    )


def card_html(markdown: str) -> str:
    r"""Return the card of `Encoder.describe` as HTML: what matters first, the rest to unfold.

    Raw HTML in it becomes text, and images, which would have to be loaded, become links.

    Examples
    --------
    >>> from pynapple_nuclr.reporting.sections import card_html
    >>> print(card_html("# tiny\n\n## Licence\n\n<b>MIT</b>"))
    <div class="prose"><h3>tiny</h3>
    <h4>Licence</h4>
    <p>&lt;b&gt;MIT&lt;/b&gt;</p></div>
    """
    top, *sections = re.split(r"^(?=## )", markdown, flags=re.MULTILINE)
    first = [one for one in sections if _heading(one) in _FIRST]
    rest = [one for one in sections if _heading(one) not in _FIRST]
    text = f'<div class="prose">{_html("".join([top, *first]))}</div>'
    if rest:
        text += (
            "\n<details><summary>Training, settings and how to use it</summary>\n"
            f'<div class="prose">{_html("".join(rest))}</div></details>'
        )
    return text


def _heading(section: str) -> str:
    return section.partition("\n")[0].removeprefix("## ")


def _html(markdown: str) -> str:
    from markdown_it import MarkdownIt

    reader = MarkdownIt("commonmark", {"html": False}).disable(["image"])
    tokens = reader.parse(markdown)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):  # below the page's own headings
            token.tag = f"h{min(int(token.tag[1]) + 2, 6)}"
    return str(reader.renderer.render(tokens, reader.options, {})).strip()


def _cell(value: Any, text: str, *, head: bool = False) -> str:
    kind = 'th scope="row"' if head else "td"
    return f'<{kind} data-value="{escape(str(value))}">{escape(text)}</{kind[:2]}>'


def _middle(values: NDArray[Any], form: str, note: str) -> tuple[str, str]:
    return median_text(values, form), note if np.isfinite(values).any() else "not known"


def median_text(values: NDArray[Any], form: str = "{:.2f}", none: str = "–") -> str:
    """Return the median of what is known, or `none`."""
    known = values[np.isfinite(values)]
    return form.format(np.median(known)) if len(known) else none


def _plural(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"
