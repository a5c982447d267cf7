"""`dataset.scores`: what a result can do by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import xarray as xr

from pynapple_nuclr.evaluation.score_tables import as_table, point_dimension

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


@xr.register_dataset_accessor("scores")
class Scores:
    """The table and the figures of a result, as ``dataset.scores``.

    It is there as soon as `pynapple_nuclr.evaluation` is imported, also for results that were
    read from a file.

    Examples
    --------
    >>> import pynapple_nuclr as nap_nuclr
    >>> from pynapple_nuclr.evaluation import evaluate
    >>> units = nap_nuclr.simulate("single", n_units=30, duration=60)
    >>> scores = evaluate(units, "cell_type", systems=["statistics"], progress=False)
    >>> scores.scores.table(["macro_f1"]).loc["statistics", "macro F1"]
    '1.000'
    """

    def __init__(self, dataset: xr.Dataset) -> None:
        self._dataset = dataset

    def table(self, scores: Any = None, **options: Any) -> pd.DataFrame | str:
        """Return the scores as a table; see `as_table`."""
        return as_table(self._dataset, scores, **options)

    def plot(self, score: str = "macro_f1", *, ax: Axes | None = None) -> Axes:
        """Draw the figure of this kind of result: scores, label efficiency or data scaling.

        See `plot_scores`, `plot_label_efficiency` and `plot_data_scaling`.
        """
        from pynapple_nuclr.evaluation.score_figures import (
            plot_data_scaling,
            plot_label_efficiency,
            plot_scores,
        )

        draw = {
            None: plot_scores,
            "fraction": plot_label_efficiency,
            "n_animals": plot_data_scaling,
        }[point_dimension(self._dataset)]
        return draw(self._dataset, score, ax=ax)

    def plot_confusion(self, system: str | None = None, **options: Any) -> Axes:
        """Draw which labels a system takes for which; see `plot_confusion`."""
        from pynapple_nuclr.evaluation.score_figures import plot_confusion

        return plot_confusion(self._dataset, system, **options)
