"""`pretrain`: from unlabelled recordings to an encoder."""

from __future__ import annotations

import csv
import logging
import shutil
import warnings
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
import torch
from torch.utils.data import DataLoader

from pynapple_nuclr.checkpoints import as_encoder, save_encoder
from pynapple_nuclr.config import EncoderConfig, Gaps
from pynapple_nuclr.encoder import Encoder
from pynapple_nuclr.familiarity import describe_training
from pynapple_nuclr.pretraining.batches import PairBatches
from pynapple_nuclr.pretraining.data import open_sources
from pynapple_nuclr.pretraining.module import CHECKS, LAST, ContrastiveTraining, Schedule, Watch
from pynapple_nuclr.pretraining.settings import (
    TrainingSettings,
    check_positive,
    default_batch_size,
    default_config,
    default_minutes,
)
from pynapple_nuclr.recording import Recording, as_recordings
from pynapple_nuclr.windows import ViewSampler

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pynapple_nuclr.recording import Units

_METRICS = "metrics.csv"
_log = logging.getLogger("pynapple_nuclr")


def pretrain(
    groups: Units | Sequence[Units] | Mapping[str, Units],
    config: EncoderConfig | None = None,
    *,
    init: Encoder | str | Path | None = None,
    steps: int | None = None,
    max_minutes: float | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    gaps: Gaps | None = None,
    by: str | None = None,
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
    groups : TsGroup, TsdFrame, list or mapping
        Recordings, all spikes or all calcium; a mapping gives them names.
    config : EncoderConfig, optional
        Windows and size. Default: those of `init`, or the published ones, made to fit the
        recordings (trials shorter than a window are joined).
    init : Encoder, str or Path, optional
        Encoder to start from (itself, a folder or a hub name). Default: random weights.
    steps : int, optional
        Steps to take at most.
    max_minutes : float, optional
        Minutes to train at most. Default: 30 if `steps` is not given either.
    batch_size : int, optional
        Pairs of windows a step. Default: as published on a GPU (128, calcium 16), 4 on a CPU.
    seed : int
        Seed of weights, views and dropout.
    gaps : {"split", "join"}, optional
        Whether windows stay within an epoch. Default: as in the configuration.
    by : str, optional
        Metadata column that says which population a unit belongs to, such as its probe
        insertion: each is a recording of its own. Default: all units of a recording are one.
    out : str or Path, optional
        Folder for checkpoints, metrics (``metrics.csv``) and the final encoder.
    resume : bool
        Continue from the checkpoint in `out` if there is one.
    devices : "auto", int or list
        Lightning's devices; one at a time as yet.
    precision : str
        Lightning's precision; "auto" is bfloat16 where CUDA has it and float32 elsewhere.
    progress : bool
        Show a progress bar with loss, held-out re-identification and time left.
    **training
        Settings of `TrainingSettings`: ``learning_rate``, ``max_view_distance``, ``max_units``,
        ``holdout``, ``patience`` …

    Returns
    -------
    Encoder
        In evaluation mode, on the CPU, with a card that says how it was trained.

    Raises
    ------
    TypeError, ValueError
        For recordings that cannot be read, no two windows to compare, settings that do not fit,
        or a checkpoint in `out` of another run.

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
    recordings = as_recordings(groups, by=by)
    encoder = _start(list(recordings.values()), config, init, gaps, seed)
    config = encoder.config
    settings = TrainingSettings.for_config(config, training)
    for name, value in (("steps", steps), ("max_minutes", max_minutes), ("batch_size", batch_size)):
        check_positive(name, value)
    training_data, held_out = open_sources(list(recordings.values()), config, settings.holdout)
    accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    batch_size = batch_size or default_batch_size(config, accelerator)
    sampler = ViewSampler(training_data, settings, config.gaps, seed)
    batches = PairBatches(sampler, batch_size)
    schedule = Schedule(steps, default_minutes(steps, max_minutes), batches.steps_per_epoch())
    facts = {
        "config": config.to_dict(),
        "settings": {k: v for k, v in asdict(settings).items() if k != "patience"},
        "recordings": {name: _size(recording) for name, recording in recordings.items()},
        "batch_size": batch_size,
        "seed": seed,
        "init": encoder.card.get("fine_tuned_from"),
    }
    folder = None if out is None else Path(out)
    watch = Watch(held_out, folder, progress, facts, _reporter(folder))
    with torch.random.fork_rng():  # the caller's own draws go on as if nothing had been
        torch.manual_seed(seed)  # the projector's weights
        module = ContrastiveTraining(encoder, settings, schedule, seed)
        checkpoint, step = _resume(folder, resume, facts, watch, module)
        batches.place = module.place
        if schedule.progress(step) < 1 and watch.checks_without_gain < settings.patience:
            trainer = _trainer(devices, precision, watch, folder)
            step = _fit(trainer, module, batches, checkpoint, folder)
    return _finish(module, watch, recordings, facts, step, folder)


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
            "config out to fine-tune, or init to start anew"
        )
    config = config or (source.config if source else default_config(recordings))
    config = replace(config, gaps=gaps or config.gaps)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = Encoder(config, name=source.name if source else "nuclr")
    if source is not None:
        encoder.load_state_dict(source.state_dict())
        encoder.card["fine_tuned_from"] = source.identity
    return encoder


