from ._evaluate import evaluate
from .leak_checks import LeakError
from .learning_curves import data_scaling, label_efficiency
from .score_figures import plot_confusion, plot_data_scaling, plot_label_efficiency, plot_scores
from .score_tables import scores_table

__all__ = [
    "LeakError",
    "scores_table",
    "data_scaling",
    "evaluate",
    "label_efficiency",
    "plot_confusion",
    "plot_data_scaling",
    "plot_label_efficiency",
    "plot_scores",
]
