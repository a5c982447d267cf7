"""From class probabilities to metadata columns."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pynapple_nuclr.recording import Units

UNKNOWN = "unknown"
"""What a unit is called that is silent, or about which the probe is not sure enough."""


def prediction_columns(
    target: str,
    classes: NDArray[Any],
    chances: NDArray[np.float64],
    threshold: float | None,
    probabilities: bool,
) -> dict[str, NDArray[Any]]:
    """Make the columns that a probe writes.

    Parameters
    ----------
    target : str
        What is predicted.
    classes : ndarray (classes,)
        The labels.
    chances : ndarray (units, classes)
        Their probabilities; NaN for silent units.
    threshold : float, optional
        Units of a lower confidence are called "unknown".
    probabilities : bool
        Also a column per class.

    Returns
    -------
    dict
        Column → values (units,).
    """
    column = f"predicted_{target}"
    confidence = chances.max(axis=1)
    labels = classes.astype(str)[np.nan_to_num(chances).argmax(axis=1)]
    # NaN is not above any threshold: silent units become unknown here.
    labels = np.where(confidence >= (threshold or 0), labels, UNKNOWN)
    columns = {column: labels, f"{column}_confidence": confidence}
    if probabilities:
        columns |= zip(_probability_columns(column, classes), chances.T, strict=True)
    return columns


def _probability_columns(column: str, classes: NDArray[Any]) -> list[str]:
    """Return a name per class; classes that differ in punctuation only are numbered."""
    names: list[str] = []
    for one in classes:
        name = re.sub(r"\W", "_", f"{column}_p_{one}")
        again = [f"{name}_{i}" for i in range(2, len(classes) + 2)]
        names.append(next(free for free in [name, *again] if free not in names))
    return names


def embed_for_probe(units: Units, encoder: Any, known: str | None, prefix: str) -> Units:
    """Embed units with the encoder that made a probe's training vectors.

    Parameters
    ----------
    units : TsGroup or TsdFrame
        One recording.
    encoder : Encoder, str or Path, optional
        The encoder or where it is; default: the `known` one, where it can be found.
    known : str, optional
        Its name@hash; None for a probe that was fitted on arrays.
    prefix : str
        Prefix of the columns.

    Returns
    -------
    TsGroup or TsdFrame

    Raises
    ------
    ValueError
        If `encoder` is another one, or there is none.
    """
    # Imported only here, because it loads torch: a probe of embedded groups needs none.
    from pynapple_nuclr.checkpoints import as_encoder, find_encoder
    from pynapple_nuclr.embedding import embed

    if encoder is None:
        if known is None:
            raise ValueError(
                "units are not embedded, and this probe was fitted on arrays, so it does not know "
                "its encoder; pass encoder=, or embed(units) first"
            )
        encoder = find_encoder(known)
    encoder = as_encoder(encoder)
    if known not in (None, encoder.identity):
        raise ValueError(
            f"encoder={encoder.identity} cannot embed units for a probe that was trained on "
            f"vectors of {known}; pass that encoder"
        )
    return embed(units, encoder, prefix=prefix)
