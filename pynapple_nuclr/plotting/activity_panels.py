"""The activity of one unit: spikes in windows, autocorrelogram, or the calcium trace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pynapple as nap

from pynapple_nuclr.plotting.style import COLOURS, GREY, open_frame, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

_ROW, _ROWS = 10.0, (20, 60)  # s, and how many of them: of short ones more
_LAG, _BIN = 50.0, 1.0  # ms
_MOST_FRAMES = 20_000  # that are drawn: more than there are dots across a page


def draw_raster(ax: Axes, units: nap.TsGroup, unit: Any, epochs: nap.IntervalSet) -> None:
    """Draw the spikes of windows that are spread over the session, one below the other."""
    windows = spread_windows(np.asarray(epochs.values))
    times = units[unit].times()
    rows = [times[(times >= start) & (times < end)] - start for start, end in windows]
    count = sum(len(row) for row in rows)
    width = 0.6 if count > 500 else 1.2
    ax.eventplot(rows, colors=COLOURS[0], linelengths=0.9, linewidths=width)
    longest = float(np.max(windows[:, 1] - windows[:, 0], initial=0.0))
    ax.set_xlim(0, longest or 1.0)
    ax.set_ylim(len(windows) - 0.4, -0.6)
    in_minutes = bool(windows[-1, 0] >= 600)
    places = np.arange(0, len(windows), -(-len(windows) // 6))
    starts = windows[places, 0] / (60 if in_minutes else 1)
    digits = 1 if in_minutes and starts[-1] < 20 else 0
    ax.set_yticks(places, [f"{start:.{digits}f}" for start in starts])
    ax.set(xlabel="time in the excerpt (s)", ylabel=f"start ({'min' if in_minutes else 's'})")
    open_frame(ax)
    title(ax, f"{count} spikes in {len(windows)} excerpts" if len(times) else "no spikes")


def draw_autocorrelogram(ax: Axes, units: nap.TsGroup, unit: Any, epochs: nap.IntervalSet) -> None:
    """Draw how the rate goes on around a spike."""
    title(ax, "autocorrelogram")
    open_frame(ax)
    ax.set(xlabel="lag (ms)", ylabel="rate / mean rate", xlim=(-_LAG, _LAG))
    one = units[[unit]].restrict(epochs)
    if len(one[unit]) < 2:
        ax.text(0.5, 0.5, "too few spikes", transform=ax.transAxes, ha="center", color=GREY)
        ax.set_yticks([])
        return
    found = nap.compute_autocorrelogram(one, _BIN, _LAG, time_units="ms")
    lags = found.index.to_numpy() * (1000 if found.index.max() < 1 else 1)
    ax.bar(lags, found[unit].to_numpy(), width=_BIN, color=COLOURS[0])
    ax.axhline(1, color=GREY, linewidth=0.8, linestyle=":")


def draw_trace(ax: Axes, units: nap.TsdFrame, unit: Any, epochs: nap.IntervalSet) -> None:
    """Draw the trace; a line never crosses a gap between epochs."""
    trace = units.loc[unit].restrict(epochs)
    every = -(-len(trace) // _MOST_FRAMES)
    for start, end in np.asarray(trace.time_support.values):
        part = trace.get(start, end)
        ax.plot(part.times()[::every], part.values[::every], color=COLOURS[0], linewidth=0.7)
    ax.set(xlabel="time (s)", ylabel="trace (as given)")
    ax.margins(x=0)
    open_frame(ax)
    what = f"every {every}th of " if every > 1 else ""
    title(ax, f"{what}{len(trace)} frames")


def spread_windows(epochs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return start and end of windows, evenly spread over the epochs; none crosses a gap."""
    windows = []
    for start, end in epochs:
        n = max(int((end - start) / _ROW), 1)
        windows += [(start + i * _ROW, min(start + (i + 1) * _ROW, end)) for i in range(n)]
    length = float(np.mean(np.diff(windows)))
    most = int(np.clip(_ROW * _ROWS[0] / length, *_ROWS))
    chosen = np.linspace(0, len(windows) - 1, min(len(windows), most)).round().astype(int)
    return np.array(windows)[chosen]
