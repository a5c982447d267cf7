"""Statistics of single units: the baseline for encoders that see the whole population."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pynapple as nap
from numpy.typing import NDArray

from pynapple_nuclr.recording import Recording, Units, as_recording

Floats = NDArray[np.float64]

_EDGE = 1e-9  # s, tolerance for times on the edge of an epoch or of a window
_REFRACTORINESS = 0.005  # s, the constant R of the revised local variation
_BURST = 0.008  # s, shorter intervals count as within a burst
_MIN_SAMPLES = 5  # intervals, pairs of intervals or windows, for a measure of them
_ISI_EDGES = np.geomspace(0.002, 2.0, 10)  # s, between the bins of the interval histogram
_LAG_EDGES = np.append(0.001, np.geomspace(0.003, 1.0, 10))  # s, of the autocorrelogram
_BIN = 0.1  # s; counting windows are whole bins
_FANO_WINDOWS = (0.1, 0.4, 1.0, 5.0)  # s
_TRACE_LAGS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)  # s
_BLOCK = 2**17  # spikes in a block: small enough for the processor's cache
_EULER = 0.5772156649015329


def unit_statistics(units: Units, *, epochs: nap.IntervalSet | None = None) -> pd.DataFrame:
    """Compute statistics of every unit from its own activity alone.

    Nothing is counted across the gap between two epochs: no interval, no pair of spikes, no
    counting window. Nothing is NaN: where a unit has too few spikes (or frames), the value is that
    of a Poisson process of the same rate (for traces: 0).

    Parameters
    ----------
    units : TsGroup or TsdFrame
        Spike trains, or calcium traces.
    epochs : IntervalSet, optional
        Use only these epochs, cut to the object's time support. Default: the time support.

    Returns
    -------
    DataFrame
        Index: unit ids, in the object's order. All columns are float64. For spikes:

        ========================= ============================================================
        ``rate``, ``log_rate``    firing rate in Hz; log of (spikes + ½) per second
        ``fano_…s``               variance / mean of counts in windows of that many seconds; 1
        ``cv``                    s.d. / mean of the inter-spike intervals; 1
        ``cv2``, ``lv``, ``lvr``  local irregularity: CV2, Lv and LvR (R = 5 ms); 1
        ``isi_log_mean``, ``…sd`` mean and s.d. of the log interval (s); −0.58 − log rate, 1.28
        ``isi_correlation``       between a log interval and the next; 0
        ``burst_index``           fraction of the intervals below 8 ms; 0
        ``isi_<…s``               fraction of the intervals up to that many seconds from the
                                  bound before, ten bins in log steps; as Poisson
        ``acg_…s``                autocorrelogram: log of the number of pairs of spikes at lags
                                  up to that many seconds from the bound before, over the number
                                  expected at this rate, one pair added to both; 0
        ========================= ============================================================

        The last entry is the fill value, taken below 5 intervals (cv, isi), pairs of intervals
        (cv2, lv, lvr, isi_correlation) or counting windows, and where no epoch is long enough.
        For calcium: ``mean``, ``sd``, ``skewness``, ``kurtosis`` (excess), ``active`` (fraction of
        the frames above mean + 2 s.d.), ``event_rate`` (upward crossings of that level, per
        second) and ``autocorrelation_…s`` (at the nearest number of frames, at least 1).

    Raises
    ------
    TypeError, ValueError
        As `pynapple_nuclr.recording.as_recording`; ValueError if no epoch overlaps it.

    References
    ----------
    CV2: Holt, Softky, Koch & Douglas 1996, doi:10.1152/jn.1996.75.5.1806.
    Lv: Shinomoto, Shima & Tanji 2003, doi:10.1162/089976603322518759.
    LvR: Shinomoto et al. 2009, doi:10.1371/journal.pcbi.1000433.
    Fano factor over repeated windows: Churchland et al. 2010, doi:10.1038/nn.2501.

    Examples
    --------
    >>> import numpy as np, pynapple as nap, pynapple_nuclr as nap_nuclr
    >>> units = nap.TsGroup({7: nap.Ts(np.arange(0, 60, 0.1)), 9: nap.Ts([0.0, 30.0])})
    >>> nap_nuclr.unit_statistics(units)[["rate", "cv", "lv"]].round(2)
        rate   cv   lv
    7  10.02  0.0  0.0
    9   0.03  1.0  1.0
    """
    recording = as_recording(units, epochs=epochs)
    if not recording.duration > 0:
        raise ValueError("epochs do not overlap the recording; expected one at least")
    if recording.modality == "spikes":
        table = pd.concat([_of_spikes(spikes) for spikes in _blocks_of_units(recording)])
    else:
        table = _of_traces(recording)
    return table.set_index(recording.unit_ids).astype(np.float64)


@dataclass
class _Spikes:
    """The spikes within the epochs of some units, sorted by unit, then by time.

    `times` in s, `units` and `epochs` (indices) are (spikes,); `per_unit` counts them; `starts` and
    `lengths` (epochs,) are in s.
    """

    times: Floats
    units: NDArray[np.int64]
    epochs: NDArray[np.int64]
    per_unit: Floats
    starts: Floats
    lengths: Floats

    def sum(self, values: Floats, units: NDArray[np.int64]) -> Floats:
        """Sum values over each unit (units,); they are sorted by unit."""
        ends = np.searchsorted(units, np.arange(len(self.per_unit) + 1))
        filled = np.flatnonzero(np.diff(ends))  # reduceat cannot sum nothing
        sums = np.zeros(len(self.per_unit))
        if len(filled):
            sums[filled] = np.add.reduceat(values, ends[filled])
        return sums


def _blocks_of_units(recording: Recording) -> Iterator[_Spikes]:
    """Yield the spikes of all units in order, in blocks of units."""
    starts, ends = recording.epochs.T
    max_units = max(1, int(32 * _BLOCK * _BIN / (ends - starts).sum()))  # counts need memory
    for first, until in recording.blocks_of_units(_BLOCK, max_units):
        times, units = recording.trains(first, until)
        epochs = np.searchsorted(starts - _EDGE, times, side="right") - 1
        inside = (epochs >= 0) & (times <= ends[epochs] + _EDGE)
        units = units[inside] - first
        per_unit = np.bincount(units, minlength=until - first).astype(np.float64)
        yield _Spikes(times[inside], units, epochs[inside], per_unit, starts, ends - starts)


def _of_spikes(spikes: _Spikes) -> pd.DataFrame:
    seconds = spikes.lengths.sum()
    log_rate = np.log((spikes.per_unit + 0.5) / seconds)
    return pd.DataFrame(
        {
            "rate": spikes.per_unit / seconds,
            "log_rate": log_rate,
            **_fano_factors(spikes),
            **_intervals(spikes, log_rate),
            **_autocorrelogram(spikes),
        }
    )


def _fano_factors(spikes: _Spikes) -> dict[str, Floats]:
    """Variance / mean of counts in windows that slide by a bin: no dependence on their start."""
    n_units = len(spikes.per_unit)
    per_epoch = _whole(spikes.lengths / _BIN)
    in_epoch = _whole((spikes.times - spikes.starts[spikes.epochs]) / _BIN)
    whole = in_epoch < per_epoch[spikes.epochs]
    bins = (np.cumsum(per_epoch) - per_epoch)[spikes.epochs] + in_epoch
    starts, ends = _occupied(np.unique(bins[whole]), np.cumsum(per_epoch))
    first = np.cumsum(ends - starts) - (ends - starts)
    n_bins = int((ends - starts).sum())
    stretch = np.searchsorted(starts, bins[whole], side="right") - 1
    kept = spikes.units[whole] * n_bins + first[stretch] + bins[whole] - starts[stretch]
    counts = np.bincount(kept, minlength=n_units * n_bins).reshape(n_units, n_bins)
    before = np.zeros((n_units, n_bins + 1))
    np.cumsum(counts, axis=1, out=before[:, 1:])
    left = np.repeat(first + ends - starts, ends - starts) - np.arange(n_bins)  # bins to the end

    factors = {}
    for seconds in _FANO_WINDOWS:
        width = round(seconds / _BIN)
        inside = (left >= width).astype(np.float64)[: max(n_bins + 1 - width, 0)]
        independent = (per_epoch // width).sum()
        factors[f"fano_{seconds:g}s"] = np.ones(n_units)
        if independent >= _MIN_SAMPLES and len(inside):
            windows = before[:, width:] - before[:, :-width]
            n = float(np.maximum(per_epoch + 1 - width, 0).sum())  # those without spikes too
            total = windows @ inside
            squares = np.square(windows, out=windows) @ inside
            # Counts and their sums are whole numbers, so that this difference loses no digits.
            variance = np.maximum(n * squares - total**2, 0) / n**2
            variance *= independent / (independent - 1)
            enough = total >= _MIN_SAMPLES * width  # spikes in the windows
            factors[f"fano_{seconds:g}s"] = _ratio(variance, total / n, enough, 1.0)
    return factors


def _occupied(
    bins: NDArray[np.int64], ends: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return starts and ends of the stretches of bins from which a window can reach a spike.

    The rest of a nearly silent recording, such as one with times in milliseconds, costs nothing.
    `bins` are those with a spike, sorted; no stretch crosses one of the epochs' `ends`.
    """
    reach = round(max(_FANO_WINDOWS) / _BIN) - 1
    epoch = np.searchsorted(ends, bins, side="right")
    apart = (np.diff(bins) > 2 * reach + 1) | (np.diff(epoch) > 0)
    opens, closes = (edge[: len(bins)] for edge in (np.append(True, apart), np.append(apart, True)))
    starts = np.maximum(bins - reach, np.append(0, ends)[epoch])
    return starts[opens], np.minimum(bins + reach + 1, ends[epoch])[closes]


