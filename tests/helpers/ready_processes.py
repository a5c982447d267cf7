"""Processes that start at once: forks of a server that has imported much and run nothing.

They have neither threads nor memory of the tests that ran before.
"""

import multiprocessing

READY = multiprocessing.get_context("forkserver")
READY.set_forkserver_preload(["lightning.pytorch", "pynapple_nuclr.pretraining"])
