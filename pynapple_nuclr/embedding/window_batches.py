"""Running an encoder over windows, and asking whether units find themselves again."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pynapple_nuclr.checkpoints import Encoder
from pynapple_nuclr.embedding._budget import Budget, ConvergenceMonitor
from pynapple_nuclr.model.inference import InferenceEngine, Precision
from pynapple_nuclr.stability import unit_length
from pynapple_nuclr.windows import PatchReader

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Small windows go through the network together, up to about so many tokens.
_TOKENS = {"cpu": 4_000, "cuda": 400_000, "mps": 50_000}
# Batches at work at once on the CPU, at most: each takes memory.
_WORKERS = 4


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


Part = tuple[int, "NDArray[np.int64]", "NDArray[np.float32]"]
"""Number of a window, indices of units, and their patches or embeddings."""


def run_windows(
    encoder: Encoder,
    source: PatchReader,
    starts: NDArray[Any],
    *,
    device: str | torch.device = "cpu",
    precision: Precision = "float32",
    max_population: int | None = None,
    advance: Callable[[int], Any] = lambda windows: None,
) -> Generator[Part, None, None]:
    """Embed the units of each window.

    Parameters
    ----------
    encoder : Encoder
        The encoder; not changed.
    source : PatchReader
        The recording.
    starts : ndarray (windows, patches)
        Where the windows lie.
    device, precision : str
        Where and in what arithmetic to compute.
    max_population : int, optional
        Units that hear each other at most. A larger population is split at random, anew in every
        window: cost then grows with the units, not with their square.
    advance : callable
        Told how many windows have been begun since the last call.

    Yields
    ------
    (int, ndarray (units,), ndarray (units, dim))
        The window, the indices of units that take part in it, and their embeddings. The parts of
        a split population follow one another.
    """
    if precision not in ("float32", "bfloat16"):
        raise ValueError(f'precision is {precision!r}; expected "float32" or "bfloat16"')
    if max_population is not None and not max_population >= 1:
        raise ValueError(f"max_population is {max_population}; expected a positive number, or None")
    device = torch.device(device)
    budget = _TOKENS.get(device.type, _TOKENS["cpu"])
    frozen = InferenceEngine(encoder, precision, device)
    begun = -1
    batches = _batches(_parts(source, starts, max_population), budget)
    with closing(_run_side_by_side(frozen, batches)) as answers:
        for batch in answers:
            yield from batch
            advance(batch[-1][0] - begun)
            begun = batch[-1][0]
    advance(len(starts) - 1 - begun)


def _parts(source: PatchReader, starts: NDArray[Any], max_population: int | None) -> Iterator[Part]:
    """Read windows, each in parts of at most so many units, which hear each other."""
    n_units = source.recording.n_units
    split = max_population is not None and n_units > max_population
    rank = source.recording.order() if split else None
    for index, window in enumerate(starts):
        patches = source.read(window)
        units = np.flatnonzero(source.present(patches))
        contexts = [units]
        if rank is not None and max_population is not None and len(units) > max_population:
            # Drawn from the units in an order of their data: however they are given, the same.
            drawn = np.random.default_rng(index).permutation(units[np.argsort(rank[units])])
            contexts = np.array_split(drawn, -(-len(units) // max_population))
        for context in contexts:
            if len(context):
                yield index, context, patches[context]


def _batches(parts: Iterator[Part], budget: int) -> Iterator[list[Part]]:
    """Put small parts together, up to about so many tokens."""
    batch: list[Part] = []
    tokens = 0
    for part in parts:
        more = part[2].shape[0] * part[2].shape[1]
        if batch and tokens + more > budget:
            yield batch
            batch, tokens = [], 0
        batch.append(part)
        tokens += more
    if batch:
        yield batch


def _run_side_by_side(
    frozen: InferenceEngine, batches: Iterator[list[Part]]
) -> Generator[list[Part], None, None]:
    """Embed batches, in their order: on the CPU some at once, while the next are read.

    Cores that work on batches of their own wait less for each other than those that share one.
    """
    threads = torch.get_num_threads()
    workers = min(threads, _WORKERS) if frozen.device.type == "cpu" else 1
    if workers == 1:
        for batch in batches:
            yield _run(frozen, batch)
        return
    pool = ThreadPoolExecutor(workers, "nuclr", torch.set_num_threads, (threads // workers,))
    at_work: deque[Future[list[Part]]] = deque()
    try:
        for batch in batches:
            at_work.append(pool.submit(_run, frozen, batch))
            if len(at_work) > workers:
                yield at_work.popleft().result()
        while at_work:
            yield at_work.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)  # for threads that begin from now on


def _run(frozen: InferenceEngine, batch: list[Part]) -> list[Part]:
    patches = torch.from_numpy(np.concatenate([part[2] for part in batch]))
    sizes = [len(part[1]) for part in batch]
    vectors = frozen(patches.to(frozen.device), sizes).cpu().split(sizes)
    return [
        (index, units, own.numpy()) for (index, units, _), own in zip(batch, vectors, strict=True)
    ]


@dataclass
class Gathered:
    """What windows say of the units of a recording.

    Attributes
    ----------
    total : ndarray (units, dim)
        Sum of the embeddings.
    count : ndarray (units,)
        Windows in which each unit takes part.
    vectors : ndarray (kept windows, units, dim)
        Embeddings in the windows that were kept, in the order of time; NaN where a unit takes no
        part, or the window was not read.
    n_read : int
        Windows that were read.
    """

    total: NDArray[np.float64]
    count: NDArray[np.int64]
    vectors: NDArray[np.float32]
    n_read: int

    @property
    def mean(self) -> NDArray[np.float64]:
        """Each unit's mean embedding (units, dim); NaN where it is in no window."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.total / self.count[:, None]


def gather(
    encoder: Encoder,
    source: PatchReader,
    starts: NDArray[Any],
    *,
    budget: Budget | None = None,
    keep: int = 0,
    **options: Any,
) -> Gathered:
    """Embed the units of windows, and add up.

    Parameters
    ----------
    encoder, source, starts
        As for `run_windows`.
    budget : Budget, optional
        Windows to read, in what order, and when they are enough. Default: all.
    keep : int
        Windows of which the embeddings are kept, spread evenly.
    **options
        Passed on to `run_windows`.
    """
    budget = budget or Budget()
    order = budget.windows(len(starts))
    kept = np.linspace(0, len(order) - 1, min(keep, len(order))).round().astype(np.int64)
    row_of = dict(zip(np.sort(order)[kept].tolist(), range(len(kept)), strict=True))
    shape = (source.recording.n_units, encoder.config.dim)
    found = Gathered(
        np.zeros(shape), np.zeros(shape[0], np.int64), np.full((len(kept), *shape), np.nan, "f4"), 0
    )
    meter = ConvergenceMonitor(budget, *shape)
    with closing(run_windows(encoder, source, starts[order], **options)) as parts:
        for place, units, vectors in parts:
            if place >= found.n_read:  # a new window: was it enough before?
                if found.n_read and budget.limited and meter.enough():
                    return found
                found.n_read = place + 1
            found.total[units] += vectors
            found.count[units] += 1
            meter.add(units, vectors)
            if (row := row_of.get(int(order[place]))) is not None:
                found.vectors[row, units] = vectors
    found.n_read = len(order)
    return found


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
