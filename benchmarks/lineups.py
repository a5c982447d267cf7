"""The systems and configurations that are compared, and the training budget.

Everything trained within a protocol, an ablation or a curve has the same reduced budget; only the
encoder that comes with the package was trained for longer.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pynapple as nap
from variants import Variant

from pynapple_nuclr import EncoderConfig
from pynapple_nuclr.windows import ViewSettings

PAIRS = 500
DIM = 64
SIZE = {"dim": DIM, "heads": 4, "head_dim": DIM // 4, "dropout": 0.0}

TRIALS = EncoderConfig(
    patch_duration=0.4,
    window_duration=6.4,
    gaps="join",
    attention_scope="window",
    **SIZE,  # type: ignore[arg-type]
)
"""Steinmetz: a patch is a trial of 0.4 s, a window 16 of them."""

CONTINUOUS = replace(TRIALS, window_duration=9.6, gaps="split")
WORMS = EncoderConfig(
    modality="calcium",
    frame_rate=1 / 0.6,
    window_frames=64,
    attention_scope="window",
    **SIZE,  # type: ignore[arg-type]
)
EVENTS = replace(WORMS, frame_rate=5.0, window_frames=128, signal="events", gaps="join")


def ours(config: EncoderConfig, pairs: int = PAIRS, **views: Any) -> Variant:
    """Return our encoder with the default settings of the benchmarks, at the reduced budget."""
    settings = {"max_view_distance": None, "max_units": 256} | views
    return Variant("nuclr", config, pairs=pairs, views=ViewSettings(**settings))


def ablations(pairs: int = PAIRS) -> list[Variant]:
    """Return our encoder, then its variants with one change each."""
    base = ours(TRIALS, pairs)
    views = base.views
    no_context = replace(TRIALS, temporal_layers=4, spatiotemporal_layers=0)
    return [
        base,
        base.with_changes(
            "scores by patch (published)", config=replace(TRIALS, attention_scope="patch")
        ),
        base.with_changes("no population attention", config=no_context),
        base.with_changes("context relative to the population", context="relative"),
        base.with_changes("standardised in the population, inside", standardise=True),
        base.with_changes("attends to a random half or more", population_kept=0.5),
        base.with_changes("penalty on the session's mean", penalty=0.3),
        base.with_changes("negatives across recordings", across_recordings=True),
        base.with_changes("no unit dropout", views=replace(views, units_kept=(1.0, 1.0))),
        base.with_changes("InfoNCE", objective="infonce"),
    ]


def source_of(units: nap.TsGroup) -> str:
    """Return the laboratory of an opto-tagged session."""
    subject = str(np.asarray(units["subject"])[0])
    if subject.startswith("AllenInstitute"):
        return "Allen"
    return "hippocampus" if set(np.asarray(units["brain_area"])) == {"HIP"} else "cortex"
