"""Running an encoder over windows, and asking whether units find themselves again."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from pynapple_nuclr.encoder import Encoder
from pynapple_nuclr.stability import unit_length
from pynapple_nuclr.windows import Source

if TYPE_CHECKING:
    from numpy.typing import NDArray

Precision = Literal["float32", "bfloat16"]

# Small windows go through the network together, up to about so many tokens.
_TOKENS = {"cpu": 4_000, "cuda": 400_000, "mps": 50_000}


def pick_device(device: str | torch.device) -> torch.device:
    """Return the device to run on; "auto" prefers CUDA, then MPS, then the CPU."""
    if device != "auto":
        return _available(device)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def _available(device: str | torch.device) -> torch.device:
    """Return a device that this machine has, or raise ValueError."""
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f'device {str(device)!r} cannot be used here ({reason}); expected "auto", "cpu", or '
            "an accelerator that torch sees"
        ) from None
    return torch.device(device)


def run_windows(
    encoder: Encoder,
    source: Source,
    starts: NDArray[Any],
    *,
    device: str | torch.device = "cpu",
    precision: Precision = "float32",
    advance: Callable[[int], Any] = lambda windows: None,
) -> Generator[Window, None, None]:
    """Embed the units of each window.

    Parameters
    ----------
    encoder : Encoder
        The encoder; put into evaluation mode for the while.
    source : Source
        The recording.
    starts : ndarray (windows, patches)
        Where the windows lie.
    device, precision : str
        Where and in what arithmetic to compute.
    advance : callable
        Told how many windows have been done since the last call.

    Yields
    ------
    (int, ndarray (units of the window,), ndarray (units of the window, dim))
        The window, the indices of the units that take part in it, and their embeddings.
    """
    if precision not in ("float32", "bfloat16"):
        raise ValueError(f'precision is {precision!r}; expected "float32" or "bfloat16"')
    device = torch.device(device)
    budget = _TOKENS.get(device.type, _TOKENS["cpu"])
    was_training, home = encoder.training, next(encoder.parameters()).device
    encoder.eval().to(device)
    try:
        for batch in _batches(source, starts, budget):
            yield from _run(encoder, batch, device, precision)
            advance(len(batch))
    finally:
        encoder.train(was_training).to(home)


Window = tuple[int, "NDArray[np.int64]", "NDArray[np.float32]"]


def _batches(source: Source, starts: NDArray[Any], budget: int) -> Iterator[list[Window]]:
    """Read windows and put small ones together; a window without any active unit is empty."""
    batch: list[Window] = []
    tokens = 0
    for index, window in enumerate(starts):
        patches = source.read(window)
        units = np.flatnonzero(source.present(patches))
        if batch and tokens + len(units) * len(window) > budget:
            yield batch
            batch, tokens = [], 0
        batch.append((index, units, patches[units]))
        tokens += len(units) * len(window)
    if batch:
        yield batch


def _run(
    encoder: Encoder, batch: list[Window], device: torch.device, precision: Precision
) -> Iterator[Window]:
    filled = [window for window in batch if len(window[1])]
    if not filled:
        return
    patches = torch.from_numpy(np.concatenate([window[2] for window in filled])).to(device)
    sizes = [len(window[1]) for window in filled]
    low = torch.autocast(device.type, torch.bfloat16) if precision == "bfloat16" else nullcontext()
    with torch.inference_mode(), low:
        vectors = encoder(patches, sizes).float().cpu()
    for (index, units, _), part in zip(filled, vectors.split(sizes), strict=True):
        yield index, units, part.numpy()


def mean_embeddings(
    encoder: Encoder, source: Source, starts: NDArray[Any], **options: Any
) -> NDArray[np.float64]:
    """Return each unit's mean embedding over windows (units, dim); NaN where it is in none."""
    total = np.zeros((source.recording.n_units, encoder.config.dim))
    windows = np.zeros(source.recording.n_units)
    for _, units, vectors in run_windows(encoder, source, starts, **options):
        total[units] += vectors
        windows[units] += 1
    with np.errstate(invalid="ignore", divide="ignore"):
        return total / windows[:, None]


def reidentification(first: NDArray[Any], second: NDArray[Any]) -> float:
    """Return how often a unit's nearest neighbour at another time is the unit itself.

    Parameters
    ----------
    first, second : ndarray (units, features)
        The same units, described from disjoint times. Units with NaN in either are left out.

    Returns
    -------
    float
        Top-1 accuracy by cosine similarity after subtracting the mean over units, averaged over
        both directions. Chance is 1 / units; NaN below two units.
    """
    known = np.isfinite(first).all(axis=1) & np.isfinite(second).all(axis=1)
    if known.sum() < 2:
        return float("nan")
    a, b = (unit_length(x[known] - x[known].mean(axis=0)) for x in (first, second))
    similar = a @ b.T
    itself = np.arange(len(similar))
    hits = [similar.argmax(axis=axis) == itself for axis in (0, 1)]
    return float(np.mean(hits))
