"""The classifier that probes and evaluations use unless another is given."""

from __future__ import annotations

from typing import Any

from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def default_estimator(class_weight: str | None = "balanced", c: float = 1.0) -> Any:
    """Return the untrained classifier: standardised features, logistic regression.

    "balanced": all classes weigh the same; None: as much as they are frequent. `c`: the inverse of
    the regularisation.
    """
    classifier = LogisticRegression(C=c, max_iter=1000, class_weight=class_weight)
    return make_pipeline(StandardScaler(), classifier)
