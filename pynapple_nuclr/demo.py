"""All steps once, on a simulated recording: what `nap-nuclr demo` and `make demo` run."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pynapple as nap
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.model_selection import train_test_split

from pynapple_nuclr.calibration import macro_f1_of_predictions
from pynapple_nuclr.checkpoints import Encoder, as_encoder
from pynapple_nuclr.columns import embeddings
from pynapple_nuclr.embedding import embed
from pynapple_nuclr.features import unit_statistics
from pynapple_nuclr.nwb.writing import write_nwb, write_units
from pynapple_nuclr.plotting import plot_embedding
from pynapple_nuclr.pretraining import pretrain
from pynapple_nuclr.probes import Probe
from pynapple_nuclr.reporting import report
from pynapple_nuclr.simulation import simulate

_SHUFFLES = 20


def run_demo(
    out: str | os.PathLike[str] = "nuclr_demo",
    *,
    seed: int = 0,
    encoder: Encoder | str | Path | None = None,
    n_units: int = 120,
    duration: float = 600.0,
    minutes: float = 1.0,
    progress: bool = True,
) -> dict[str, float]:
    """Simulate a recording, embed it, predict cell types, and say how well that went.

    The cell types of the simulation differ in nothing but how they follow the population (the
    world "context" of `simulate`), so that statistics of single units cannot separate them.

    Parameters
    ----------
    out : str or path
        Folder to write to; made if absent, files of an earlier demo are replaced.
    seed : int
        Seed of the simulation, the training and the split into halves.
    encoder : Encoder, str or Path, optional
        Encoder to start from. Default: the bundled "rats".
    n_units, duration : int, float
        Size of the simulated recording, in units and seconds.
    minutes : float
        How long to fine-tune the encoder on the (unlabelled) recording; 0: use it as it is.
    progress : bool
        Show progress bars.

    Returns
    -------
    dict
        Macro F1 on the units that the probe has not seen: ``embedding``, ``unit_statistics`` and
        ``chance`` (the mean over shuffled labels).

    See Also
    --------
    pynapple_nuclr.simulate, pynapple_nuclr.embed, pynapple_nuclr.Probe

    Examples
    --------
    >>> import tempfile
    >>> from pynapple_nuclr.demo import run_demo
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     scores = run_demo(folder, n_units=24, duration=40, minutes=0, progress=False)
    1. A simulated recording, with a label for every unit
    2. Embedded
    3. Cell types learnt from one half, and predicted for the other
    ...
    4. Macro F1 on the 12 units that the probe has not seen
    ...
    next: your own file: nap-nuclr embed session.nwb, then nap-nuclr view session_nuclr.nwb
    >>> list(scores)
    ['embedding', 'unit_statistics', 'chance']
    """
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)

    print("1. A simulated recording, with a label for every unit")
    simulated = simulate("context", n_units=n_units, duration=duration, seed=seed)
    source = write_units(
        simulated, folder / "session.nwb", session="simulated by pynapple-nuclr", overwrite=True
    )

    print("2. Embedded" + (", after the encoder got used to it without labels" if minutes else ""))
    units = nap.load_file(source)["units"]
    encoder = as_encoder(encoder)
    if minutes > 0:
        encoder = pretrain(
            {"demo": units}, init=encoder, max_minutes=minutes, seed=seed, progress=progress
        )
    with warnings.catch_warnings():  # not fine-tuned, it does not know simulations: no wonder
        warnings.filterwarnings("ignore", message=".* is unlike the data")
        units = embed(units, encoder, progress=progress)

    print("3. Cell types learnt from one half, and predicted for the other")
    embedded = units[units["nuclr_n_windows"] > 0]
    known, unknown = train_test_split(
        np.asarray(embedded.index), test_size=0.5, stratify=embedded["cell_type"], random_state=seed
    )
    probe = Probe("cell_type").fit(units[np.sort(known)])
    units = probe.annotate(units)  # says of each unit whether the probe learned from it
    table = units[["rate", "nuclr_stability", "predicted_cell_type"]].loc[np.sort(unknown)]
    print(f"\n{table.to_string(max_rows=12)}\n")

    scores = _scores(embedded, probe, known, unknown, seed)
    print(f"4. Macro F1 on the {len(unknown)} units that the probe has not seen")
    for name, score in scores.items():
        print(f"  {name.replace('_', ' '):<16} {score:.2f}")

    written = [
        write_nwb(units, source, folder / "session_nuclr.nwb", overwrite=True),
        _save_map(units, folder / "embedding_map.png"),
        report(units, folder / "report.html", name="demo", encoder=encoder, overwrite=True),
    ]
    print("\n5. Written", *(f"   {os.path.relpath(path)}" for path in [source, *written]), sep="\n")
    print(
        f"look at it: open {os.path.relpath(written[-1])} in a browser\n"
        "next: your own file: nap-nuclr embed session.nwb, then nap-nuclr view session_nuclr.nwb"
    )
    return scores


def _scores(
    units: nap.TsGroup, probe: Probe, known: NDArray[Any], unknown: NDArray[Any], seed: int
) -> dict[str, float]:
    """Score the probe's classifier on vectors, on single-unit statistics, on shuffled labels."""
    rng = np.random.default_rng(seed)
    labels = units["cell_type"]
    vectors = embeddings(units).to_pandas()
    statistics = unit_statistics(units)

    def score(table: Any, known_labels: Any) -> float:
        classifier = clone(probe.estimator_).fit(table.loc[known].to_numpy(), known_labels)
        predicted = classifier.predict(table.loc[unknown].to_numpy())
        return macro_f1_of_predictions(labels.loc[unknown], predicted)

    known_labels = labels.loc[known].to_numpy()
    shuffled = [score(vectors, rng.permutation(known_labels)) for _ in range(_SHUFFLES)]
    return {
        "embedding": score(vectors, known_labels),
        "unit_statistics": score(statistics, known_labels),
        "chance": float(np.mean(shuffled)),
    }


def _save_map(units: nap.TsGroup, path: Path) -> Path:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.6), layout="constrained", dpi=150)
    plot_embedding(units, "cell_type", ax=figure.subplots())
    figure.savefig(path)
    return path