def _size(recording: Recording) -> list[float]:
    sizes = (recording.n_units, recording.duration, recording.activity().sum())
    return [round(float(size), 3) for size in sizes]


def _reporter(folder: Path | None) -> Any:
    """Return a function that appends metrics to the CSV of the run."""
    if folder is None:
        return lambda metrics: None
    folder.mkdir(parents=True, exist_ok=True)

    def report(metrics: dict[str, float]) -> None:
        path = folder / _METRICS
        new = not path.exists()
        with path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=list(metrics))
            if new:
                writer.writeheader()
            writer.writerow(metrics)

    return report


def _resume(
    folder: Path | None,
    resume: bool,
    facts: dict[str, Any],
    watch: Watch,
    module: ContrastiveTraining,
) -> tuple[Path | None, int]:
    """Return the checkpoint to continue from and its step; restore what Lightning does not know."""
    path = None if folder is None else folder / LAST
    if path is None or not path.exists():
        return None, 0
    if not resume:
        path.unlink()
        (path.parent / _METRICS).unlink(missing_ok=True)
        shutil.rmtree(path.parent / CHECKS, ignore_errors=True)
        return None, 0
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        saved, step = checkpoint["nuclr"], checkpoint["global_step"]
    except Exception as error:  # torch names damage in many ways; all mean the same here
        raise ValueError(
            f"{path} is no whole checkpoint of pretrain ({type(error).__name__}); resume=False "
            "starts anew"
        ) from None
    before, now = _plain(saved["facts"]), _plain(facts)
    differing = sorted(key for key in now if before.get(key) != now[key])
    if differing:
        raise ValueError(
            f"{path} is of another run: {', '.join(differing)} differ; choose another out, or "
            "resume=False to start anew"
        )
    watch.restore(module, saved)
    module.encoder.load_state_dict(
        {k[8:]: v for k, v in checkpoint["state_dict"].items() if k.startswith("encoder.")}
    )
    _log.info("resuming from %s at step %d", path.name, step)
    return path, step


def _plain(value: Any) -> Any:
    """Return a value with tuples as lists, as they come back from a file."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _trainer(devices: Any, precision: str, watch: Watch, folder: Path | None) -> pl.Trainer:
    """Return a Lightning trainer for one process; views are not yet shared among several."""
    if precision == "auto":
        # Emulated bfloat16 is slower than float32.
        native = torch.cuda.is_available() and torch.cuda.is_bf16_supported(False)
        precision = "bf16-mixed" if native else "32-true"
    with _quiet():
        trainer = pl.Trainer(
            accelerator="auto",
            devices=1 if devices == "auto" else devices,
            precision=precision,
            max_steps=-1,
            max_epochs=1,
            callbacks=[watch],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            default_root_dir=folder,
        )
    if trainer.world_size > 1:
        raise ValueError(
            f"devices={devices!r} asks for {trainer.world_size} processes; pretrain runs on one "
            "device as yet: devices=1"
        )
    return trainer


def _fit(
    trainer: pl.Trainer,
    module: ContrastiveTraining,
    batches: PairBatches,
    checkpoint: Path | None,
    folder: Path | None,
) -> int:
    """Train; return the step at which the training ended."""
    loader = DataLoader(batches, batch_size=None, collate_fn=lambda batch: batch)
    try:
        with _quiet():
            trainer.fit(module, loader, ckpt_path=checkpoint, weights_only=True)
    except SystemExit:  # Lightning's way to end after Ctrl-C
        kept = "nothing was saved (no out=)"
        if folder is not None:
            kept = f"the checkpoint is in {folder}; call pretrain again with out= to continue"
        raise KeyboardInterrupt(f"training interrupted; {kept}") from None
    return trainer.global_step


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning's remarks about its own set-up from the user."""
    loggers = [logging.getLogger("lightning.pytorch"), logging.getLogger("lightning.fabric")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def _finish(
    module: ContrastiveTraining,
    watch: Watch,
    recordings: dict[str, Recording],
    facts: dict[str, Any],
    step: int,
    folder: Path | None,
) -> Encoder:
    """Return the best weights, with a card; write them where asked."""
    watch.bar.close()
    encoder = module.encoder.cpu().eval()
    if watch.best_weights:
        encoder.load_state_dict(watch.best_weights)
    encoder.card["training"] = {
        "recordings": len(recordings),
        "units": sum(recording.n_units for recording in recordings.values()),
        "hours": round(sum(recording.duration for recording in recordings.values()) / 3600, 3),
        "steps": step,
        "pairs_a_step": facts["batch_size"],
        "minutes": round(module.schedule.spent / 60, 1),
        "seed": facts["seed"],
        "best_held_out_reidentification": round(watch.best, 4) if watch.best >= 0 else None,
        "torch": torch.__version__,
    }
    encoder.card["settings"] = facts["settings"]
    encoder.card["familiarity"] = describe_training(list(recordings.values()), encoder.config)
    if folder is not None:
        save_encoder(encoder, folder)
    return encoder