def _whole(number: Floats) -> NDArray[np.int64]:
    return np.floor(number + 1e-6).astype(np.int64)


def _intervals(spikes: _Spikes, log_rate: Floats) -> dict[str, Floats]:
    """Statistics of the inter-spike intervals, and of pairs of neighbouring intervals."""
    neighbours = (np.diff(spikes.units) == 0) & (np.diff(spikes.epochs) == 0)
    intervals = np.maximum(np.diff(spikes.times), _EDGE)[neighbours]
    units = spikes.units[1:][neighbours]
    n = spikes.sum(np.ones_like(intervals), units)
    enough = n >= _MIN_SAMPLES

    def mean(values: Floats) -> Floats:
        return spikes.sum(values, units) / np.maximum(n, 1)

    average, log = mean(intervals), np.log(intervals)
    sd = np.sqrt(mean((intervals - average[units]) ** 2))
    log_mean = np.where(enough, mean(log), -_EULER - log_rate)
    log_sd = np.where(enough, np.sqrt(mean((log - log_mean[units]) ** 2)), np.pi / np.sqrt(6))
    statistics = {
        "cv": _ratio(sd, average, enough, 1.0),
        "isi_log_mean": log_mean,
        "isi_log_sd": log_sd,
        "burst_index": np.where(enough, mean((intervals < _BURST).astype(np.float64)), 0.0),
    }

    shape = (len(log_rate), len(_ISI_EDGES) + 1)
    bins = units * shape[1] + np.searchsorted(_ISI_EDGES, intervals)
    counts = np.bincount(bins, minlength=shape[0] * shape[1]).reshape(shape)
    expected = 1 - np.exp(-np.exp(log_rate)[:, None] * _ISI_EDGES)
    expected = np.diff(expected, axis=1, prepend=0, append=1)
    fractions = np.where(enough[:, None], counts / np.maximum(n, 1)[:, None], expected)
    names = [f"isi_<{edge:.3g}s" for edge in _ISI_EDGES]
    statistics |= dict(zip([*names, "isi_longer"], fractions.T, strict=True))

    # Neighbours share a spike: both of the intervals at spike i lie in its unit and epoch.
    pair = np.flatnonzero(neighbours[1:] & neighbours[:-1])
    gap = np.maximum(np.diff(spikes.times), _EDGE)
    one, two, units = gap[pair], gap[pair + 1], spikes.units[pair]
    n_pairs = spikes.sum(np.ones_like(one), units)

    def over_pairs(values: Floats) -> Floats:
        return _ratio(spikes.sum(values, units), n_pairs, n_pairs >= _MIN_SAMPLES, 1.0)

    both = one + two
    local = 3 * ((one - two) / both) ** 2
    z_one, z_two = (np.log(x) - log_mean[units] for x in (one, two))
    covariance = spikes.sum(z_one * z_two, units)
    power = np.sqrt(spikes.sum(z_one**2, units) * spikes.sum(z_two**2, units))
    return statistics | {
        "cv2": over_pairs(2 * np.abs(one - two) / both),
        "lv": over_pairs(local),
        "lvr": over_pairs(local * (1 + 4 * _REFRACTORINESS / both)),
        "isi_correlation": _ratio(covariance, power, n_pairs >= _MIN_SAMPLES, 0.0),
    }


