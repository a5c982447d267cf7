"""Which ROIs of a table count as cells, as different software writes it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pynapple_nuclr.nwb.row_metadata import not_single, plain_name

# Names of the columns that hold a verdict, without case and punctuation; the first that is there
# decides. Suite2p; NeuroConv, CaImAn and Inscopix; CaImAn; Allen; EXTRACT and others.
VERDICTS = (
    ("iscell", "iscells", "isneuron"),
    ("accepted", "isaccepted", "accept", "roiaccepted", "rejected", "isrejected", "reject"),
    ("keep", "kept", "keeproi"),
    ("validroi", "valid", "isvalid", "roivalid", "invalid", "isinvalid"),
    ("isgood", "exclude", "excluded", "isexcluded"),
    ("status", "roistatus", "cellstatus", "label", "roilabel", "curation", "manualcuration"),
)
_OF_ANYTHING = {"label", "roilabel", "status"}  # may hold anything else: then nothing is logged
_AGAINST = {  # true: not a cell
    *("rejected", "isrejected", "reject", "invalid", "isinvalid"),
    *("exclude", "excluded", "isexcluded"),
}
# These may be verdicts, but also the kind of a cell or how good it is: they are named, not applied.
_PERHAPS = {"issoma", "classification", "quality", "roiquality", "cellprobability", "cellprob"}
# Words, in lower case, without spaces and underscores.
_YES = r"1|1\.0|true|t|yes|y|(is)?cells?|neuron|soma|accept|accepted|keep|kept|valid|good|pass"
_NO = (
    r"0|0\.0|-1|false|f|no|n|not(-?a)?-?cell|non-?cell|nocell|(manually)?reject(ed)?|notaccepted|invalid|bad|"
    r"discard(ed)?|exclude(d)?|remove(d)?|delete(d)?|art[ei]fact|noise|fail(ed)?"
)
_NO_VERDICT = r"|nan|none|na|unknown|undecided|unsorted|unlabell?ed|pending"


@dataclass(frozen=True)
class Verdict:
    """Which ROIs are cells, by which column, and what is to be said of it."""

    kept: NDArray[np.bool_]  # true for cells, and for ROIs without a verdict
    column: str | None  # the column that decided; None: no column says it
    # columns that disagree, probabilities that were compared with 0.5
    remarks: tuple[str, ...] = ()


def accepted_rois(columns: Mapping[str, NDArray[Any]], n_rois: int) -> Verdict:
    """Find the column that says which ROIs are cells, and what it says.

    Columns are looked for by name, in the order of `VERDICTS`; ``rejected`` counts with
    ``accepted``. Values may be truth values, 0 and 1, words, probabilities (compared with 0.5)
    or, as of Suite2p, a verdict and its probability. A column with other values decides nothing.
    """
    found: list[tuple[str, NDArray[np.float64]]] = []
    remarks: list[str] = []
    for names in VERDICTS:
        of_kind = [name for name in columns if plain_name(name) in names]
        judged = {name: verdicts(columns[name], name) for name in of_kind}
        for name in of_kind:
            if judged[name] is None and plain_name(name) not in _OF_ANYTHING:
                remarks.append(f"column {name!r} has values that are no verdicts and is not used")
        usable = {
            name: values
            for name, values in judged.items()
            if values is not None and np.isfinite(values).any()
        }
        if _is_undecided(usable):
            remarks.append(f"all ROIs are undecided in {', '.join(usable)}")
            continue
        for name, values in sorted(usable.items(), key=lambda one: plain_name(one[0]) in _AGAINST):
            found.append((name, values))
    if not found:
        return Verdict(np.ones(n_rois, dtype=bool), None, (*remarks, *_not_applied(columns)))
    column, values = found[0]
    kept = ~(values <= 0.5)  # NaN: without a verdict
    for other, others in found[1:]:
        judged_by_both = np.isfinite(values) & np.isfinite(others)
        different = int(((others > 0.5) != kept)[judged_by_both].sum())
        if different:
            remarks.append(f"column {other!r} disagrees for {different} ROIs; {column!r} is used")
    if (fraction := (values % 1 != 0) & np.isfinite(values)).any():
        remarks.append(f"{column!r} holds probabilities ({fraction.sum()}): cells are above 0.5")
    if unjudged := int(np.isnan(values).sum()):
        remarks.append(f"{unjudged} ROIs have no verdict in {column!r} and are read")
    return Verdict(kept, column, tuple(remarks))


def _not_applied(columns: Mapping[str, NDArray[Any]]) -> list[str]:
    """Say of each column that would reject ROIs, were its name plain, how to apply it.

    That may be any column that calls an ROI noise or an artifact.
    """
    perhaps = [
        name
        for name, values in columns.items()
        if plain_name(name) in _PERHAPS or not_single(values).any()
    ]
    judged = {name: verdicts(columns[name], name) for name in perhaps}
    return [
        f"column {name!r} is not applied, by which {int((values <= 0.5).sum())} of {len(values)} "
        f"ROIs may be no cells; cells={name!r} leaves them out"
        for name, values in judged.items()
        if values is not None and (values <= 0.5).any()
    ]


def _is_undecided(judged: dict[str, NDArray[np.float64]]) -> bool:
    """Return whether a column of the accepted and one of the rejected both name no ROI."""
    against = [values for name, values in judged.items() if plain_name(name) in _AGAINST]
    pro = [values for name, values in judged.items() if plain_name(name) not in _AGAINST]
    if not (against and pro):
        return False
    return all((one == 0).all() for one in pro) and all((one == 1).all() for one in against)


def is_verdict(name: str) -> bool:
    """Return whether a column of this name may say which ROIs are cells."""
    return any(plain_name(name) in names for names in VERDICTS)


def verdicts(values: NDArray[Any], name: str = "") -> NDArray[np.float64] | None:
    """Return 1 for cells, 0 for others, NaN without a verdict (ROIs,); None: these are none.

    Probabilities stay as they are.
    """
    values = np.asarray(values)
    if values.ndim == 2 and values.shape[1] == 2:
        values = verdict_of_pair(values)
    if values.ndim != 1:
        return None
    if "label" in plain_name(name) and not _are_words(values):
        return None  # numbers of classes, or their initials
    numbers = values.astype(np.float64) if values.dtype.kind in "biuf" else _of_words(values)
    if numbers is None:
        return None
    finite = numbers[np.isfinite(numbers)]
    if set(np.unique(finite)) <= {-1.0, 0.0, 1.0}:  # -1: rejected by hand
        numbers = np.where(numbers < 0, 0.0, numbers)
    elif not ((finite >= 0) & (finite <= 1)).all():
        return None
    return 1 - numbers if plain_name(name) in _AGAINST else numbers


def verdict_of_pair(values: NDArray[Any]) -> NDArray[Any]:
    """Return of a verdict and its probability the verdict: the one that is only 0 and 1."""
    if values.dtype.kind not in "biuf":
        return values[:, 0]
    whole = [bool(np.isin(values[:, i], (0, 1)).all()) for i in (0, 1)]
    return values[:, 1] if whole == [False, True] else values[:, 0]


def _are_words(values: NDArray[Any]) -> bool:
    """Return whether values are texts of more than a letter or two."""
    texts = [str(value).strip() for value in values] if values.dtype.kind not in "biuf" else ["1"]
    return all(len(text) > 2 for text in texts if text)


def _of_words(values: NDArray[Any]) -> NDArray[np.float64] | None:
    """Return what words say; None if there are others among them."""
    numbers = np.empty(len(values))
    for i, value in enumerate(values):
        text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
        word = re.sub(r"[\s_/]", "", text).lower()
        if re.fullmatch(_YES, word):
            numbers[i] = 1
        elif re.fullmatch(_NO, word):
            numbers[i] = 0
        elif re.fullmatch(_NO_VERDICT, word):
            numbers[i] = np.nan
        else:
            return None
    return numbers
