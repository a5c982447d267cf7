"""One page about several recordings: counts by label and animal, cautions, links to their pages."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np

from pynapple_nuclr.columns import recording_animals
from pynapple_nuclr.reporting.neurons import Neurons, label_groups


class Session(NamedTuple):
    """What the overview says of one recording."""

    page: Path
    neurons: Neurons
    cautions: list[str]


def page_names(path: Path, names: Sequence[str]) -> dict[str, Path]:
    """Return recording → its page, beside the overview; names become safe, and stay different."""
    safe = [re.sub(r"[^\w.-]+", "_", name) for name in names]
    twice = Counter(one.lower() for one in safe)
    stems = [f"{i}_{one}" if twice[one.lower()] > 1 else one for i, one in enumerate(safe)]
    pages = (path.with_name(f"{path.stem}_{stem}.html") for stem in stems)
    return dict(zip(names, pages, strict=True))


def overview_parts(sessions: Mapping[str, Session]) -> dict[str, str]:
    """Return the parts of the overview as HTML, in which all that comes from files is text."""
    counts = {name: _counts(one.neurons) for name, one in sessions.items()}
    labels = sorted({label for one in counts.values() for label in one})
    animals = recording_animals({name: one.neurons.metadata for name, one in sessions.items()})
    by_animal: dict[str, Counter[str]] = {}
    for name, animal in animals.items():
        by_animal.setdefault(animal, Counter()).update(counts[name])
    encoders = ", ".join(sorted({one.neurons.encoder for one in sessions.values()}))
    n_units = sum(len(one.neurons.vectors) for one in sessions.values())
    targets = sorted({str(one.neurons.target) for one in sessions.values() if one.neurons.target})
    return {
        "title": f"{len(sessions)} recordings",
        "aside": escape(
            f"{n_units:,} units, embedded by {encoders}. Labels: {', '.join(targets) or 'none'}."
        ),
        "recordings": _table(
            ["Recording", "Animal", "Units", *labels, "Confidence", "Stability", "Probe"],
            [
                [
                    f'<a href="{escape(quote(one.page.name))}">{escape(name)}</a>',
                    escape(animals[name] or "–"),
                    str(len(one.neurons.vectors)),
                    *(str(counts[name][label] or "–") for label in labels),
                    _median(one.neurons.confidence),
                    _median(one.neurons.summary("stability")),
                    escape(str(one.neurons.score or "–")),
                ]
                for name, one in sessions.items()
            ],
        ),
        "no_animals": "" if set(by_animal) != {""} else "hidden",
        "animals": _table(
            ["Animal", "Recordings", "Units", *labels],
            [
                [
                    escape(animal),
                    str(list(animals.values()).count(animal)),
                    str(of_animal.total()),
                    *(_share(of_animal[label], of_animal.total()) for label in labels),
                ]
                for animal, of_animal in by_animal.items()
            ],
        ),
        "cautions": _cautions(sessions),
    }


def _counts(neurons: Neurons) -> Counter[str]:
    if neurons.labels is None:
        return Counter({"no label": len(neurons.vectors)})
    return Counter({name: int(mine.sum()) for name, mine in label_groups(neurons.labels)})


def _cautions(sessions: Mapping[str, Session]) -> str:
    """Return each caution once, with the recordings that it is about."""
    about: dict[str, list[str]] = {}
    for name, one in sessions.items():
        for caution in one.cautions:
            about.setdefault(caution, []).append(name)
    if not about:
        return '<p class="calm">Nothing unusual was found in these recordings.</p>'
    everywhere = len(sessions)
    items = [
        f"<li><strong>{escape('All' if len(names) == everywhere else ', '.join(names))}:</strong> "
        f"{escape(caution)}</li>"
        for caution, names in about.items()
    ]
    return '<ul class="cautions">\n' + "\n".join(items) + "\n</ul>"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{escape(one)}</th>' for one in heads)
    body = "\n".join(
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{one}</td>" for one in rest)}</tr>'
        for first, *rest in rows
    )
    return f"<table><thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table>"


def _median(values: Any) -> str:
    known = [] if values is None else values[np.isfinite(values)]
    return f"{np.median(known):.2f}" if len(known) else "–"


def _share(count: int, total: int) -> str:
    return f"{count} ({count / total:.0%})" if count else "–"