def _autocorrelogram(spikes: _Spikes) -> dict[str, Floats]:
    """Log ratio of the pairs of spikes in each lag bin to those expected at the unit's rate."""
    n_units, n_bins = len(spikes.per_unit), len(_LAG_EDGES)
    stops = np.cumsum(spikes.per_unit).astype(np.int64)
    pairs = np.zeros((n_units, n_bins), np.int64)
    for unit, (stop, n) in enumerate(zip(stops, spikes.per_unit.astype(np.int64), strict=True)):
        own = slice(stop - n, stop)
        pairs[unit] = _pairs(spikes.times[own], spikes.epochs[own])

    # A pair needs both spikes in one epoch: `possible` is when it can begin, by lag.
    edges = np.minimum(np.append(0.0, _LAG_EDGES)[:, None], spikes.lengths)
    possible = np.diff((edges * spikes.lengths - edges**2 / 2).sum(axis=1))  # s², (bins,)
    expected = (spikes.per_unit / spikes.lengths.sum())[:, None] ** 2 * possible
    ratio = np.log((pairs + 1) / (expected + 1))
    names = [f"acg_{edge:.3g}s" for edge in _LAG_EDGES]
    return dict(zip(names, ratio.T, strict=True))


def _pairs(times: Floats, epochs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count the pairs of spikes of one unit, within an epoch, in each lag bin (bins,)."""
    below = np.zeros(len(_LAG_EDGES) + 1, np.int64)  # pairs nearer than 0, and than each edge
    many_epochs = len(epochs) > 0 and epochs[0] != epochs[-1]
    first, start = np.arange(len(times)), times
    lags: list[Floats] = []  # counted together: a call per lag would cost more than the count
    step = 1  # each spike with the next, then the next but one, … while any is in reach
    while True:
        n = np.searchsorted(first, len(times) - step)  # a second spike is left for these
        first, start = first[:n], start[:n]
        second = first + step
        lag = times[second] - start
        if many_epochs:
            lag[epochs[second] != epochs[first]] = np.inf
        near = lag < _LAG_EDGES[-1]
        n_near = np.count_nonzero(near)
        if 2 * n_near < len(lag):  # copying costs more than a few spikes out of reach
            lag, first, start = lag[near], first[near], start[near]
        lags.append(lag)
        if not n_near or sum(map(len, lags)) > _BLOCK:
            found = np.concatenate(lags)
            below[1:] += [np.count_nonzero(found < edge) for edge in _LAG_EDGES]
            lags.clear()
        if not n_near:
            return np.diff(below)
        step += 1


def _of_traces(recording: Recording) -> pd.DataFrame:
    spans = [
        np.searchsorted(recording.frame_times, (start - _EDGE, end + _EDGE))
        for start, end in recording.epochs
    ]
    parts = [recording.traces[first:last].astype(np.float64) for first, last in spans]
    frames = np.concatenate(parts)
    if not len(frames):
        raise ValueError(
            "epochs contain no frame of the recording; expected at least one that does"
        )
    mean, sd = frames.mean(axis=0), frames.std(axis=0)
    # By rounding, a constant trace has a tiny s.d. instead of 0.
    varies = sd > 1e-6 * np.abs(frames).max(axis=0)
    parts = [(part - mean) / np.where(varies, sd, 1.0) for part in parts]
    z = np.concatenate(parts)
    rises = sum(((part[1:] > 2) & (part[:-1] <= 2)).sum(axis=0) for part in parts)
    statistics = {
        "mean": mean,
        "sd": sd,
        "skewness": np.where(varies, (z**3).mean(axis=0), 0.0),
        "kurtosis": np.where(varies, (z**4).mean(axis=0) - 3, 0.0),
        "active": (z > 2).mean(axis=0),
        "event_rate": rises / (len(frames) * recording.frame_period),
    }
    for seconds in _TRACE_LAGS:
        lag = max(1, round(seconds / recording.frame_period))
        products = [(part[lag:] * part[:-lag]).sum(axis=0) for part in parts]
        n = sum(max(0, len(part) - lag) for part in parts)
        correlation = np.sum(products, axis=0) / max(n, 1)
        statistics[f"autocorrelation_{seconds:g}s"] = np.where(varies, correlation, 0.0)
    return pd.DataFrame(statistics)


def _ratio(numerator: Floats, denominator: Floats, valid: NDArray[np.bool_], fill: float) -> Floats:
    """Divide where valid and possible, else fill."""
    valid = valid & (denominator > 0)
    return np.where(valid, numerator / np.where(valid, denominator, 1.0), fill)
