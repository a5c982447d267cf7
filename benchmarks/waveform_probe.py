"""The probe that comes with the package: narrow or broad waveforms, from spikes alone.

    python benchmarks/waveform_probe.py --data ../shared/data --install

Each rat is left out in turn: the probe is fitted on the others and annotates the recordings of that
rat as a user would. `--install` fits it on all rats and stores it in pynapple_nuclr/weights; the
page docs/waveform_type.md and the card are written in any case.
"""

from __future__ import annotations

import argparse
import datetime
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
import pynapple as nap
import torch
from page import machine, markdown
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pynapple_nuclr import Probe, embed, embeddings, unit_statistics
from pynapple_nuclr.bundled import PROBES
from pynapple_nuclr.calibration import (
    confidence_above_share,
    expected_calibration_error,
    macro_f1_of_predictions,
)
from recordings import head_direction, macaque, optotagged, rats, steinmetz, with_column

HERE = Path(__file__).parent
DOCS = HERE.parent / "docs"
TARGET = "waveform_type"
NAME = "waveform-type"
THRESHOLD = 0.3
CLASSES = np.array(["broad", "narrow"])
Groups = Mapping[str, nap.TsGroup]


def classifier() -> Any:
    """Return the classifier: classes as frequent as they are, so that probabilities mean it."""
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))


def new_probe() -> Probe:
    """Return the probe, not fitted."""
    return Probe(TARGET, estimator=classifier(), inputs="statistics", threshold=THRESHOLD)


def labelled(data: Path) -> dict[str, nap.TsGroup]:
    """Return the rats; single units of striatum and frontal cortex have a label, others none."""
    recordings = {}
    for name, units in rats(data).items():
        area = np.isin(units["area_class"], ("striatum", "frontal_cortex"))
        scored = area & np.asarray(units["is_single"], dtype=bool)
        label = np.where(scored, np.asarray(units["putative_type"]).astype(str), "")
        recordings[name] = with_column(units, TARGET, label.tolist())
    return recordings


def leave_rats_out(recordings: Groups) -> pd.DataFrame:
    """Return a row for each labelled unit, predicted by a probe that has not seen its rat."""
    rat_of = {name: str(np.asarray(one["subject"])[0]) for name, one in recordings.items()}
    tables = []
    for rat in sorted(set(rat_of.values())):
        tested = {n: one for n, one in recordings.items() if rat_of[n] == rat}
        if not any((np.asarray(one[TARGET]) != "").any() for one in tested.values()):
            continue
        taught = {name: one for name, one in recordings.items() if rat_of[name] != rat}
        probe = fit(taught)
        for name, units in tested.items():
            table = annotated(probe, units)
            tables.append(table.assign(rat=rat, recording=name, true=np.asarray(units[TARGET])))
    table = pd.concat(tables)
    return table[table["true"] != ""].reset_index(drop=True)


