"""The checkpoint of an earlier run: whether this run can continue it, and from which step."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch.optim import Optimizer

from pynapple_nuclr.atomic_files import remove_drafts
from pynapple_nuclr.checkpoints.encoder_folder import WEIGHTS
from pynapple_nuclr.pretraining.training_checkpoints import read_checkpoint
from pynapple_nuclr.pretraining.training_module import ContrastiveTraining
from pynapple_nuclr.pretraining.training_monitor import CHECKS, LAST, METRICS, TrainingMonitor
from pynapple_nuclr.user_warnings import log
from pynapple_nuclr.windows import ViewSettings

_OLD = "last.ckpt"  # a pickle of versions before 0.2
# Settings that were added since, with which older runs agree.
_ADDED = {name: getattr(ViewSettings, name) for name in ("spikes_kept", "rate_matched")}
_NAMED = 5
_MOMENTS = ("exp_avg", "exp_avg_sq")


def resume_or_begin(
    folder: Path | None,
    resume: bool,
    monitor: TrainingMonitor,
    module: ContrastiveTraining,
    first: bool,
) -> tuple[Path | None, int]:
    """Return the checkpoint to continue from, if there is one, and its step; restore from it.

    Without `resume` the files of an earlier run are removed. Only the `first` of several processes
    changes files. ValueError if the checkpoint is damaged, of another run, or of an old version.
    """
    if folder is None:
        return None, 0
    path = folder / LAST
    if resume and not path.exists() and (folder / _OLD).exists():
        raise ValueError(
            f"{folder / _OLD} is the checkpoint of an older version, which cannot be continued; to "
            "start again with the same folder give resume=False, or choose another out; to go on "
            "from its weights, give the encoder that was saved there as init"
        )
    if resume and not path.exists() and (folder / WEIGHTS).exists():
        raise ValueError(
            f"{folder} holds an encoder and no checkpoint to continue from, and the new encoder "
            "would replace it; choose another out, or resume=False to replace it"
        )
    step = _restore(path, monitor, module) if resume and path.exists() else None
    if first:
        _tidy(folder, step, monitor)
    return (None, 0) if step is None else (path, step)


def saved_run_settings(folder: Path | None) -> dict[str, Any]:
    """Return the settings of the run whose checkpoint is in a folder; {}: there is none.

    A damaged one is not reported here, but when it is restored.
    """
    if folder is None or not (folder / LAST).exists():
        return {}
    try:
        with safe_open(folder / LAST, framework="pt") as file:
            saved = json.loads(file.metadata()["checkpoint"])["nuclr"]["run_settings"]
        return {"batch_size": saved["batch_size"], "settings": saved["settings"]}
    except Exception:  # damage has many names
        return {}


def _tidy(folder: Path, step: int | None, monitor: TrainingMonitor) -> None:
    """Remove what an earlier run wrote after its last checkpoint: those steps are repeated."""
    folder.mkdir(parents=True, exist_ok=True)
    if step is None:
        for name in (LAST, METRICS, _OLD):
            (folder / name).unlink(missing_ok=True)
    remove_drafts(folder)
    for path in (folder / CHECKS).glob("step_*"):
        if int(path.name.removeprefix("step_")) > (step or 0):
            shutil.rmtree(path)
    monitor.write_metrics()


def _restore(path: Path, monitor: TrainingMonitor, module: ContrastiveTraining) -> int:
    """Restore what Lightning does not know; return the step of the checkpoint."""
    try:
        checkpoint = read_checkpoint(path)
        saved, step = checkpoint["nuclr"], checkpoint["global_step"]
        before, now = saved["run_settings"], monitor.run_settings
        before["settings"] = {**_ADDED, **before["settings"]}
        pairs = [(key, now[key], before.get(key)) for key in sorted(now)]
        differing = [_named(*pair) for pair in pairs if not _same(*pair[1:])]
        if not differing:
            _load(checkpoint, module)
            monitor.restore(module, saved)
    except Exception as error:  # damage has many names; all mean the same here
        raise ValueError(
            f"{path} is not a valid checkpoint of pretrain ({type(error).__name__}: "
            f"{str(error)[:200]}); resume=False starts again"
        ) from None
    if differing:
        raise ValueError(
            f"{path} is of another run: {', '.join(differing)} differ; choose another out, or "
            "resume=False to start again"
        )
    log.info("resuming from %s at step %d", path.name, step)
    return int(step)


def _load(checkpoint: dict[str, Any], module: ContrastiveTraining) -> None:
    """Load weights and optimizer into the module, as Lightning will: they have to fit it."""
    best = checkpoint["nuclr"]["best_weights"]
    if best:
        module.encoder.load_state_dict(best)
        _check_finite(module)
    module.load_state_dict(checkpoint["state_dict"])
    _check_finite(module)
    optimizer = module.configure_optimizers()
    (state,) = checkpoint["optimizer_states"]
    _check_moments(state, optimizer, checkpoint["global_step"])
    settings = [dict(group) for group in optimizer.param_groups]
    optimizer.load_state_dict(state)
    for ours, theirs in zip(settings, optimizer.param_groups, strict=True):
        # The learning rate is set by every step; another torch may have other settings, too.
        shared = ours.keys() & theirs.keys() - {"params", "lr"}
        if not all(_same(ours[key], theirs[key]) for key in shared):
            raise ValueError("its optimizer settings differ")


def _check_moments(state: dict[str, Any], optimizer: Optimizer, last_step: int) -> None:
    """Compare what an optimizer kept of each weight with the weight, before torch copies it."""
    indices = [index for group in state["param_groups"] for index in group["params"]]
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    weight_at = dict(zip(indices, weights, strict=True))
    for index, kept in state["state"].items():
        weight = weight_at[index]
        if kept.keys() != {"step", *_MOMENTS} or not 0 < float(kept["step"]) <= last_step:
            raise ValueError("its optimizer has counted other steps")
        for moment in (kept[name] for name in _MOMENTS):
            alike = moment.shape == weight.shape and moment.dtype == weight.dtype
            if not alike or not moment.isfinite().all():
                raise ValueError("its optimizer is of other weights, or not finite")


def _check_finite(module: ContrastiveTraining) -> None:
    if not all(value.isfinite().all() for value in module.state_dict().values()):
        raise ValueError("its weights are not all finite")


def _named(key: str, ours: Any, theirs: Any) -> str:
    """Return the name of a setting that differs, and what in it does."""
    if not isinstance(ours, Mapping) or not isinstance(theirs, Mapping):
        return key
    names = sorted({*ours, *theirs})
    parts = [str(name) for name in names if not _same(ours.get(name), theirs.get(name))]
    return f"{key} ({', '.join(parts[:_NAMED])}{', …' if len(parts) > _NAMED else ''})"


def _same(ours: Any, theirs: Any) -> bool:
    """Return whether two values are the same; a tuple and a list of the same values are."""
    if isinstance(ours, Mapping):
        alike = isinstance(theirs, Mapping) and ours.keys() == theirs.keys()
        return alike and all(_same(ours[key], theirs[key]) for key in ours)
    if isinstance(ours, (list, tuple)):
        alike = isinstance(theirs, (list, tuple)) and len(ours) == len(theirs)
        return alike and all(map(_same, ours, theirs))
    return bool(ours == theirs)
