"""The tables of the tasks on real recordings, and their page."""

from __future__ import annotations

import datetime
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features import STATISTICS
from intervals import Predictions, gain, interval
from page import machine, markdown

if TYPE_CHECKING:
    from real_recordings import Result
    from real_tasks import RealTask

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "real_recordings.md"
TEMPLATE = HERE / "real_page.md"
README = HERE.parent / "README.md"
IN_README = {
    "b": "rats: striatum, frontal cortex or tectum",
    "a": "rats: narrow or broad waveform, no refusal",
    "c": "rats: region within a recording",
    "d": "rats in a decision task: region",
    "e": "macaque: area, sessions left out",
    "f": "zebrafish: which of 68 regions",
    "g": "worms: which of 21 classes, another laboratory",
}
"""Task → how the table of the README calls it."""
AIM = 0.02
"""By how much both together should be better than statistics."""


def part(task: RealTask, result: Result, free: Sequence[dict[str, str]], seeds: list[int]) -> str:
    """Return the tables of a task."""
    any_row = result.rows[STATISTICS]
    n_labels = len(set(any_row.labels))
    names = set(any_row.recordings)
    n_recordings, n_individuals = len(names), len({any_row.individuals[one] for one in names})
    what = "recordings" if any_row.within else task.over
    size = f"{len(any_row.labels)} units, {n_labels} labels, {n_recordings} recordings"
    if task.over != "sessions":
        size += f", {n_individuals} {task.over}"
    lines = [
        f"## {task.title}",
        f"{task.note} {size}. Seeds {', '.join(map(str, seeds))}; "
        f"{datetime.date.today().isoformat()}, {machine()}.",
        markdown([_row(name, result) for name in result.rows]),
        *_encoders(result),
        f"Macro F1 of each of the {what}, over the labels that it has:",
        markdown(_of_each(result)),
        "Without labels:",
        markdown(free),
    ]
    return "\n\n".join(lines)


def _row(name: str, result: Result) -> dict[str, str]:
    one, reference = result.rows[name], result.rows[STATISTICS]
    low, high = interval(one.macro_f1(one.drawn))
    row = {
        "features": name,
        "macro F1": f"{one.macro_f1()[0]:.3f}",
        "95 %": f"{low:.2f} to {high:.2f}",
        "accuracy": f"{one.accuracy()[0]:.3f}",
        "minus statistics (95 %)": "",
        "setting, by inner folds": _chosen(result.chosen.get(name, Counter())),
    }
    if name != STATISTICS:
        more, low, high = gain(one, reference)
        row["minus statistics (95 %)"] = f"{more:+.3f} ({low:+.3f} to {high:+.3f})"
    return row


def _chosen(texts: Counter[str]) -> str:
    """Return which settings the folds chose: of one probe, or of two that were averaged."""
    shown = [f"{words} ({times} ×)" for words, times in texts.most_common(3)]
    return ", ".join(shown) + (", …" if len(texts) > len(shown) else "")


def _encoders(result: Result) -> list[str]:
    """Return which encoders were read, and the scores of what they have and have not seen."""
    lines, rows = [], []
    for row, several in result.encoders.items():
        names = ", ".join(f"`{one.identity}`" for one in several)
        lines.append(f"- {row}: {names}; {several[0].card.get('data', 'data not named')}")
        seen = result.seen[row]
        if len(set(seen.values())) > 1:
            for name in (STATISTICS, row, f"statistics + {row}"):
                rows.append({"features": name, **_seen_and_held_out(result.rows[name], seen)})
    unknown = [row for row, seen in result.seen.items() if None in seen.values()]
    if unknown:
        lines.append(f"- Not known whether seen in pretraining: {', '.join(unknown)}.")
    return ["\n".join(lines), *([markdown(rows)] if rows else [])]


