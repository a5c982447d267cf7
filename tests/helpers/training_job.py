"""A training of a few steps as a job of its own, which other tests start, share out and kill.

`python training_job.py OUT '{"steps": 4, …}'`: the keywords of `train`.
"""

import json
import os
import sys
from dataclasses import replace

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from training_populations import TINY, population

from pynapple_nuclr import pretrain
from pynapple_nuclr.pretraining.training_module import ContrastiveTraining


def rank():
    names = ("RANK", "SLURM_PROCID", "LOCAL_RANK")
    return next((int(os.environ[name]) for name in names if name in os.environ), 0)


def say(step):
    os.write(1, f"step {step}\n".encode())  # whole lines, even where several processes write


def train(out, *, dropout=0.0, quiet_until=0.0, fail=None, own_seed=False, on_step=say, **options):
    """Train on two days; keep the weights that each process gets back.

    Before `quiet_until` (s) no unit fires; `fail` is the (rank, step) at which a process raises;
    with `own_seed` the processes do not agree; `on_step` is called with the number of every step.
    """
    torch.set_num_threads(1)
    config = replace(TINY, dropout=dropout)
    take_step = ContrastiveTraining.training_step

    def watched(self, batch, index):
        on_step(self.global_step)
        if fail is not None and [self.global_rank, self.global_step] == list(fail):
            raise ValueError("this process has had enough")
        return take_step(self, batch, index)

    ContrastiveTraining.training_step = watched
    try:
        recordings = {
            f"day{seed}": population(seconds=60, seed=seed, quiet_until=quiet_until)
            for seed in range(2)
        }
        options = {"progress": False, "seed": rank() if own_seed else 0, **options}
        encoder = pretrain(recordings, config, out=out, **options)
    finally:
        ContrastiveTraining.training_step = take_step
    weights = torch.cat([value.flatten() for value in encoder.state_dict().values()])
    np.save(f"{out}/weights_{rank()}.npy", weights.numpy())


if __name__ == "__main__":
    train(sys.argv[1], **json.loads(sys.argv[2]))
