"""One process or several: who started them, and Lightning's trainer for either."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import lightning.pytorch as pl
import torch
from lightning.pytorch.plugins.environments import (
    LightningEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from pynapple_nuclr.model import has_native_bfloat16
from pynapple_nuclr.pretraining.training_checkpoints import SafetensorsCheckpoints

# A process that waits longer than this for another one ends with an error.
_TIMEOUT = timedelta(minutes=30)
_WIDE = 64  # from this width on bfloat16 is faster on such a processor (docs/speed.md)


class SharedSteps(DDPStrategy):
    """Lightning's DDP without its wrapper: the training step adds the gradients up itself.

    A step is several backward passes, and not as many in each process, which the wrapper's
    hooks cannot follow.
    """

    def configure_ddp(self) -> None:
        """Give all processes the weights of the first one."""
        for value in self.model.state_dict().values():
            torch.distributed.broadcast(value, 0)


class Launched(NamedTuple):
    """Processes that a launcher has started."""

    launcher: str
    each: int  # on a machine
    machines: int
    environment: Any


def start_trainer(devices: Any, precision: str, folder: Path | None) -> pl.Trainer:
    """Return a Lightning trainer for the processes that there are, or that `devices` asks for.

    ValueError if the devices are not there, or contradict what torchrun or SLURM has started.
    """
    launched = find_launched()
    count = _count(devices, launched)
    several = launched is not None or count > 1
    if devices == "auto" or (devices == 1 and not several):
        devices = count
    with quiet():
        try:
            return pl.Trainer(
                accelerator="auto",
                devices=devices,
                num_nodes=launched.machines if launched else 1,
                strategy=SharedSteps(timeout=_TIMEOUT) if several else "auto",
                # Explicit: Lightning takes any Python within a SLURM job for one of several.
                plugins=[
                    launched.environment if launched else LightningEnvironment(),
                    SafetensorsCheckpoints(),
                ],
                precision=precision,
                max_steps=-1,
                max_epochs=1,
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                use_distributed_sampler=False,
                default_root_dir=folder,
            )
        except MisconfigurationException as error:
            raise ValueError(
                f"devices={devices!r} is not available on this machine ({error}); "
                "devices=1 works everywhere, several need a script, torchrun or SLURM"
            ) from None


def pick_precision(precision: str, dim: int) -> str:
    """Return Lightning's name of a precision; "auto" is bfloat16 where that is faster."""
    if precision != "auto":
        return precision
    # Emulated bfloat16 is slower than float32, and so are casts around small products.
    if torch.cuda.is_available():
        native = torch.cuda.is_bf16_supported(False)
    else:
        native = has_native_bfloat16() and dim >= _WIDE
    return "bf16-mixed" if native else "32-true"


def find_launched() -> Launched | None:
    """Return what torchrun or srun has started, if it is more than one process."""
    here = os.environ
    if TorchElasticEnvironment.detect():
        world, each = int(here["WORLD_SIZE"]), int(here["LOCAL_WORLD_SIZE"])
        if world == 1:
            return None
        return Launched("torchrun", each, world // each, TorchElasticEnvironment())
    world = int(here.get("SLURM_STEP_NUM_TASKS", 1))  # only srun says this, sbatch does not
    if world == 1:
        return None
    machines = int(here.get("SLURM_STEP_NUM_NODES", 1))
    if world % machines or "SLURM_NTASKS_PER_NODE" not in here:
        raise ValueError(
            f"srun has started {world} processes on {machines} machines; expected as many on each: "
            "give --nodes and --ntasks-per-node rather than --ntasks"
        )
    # It saves between steps and is started again by the job script, not by Lightning.
    environment = SLURMEnvironment(auto_requeue=False)
    return Launched("srun", world // machines, machines, environment)


def _count(devices: Any, launched: Launched | None) -> int:
    """Return how many processes of this machine take part."""
    if devices == "auto":
        return launched.each if launched else 1
    if isinstance(devices, list) and devices:
        count = len(devices)
    elif isinstance(devices, int) and devices == -1:
        count = max(torch.cuda.device_count(), 1)
    elif isinstance(devices, int) and devices > 0:
        count = devices
    else:
        raise ValueError(f'devices is {devices!r}; expected "auto", a number above 0, -1 or a list')
    if launched and count != launched.each:
        raise ValueError(
            f"devices={devices!r}, and {launched.launcher} has started {launched.each} processes "
            "on this machine; leave devices out"
        )
    return count


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Lightning's messages about its own set-up."""
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
