from .curves import data_scaling, label_efficiency
from .figures import plot_confusion, plot_data_scaling, plot_label_efficiency, plot_scores
from .guards import LeakError
from .running import evaluate
from .tables import as_table

__all__ = [
    "LeakError",
    "as_table",
    "data_scaling",
    "evaluate",
    "label_efficiency",
    "plot_confusion",
    "plot_data_scaling",
    "plot_label_efficiency",
    "plot_scores",
]
