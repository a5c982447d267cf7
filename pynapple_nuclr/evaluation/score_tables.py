"""Scores as tables: mean and spread."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
import xarray as xr

from pynapple_nuclr.evaluation.systems import SHUFFLED

_TITLES = {
    "macro_f1": "macro F1",
    "macro_f1_fold": "by fold or animal",
    "macro_f1_within_recording": "within recordings",
    "balanced_accuracy": "balanced accuracy",
    "top1": "top 1",
    "top5": "top 5",
    "macro_f1_confident_half": "confident half",
    "ece": "ECE",
    "recording_decodability": "recording decodability",
}
"""The default columns and their titles."""

SAME_RECORDING = "labels of the same recording"
"""What priors are trained on: they do not exist where a protocol shows no such labels."""

_NOT_THERE = "– (needs test labels)"
_KEYS = ("protocol", "standardize", "system")
_POINTS = {"fraction": "{:.4g} of labels", "n_animals": "animals: {:g}"}


def scores_table(
    dataset: xr.Dataset,
    scores: Sequence[str] | None = None,
    *,
    digits: int = 3,
    markdown: bool = False,
) -> pd.DataFrame | str:
    """Return a result of `evaluate`, `label_efficiency` or `data_scaling` as a table.

    Parameters
    ----------
    dataset : Dataset
        The result.
    scores : sequence of str, optional
        Variables to show. Default: those that have a value; of curves the macro F1.
    digits : int
        After the point.
    markdown : bool
        Return text in place of a DataFrame.

    Returns
    -------
    DataFrame or str
        A row is a system (in a protocol, with a standardisation, where there are several); of
        curves a column is a fraction or a number of animals. Texts "mean ± s.d.": over seeds
        (and draws, orders); "by fold or animal" over folds, in zero-shot protocols the left-out
        animals, of the means over seeds; of shuffled labels over the shuffles. No s.d. of a single
        value; where a system does not exist in a protocol, the reason, and "–" behind it.

    Raises
    ------
    ValueError
        If there is no such score.

    Examples
    --------
    >>> import pynapple_nuclr as nap_nuclr
    >>> from pynapple_nuclr.evaluation import scores_table, label_efficiency
    >>> units = nap_nuclr.simulate("single", n_units=60, duration=60)
    >>> curve = label_efficiency(units, "cell_type", [0.1, 1], ["statistics"], n_draws=1,
    ...     n_shuffles=0, progress=False)
    >>> print(scores_table(curve.sel(system=["statistics"]), digits=1, markdown=True))
    | system | 0.1 of labels | 1 of labels |
    |---|---|---|
    | statistics | 1.0 | 1.0 |
    """
    along = point_dimension(dataset)
    known = [str(name) for name, one in dataset.items() if is_score(one)]
    default = ["macro_f1"] if along else [name for name in _TITLES if name in known]
    for name in scores or ():
        if name not in known:
            raise ValueError(f"there is no score {name!r}; there are {', '.join(known)}")
    shown = [name for name in scores or default if scores or dataset[name].notnull().any()]
    keys = [key for key in _KEYS if dataset.sizes.get(key, 0) > 1 or key == "system"]
    columns = {
        title: text
        for name in shown
        for title, text in _columns(dataset, name, keys, along, digits)
    }
    if along and len(shown) == 1:
        columns = {title.split(", ")[1]: text for title, text in columns.items()}
    table = _Table(columns)
    if "pretrained_on" in dataset.coords:
        of_system = dataset["pretrained_on"].to_series()
        needs = table.index.get_level_values("system").map(of_system) == SAME_RECORDING
        table.iloc[needs & (table.iloc[:, 0] == "–").to_numpy(), 0] = _NOT_THERE
    return _markdown(table) if markdown else table


class _Table(pd.DataFrame):
    """A table that prints all its columns, however narrow the terminal."""

    def __repr__(self) -> str:
        return str(self.to_string())


def title_of(scores: xr.Dataset) -> str:
    """Return the target and how much was scored; "" where the Dataset has no such attributes."""
    about = scores.attrs
    if "target" not in about:
        return ""
    return f"{about['target']}: {about['n_units']} units, {about['n_recordings']} recordings"


def point_dimension(dataset: xr.Dataset) -> str | None:
    """Return the dimension of a curve's points; None for the table of `evaluate`."""
    return next((dim for dim in _POINTS if dim in dataset.dims), None)


def mean_and_spread(score: xr.DataArray, keep: Sequence[str]) -> tuple[xr.DataArray, xr.DataArray]:
    """Return mean and s.d. over all other dimensions; the s.d. of one value is NaN.

    Over folds both are of the means over seeds, draws and orders: the s.d. is that of animals.
    """
    rest = [dim for dim in score.dims if dim not in keep]
    with warnings.catch_warnings():  # means of nothing are NaN, as they should be
        warnings.simplefilter("ignore", RuntimeWarning)
        if "fold" in rest:
            score = score.mean([dim for dim in rest if dim != "fold"])
            rest = ["fold"]
        return score.mean(rest), score.std(rest, ddof=1)


def is_score(one: xr.DataArray) -> bool:
    """Return whether a variable of a result holds numbers of systems."""
    return (
        one.dtype.kind == "f" and "system" in one.dims and not {"unit", "true_label"} & {*one.dims}
    )


def _with(score: xr.DataArray, dataset: xr.Dataset, keys: Sequence[str]) -> xr.DataArray:
    """Return the score with all of these dimensions, and without the others that are no spread."""
    missing = {key: dataset[key].values for key in keys if key not in score.dims}
    single = [key for key in _KEYS if key not in keys and key in score.dims]
    return score.squeeze(single).expand_dims(missing)


def _columns(
    dataset: xr.Dataset, name: str, keys: Sequence[str], along: str | None, digits: int
) -> Iterator[tuple[str, pd.Series]]:
    score, title = _with(dataset[name], dataset, keys), _TITLES.get(name, name)
    mean, spread = mean_and_spread(score, [*keys, *([along] if along else [])])
    if name == "macro_f1" and "chance_sd" in dataset:
        of_shuffles = mean_and_spread(_with(dataset["chance_sd"], dataset, keys), keys)[0]
        spread = spread.where(spread["system"] != SHUFFLED, of_shuffles)
    if along is None:
        yield title, _texts(mean, spread, keys, digits)
        return
    for point in mean[along].values:
        texts = _texts(mean.sel({along: point}), spread.sel({along: point}), keys, digits)
        yield f"{title}, {_POINTS[along].format(point)}", texts


def _texts(mean: xr.DataArray, spread: xr.DataArray, keys: Sequence[str], digits: int) -> pd.Series:
    means, spreads = (one.transpose(*keys).to_series() for one in (mean, spread))
    texts = [_text(m, s, digits) for m, s in zip(means, spreads, strict=True)]
    return pd.Series(texts, index=means.index)


def _text(mean: float, spread: float, digits: int) -> str:
    if np.isnan(mean):
        return "–"
    return f"{mean:.{digits}f}" + ("" if np.isnan(spread) else f" ± {spread:.{digits}f}")


def _markdown(table: pd.DataFrame) -> str:
    head = [*map(str, table.index.names), *table.columns]
    body = [
        [*map(str, np.atleast_1d(at)), *row]
        for at, row in zip(table.index, table.values, strict=True)
    ]
    lines = ["| " + " | ".join(row) + " |" for row in [head, *body]]
    return "\n".join([lines[0], "|" + "---|" * len(head), *lines[1:]])
