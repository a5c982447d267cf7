"""Save and load encoders: those of the package, of a folder, of the hub."""

from __future__ import annotations

from pathlib import Path

from pynapple_nuclr.checkpoints._encoder import Encoder, Stored, encoder_in_use
from pynapple_nuclr.config import Modality
from pynapple_nuclr.nwb.opening import errors_naming_file

_WEIGHTS = Path(__file__).parents[1] / "weights"
BUNDLED = {name: _WEIGHTS / name for name in ("spikes", "rats", "calcium")}
"""The encoders that come with the package."""


def save_encoder(
    encoder: Encoder,
    folder: str | Path,
    *,
    dtype: Stored = "float32",
) -> Path:
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
        patches of 1 s), ``"spikes"`` (a demonstration, whose patches of 0.2 s fit into trials) or
        ``"calcium"`` (a demonstration). Default: "spikes".
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
    source = "spikes" if source is None else source
    folder = BUNDLED.get(str(source), source)
    with errors_naming_file(folder, "load_encoder", "an encoder"):
        encoder: Encoder = Encoder.from_pretrained(folder, revision=revision)
    encoder.bundled_as = str(source) if str(source) in BUNDLED else None
    return encoder


def as_encoder(encoder: Encoder | str | Path | None, modality: Modality = "spikes") -> Encoder:
    """Return an encoder given as itself, its source, or None: the bundled one of a modality."""
    if isinstance(encoder, Encoder):
        return encoder
    return load_encoder(modality if encoder is None else encoder)


def find_encoder(identity: str) -> Encoder:
    """Return the encoder with an identity (name@hash); ValueError if it is nowhere to be found."""
    encoder = encoder_in_use(identity)
    if encoder is not None:
        return encoder
    bundled = {one.identity: one for one in map(load_encoder, BUNDLED)}
    if identity in bundled:
        return bundled[identity]
    raise ValueError(
        f"the encoder {identity} is not in use here (bundled are {' and '.join(bundled)}); load it "
        "with load_encoder(folder) and pass it as encoder="
    )
