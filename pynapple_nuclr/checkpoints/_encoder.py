"""The NuCLR encoder: from packed population patches to one embedding per unit."""

from __future__ import annotations

import hashlib
import weakref
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import torch
from huggingface_hub import ModelHubMixin
from torch import Tensor

from pynapple_nuclr.bundled import ENCODERS
from pynapple_nuclr.checkpoints.encoder_folder import (
    FILES,
    read_settings,
    read_weights,
    write_folder,
)
from pynapple_nuclr.checkpoints.hub import local_folder
from pynapple_nuclr.checkpoints.model_cards import as_card, hub_header
from pynapple_nuclr.config import EncoderConfig, html_table
from pynapple_nuclr.model import Network

Stored = Literal["float32", "float16"]

_alive: weakref.WeakSet[Encoder] = weakref.WeakSet()  # a probe finds its encoder among these
_sources: dict[str, tuple[str, str | None]] = {}  # name@hash → where it was loaded from, revision


@cache
def bundled_names() -> dict[str, str]:
    """Return identity → what `load_encoder` calls it, of the encoders of the package."""
    every = {name: read_settings(folder) for name, folder in ENCODERS.items()}
    return {f"{one['name']}@{one['hash']}": name for name, one in every.items()}


class Encoder(Network, ModelHubMixin, library_name="pynapple-nuclr"):
    """Spatiotemporal transformer over the units of a population.

    Equivariant to the order of the units, and blind to everything but their activity: it can be
    applied to populations that it has never seen, of any size. `save_pretrained` is that of
    huggingface_hub's mixin.

    Parameters
    ----------
    config : EncoderConfig
        Windows and size of the network.
    name : str
        First part of its identity, ``name@hash``, which is stored with the embeddings.
    card : dict, optional
        What is known of its training (JSON-able): data, licence, recipe, seed, scores.

    References
    ----------
    "Know Thyself by Knowing Others: Learning Neuron Identity from Population Context",
    NeurIPS 2025, arXiv:2512.01199.

    Examples
    --------
    >>> import torch
    >>> from pynapple_nuclr import Encoder, EncoderConfig
    >>> encoder = Encoder(EncoderConfig(dim=32, heads=2, head_dim=16)).eval()
    >>> patches = torch.zeros(5, 10, 50)  # 5 units: 3 of one population, 2 of another
    >>> encoder(patches, [3, 2]).shape
    torch.Size([5, 32])
    """

    def __init__(
        self,
        config: EncoderConfig | None = None,
        *,
        name: str = "nuclr",
        card: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(config or EncoderConfig())
        self.name = name
        self.card: dict[str, Any] = dict(card or {})
        self._hub_name: str | None = None  # while it is being pushed
        _alive.add(self)

    @property
    def hash(self) -> str:
        """Eight hexadecimal digits of the weights and the configuration."""
        digest = hashlib.sha256(self.config.signature().encode())
        for key, value in sorted(self.state_dict().items()):
            digest.update(key.encode())
            digest.update(value.detach().to("cpu", torch.float32).contiguous().numpy().tobytes())
        return digest.hexdigest()[:8]

    @property
    def identity(self) -> str:
        """Name and hash, stored with the embeddings: ``name@hash``."""
        return f"{self.name}@{self.hash}"

    def __repr__(self) -> str:
        size = f"{self.n_parameters:,} parameters"
        return f"<Encoder {self.identity}: {self.config.modality}, {size}>"

    def _repr_html_(self) -> str:
        rows = {"encoder": self.identity, "parameters": f"{self.n_parameters:,}"}
        rows |= self.config.relevant() | self.card.get("training", {})
        return html_table(rows)

    def with_window(self, duration: float) -> Encoder:
        """Return an encoder of the same weights that reads windows of another duration.

        The bundled encoder "rats" was trained with windows of 10 s and reads windows of 30 s, in
        which it finds units of other rats again more often (docs/how_much.md). A recording needs
        epochs as long as a window. The hash is another one: embeddings of windows of different
        durations cannot be compared.

        Parameters
        ----------
        duration : float
            Seconds, rounded to whole patches.

        Returns
        -------
        Encoder
            In evaluation mode.

        Raises
        ------
        ValueError
            If the duration is below that of a patch.

        Examples
        --------
        >>> import pynapple_nuclr as nap_nuclr
        >>> encoder = nap_nuclr.load_encoder("rats").with_window(10)
        >>> encoder.config.window_duration, encoder.config.patches
        (10.0, 10)
        """
        config = self.config
        patches = round(duration / config.patch_seconds)
        if patches < 1:
            raise ValueError(f"duration={duration} s is below a patch, {config.patch_seconds:g} s")
        changes: dict[str, Any] = {"window_duration": patches * config.patch_duration}
        if config.modality == "calcium":
            changes = {"window_frames": patches * config.patch_frames}
        state = self.state_dict()
        return build_encoder(replace(config, **changes), state, name=self.name, card=self.card)

    def write(self, folder: Path, dtype: Stored = "float32") -> None:
        """Write the encoder's folder; the hash is that of the weights as stored."""
        if dtype not in ("float32", "float16"):
            raise ValueError(f'dtype is {dtype!r}; expected "float32" or "float16"')
        kind = torch.float16 if dtype == "float16" else torch.float32
        # Rotary frequencies are constants of the configuration: rounding would make others.
        constants = {name for name, _ in self.named_buffers()}
        weights = {
            key: value.detach().cpu().to(torch.float32 if key in constants else kind).contiguous()
            for key, value in self.state_dict().items()
        }
        stored = build_encoder(self.config, weights, name=self.name, card=self.card)
        settings = {
            "name": self.name,
            "hash": stored.hash,
            "config": self.config.to_dict(),
            "card": self.card,
        }
        text = hub_header(self.config.modality, self.card) + stored.describe(
            self._hub_name or folder.name
        )
        write_folder(folder, weights, settings, text)

    def describe(self, source: str | None = None) -> str:
        """Return the encoder's card as Markdown.

        Parameters
        ----------
        source : str, optional
            Where users load it from, as the card will say. Default: what `load_encoder` calls
            it if it comes with the package, else its name.

        Returns
        -------
        str
            What it is, licence, data, training run, how to use it, limits, configuration, hash:
            from `card`; it says so where something is not stated there.
        """
        return as_card(
            self.identity,
            self.config.to_dict(),
            self.card,
            n_parameters=self.n_parameters,
            source=source or bundled_names().get(self.identity) or self.name,
        )

    def _save_pretrained(self, save_directory: Path) -> None:
        self.write(save_directory)

    def push_to_hub(self, repo_id: str, **hub: Any) -> str:
        """Share the encoder on the Hugging Face hub, with its model card.

        State what only you know before: ``encoder.card["data"]``, ``["licence"]``,
        ``["what_it_is"]``; the training run is on the card already. Anyone then loads it as
        ``load_encoder("owner/name")``.

        Parameters
        ----------
        repo_id : str
            ``"owner/name"``; made if absent.
        **hub
            As in huggingface_hub's mixin: ``private``, ``token``, ``branch``, ``commit_message``,
            ``create_pr`` … Log in once with ``hf auth login``, or pass a token.

        Returns
        -------
        str
            Address of the commit.
        """
        self._hub_name = repo_id
        try:
            return str(super().push_to_hub(repo_id, **hub))
        finally:
            self._hub_name = None

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **hub: Any) -> Encoder:
        """Load an encoder from a folder or from the Hugging Face hub.

        Parameters
        ----------
        pretrained_model_name_or_path : str or Path
            A folder, or ``"owner/name"`` on the hub.
        **hub
            Passed to ``huggingface_hub.snapshot_download``: ``revision``, ``token``,
            ``local_files_only`` and the like.

        Returns
        -------
        Encoder
            In evaluation mode, on the CPU, in float32.

        Raises
        ------
        ValueError
            If the files are damaged, of another kind, or do not fit together.
        FileNotFoundError
            If there is no such folder and no such repository, or the hub cannot be reached.
        """
        source = pretrained_model_name_or_path
        written_by = f"save_encoder, a bundled one ({', '.join(ENCODERS)})"
        folder = local_folder(source, FILES, "encoder", written_by, hub)
        if folder.is_file():
            raise ValueError(
                f"{folder} is a file; expected the folder that save_encoder writes "
                f"({', '.join(FILES)}); for a file of the published code see load_published"
            )
        settings = read_settings(folder)
        try:
            config = EncoderConfig.from_dict(settings["config"])
            name, expected, card = settings["name"], settings["hash"], settings.get("card", {})
        except (KeyError, TypeError) as error:
            raise ValueError(f"{folder} lacks an encoder's settings: {error!r}") from None
        if not isinstance(name, str) or not isinstance(card, dict):
            raise ValueError(f"{folder}: name or card are not of an encoder")
        with torch.device("meta"):  # shapes alone: nothing is allocated before they agree
            shapes = {k: tuple(v.shape) for k, v in cls(config).state_dict().items()}
        encoder = build_encoder(config, read_weights(folder, shapes), name=name, card=card)
        found = encoder.hash  # reads all weights: once is enough
        if found != expected:
            raise ValueError(
                f"{folder}: the weights have hash {found}, the settings say {expected}; the files "
                "do not belong together"
            )
        _sources[f"{name}@{found}"] = str(source), hub.get("revision")
        return encoder


def build_encoder(
    config: EncoderConfig, state: dict[str, Tensor], *, name: str, card: dict[str, Any]
) -> Encoder:
    """Return an encoder for evaluation; ValueError if weights do not fit or are not finite."""
    with torch.device("meta"):  # no random weights are drawn only to be replaced
        encoder = Encoder(config, name=name, card=card)
    try:
        encoder.load_state_dict({k: v.float().clone() for k, v in state.items()}, assign=True)
    except RuntimeError as error:
        raise ValueError(f"the weights do not fit the configuration: {error}") from None
    if not all(value.isfinite().all() for value in encoder.state_dict().values()):
        raise ValueError("the weights are not all finite; expected those of a trained encoder")
    return encoder.eval()


def encoder_in_use(identity: str) -> Encoder | None:
    """Return the encoder of this name@hash if this process holds it or has loaded it."""
    for encoder in list(_alive):
        if encoder.read_in.weight.is_meta or not identity.startswith(f"{encoder.name}@"):
            continue
        if encoder.identity == identity:
            return encoder
    if identity not in _sources:
        return None
    source, revision = _sources[identity]
    encoder = Encoder.from_pretrained(source, revision=revision)
    return encoder if encoder.identity == identity else None
