"""Save and load encoders: those of the package, of a folder, of the hub."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pynapple as nap

from pynapple_nuclr.bundled import ENCODERS
from pynapple_nuclr.checkpoints._encoder import Encoder, Stored, bundled_names, encoder_in_use
from pynapple_nuclr.nwb.opening import errors_naming_file
from pynapple_nuclr.recording import Units, modality_of
from pynapple_nuclr.user_warnings import log

_SHORT_WINDOW = 10.0  # s: as "rats" was trained, for shorter epochs


def save_encoder(encoder: Encoder, folder: str | Path, *, dtype: Stored = "float32") -> Path:
    """Write an encoder to a folder: weights, settings and a card for people.

    Parameters
    ----------
    encoder : Encoder
        The encoder; it is not changed.
    folder : str or Path
        Where to write; made if absent, its encoder files replaced.
    dtype : {"float32", "float16"}
        Precision of the stored weights. The hash is that of the weights as stored.

    Returns
    -------
    Path
        The folder.

    Examples
    --------
    >>> import tempfile
    >>> from pynapple_nuclr import Encoder, EncoderConfig, load_encoder, save_encoder
    >>> encoder = Encoder(EncoderConfig(dim=32, heads=2, head_dim=16), name="tiny")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     load_encoder(save_encoder(encoder, folder)).identity == encoder.identity
    True
    """
    encoder.write(Path(folder), dtype)
    return Path(folder)


def load_encoder(source: str | Path | None = None, *, revision: str | None = None) -> Encoder:
    """Load an encoder.

    Parameters
    ----------
    source : str or Path, optional
        A folder written by `save_encoder` or `pretrain`, or ``"owner/name"`` on the Hugging Face
        hub; or one that comes with the package: ``"rats"`` (continuous recordings of spikes, in
        windows of 30 s), ``"spikes"`` (a demonstration, whose patches of 0.2 s fit into trials) or
        ``"calcium"`` (a demonstration). Default: "rats".
    revision : str, optional
        Branch, tag or commit on the hub. Default: the newest. What was loaded once is kept on
        this machine and needs no connection any more.

    Returns
    -------
    Encoder
        In evaluation mode, on the CPU, in float32.

    Raises
    ------
    ValueError
        If the files are truncated, of another kind, a pickle, or do not fit together; or if a
        revision is given for a folder.
    FileNotFoundError
        If there is no such folder and no such hub repository, or the hub cannot be reached.

    Examples
    --------
    >>> import pynapple_nuclr as nap_nuclr
    >>> nap_nuclr.load_encoder().config.modality
    'spikes'
    """
    source = "rats" if source is None else source
    folder = ENCODERS.get(str(source), source)
    with errors_naming_file(folder, "load_encoder", "an encoder"):
        return Encoder.from_pretrained(folder, revision=revision)


def bundled_encoder(units: Units, epochs: nap.IntervalSet | None = None) -> Encoder:
    """Return the bundled encoder that reads units by default.

    Of calcium, "calcium". Of spikes, "rats" in windows of 30 s, or of 10 s where there are not two
    of 30 s (a stability takes two) or less than half of the recorded time lies in epochs that hold
    one; "spikes" where less than half does in epochs of 10 s, too.

    Examples
    --------
    >>> import numpy as np, pynapple as nap
    >>> from pynapple_nuclr.checkpoints import bundled_encoder
    >>> units = nap.TsGroup([nap.Ts(np.arange(100.0))])
    >>> bundled_encoder(units).config.window_duration
    30.0
    >>> laps = nap.IntervalSet(np.arange(0, 100, 20), np.arange(12, 100, 20))
    >>> bundled_encoder(units, laps).config.window_duration
    10.0
    >>> trials = nap.IntervalSet(np.arange(0, 100, 5), np.arange(2, 100, 5))
    >>> bundled_encoder(units, trials).config.window_duration
    3.2
    """
    if modality_of(units) == "calcium":
        return load_encoder("calcium")
    rats = load_encoder("rats")
    if not isinstance(units, nap.TsGroup):
        return rats  # the check of the recording raises an error that says what it is
    support = units.time_support
    if isinstance(epochs, nap.IntervalSet):
        support = support.intersect(epochs)
    lengths = np.diff(support.values, axis=1)

    def reads(window: float) -> bool:
        return bool(2 * lengths[lengths >= window].sum() >= lengths.sum())

    window = rats.config.window_duration
    if reads(window) and (lengths // window).sum() >= 2:
        return rats
    short = reads(_SHORT_WINDOW)
    if len(lengths) == 1:  # of trials it is what the user expects
        log.warning(
            '%g s are too short for the encoder "rats" in windows of %g s, so %s: vectors of the '
            "two cannot be compared",
            round(float(lengths.sum()), 3),
            window,
            f"it reads windows of {_SHORT_WINDOW:g} s" if short else '"spikes" reads them',
        )
    return rats.with_window(_SHORT_WINDOW) if short else load_encoder("spikes")


def as_encoder(
    encoder: Encoder | str | Path | None,
    units: Units | None = None,
    epochs: nap.IntervalSet | None = None,
) -> Encoder:
    """Return an encoder given as itself, its source, or None: the bundled one for the units."""
    if isinstance(encoder, Encoder):
        return encoder
    if encoder is None and units is not None:
        return bundled_encoder(units, epochs)
    return load_encoder(encoder)


def find_encoder(identity: str) -> Encoder:
    """Return the encoder with an identity (name@hash); ValueError if it is nowhere to be found."""
    encoder = encoder_in_use(identity)
    if encoder is not None:
        return encoder
    if name := bundled_names().get(identity):
        return load_encoder(name)
    short = load_encoder("rats").with_window(_SHORT_WINDOW)
    if identity == short.identity:
        return short
    raise ValueError(
        f"the encoder {identity} is not in use here (bundled are "
        f"{' and '.join(bundled_names())}); load it with load_encoder(folder) and pass it as "
        "encoder="
    )
