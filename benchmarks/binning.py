"""Time and memory from spikes to windows: `python benchmarks/binning.py`.

Every number is measured in a fresh Python process, so that compilation and first allocations are
included each time. The functions return plain dicts.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pynapple as nap

BIN = 0.02  # s
BINS, PATCHES = 50, 10  # of a patch, of a window
SPIKE = 8  # bytes
GB = 1e9


def make_group(n_units: int, hours: float, rate: float, seed: int = 0) -> nap.TsGroup:
    """Return Poisson trains with log-normal rates; `rate` is their mean."""
    rng = np.random.default_rng(seed)
    seconds = hours * 3600
    rates = rate * rng.lognormal(-0.5, 1, n_units)
    trains = {
        unit: nap.Ts(np.sort(rng.uniform(0, seconds, rng.poisson(one * seconds))))
        for unit, one in enumerate(rates)
    }
    return nap.TsGroup(trains, time_support=nap.IntervalSet(0, seconds))


def windows_by_count(group: nap.TsGroup):
    """Yield pynapple's counts, reshaped to the windows that an encoder reads."""
    counts = group.count(BIN).values
    length = PATCHES * BINS
    for first in range(0, len(counts) // length * length, length):
        window = counts[first : first + length].astype(np.float32)
        yield np.ascontiguousarray(window.T).reshape(-1, PATCHES, BINS)


def windows_by_source(group: nap.TsGroup):
    from pynapple_nuclr.config import EncoderConfig
    from pynapple_nuclr.recording import as_recording
    from pynapple_nuclr.windows import open_patch_reader, tile

    source = open_patch_reader(as_recording(group), EncoderConfig())
    for starts in tile(source).starts:
        yield source.read(starts)


WAYS = {"count": windows_by_count, "source": windows_by_source}


def measure_windows(way: str, n_units: int, hours: float, rate: float) -> dict[str, float]:
    """Return the time to read all windows of a group, all preparation included."""
    group = make_group(n_units, hours, rate)
    begun = time.perf_counter()
    windows = total = 0
    for window in WAYS[way](group):
        windows += 1
        total += int(window.sum())
    seconds = time.perf_counter() - begun
    spikes = sum(len(group[unit]) for unit in group.index)
    return {"seconds": seconds, "windows": windows, "counted": total, "spikes": spikes}


def measure_memory(way: str, n_units: int, hours: float, rate: float) -> dict[str, float]:
    """Return the peak memory beyond the group's own, relative to its spikes, without one window."""
    group = make_group(n_units, hours, rate)
    spikes = sum(len(group[unit]) for unit in group.index)
    list(WAYS[way](make_group(2, 0.01, rate)))  # imports and compilation
    tracemalloc.start()
    for window in WAYS[way](group):
        batch = window.nbytes
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return {"peak_gb": peak / GB, "of_spikes": (peak - batch) / (SPIKE * spikes)}


def measure_loader(n_units: int, hours: float, rate: float, pairs: int) -> dict[str, float]:
    """Return the pairs of views read per second, in one process on one thread."""
    from pynapple_nuclr.recording import as_recording

    return _read_pairs([as_recording(make_group(n_units, hours, rate))], pairs)


def _read_pairs(recordings: list, pairs: int) -> dict[str, float]:
    from pynapple_nuclr.config import EncoderConfig
    from pynapple_nuclr.pretraining.view_batches import PairBatches
    from pynapple_nuclr.windows import ViewSampler, ViewSettings, open_patch_reader

    sources = [open_patch_reader(recording, EncoderConfig()) for recording in recordings]
    batches = iter(PairBatches(ViewSampler(sources, ViewSettings(), "split"), 4))
    next(batches)  # with the plan of the epoch
    begun, used, read = time.perf_counter(), time.process_time(), 0
    while read < pairs:
        read += len(next(batches).pairs)
    return {
        "pairs_per_s": read / (time.perf_counter() - begun),
        "pairs_per_s_of_processor": read / (time.process_time() - used),
    }


def write_files(folder: str, recordings: int, n_units: int, hours: float, rate: float) -> dict:
    """Write NWB files of Poisson trains, each with its own spikes."""
    import h5py

    from pynapple_nuclr import write_units

    group = make_group(n_units, hours, rate)
    first = write_units(group, Path(folder) / "session000.nwb")
    sizes = [len(group[unit]) for unit in group.index]
    for number in range(1, recordings):
        path = Path(folder) / f"session{number:03d}.nwb"
        shutil.copyfile(first, path)
        rng = np.random.default_rng(number)
        trains = [np.sort(rng.uniform(0, hours * 3600, size)) for size in sizes]
        with h5py.File(path, "r+") as file:
            file["units/spike_times"][:] = np.concatenate(trains)
    return {"spikes": recordings * sum(sizes), "gb": recordings * sum(sizes) * SPIKE / GB}


def measure_training(folder: str, steps: int) -> dict[str, float]:
    """Return the resident memory of training a small encoder on all NWB files of a folder."""
    from pynapple_nuclr import EncoderConfig, pretrain
    from pynapple_nuclr.io.recording_cache import open_recordings

    os.environ["XDG_CACHE_HOME"] = folder  # the cache folder on Linux; deleted with `folder`
    paths = sorted(Path(folder).glob("*.nwb"))
    begun = time.perf_counter()
    open_recordings(paths)
    indexed, indexing = time.perf_counter(), _resident()
    recordings = open_recordings(paths)
    opened = time.perf_counter()
    read = _read_pairs(list(recordings.values()), pairs=500)
    reading = time.perf_counter()
    small = EncoderConfig(dim=32, heads=2, head_dim=16)
    encoder = pretrain(paths, small, steps=steps, batch_size=4, progress=False)
    return {
        "recordings": len(paths),
        "steps": encoder.card["training"]["steps"],
        "index_s": indexed - begun,
        "open_s": opened - indexed,
        "pairs_per_s": read["pairs_per_s"],
        "train_s": time.perf_counter() - reading,
        "peak_gb_indexing": indexing,
        "peak_gb": _resident(),
    }


def _resident() -> float:
    """Return the peak resident memory of this process, mapped files included, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GB


def in_fresh_process(what: str, **options) -> dict:
    """Call one of the functions above by name in a fresh Python process, on one thread."""
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    call = [sys.executable, __file__, "--call", what, json.dumps(options)]
    run = subprocess.run(call, capture_output=True, text=True, env=os.environ | threads)
    if run.returncode:
        raise RuntimeError(f"{what} failed:\n{run.stderr}")
    return json.loads(run.stdout.splitlines()[-1])


def compare_windows(
    n_units: int = 1000, hours: float = 1.0, rate: float = 5.0, repeats: int = 5
) -> dict[str, float]:
    """Compare time and memory of all windows, by `count` and by our reader: medians of the repeats.

    The two alternate, so that other load on the machine affects both.
    """
    options = {"n_units": n_units, "hours": hours, "rate": rate}
    found = {way: [] for way in WAYS}
    for _ in range(repeats):
        for way in WAYS:
            found[way].append(in_fresh_process("measure_windows", way=way, **options))
    count, source = ([one["seconds"] for one in found[way]] for way in WAYS)
    if len({one["counted"] for ones in found.values() for one in ones}) != 1:
        raise RuntimeError(f"the two ways count different numbers of spikes: {found}")
    ratios = [a / b for a, b in zip(count, source, strict=True)]
    memory = {way: in_fresh_process("measure_memory", way=way, **options) for way in WAYS}
    return {
        "units": n_units,
        "spikes": found["source"][0]["spikes"],
        "windows": found["source"][0]["windows"],
        "count_s": statistics.median(count),
        "source_s": statistics.median(source),
        "ratio": statistics.median(ratios),
        "ratio_min": min(ratios),
        "count_memory_of_spikes": memory["count"]["of_spikes"],
        "source_memory_of_spikes": memory["source"]["of_spikes"],
    }


def loader(n_units: int = 500, hours: float = 1.0, rate: float = 5.0, pairs: int = 500) -> dict:
    """Return the pairs of views that one core reads per second."""
    return in_fresh_process("measure_loader", n_units=n_units, hours=hours, rate=rate, pairs=pairs)


def larger_than_memory(
    recordings: int = 200, n_units: int = 500, hours: float = 1.0, rate: float = 3.0, steps: int = 5
) -> dict:
    """Write simulated NWB files to a temporary folder, and train on them by their paths."""
    with tempfile.TemporaryDirectory(prefix="nuclr-binning-") as folder:
        options = {"n_units": n_units, "hours": hours, "rate": rate}
        written = in_fresh_process("write_files", folder=folder, recordings=recordings, **options)
        return written | in_fresh_process("measure_training", folder=folder, steps=steps)


def table(name: str, found: dict) -> str:
    """Return a table in Markdown."""
    rows = "".join(f"| {key} | {value:,.4g} |\n" for key, value in found.items())
    return f"\n## {name}\n\n| | |\n|---|---|\n{rows}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recordings", type=int, default=200, help="0: not larger than memory")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--call", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.call:
        function, arguments = options.call
        print(json.dumps(globals()[function](**json.loads(arguments))))
        return
    print(table("Windows of a group", compare_windows(repeats=options.repeats)))
    print(table("Loader", loader()))
    if options.recordings:
        print(table("Larger than memory", larger_than_memory(options.recordings)))


if __name__ == "__main__":
    main()
