"""How far a recording lies from those of training, and whether that is far.

Every window that the encoder reads is described by a few properties of what is in it: no labels,
no network. Of the recordings of training an encoder keeps, in ``card["familiarity"]``, the mean of
each property and how it varies between recordings, windows and units. The deviation of one more
recording of the same kind follows Student's t, and *familiarity* is the probability that the
largest of its deviations would be at least as large as the one found: near 1 for what is like the
training, and warned of below 0.01.

How much recordings of one kind differ is known poorly from a few of them. So what was seen counts
together with a prior, the usual spread between sessions of one laboratory, as if it had been seen
in ten more recordings. With it even an encoder of one recording has a say.

Measured on 14 Neuropixels sessions (trials of 0.4 s, Steinmetz et al. 2019; windows of 3.2 s): of
sessions that the encoder does not know, none is warned of, whether it knows 1, 2, 4, 8 or 13
others. With each spike at a random time in the recording all are (of one session known: 4 in 5),
and so are milliseconds taken for seconds and calcium events passed off as spikes. Small parts of a
population are no random sample of windows: of 50 units drawn from an unknown session 1 % (one
known) to 8 % (eight known) are warned of, of 150 none.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pynapple as nap
import xarray as xr
from numpy.typing import NDArray
from scipy.stats import t as student

from pynapple_nuclr.checkpoints import Encoder, as_encoder
from pynapple_nuclr.config import Gaps
from pynapple_nuclr.familiarity.training_reference import distances, read_reference, share_as_far
from pynapple_nuclr.familiarity.window_statistics import PROPERTIES, window_statistics
from pynapple_nuclr.recording import Units, as_recording
from pynapple_nuclr.user_warnings import warn_user
from pynapple_nuclr.windows import PatchReader, open_patch_reader, tile

Floats = NDArray[np.float64]

MIN_FAMILIARITY = 0.01
"""Below this familiarity a recording counts as unlike those of training."""

_PRIOR = 10  # recordings that the usual spread counts for
_NAMED = 3  # deviations that a warning names


class Comparison(NamedTuple):
    """How a recording compares with those of training.

    `familiarity` is NaN if the encoder does not know them, `units` (units,) NaN for silent ones. Of
    each property: its `value`, `low` and `high`, between which nearly all `recordings` of the same
    kind would lie (± 2 s.d.), and the `deviation` in s.d. on the property's scale.
    """

    familiarity: float
    units: Floats
    recordings: int
    value: Floats
    low: Floats
    high: Floats
    deviation: Floats


def compare(encoder: Encoder, source: PatchReader, starts: NDArray[Any]) -> Comparison:
    """Compare the windows at `starts` (windows, patches) with the encoder's training."""
    reference = read_reference(encoder)
    scales = list(PROPERTIES[source.config.modality].values())
    if reference is None:
        nothing = np.full(len(scales), np.nan)
        units = np.full(source.recording.n_units, np.nan)
        return Comparison(float("nan"), units, 0, nothing, nothing, nothing, nothing)
    seen = window_statistics(source, starts)
    value, n = seen.values(), reference.recordings
    usual = np.array([scale.spread for scale in scales])
    spread = np.nan_to_num(reference.sd) ** 2 * (n - 1) + usual**2 * _PRIOR
    variance = spread / (n - 1 + _PRIOR) * (1 + 1 / n)
    # A recording of few windows or few units is described less exactly.
    variance += np.nan_to_num(reference.window_sd) ** 2 / max(seen.windows, 1)
    variance += np.nan_to_num(reference.unit_sd) ** 2 / max(seen.width(), 1)
    sd = np.sqrt(variance)
    deviation = (value - reference.mean) / sd
    far = distances(seen.unit_values(), reference.units_mean, reference.units_sd)
    return Comparison(
        probability_of_largest(deviation, n - 1 + _PRIOR),
        share_as_far(reference, far),
        n,
        _back(scales, value),
        _back(scales, reference.mean - 2 * sd),
        _back(scales, reference.mean + 2 * sd),
        deviation,
    )


def probability_of_largest(deviation: Floats, freedom: int) -> float:
    """Return how probable it is that the largest of so many deviations (in s.d.) is as large.

    NaN without any.
    """
    known = np.abs(deviation[np.isfinite(deviation)])
    if not len(known):
        return float("nan")
    one = 2 * student.sf(known.max(), freedom)
    return float(-np.expm1(len(known) * np.log1p(-one)))


def _back(scales: list[Any], values: Floats) -> Floats:
    return np.array([scale.back(value) for scale, value in zip(scales, values, strict=True)])


