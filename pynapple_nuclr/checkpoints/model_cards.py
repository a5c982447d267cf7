"""An encoder's card: what it is, what it was trained on, how to use it, what it cannot do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

_HIDDEN = ("familiarity", "fingerprints")  # numbers for `embed`, not for people
_FIRST = ("what_it_is", "licence", "data", "data_licence", "training")
_UNKNOWN = {
    "what_it_is": "An encoder of single units; whoever trained it has not said more.",
    "licence": "not stated",
    "data": "not stated",
    "training": "not stated",
}
"""What a card says where nobody has said it: ``encoder.card["licence"] = "CC BY 4.0"``."""

_LIMITS = """\
- It describes a unit by its activity among the units recorded with it: not by its waveform, its
  depth or its name, and not by a label. Labels come from a probe that you fit and test yourself.
- Recordings unlike those of its training (species, region, behaviour, sorting, rates) may get
  vectors that mean little; `embed` warns where it can tell. Fine-tune it then: `pretrain(init=)`.
- Vectors can carry the signature of a session or an animal: test probes on animals left out.
- `nuclr_stability` says how repeatable a unit's vector is, not that it is right.
- For research; not for any clinical decision."""

# What the hub calls licences, of those that recordings and code in this field come under.
_LICENCES = (
    "apache-2.0",
    "bsd-3-clause",
    "cc-by-4.0",
    "cc-by-nc-4.0",
    "cc-by-sa-4.0",
    "cc0-1.0",
    "gpl-3.0",
    "mit",
)


def as_card(
    identity: str,
    config: Mapping[str, Any],
    card: Mapping[str, Any],
    *,
    n_parameters: int,
    source: str,
) -> str:
    """Return an encoder's card as Markdown, from name@hash, configuration and what is known of it.

    `source` is where users load it from: a folder's name, or ``"owner/name"`` on the hub.

    Examples
    --------
    >>> from pynapple_nuclr.checkpoints.model_cards import as_card
    >>> config = {"modality": "spikes", "dim": 32}
    >>> text = as_card("tiny@0a1b2c3d", config, {}, n_parameters=99, source="lab/tiny")
    >>> text.splitlines()[0], text.splitlines()[2]
    ('# tiny@0a1b2c3d', 'A NuCLR encoder for spikes (pynapple-nuclr).')
    """
    name, _, digits = identity.partition("@")
    known = {**_UNKNOWN, **card}
    order = [*(key for key in _FIRST if key in known), *(key for key in known if key not in _FIRST)]
    sections = {_title(key): as_markdown(known[key]) for key in order if key not in _HIDDEN}
    sections |= {
        "How to use it": _usage(source, config["modality"]),
        "Limits": _LIMITS,
        "Configuration": as_markdown(config),
        "Signature": f"- name: {name}\n- hash: {digits}\n- parameters: {n_parameters:,}",
    }
    lines = [f"# {identity}", "", f"A NuCLR encoder for {config['modality']} (pynapple-nuclr).", ""]
    for title, text in sections.items():
        lines += [f"## {title}", "", text, ""]
    return "\n".join(lines)


def hub_header(modality: str, card: Mapping[str, Any]) -> str:
    """Return the YAML with which the hub files a model: licence, library, tags.

    Examples
    --------
    >>> from pynapple_nuclr.checkpoints.model_cards import hub_header
    >>> print(hub_header("spikes", {"licence": "CC BY 4.0"}))
    ---
    license: "cc-by-4.0"
    library_name: "pynapple-nuclr"
    tags: ["neuroscience", "pynapple", "nwb", "spikes"]
    ---
    <BLANKLINE>
    """
    said = str(card.get("licence", ""))
    licence = said.lower().replace(" ", "-")
    if licence not in _LICENCES:
        licence = "other" if said else "unknown"
    entries: dict[str, Any] = {"license": licence}
    if licence == "other":
        entries["license_name"] = said
    entries["library_name"] = "pynapple-nuclr"
    entries["tags"] = ["neuroscience", "pynapple", "nwb", modality]
    # JSON is YAML, and quotes whatever a name may hold.
    return "\n".join(["---", *(f"{k}: {json.dumps(v)}" for k, v in entries.items()), "---", ""])


def as_markdown(value: Any, indent: str = "") -> str:
    """Return a value of a card as Markdown: mappings and lists as bullets."""
    if isinstance(value, list):
        return "\n".join(f"{indent}- {_in_line(item)}" for item in value)
    if not isinstance(value, Mapping):
        return str(value)
    lines = []
    for key, item in value.items():
        nested = isinstance(item, list)
        text = "\n" + as_markdown(item, indent + "  ") if nested else " " + _in_line(item)
        lines.append(f"{indent}- {key}:{text}")
    return "\n".join(lines)


def _usage(source: str, modality: str) -> str:
    read = "read_units" if modality == "spikes" else "read_traces"
    lines = [
        "```python",
        "import pynapple_nuclr as nap_nuclr",
        "",
        f'units = nap_nuclr.{read}("session.nwb")',
        f'units = nap_nuclr.embed(units, "{source}")  # nuclr_0 …, nuclr_stability',
        "```",
    ]
    return "\n".join(lines)


def _title(key: str) -> str:
    return key.replace("_", " ").capitalize()


def _in_line(value: Any) -> str:
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {item}" for key, item in value.items())
    return str(value)
