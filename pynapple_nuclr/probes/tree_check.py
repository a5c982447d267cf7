"""Decision trees out of files: their compiled code follows node numbers without checking them."""

from __future__ import annotations

from typing import Any

import numpy as np


def check_trees(estimator: Any) -> None:
    """Refuse scikit-learn's trees whose nodes would be read outside their arrays."""
    pending: list[tuple[Any, int | None]] = [(estimator, None)]
    done: set[tuple[int, int | None]] = set()
    while pending:
        one, n_columns = pending.pop()
        if (id(one), n_columns) in done:
            continue
        done.add((id(one), n_columns))
        if hasattr(one, "children_left"):
            _check_tree(one, n_columns)
        elif isinstance(one, dict):
            pending += [(value, None) for value in one.values()]
        elif isinstance(one, (list, tuple)):
            pending += [(value, n_columns) for value in one]
        elif isinstance(one, np.ndarray) and one.dtype == object:
            pending += [(value, n_columns) for value in one.ravel()]
        elif hasattr(one, "__dict__"):
            pending += _members(one, n_columns)


def _members(owner: Any, n_columns: int | None) -> list[tuple[Any, int | None]]:
    """Return the attributes of an estimator, with the number of columns that its trees may read.

    An ensemble checks the data's width once, for itself; its trees do not check it again.
    """
    own = getattr(owner, "n_features_in_", None)
    widths = [width for width in (own, n_columns) if isinstance(width, (int, np.integer))]
    narrowest = int(min(widths)) if widths else None
    stages = getattr(owner, "estimators_", None)
    if isinstance(stages, np.ndarray) and stages.ndim == 2:
        stated = getattr(owner, "n_trees_per_iteration_", None)
        if stages.shape[1] != stated:
            raise ValueError(f"it has {stages.shape[1]} trees in a stage and states {stated}")
    passed_on = ("estimators_", "tree_")
    return [
        (value, narrowest if name in passed_on else None) for name, value in vars(owner).items()
    ]


def _check_tree(tree: Any, n_columns: int | None) -> None:
    here, n_nodes = np.arange(tree.node_count), tree.node_count
    inner = tree.children_left != -1
    if n_nodes < 1 or n_columns is None:
        raise ValueError("a tree has no nodes, or its estimator states no number of columns")
    for children in (tree.children_left, tree.children_right):
        # scikit-learn numbers nodes from the root on: other orders could run in a circle.
        if (inner & ((children <= here) | (children >= n_nodes))).any():
            raise ValueError(f"a tree of {n_nodes} nodes has a child that is none of its nodes")
    if (inner & ((tree.feature < 0) | (tree.feature >= n_columns))).any():
        raise ValueError(f"a tree splits by a column that is none of its {n_columns}")
