"""One embedding per unit of a recording, as metadata columns of the same object."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import pynapple as nap

from pynapple_nuclr.checkpoints import Encoder, as_encoder
from pynapple_nuclr.columns import SUMMARIES, add_columns, check_prefix
from pynapple_nuclr.config import Gaps
from pynapple_nuclr.embedding._budget import Budget
from pynapple_nuclr.embedding._encode import (
    MAX_POPULATION,
    EncodeSettings,
    encode_units,
    warn_about_silent_units,
)
from pynapple_nuclr.model.inference import Precision

UnitsT = TypeVar("UnitsT", nap.TsGroup, nap.TsdFrame)


def embed(
    units: UnitsT,
    encoder: Encoder | str | Path | None = None,
    *,
    epochs: nap.IntervalSet | None = None,
    gaps: Gaps | None = None,
    by: str | None = None,
    columns: Literal["all", "summary"] = "all",
    prefix: str = "nuclr",
    max_windows: int | None = None,
    max_seconds: float | None = None,
    tolerance: float | None = None,
    max_population: int | None = MAX_POPULATION,
    device: str = "auto",
    precision: Precision = "float32",
    progress: bool = True,
    name: str = "recording",
) -> UnitsT:
    """Embed every unit of a recording; return the object with new metadata columns.

    Parameters
    ----------
    units : TsGroup or TsdFrame
        Spike trains, or calcium traces. Not changed.
    encoder : Encoder, str or Path, optional
        The encoder, its folder or its hub name. Default: of those that come with the package
        "calcium" for traces, "spikes" where most time is in epochs below 10 s, else "rats".
    epochs : IntervalSet, optional
        Use only these epochs. Default: the time support.
    gaps : {"split", "join"}, optional
        Windows within one epoch, or of consecutive whole patches across epochs (trials).
        Default: as the encoder was trained.
    by : str, optional
        Metadata column that says which population a unit belongs to, such as its probe
        insertion: each is embedded on its own (the published way). Default: all units are one.
    columns : {"all", "summary"}
        Whether to write the vectors, or only the summary.
    prefix : str
        Start of the new columns' names.
    max_windows, max_seconds, tolerance, max_population, device, precision, progress, name
        As in `encode`.

    Returns
    -------
    TsGroup or TsdFrame
        The same kind of object, units in the same order, with ``nuclr_stability`` (how repeatable
        the unit's embedding is: 1 = always nearest to itself, 0.5 = chance, NaN below two windows;
        it does not measure whether a label is right), ``nuclr_n_windows``, ``nuclr_encoder``
        (name@hash) and, with ``columns="all"``, the embedding as ``nuclr_0``, ``nuclr_1``, …
        Units without a spike in any window get NaN, 0 windows, and one warning. A second warning
        says if the recording is unlike those that the encoder was trained on (see `encode`).

    Raises
    ------
    TypeError, ValueError
        For input that cannot be read, an encoder of the other modality, epochs shorter than a
        window, or a prefix that cannot be a column name.

    References
    ----------
    "Know Thyself by Knowing Others: Learning Neuron Identity from Population Context",
    NeurIPS 2025, arXiv:2512.01199.

    Examples
    --------
    >>> import pynapple_nuclr as nap_nuclr
    >>> units = nap_nuclr.simulate("single", n_units=20, duration=60, seed=0)
    >>> encoder = nap_nuclr.Encoder(nap_nuclr.EncoderConfig(dim=32, heads=2, head_dim=16))
    >>> units = nap_nuclr.embed(units, encoder, progress=False)
    >>> nap_nuclr.embeddings(units).dims
    ('unit', 'feature')
    """
    if columns not in ("all", "summary"):
        raise ValueError(f'columns is {columns!r}; expected "all" or "summary"')
    if isinstance(units, (nap.TsGroup, nap.TsdFrame)):
        check_prefix(prefix, units)
    encoder = as_encoder(encoder, units, epochs)
    budget = Budget(max_windows, max_seconds, tolerance)
    settings = EncodeSettings(encoder, gaps, budget, max_population, device, precision, progress)
    dataset = encode_units(units, epochs, by, settings, name)
    warn_about_silent_units(dataset, f"{prefix}_n_windows")
    signed = np.full(dataset.sizes["unit"], dataset.attrs["encoder"])
    summary = {
        f"{prefix}_{name}": signed if name == "encoder" else dataset[name].values
        for name in SUMMARIES
    }
    vectors = dataset["embedding"].values if columns == "all" else None
    return add_columns(units, summary=summary, vectors=vectors, prefix=prefix)
