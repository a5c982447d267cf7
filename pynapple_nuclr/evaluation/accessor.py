"""`dataset.nuclr`: the table and the figures of a result."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import xarray as xr

from pynapple_nuclr.evaluation.score_figures import plot_confusion, plot_scores
from pynapple_nuclr.evaluation.score_tables import scores_table, title_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@xr.register_dataset_accessor("nuclr")
class NuclrAccessor:
    """The table and the figures of a result, as ``dataset.nuclr``.

    Shown by itself, it is the table, with all rows and columns. It exists as soon as
    `pynapple_nuclr.evaluation` is imported, also for results that were read from a file.

    Examples
    --------
    >>> import pynapple_nuclr as nap_nuclr
    >>> from pynapple_nuclr.evaluation import evaluate
    >>> units = nap_nuclr.simulate("single", n_units=30, duration=60)
    >>> scores = evaluate(units, "cell_type", systems=["statistics"], progress=False)
    >>> scores.nuclr.table(["macro_f1"]).loc["statistics", "macro F1"]
    '1.000'
    >>> scores[["macro_f1"]].sel(system=["statistics"]).nuclr
    cell_type: 30 units, 1 recordings
               macro F1
    system
    statistics    1.000
    """

    def __init__(self, dataset: xr.Dataset) -> None:
        self._dataset = dataset

    def __repr__(self) -> str:
        if "system" not in self._dataset.dims:
            return "<no scores: this Dataset is not a result of evaluate or of a learning curve>"
        lines = [title_of(self._dataset), *self.table().to_string().splitlines()]
        return "\n".join(line.rstrip() for line in lines if line)

    def _repr_html_(self) -> str:
        if "system" not in self._dataset.dims:
            return f"<p>{escape(repr(self))}</p>"
        caption = f"<caption>{escape(title_of(self._dataset))}</caption><thead>"
        return str(self.table().to_html()).replace("<thead>", caption, 1)

    def table(self, scores: Any = None, **options: Any) -> Any:
        """Return the scores as a table; see `scores_table`."""
        return scores_table(self._dataset, scores, **options)

    def plot(self, score: str = "macro_f1", *, ax: Axes | None = None) -> Axes:
        """Draw the scores or the learning curve; see `plot_scores`."""
        return plot_scores(self._dataset, score, ax=ax)

    def plot_confusion(self, system: str | None = None, **options: Any) -> Axes:
        """Draw which labels a system predicts for which; see `plot_confusion`."""
        return plot_confusion(self._dataset, system, **options)