def fit(recordings: Groups) -> Probe:
    """Fit the probe on the recordings that have labels."""
    some = {n: one for n, one in recordings.items() if (np.asarray(one[TARGET]) != "").any()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # units without a label
        return new_probe().fit(some, animals="subject", verbose=False)


def annotated(probe: Probe, units: nap.TsGroup) -> pd.DataFrame:
    """Return what a user gets: called, and the probabilities behind it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        called = probe.annotate(units)[f"predicted_{TARGET}"]
    proba = probe.predict_proba(units)
    refused = any("is unlike the" in str(one.message) for one in caught)
    columns = {f"p_{name}": proba[:, i] for i, name in enumerate(probe.classes_)}
    return pd.DataFrame({"called": np.asarray(called), "refused": refused, **columns})


def scores(table: pd.DataFrame) -> dict[str, Any]:
    """Return how good the calls are."""
    table = table[table["p_narrow"].notna()]
    proba = table[["p_broad", "p_narrow"]].to_numpy()
    sure = table[table["called"] != "unknown"]
    narrow = sure["called"] == "narrow"
    right = (sure["true"] == "narrow") & narrow
    return {
        "units": len(table),
        "narrow": int((table["true"] == "narrow").sum()),
        "refused": f"{int(table.groupby('recording')['refused'].first().sum())} of "
        f"{table['recording'].nunique()}",
        "called": f"{len(sure) / len(table):.2f}",
        "F1, called": _f1(sure["true"], sure["called"]),
        "precision": f"{right.sum() / max(narrow.sum(), 1):.2f}",
        "recall": f"{right.sum() / max((table['true'] == 'narrow').sum(), 1):.2f}",
        "F1, all": (_f1(table["true"], CLASSES[proba.argmax(axis=1)])),
        "ECE": f"{expected_calibration_error(table['true'], proba, CLASSES):.3f}",
    }


def of_each_rat(table: pd.DataFrame) -> str:
    """Return the scores of each rat left out, and of all, as a table."""
    each = [{"rat left out": rat, **scores(own)} for rat, own in table.groupby("rat")]
    return markdown([*each, {"rat left out": "all", **scores(table)}])


def _f1(true: Any, called: Any) -> str:
    return f"{macro_f1_of_predictions(true, called):.3f}"


def compare_inputs(recordings: Groups) -> list[dict[str, Any]]:
    """Return the same classifier on other inputs, each rat left out, by the same rule."""
    x: dict[str, list[Any]] = {}
    y: list[Any] = []
    rat: list[str] = []
    for units in recordings.values():
        label = np.asarray(units[TARGET]).astype(str)
        if not (label != "").any():
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            embedded = embeddings(embed(units, "rats", max_windows=64, progress=False)).values
        statistics = unit_statistics(units)
        kept = (label != "") & np.isfinite(embedded).all(axis=1)
        parts = {
            "log rate alone": statistics[["log_rate"]].to_numpy(),
            "statistics": statistics.to_numpy(),
            "embedding, encoder of rats": embedded,
            "statistics + embedding": np.column_stack([statistics.to_numpy(), embedded]),
        }
        for name, one in parts.items():
            x.setdefault(name, []).append(one[kept])
        y.append(label[kept])
        rat += [str(np.asarray(units["subject"])[0])] * int(kept.sum())
    true = np.concatenate(y)
    shares = np.array([(true == one).mean() for one in CLASSES])
    rows = []
    for name, parts in x.items():
        proba = cross_val_predict(
            classifier(), np.concatenate(parts), true, groups=rat, cv=LeaveOneGroupOut(),
            method="predict_proba",
        )  # fmt: skip
        called = CLASSES[proba.argmax(axis=1)]
        sure = confidence_above_share(proba, shares) >= THRESHOLD
        rows.append(
            {
                "inputs": name,
                "called": f"{sure.mean():.2f}",
                "F1, called": _f1(true[sure], called[sure]),
                "F1, all": _f1(true, called),
                "ECE": f"{expected_calibration_error(true, proba, CLASSES):.3f}",
            }
        )
    return rows


def elsewhere(probe: Probe, data: Path) -> list[dict[str, Any]]:
    """Return how many recordings of other kinds are refused."""
    kinds = {
        "macaque, 40 min": macaque(data),
        "mouse, head direction": head_direction(data),
        "mouse, trials of 0.4 s": steinmetz(data),
    }
    rows = []
    for name, recordings in kinds.items():
        refused = [bool(annotated(probe, units)["refused"].any()) for units in recordings.values()]
        rows.append({"recordings": name, "refused": f"{sum(refused)} of {len(refused)}"})
    return rows


def opto_tagged(probe: Probe, data: Path) -> list[dict[str, Any]]:
    """Return what opto-tagged cells of mice are called, a row for each type."""
    tables = []
    for units in optotagged(data).values():
        table = annotated(probe, units)
        tables.append(table.assign(type=np.asarray(units["cell_type"])))
    whole = pd.concat(tables)
    rows = []
    for kind, own in whole.groupby("type"):
        counts = own["called"].value_counts()
        found = {name: int(counts.get(name, 0)) for name in ("narrow", "broad", "unknown")}
        rows.append({"cells": kind, **found, "in recordings refused": int(own["refused"].sum())})
    return rows


def page(
    table: pd.DataFrame, inputs: Sequence[Any], others: Sequence[Any], tagged: Sequence[Any]
) -> str:
    """Return the page."""
    template = (HERE / "waveform_page.md").read_text(encoding="utf-8")
    return template.format(
        machine=f"{datetime.date.today().isoformat()}, {machine()}",
        threshold=THRESHOLD,
        each=of_each_rat(table),
        inputs=markdown(inputs),
        others=markdown(others),
        tagged=markdown(tagged),
    )


def install(probe: Probe, table: pd.DataFrame) -> None:
    """Store the probe in the package, with its card."""
    folder = PROBES[NAME].parent
    probe.save(folder)
    card = folder / "README.md"
    text = card.read_text(encoding="utf-8").replace(str(folder), NAME)
    about = (HERE / "waveform_card.md").read_text(encoding="utf-8")
    card.write_text(f"{text.rstrip()}\n\n{about.format(each=of_each_rat(table))}", encoding="utf-8")


def main() -> None:
    """Read the command line, measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=HERE.parent.parent / "shared" / "data")
    parser.add_argument("--install", action="store_true", help="store the probe in the package")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    recordings = labelled(arguments.data)
    table = leave_rats_out(recordings)
    probe = fit(recordings)
    text = page(
        table,
        compare_inputs(recordings),
        elsewhere(probe, arguments.data),
        opto_tagged(probe, arguments.data),
    )
    (DOCS / "waveform_type.md").write_text(text, encoding="utf-8")
    print(text)
    if arguments.install:
        install(probe, table)
        print(probe)


if __name__ == "__main__":
    main()