_WHAT = {
    "spikes": "that its events are spikes",
    "calcium": "what its traces are (ΔF/F, or events?)",
}


def warn_if_unfamiliar(comparison: Comparison, name: str, encoder: Encoder) -> None:
    """Warn once of a recording that is unlike those of training."""
    if not comparison.familiarity < MIN_FAMILIARITY:
        return
    names = list(PROPERTIES[encoder.config.modality])
    largest = np.argsort(-np.nan_to_num(np.abs(comparison.deviation)))[:_NAMED]
    deviations = [
        f"{names[i]} {comparison.value[i]:.2g} (training: {comparison.low[i]:.2g} to "
        f"{comparison.high[i]:.2g})"
        for i in largest
    ]
    warn_user(
        f"recording {name!r} is unlike the data that the encoder {encoder.identity} was trained "
        f"on (familiarity {comparison.familiarity:.1g}, warned of below {MIN_FAMILIARITY}): "
        f"largest deviations: {', '.join(deviations)}; check its times (in seconds?) and "
        f"{_WHAT[encoder.config.modality]}, or fine-tune the "
        "encoder on such recordings (pretrain with init=)"
    )


def familiarity_report(
    units: Units,
    encoder: Encoder | str | Path | None = None,
    *,
    epochs: nap.IntervalSet | None = None,
    gaps: Gaps | None = None,
) -> xr.Dataset:
    """Compare a recording with those that an encoder was trained on, without embedding it.

    Parameters
    ----------
    units : TsGroup or TsdFrame
        Spike trains, or calcium traces.
    encoder : Encoder, str or Path, optional
        The encoder, its folder or its hub name. Default: as of `embed`.
    epochs : IntervalSet, optional
        Use only these epochs. Default: the time support.
    gaps : {"split", "join"}, optional
        Windows within one epoch, or across epochs. Default: as the encoder was trained.

    Returns
    -------
    Dataset
        ``value`` (property): what was found in up to 64 of the windows that the encoder reads;
        ``low`` and ``high``: where nearly all recordings like those of training would lie (± 2
        s.d.); ``deviation``: in s.d., on a scale where recordings of one kind differ alike (mostly
        logarithmic); ``unit_familiarity`` (unit): the share of the units of training that lie as
        far from their mean or farther, each unit by itself; NaN for silent units. Attributes:
        ``familiarity``, 0 to 1: the probability that the largest deviation of one more recording
        like those of training would be as large (`embed` warns below 0.01); ``encoder``;
        ``recordings``, of training. All NaN for an encoder that does not know what it was trained
        on (see `record_training_data`).

        Properties of spikes: ``rate`` (Hz, geometric mean over the units that fire in a window),
        ``active units`` (the fraction that does), ``bin variability`` and ``patch variability``
        (variance / mean of counts), ``persistence`` (correlation of a unit's neighbouring bins). Of
        calcium: ``level`` and ``deviation`` (mean and s.d. of the scaled traces), ``skewness``,
        ``zeros`` (fraction), ``persistence``, ``patch persistence``. Of both: ``bin synchrony``
        and ``patch synchrony`` (mean correlation between units, drawn to 0 where they are few).

    Raises
    ------
    TypeError, ValueError
        As `embed`.

    Examples
    --------
    >>> import pynapple_nuclr as nap_nuclr
    >>> from pynapple_nuclr.familiarity import familiarity_report, record_training_data
    >>> encoder = nap_nuclr.Encoder(nap_nuclr.EncoderConfig(dim=32, heads=2, head_dim=16))
    >>> units = nap_nuclr.simulate("single", n_units=20, duration=60, seed=0)
    >>> encoder = record_training_data(encoder, units)
    >>> more = nap_nuclr.simulate("single", n_units=20, duration=60, seed=1)
    >>> familiarity_report(more, encoder).attrs["familiarity"] > 0.1
    True
    """
    encoder = as_encoder(encoder, units, epochs)
    source = open_patch_reader(as_recording(units, epochs=epochs), encoder.config)
    comparison = compare(encoder, source, tile(source, gaps=gaps).starts)
    columns = {name: getattr(comparison, name) for name in ("value", "low", "high", "deviation")}
    return xr.Dataset(
        {name: ("property", values) for name, values in columns.items()}
        | {"unit_familiarity": ("unit", comparison.units)},
        coords={
            "property": list(PROPERTIES[encoder.config.modality]),
            "unit": source.recording.unit_ids,
        },
        attrs={
            "familiarity": comparison.familiarity,
            "encoder": encoder.identity,
            "recordings": comparison.recordings,
        },
    )
