"""A probe for people to read: its card on the hub, and how notebooks show it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator as Probe  # `Probe` itself imports this module

from pynapple_nuclr.columns import as_texts
from pynapple_nuclr.probe_score import ProbeScore

_LIMITS = """\
- It predicts only the classes above: a unit of any other class gets one of these.
- The score was measured on units of its training recordings that the folds left out. Expect less
  on other species, regions, or recording methods: test it on labelled units of your own.
- For research; not for any clinical decision."""


_FROM = {
    "embedding": "their NuCLR embeddings",
    "statistics": "the statistics of their activity (`unit_statistics`)",
    "both": "their NuCLR embeddings and the statistics of their activity",
}


def probe_facts(probe: Probe) -> dict[str, Any]:
    """Return what is known of a fitted probe, as name → value."""
    score = ProbeScore.of(probe)
    estimator = type(probe.estimator_).__name__
    if hasattr(probe.estimator_, "steps"):
        estimator = " + ".join(type(step).__name__ for _, step in probe.estimator_.steps)
    if probe.estimator is None:
        estimator += f", C={probe.estimator_[-1].C:g}"
    return {
        "target": probe.target,
        "classes": ", ".join(as_texts(probe.classes_)),
        "macro F1": f"{score.f1} by {score.left_out}",
        "chance": score.chance,
        "units": probe.n_units_,
        "inputs": probe.inputs_,
        "encoder": probe.encoder_ or "none (fitted on arrays)",
        "estimator": estimator,
        "features": ", ".join(probe.features) or "none",
        "standardize": probe.standardize,
    }


def score_text(probe: Probe, n_folds: int) -> str:
    """Return the cross-validated score and the choices made, a line each."""
    facts = probe_facts(probe)
    line = (
        f"{probe.target}: macro F1 {facts['macro F1']} ({n_folds} folds), chance "
        f"{facts['chance']}, {probe.n_units_} units"
    )
    if where := ProbeScore.of(probe).expect_less_in:
        line += f"\nexpect less in {where}: the folds left out {probe.cv_group_}s"
    if len(probe.cv_inputs_) > 1:
        scores = ", ".join(f"{inputs} {score:.2f}" for inputs, score in probe.cv_inputs_.items())
        line += f"\ninputs: {probe.inputs_} (before the choice: {scores})"
    if probe.estimator is None and np.ptp(probe.class_shares_) > 0:
        line += "\nclasses: weighted by their frequency, which predicts better than equal weights"
    found = probe.cv_calibration_
    if "ece_rejected" in found:
        line += (
            f"\nprobabilities: not calibrated, {found['ece']:.2f} off on average (calibrated: "
            f"{found['ece_rejected']:.2f})"
        )
    return line


def chance_text(probe: Probe) -> str:
    """Return the warning that a probe's score is not above chance."""
    facts = probe_facts(probe)
    return (
        f"{probe.target!r}: the probe is not above chance: macro F1 {facts['macro F1']}, chance "
        f"{facts['chance']}, of which it would have to be 3 s.d. above"
    )


def probe_text(probe: Probe) -> str:
    """Return a fitted probe in one line."""
    facts = probe_facts(probe)
    return (
        f"<Probe {facts['target']}: {len(probe.classes_)} classes ({facts['classes']}), macro F1 "
        f"{facts['macro F1']}, chance {facts['chance']}, {facts['units']} units, encoder "
        f"{facts['encoder']}>"
    )


def probe_html(probe: Probe) -> str:
    """Return a fitted probe as a table for notebooks."""
    rows = "".join(
        f"<tr><th style='text-align:left'>{escape(name)}</th>"
        f"<td style='text-align:left'>{escape(str(value))}</td></tr>"
        for name, value in probe_facts(probe).items()
    )
    return f"<table><caption>pynapple-nuclr Probe</caption>{rows}</table>"


def probe_card(probe: Probe, source: str, trusted: Sequence[str]) -> str:
    """Return the card (Markdown) that is saved beside a probe."""
    facts = "\n".join(f"- {name}: {value}" for name, value in probe_facts(probe).items())
    argument = f", trusted={list(trusted)}" if trusted else ""
    return f"""\
---
library_name: "pynapple-nuclr"
tags: ["neuroscience", "pynapple", "nwb", "probe"]
---
# A probe of {probe.target}

It predicts the {probe.target} of recorded units from {_FROM[probe.inputs_]}.

{facts}

## Use

```python
import pynapple_nuclr as nap_nuclr

probe = nap_nuclr.load_probe("{source}"{argument})
units = probe.annotate(units)  # predicted_{probe.target}
```

## Limits

{_LIMITS}
"""
