"""The classifier that probes and evaluations use unless another is given."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache
from typing import Any

from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import ThreadpoolController


def default_estimator(class_weight: str | None = "balanced", c: float = 1.0) -> Any:
    """Return the untrained classifier: standardised features, logistic regression.

    "balanced": all classes weigh the same; None: as much as they are frequent. `c`: the inverse of
    the regularisation.
    """
    classifier = LogisticRegression(C=c, max_iter=1000, class_weight=class_weight)
    return make_pipeline(StandardScaler(), classifier)


def one_blas_thread() -> AbstractContextManager[Any]:
    """Return a context in which BLAS uses one thread.

    A fit calls BLAS thousands of times on little data, for which waking other threads takes longer
    than the work: with two threads a probe of 60 units took four times as long.
    """
    return _blas().limit(limits=1, user_api="blas")


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController()  # searches the loaded libraries, which takes 14 ms
