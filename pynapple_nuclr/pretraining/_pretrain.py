"""`pretrain`: from unlabelled recordings to an encoder."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch.utils.data import DataLoader

from pynapple_nuclr.atomic_files import folder_lock
from pynapple_nuclr.checkpoints import Encoder, as_encoder, save_encoder
from pynapple_nuclr.config import EncoderConfig, Gaps
from pynapple_nuclr.familiarity import write_training_data
from pynapple_nuclr.io.recording_cache import RecordingLike, open_recordings
from pynapple_nuclr.leakage.fingerprints import ENTRY as FINGERPRINTS
from pynapple_nuclr.pretraining.distributed import pick_precision, quiet, start_trainer
from pynapple_nuclr.pretraining.duplicate_units import warn_of_duplicate_units
from pynapple_nuclr.pretraining.held_out_time import (
    HeldOutCheck,
    describe_reidentification,
    open_readers,
)
from pynapple_nuclr.pretraining.resume import resume_or_begin, saved_run_settings
from pynapple_nuclr.pretraining.schedule import Schedule
from pynapple_nuclr.pretraining.step_threads import StepThreads, threads_restored
from pynapple_nuclr.pretraining.time_budget import FEW_STEPS, Sizes, describe_choice, fit_into_time
from pynapple_nuclr.pretraining.training_module import ContrastiveTraining
from pynapple_nuclr.pretraining.training_monitor import TrainingMonitor
from pynapple_nuclr.pretraining.training_settings import (
    TrainingSettings,
    check_positive,
    check_seed,
    default_batch_size,
    default_encoder_config,
    default_minutes,
    warn_of_small_populations,
)
from pynapple_nuclr.pretraining.view_batches import PairBatches
from pynapple_nuclr.recording import Recording
from pynapple_nuclr.user_warnings import warn_user
from pynapple_nuclr.windows import ViewSampler


def pretrain(
    recordings: RecordingLike | Sequence[RecordingLike] | Mapping[str, RecordingLike],
    config: EncoderConfig | None = None,
    *,
    init: Encoder | str | Path | None = None,
    steps: int | None = None,
    max_minutes: float | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    gaps: Gaps | None = None,
    by: str | None = None,
    cache: str | Path | None = None,
    cells: str = "accepted",
    out: str | Path | None = None,
    resume: bool = True,
    devices: int | str | list[int] = "auto",
    precision: str = "auto",
    progress: bool = True,
    **training: Any,
) -> Encoder:
    """Train an encoder on unlabelled recordings, or fine-tune one.

    The encoder learns to recognise the same unit at two times among its own population. Training
    ends when re-identification on a held-out block of every recording no longer improves, or at
    `steps` or `max_minutes`; the weights that did best on the held-out blocks are returned.

    Parameters
    ----------
    recordings : TsGroup, TsdFrame, str, Path, list or mapping
        Recordings, all spikes or all calcium; a mapping gives them names. NWB files are indexed
        once and then read as they are needed: together they may be larger than the memory.
    config : EncoderConfig, optional
        Windows and size. Default: those of `init`, or the published ones, made to fit the
        recordings (trials shorter than a window are joined), in continuous recordings of spikes
        with ``interval_bins=16``.
    init : Encoder, str or Path, optional
        Encoder to start from (itself, a folder or a hub name). Default: random weights.
    steps : int, optional
        Steps to take at most.
    max_minutes : float, optional
        Minutes from beginning to end at most, with opening, measuring and saving. Default: 30 if
        `steps` is not given either. Where fewer than 200 steps fit, `batch_size` and
        ``max_units`` become smaller unless they are given; on a CPU the steps use one thread
        where that is faster. For results that repeat bit by bit give `steps` alone.
    batch_size : int, optional
        Pairs of windows a step, those of all processes together. Default: as published on a GPU
        (128, calcium 16), 4 on a CPU; that of the run that is resumed.
    seed : int
        Seed of weights, views and dropout.
    gaps : {"split", "join"}, optional
        Whether windows stay within an epoch. Default: as in the configuration.
    by : str, optional
        Metadata column that says which population a unit belongs to, such as its probe
        insertion: each is a recording of its own. Default: all units of a recording are one.
    cache : str or Path, optional
        Folder for the indices of NWB files, about as large as their spikes. Default: in the
        user's cache folder.
    cells : {"accepted", "all"}
        Of calcium files: which ROIs to read, as `read_traces`.
    out : str or Path, optional
        Folder for checkpoints, metrics (``metrics.csv``) and the final encoder.
    resume : bool
        Continue from the checkpoint in `out` if there is one.
    devices : "auto", int or list
        Lightning's devices. "auto" is one, or under torchrun or SLURM all processes that it has
        started, on however many machines; 2 or more (-1: all GPUs) start this script again as
        often, each process on a device of its own. See ``docs/cluster.md``.
    precision : str
        Lightning's precision. "auto" is bfloat16 where the device computes it natively (on a
        CPU: from dim 64 on), and float32 elsewhere.
    progress : bool
        Show a progress bar with loss, held-out re-identification and time left.
    **training
        Settings of `TrainingSettings`: ``learning_rate``, ``max_view_distance``, ``max_units``,
        ``spikes_kept``, ``holdout``, ``patience`` …

    Returns
    -------
    Encoder
        In evaluation mode, on the CPU, with a card that says how it was trained; the same in
        every process.

    Raises
    ------
    TypeError, ValueError
        For recordings that cannot be read, no two windows to compare, settings that do not fit,
        devices that are not there, or a checkpoint in `out` of another run.
    OSError
        If another process is writing to `out`, or the disk is full; the last checkpoint is whole.
    KeyboardInterrupt
        After Ctrl-C or SIGTERM, once the checkpoint is written.

    Warns
    -----
    UserWarning
        If units fire at the same times and are probably one neuron, recordings have units in
        common or too few for a view, or fewer than 50 steps fit into the time.

    References
    ----------
    "Know Thyself by Knowing Others: Learning Neuron Identity from Population Context",
    NeurIPS 2025, arXiv:2512.01199.

    Examples
    --------
    >>> import pynapple_nuclr as nap_nuclr
    >>> recording = nap_nuclr.simulate("context", n_units=30, duration=120, seed=0)
    >>> config = nap_nuclr.EncoderConfig(dim=32, heads=2, head_dim=16)
    >>> encoder = nap_nuclr.pretrain(recording, config, steps=2, progress=False)
    >>> encoder.config.dim, encoder.card["training"]["steps"]
    (32, 2)
    """
    check_positive("max_minutes", max_minutes)
    for name, value in (("steps", steps), ("batch_size", batch_size)):
        check_positive(name, value, whole=True)
    check_seed(seed)
    steps, seed = None if steps is None else int(steps), int(seed)  # of 1e4
    if not isinstance(config, (EncoderConfig, type(None))):
        raise TypeError(f"config is {config!r}; expected an EncoderConfig (init= takes an encoder)")
    began = time.monotonic()
    folder = None if out is None else Path(out)
    opened = open_recordings(recordings, by=by, cache=cache, cells=cells)
    encoder = _start(list(opened.values()), config, init, gaps, seed)
    config = encoder.config
    trainer = start_trainer(devices, pick_precision(precision, config.dim), folder)
    first = trainer.is_global_zero
    if first:
        warn_of_duplicate_units(opened.values())
    earlier = saved_run_settings(folder) if resume else {}
    settings, usual, free = _sizes(config, training, batch_size, earlier)
    if first:
        warn_of_small_populations(list(opened.values()), settings)
    training_data, held_out = open_readers(list(opened.values()), config, settings.holdout)
    schedule = Schedule(steps, default_minutes(steps, max_minutes), began)
    threads = StepThreads(schedule.seconds is not None and trainer.world_size == 1, config.dim)
    with folder_lock(folder if first else None), threads_restored(), torch.random.fork_rng():
        torch.manual_seed(seed)  # the projector's weights
        module = ContrastiveTraining(encoder, settings, schedule, seed)
        sampler = ViewSampler(training_data, settings, config.gaps, seed)
        # Before the training, whose end has to be on time.
        write_training_data(encoder, list(opened.values()))
        sizes, expected = usual, math.inf
        if schedule.seconds and trainer.world_size == 1 and not earlier:
            sizes, expected = fit_into_time(module, sampler, trainer, threads, sizes, free)
            _warn_of_few_steps(expected, steps)
            settings = replace(settings, max_units=sizes.max_units)
            module.settings = sampler.settings = settings
        batches = PairBatches(sampler, sizes.batch_size, _share(trainer, sizes.batch_size))
        schedule.warmup = batches.steps_per_epoch()
        run_settings = {
            "config": config.to_dict(),
            "settings": {k: v for k, v in asdict(settings).items() if k != "patience"},
            "recordings": {name: _size(recording) for name, recording in opened.items()},
            "batch_size": sizes.batch_size,
            "seed": seed,
            "init": encoder.card.get("fine_tuned_from"),
        }
        monitor = TrainingMonitor(
            HeldOutCheck(held_out), folder, progress and first, run_settings, threads
        )
        trainer.callbacks.append(monitor)
        if sizes != usual:
            monitor.say(describe_choice(usual, sizes))
        checkpoint, step = resume_or_begin(folder, resume, monitor, module, first)
        batches.position = module.position
        unfinished = schedule.progress(step) < 1 or step == 0
        if unfinished and monitor.checks_without_gain < settings.patience:
            step = _fit(trainer, module, batches, checkpoint, folder)
        encoder = _finish(module, monitor, opened, step)
        if folder is not None and first:
            save_encoder(encoder, folder)
        trainer.strategy.barrier()  # the encoder's files stand when any process goes on
        monitor.close(_result(encoder.card["training"]))
    if first and expected >= FEW_STEPS and schedule.seconds and schedule.progress(step) >= 1:
        _warn_of_few_steps(step, steps)
    return encoder


def _sizes(
    config: EncoderConfig,
    training: Mapping[str, Any],
    batch_size: int | None,
    earlier: Mapping[str, Any],
) -> tuple[TrainingSettings, Sizes, set[str]]:
    """Return settings, sizes, and which sizes were not given.

    Those are of the run that is resumed, or the usual ones.
    """
    settings = TrainingSettings.for_config(config, dict(training))
    free = {"max_units"} - training.keys() | ({"batch_size"} if batch_size is None else set())
    if "max_units" in free:
        settings = replace(settings, max_units=earlier.get("settings", {}).get("max_units"))
    accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    batch_size = (
        int(batch_size or 0) or earlier.get("batch_size") or default_batch_size(config, accelerator)
    )
    return settings, Sizes(batch_size, settings.max_units), free


def _warn_of_few_steps(fitting: float, steps: int | None) -> None:
    """Warn where the time allows so few steps that next to nothing is learned."""
    if fitting < min(FEW_STEPS, steps or FEW_STEPS):
        warn_user(
            f"only about {fitting:.0f} steps fit into max_minutes: this trains next to nothing; "
            "give more minutes, a smaller max_units= or batch_size=, or a narrower encoder "
            "(EncoderConfig(dim=…))"
        )


def _share(trainer: pl.Trainer, batch_size: int) -> tuple[int, int]:
    """Return which process this is, and of how many."""
    if batch_size < trainer.world_size:
        warn_user(
            f"batch_size is {batch_size} for {trainer.world_size} processes: some have nothing to "
            "do; give a larger batch_size, that of all processes together"
        )
    return trainer.global_rank, trainer.world_size


def _start(
    recordings: list[Recording],
    config: EncoderConfig | None,
    init: Encoder | str | Path | None,
    gaps: Gaps | None,
    seed: int,
) -> Encoder:
    """Return a fresh encoder, or a copy of the one to fine-tune."""
    kinds = {recording.modality for recording in recordings}
    if len(kinds) > 1:
        raise ValueError("the recordings mix spikes and calcium; train an encoder for each")
    source = None if init is None else as_encoder(init)
    if source is not None and config not in (None, source.config):
        raise ValueError(
            f"config differs from that of the encoder to start from ({source.identity}); leave "
            "config out to fine-tune, or init to train from random weights"
        )
    config = config or (source.config if source else default_encoder_config(recordings))
    config = replace(config, gaps=gaps or config.gaps)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = Encoder(config, name=source.name if source else "nuclr")
    if source is not None:
        encoder.load_state_dict(source.state_dict())
        encoder.card["fine_tuned_from"] = source.identity
        encoder.card[FINGERPRINTS] = source.card.get(FINGERPRINTS, [])
    return encoder


def _size(recording: Recording) -> list[float]:
    sizes = (recording.n_units, recording.duration, recording.activity().sum())
    return [round(float(size), 3) for size in sizes]


def _fit(
    trainer: pl.Trainer,
    module: ContrastiveTraining,
    batches: PairBatches,
    checkpoint: Path | None,
    folder: Path | None,
) -> int:
    """Train; return the step at which the training ended."""
    loader = DataLoader(batches, batch_size=None, collate_fn=lambda batch: batch)
    stopped = False
    try:
        with quiet():
            trainer.fit(module, loader, ckpt_path=checkpoint, weights_only=True)
    except SystemExit:  # Lightning's way to end after Ctrl-C
        stopped = True
    if stopped or module.stopping:
        kept = "nothing was saved (no out=)"
        if folder is not None:
            kept = f"the checkpoint is in {folder}; call pretrain again with out= to continue"
        raise KeyboardInterrupt(f"training interrupted; {kept}")
    return trainer.global_step


def _finish(
    module: ContrastiveTraining,
    monitor: TrainingMonitor,
    recordings: dict[str, Recording],
    step: int,
) -> Encoder:
    """Return the best weights, with a card."""
    encoder = module.encoder.cpu().eval()
    if monitor.best_weights:
        encoder.load_state_dict(monitor.best_weights)
    encoder.card["training"] = {
        "recordings": len(recordings),
        "units": sum(recording.n_units for recording in recordings.values()),
        "hours": round(sum(recording.duration for recording in recordings.values()) / 3600, 3),
        "steps": step,
        "pairs_a_step": monitor.run_settings["batch_size"],
        "minutes": round(module.schedule.spent / 60, 1),
        "seed": monitor.run_settings["seed"],
        "best_held_out_reidentification": round(monitor.best, 4) if monitor.best >= 0 else None,
        "chance_reidentification": _rounded(monitor.check.chance),
        "untrained_reidentification": _rounded(monitor.untrained),
        "torch": torch.__version__,
    }
    encoder.card["settings"] = monitor.run_settings["settings"]
    return encoder


def _result(training: Mapping[str, Any]) -> str:
    took = f"{training['steps']} steps in {training['minutes']} min"
    return ": ".join(filter(None, (took, describe_reidentification(training))))


def _rounded(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None
