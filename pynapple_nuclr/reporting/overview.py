"""One page about several recordings: counts by label and animal, cautions, links to their pages."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pynapple_nuclr.columns import recording_animals
from pynapple_nuclr.reporting.neurons import Neurons, label_groups
from pynapple_nuclr.reporting.sections import cautions_html, median_text


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
    neurons = {name: one.neurons for name, one in sessions.items()}
    animals = recording_animals({name: one.metadata for name, one in neurons.items()})
    counts = pd.DataFrame({name: _counts(one) for name, one in neurons.items()}).T
    counts = counts.reindex(sessions).fillna(0).astype(int).rename(columns=escape)
    counts.insert(0, "Units", counts.sum(axis=1))
    recordings = counts.assign(
        Animal=[escape(animal) or "–" for animal in animals.values()],
        Confidence=[_median(one.confidence) for one in neurons.values()],
        Stability=[_median(one.summary("stability")) for one in neurons.values()],
        Probe=[escape(str(one.score or "–")) for one in neurons.values()],
    ).set_axis(
        [
            f'<a href="{escape(quote(one.page.name))}">{escape(name)}</a>'
            for name, one in sessions.items()
        ]
    )
    by_animal = counts.groupby([escape(one) for one in animals.values()]).sum()
    encoders = {one.encoder for one in neurons.values()}
    targets = {one.target or "none" for one in neurons.values()}
    return {
        "title": f"{len(sessions)} recordings",
        "aside": escape(
            f"{counts['Units'].sum():,} units, embedded by {', '.join(sorted(encoders))}. Labels: "
            f"{', '.join(sorted(targets))}."
        ),
        "recordings": _table(recordings),
        "no_animals": "" if any(animals.values()) else "hidden",
        "animals": _table(by_animal),
        "cautions": cautions_html(_cautions(sessions)),
    }


def _counts(neurons: Neurons) -> dict[str, int]:
    if neurons.labels is None:
        return {"no label": len(neurons.vectors)}
    return {name: int(mine.sum()) for name, mine in label_groups(neurons.labels)}


def _cautions(sessions: Mapping[str, Session]) -> list[str]:
    """Return each caution once, with the recordings that it is about."""
    about: dict[str, list[str]] = {}
    for name, one in sessions.items():
        for caution in one.cautions:
            about.setdefault(caution, []).append(name)
    return _copies(sessions) + [
        f"{'All' if len(names) == len(sessions) else ', '.join(names)}: {caution}"
        for caution, names in about.items()
    ]


def _copies(sessions: Mapping[str, Session]) -> list[str]:
    """Return a caution for each recording that has the embeddings of an earlier one."""
    first: dict[bytes, str] = {}
    earlier = {
        name: first.setdefault(np.asarray(one.neurons.vectors).tobytes(), name)
        for name, one in sessions.items()
    }
    return [
        f"{name} and {other} hold the same units: they are counted twice."
        for name, other in earlier.items()
        if name != other
    ]


def _table(table: pd.DataFrame) -> str:
    with pd.option_context("display.max_colwidth", None):  # else it cuts texts short
        return str(table.to_html(escape=False, border=0))


def _median(values: NDArray[np.float64] | None) -> str:
    return "–" if values is None else median_text(values)
