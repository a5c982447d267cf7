"""The labels that systems learn from, checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pynapple_nuclr.columns import as_texts
from pynapple_nuclr.columns.metadata import unit_ids
from pynapple_nuclr.recording import Units


def check_labels(recordings: Mapping[str, Units], labels: Any) -> dict[str, NDArray[np.str_]]:
    """Check the labels (units,) of each recording: texts, "" where missing ("", None or NaN)."""
    if not isinstance(labels, Mapping):
        raise TypeError(
            f"labels is a {type(labels).__name__}; expected a mapping recording name → labels"
        )
    read = {}
    for name, units in recordings.items():
        if name not in labels:
            raise ValueError(
                f'labels has no recording {name!r}; expected one label a unit, "" where unknown'
            )
        values = np.asarray(labels[name], dtype=object)
        n_units = len(unit_ids(units))
        if values.shape != (n_units,):
            raise ValueError(
                f"recording {name!r}: labels have shape {values.shape}; expected one a unit: "
                f"({n_units},)"
            )
        read[name] = as_texts(values)
    if not any((values != "").any() for values in read.values()):
        raise ValueError(
            f"no unit of the recordings {', '.join(read)} has a label; expected at least one"
        )
    return read


def classes_in(labels: Mapping[str, NDArray[np.str_]]) -> NDArray[np.str_]:
    """Return the labels that occur (classes,), sorted."""
    present = np.unique(np.concatenate(list(labels.values())))
    return present[present != ""]
