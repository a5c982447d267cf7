"""Run an encoder over the windows of a recording."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pynapple_nuclr.checkpoints import Encoder
from pynapple_nuclr.embedding._budget import Budget, ConvergenceMonitor
from pynapple_nuclr.model.inference import InferenceEngine, Precision
from pynapple_nuclr.windows import PatchReader

# Small windows go through the network together, up to about this many tokens.
_TOKENS = {"cpu": 4_000, "cuda": 400_000, "mps": 50_000}
# Largest number of batches computed at the same time on the CPU: each takes memory.
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
            f'device {str(device)!r} is not available on this machine ({reason}); expected "auto", '
            '"cpu", or an accelerator that torch finds'
        ) from None
    return torch.device(device)


Part = tuple[int, "NDArray[np.int64]", "NDArray[np.float32]"]
"""Index of a window, indices of units, and their patches or embeddings."""


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
    """Yield window, indices of the units that take part (units,), and embeddings (units, dim).

    `starts` (windows, patches) are where windows lie. A population above `max_population` is split
    at random, differently in every window, and its parts follow one another: cost then grows with
    the units, not with their square. `advance` gets the number of windows begun since its last
    call.
    """
    if precision not in ("float32", "bfloat16"):
        raise ValueError(f'precision is {precision!r}; expected "float32" or "bfloat16"')
    if max_population is not None and not max_population >= 1:
        raise ValueError(f"max_population is {max_population}; expected a positive number, or None")
    device = torch.device(device)
    budget = _TOKENS.get(device.type, _TOKENS["cpu"])
    engine = InferenceEngine(encoder, precision, device)
    begun = -1
    batches = _batches(_parts(source, starts, max_population), budget)
    with closing(_run_in_parallel(engine, batches)) as embedded:
        for batch in embedded:
            yield from batch
            advance(batch[-1][0] - begun)
            begun = batch[-1][0]
    advance(len(starts) - 1 - begun)


def _parts(source: PatchReader, starts: NDArray[Any], max_population: int | None) -> Iterator[Part]:
    """Read windows, each in parts of at most `max_population` units."""
    n_units = source.recording.n_units
    split = max_population is not None and n_units > max_population
    rank = source.recording.order() if split else None
    for index, window in enumerate(starts):
        patches = source.read(window)
        units = np.flatnonzero(source.present(patches))
        populations = [units]
        if rank is not None and max_population is not None and len(units) > max_population:
            # Drawn from the units sorted by their data: the order of the input must not matter.
            shuffled = np.random.default_rng(index).permutation(units[np.argsort(rank[units])])
            populations = np.array_split(shuffled, -(-len(units) // max_population))
        for population in populations:
            if len(population):
                yield index, population, patches[population]


def _batches(parts: Iterator[Part], budget: int) -> Iterator[list[Part]]:
    """Put small parts together, up to about `budget` tokens."""
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


def _run_in_parallel(
    engine: InferenceEngine, batches: Iterator[list[Part]]
) -> Generator[list[Part], None, None]:
    """Embed batches in their order; on the CPU several at once, while the next are read.

    One batch per core is faster than one batch on all cores: cores wait less for each other.
    """
    threads = torch.get_num_threads()
    workers = min(threads, _WORKERS) if engine.device.type == "cpu" else 1
    if workers == 1:
        for batch in batches:
            yield _run(engine, batch)
        return
    pool = ThreadPoolExecutor(workers, "nuclr", torch.set_num_threads, (threads // workers,))
    running: deque[Future[list[Part]]] = deque()
    try:
        for batch in batches:
            running.append(pool.submit(_run, engine, batch))
            if len(running) > workers:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)  # for threads that start later


def _run(engine: InferenceEngine, batch: list[Part]) -> list[Part]:
    patches = torch.from_numpy(np.concatenate([part[2] for part in batch]))
    sizes = [len(part[1]) for part in batch]
    vectors = engine(patches.to(engine.device), sizes).cpu().split(sizes)
    return [
        (index, units, own.numpy()) for (index, units, _), own in zip(batch, vectors, strict=True)
    ]


@dataclass
class EmbeddedWindows:
    """The embeddings of the units in the windows of a recording.

    `total` (units, dim) sums them over the `count` (units,) windows in which a unit takes part;
    `vectors` (kept windows, units, dim) are NaN where it takes no part or the window was not read.
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


def embed_windows(
    encoder: Encoder,
    source: PatchReader,
    starts: NDArray[Any],
    *,
    budget: Budget | None = None,
    keep: int = 0,
    **options: Any,
) -> EmbeddedWindows:
    """Embed the units in each window, and sum over windows; `options` as of `run_windows`.

    `budget` says which windows to read (default: all); `keep` windows, evenly spaced, are kept.
    """
    budget = budget or Budget()
    order = budget.windows(len(starts))
    kept = np.linspace(0, len(order) - 1, min(keep, len(order))).round().astype(np.int64)
    row_of = dict(zip(np.sort(order)[kept].tolist(), range(len(kept)), strict=True))
    shape = (source.recording.n_units, encoder.config.dim)
    result = EmbeddedWindows(
        np.zeros(shape), np.zeros(shape[0], np.int64), np.full((len(kept), *shape), np.nan, "f4"), 0
    )
    monitor = ConvergenceMonitor(budget, *shape)
    with closing(run_windows(encoder, source, starts[order], **options)) as parts:
        for position, units, vectors in parts:
            if position >= result.n_read:  # a new window: were the ones before enough?
                if result.n_read and budget.limited and monitor.enough():
                    return result
                result.n_read = position + 1
            result.total[units] += vectors
            result.count[units] += 1
            monitor.add(units, vectors)
            if (row := row_of.get(int(order[position]))) is not None:
                result.vectors[row, units] = vectors
    result.n_read = len(order)
    return result