def _seen_and_held_out(one: Predictions, seen: dict[str, bool | None]) -> dict[str, str]:
    texts = {}
    for words, value in (("seen in pretraining (unlabelled)", True), ("held out", False)):
        groups = [group for group, known in seen.items() if known is value]
        named = ", ".join(groups) if len(groups) < 9 else f"{len(groups)} of them"
        texts[f"{words}: {named}"] = f"{one.only(groups).macro_f1()[0]:.3f}"
    return texts


def _of_each(result: Result) -> list[dict[str, Any]]:
    each = {name: one.of_each() for name, one in result.rows.items()}
    any_row = result.rows[STATISTICS]
    return [
        {"": group, "units": int((any_row.groups == group).sum())}
        | {name: f"{scores[group]:.2f}" for name, scores in each.items()}
        for group in each[STATISTICS]
    ]


def replace(name: str, text: str) -> None:
    """Replace the part of a task in the page, or add it; then the table of the README."""
    parts = _parts() | {name: text}
    parts = {"aims": _aims(parts)} | {one: own for one, own in parts.items() if one != "aims"}
    blocks = [f"<!-- {one} -->\n{own}\n<!-- end of {one} -->" for one, own in parts.items()]
    page = "\n\n".join([TEMPLATE.read_text(encoding="utf-8").rstrip(), *blocks])
    PAGE.write_text(f"{page}\n", encoding="utf-8")
    write_readme()


def write_readme() -> None:
    """Write the table of the README from the page."""
    parts = _parts()
    rows = [_readme_row(title, parts[task]) for task, title in IN_README.items() if task in parts]
    begin, end = "<!-- measured -->", "<!-- end of measured -->"
    text = README.read_text(encoding="utf-8")
    before, rest = text.split(begin)
    after = rest.split(end)[1]
    README.write_text(f"{before}{begin}\n{markdown(rows)}\n{end}{after}", encoding="utf-8")


def _aims(parts: Mapping[str, str]) -> str:
    """Return a table of which aims were reached."""
    rows = []
    for task, title in IN_README.items():
        if task not in parts:
            continue
        _, encoder, both, _ = _main_rows(parts[task])
        low = float(both[4].split("(")[1].split(" to ")[0])
        reached = float(both[4].split()[0]) >= AIM and low > 0
        rows.append(
            {
                "task": title,
                "embedding minus statistics (95 %)": encoder[4],
                "as good or better": "no" if encoder[4].startswith("-") else "yes",
                "both minus statistics (95 %)": both[4],
                f"better by {AIM}, interval above 0": "yes" if reached else "no",
            }
        )
    said = (
        "The aims: the embedding is as good as statistics or better on each task, and both "
        f"together are better by {AIM}, with an interval above 0, on four of them or more."
    )
    return f"## Aims and results\n\n{said}\n\n{markdown(rows)}"


def _parts() -> dict[str, str]:
    """Return the parts of the page: task → text."""
    page = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    return dict(re.findall(r"<!-- (\w+) -->\n(.*?)\n<!-- end of \1 -->", page, re.DOTALL))


def first_table(task: str) -> dict[str, list[str]]:
    """Return the rows of the first table of a task on the page: name → all of its cells."""
    return _first_table(_parts()[task])


def _first_table(text: str) -> dict[str, list[str]]:
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.split("\n")]
    return {row[0]: row for row in reversed(cells) if len(row) == 6}


def _main_rows(text: str) -> tuple[list[str], ...]:
    """Return the cells of statistics, of the recommended encoder, of both, and of chance."""
    scores = _first_table(text)
    encoder = next(row for row in ("encoder of rats", "bundled encoder") if row in scores)
    names = (STATISTICS, encoder, f"{STATISTICS} + {encoder}", f"shuffled labels, {STATISTICS}")
    return tuple(scores[name] for name in names)


def _readme_row(title: str, text: str) -> dict[str, str]:
    """Return a task's scores, and by how much both are better than statistics."""
    statistics, encoder, both, chance = _main_rows(text)
    return {
        "task": title,
        "statistics of single units": statistics[1],
        "embedding": encoder[1],
        "both": both[1],
        "chance": chance[1],
        "both minus statistics (95 %)": both[4],
    }
