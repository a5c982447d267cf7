"""Encoders on the hub: pushed, described, loaded again; against a local replacement of the hub."""

from __future__ import annotations

import json

import pytest
import yaml
from local_hub import Hub, python
from loopback import serving

import pynapple_nuclr as nap_nuclr
from pynapple_nuclr import Encoder, EncoderConfig, load_encoder, save_encoder

NOWHERE = "http://127.0.0.1:9"

_ONLINE = """
import sys, pynapple_nuclr as nap_nuclr
from pynapple_nuclr.checkpoints import find_encoder
encoder = nap_nuclr.load_encoder(sys.argv[1])
url = encoder.push_to_hub("lab/tiny")
print(url)
print(encoder.identity)
encoder.name = "second"
encoder.push_to_hub("lab/tiny")
del encoder
for revision in (None, url.rsplit("/", 1)[1]):
    identity = nap_nuclr.load_encoder("lab/tiny", revision=revision).identity
    print(identity, find_encoder(identity).identity)  # nobody keeps the encoder itself
for name, revision in (("lab/none", None), ("lab/tiny", "0" * 40)):
    try:
        nap_nuclr.load_encoder(name, revision=revision)
    except FileNotFoundError as error:
        print(str(error).splitlines()[0])
"""

_AWAY = """
import sys, pynapple_nuclr as nap_nuclr
units = nap_nuclr.simulate("context", n_units=24, duration=60, seed=0)
for name in sys.argv[1:]:
    try:
        print(nap_nuclr.embed(units, name, progress=False)["nuclr_encoder"].iloc[0])
    except FileNotFoundError as error:
        print(str(error).splitlines()[0])
"""


@pytest.fixture(scope="module")
def pushed(tmp_path_factory):
    """A hub that got an encoder in two commits: address, cache, what the user saw."""
    Hub.commits, Hub.tokens = {}, set()
    home = tmp_path_factory.mktemp("home")
    units = nap_nuclr.simulate("context", n_units=24, duration=60, seed=0)
    config = EncoderConfig(dim=32, heads=2, head_dim=16)
    encoder = nap_nuclr.pretrain(units, config, steps=2, holdout=0.2, progress=False)
    encoder.card |= {"licence": "CC BY 4.0", "data": "simulated populations"}
    trained = save_encoder(encoder, home / "trained")
    with serving(Hub) as address:
        return address, home, python(_ONLINE, str(trained), home=home, hub=address)


def test_a_pushed_encoder_has_a_card_filled_from_its_training(pushed):
    address, _, (url, identity, *_) = pushed
    assert url.startswith(f"{address}/lab/tiny")
    assert Hub.tokens == {"Bearer hf_secret"}
    first, second = Hub.commits["lab/tiny"].values()
    assert set(first) == {"README.md", "config.json", "model.safetensors"}
    _, header, text = first["README.md"].decode().split("---\n", 2)
    assert yaml.safe_load(header) == {
        "license": "cc-by-4.0",
        "library_name": "pynapple-nuclr",
        "tags": ["neuroscience", "pynapple", "nwb", "spikes"],
    }
    assert text.startswith(f"# {identity}\n")
    training = json.loads(first["config.json"])["card"]["training"]
    assert training["steps"] == 2
    for key in ("steps", "pairs_a_step", "minutes", "recordings", "best_held_out_reidentification"):
        assert f"- {key}: {training[key]}" in text
    for line in (
        "## Licence\n\nCC BY 4.0\n",
        "## Data\n\nsimulated populations\n",
        'units = nap_nuclr.embed(units, "lab/tiny")',
        f"- hash: {identity.split('@')[1]}\n",
        "- dim: 32\n",
        "## Limits\n",
    ):
        assert line in text
    assert "familiarity" not in text
    assert "second@" in second["README.md"].decode()


def test_an_encoder_is_loaded_from_the_hub_and_then_without_it(pushed):
    _, home, (_, identity, *loaded, missing, unknown) = pushed
    renamed = f"second@{identity.split('@')[1]}"
    assert loaded == [f"{renamed} {renamed}", f"{identity} {identity}"]
    assert "no folder and no hub repository 'lab/none'" in missing
    assert f"'lab/tiny' at revision '{'0' * 40}'" in unknown
    offline = {"home": home, "hub": NOWHERE, "HF_HUB_OFFLINE": "1"}
    kept, absent = python(_AWAY, "lab/tiny", "lab/other", **offline)
    assert kept == renamed
    assert_says_what_to_do(absent, "lab/other")


def assert_says_what_to_do(message, name):
    assert "the hub cannot be reached" in message
    assert f"'{name}'" in message and "pass the folder of a saved encoder" in message


@pytest.mark.slow  # a process of its own; the test before asks the same where the hub is off
def test_without_a_connection_the_error_says_what_to_do(tmp_path):
    (message,) = python(_AWAY, "lab/tiny", home=tmp_path, hub=NOWHERE)
    assert_says_what_to_do(message, "lab/tiny")


def test_a_revision_is_not_asked_of_a_folder(tmp_path):
    folder = save_encoder(Encoder(EncoderConfig(dim=32, heads=2, head_dim=16)), tmp_path / "tiny")
    with pytest.raises(ValueError, match="revision='v1'.*leave it out"):
        load_encoder(folder, revision="v1")


def test_a_card_says_what_nobody_has_stated():
    encoder = Encoder(EncoderConfig(dim=32, heads=2, head_dim=16), name="bare")
    text = encoder.describe()
    for section in ("Licence", "Data", "Training"):
        assert f"## {section}\n\nnot stated\n" in text
    assert 'embed(units, "bare")' in text


@pytest.mark.parametrize(
    ("licence", "filed"),
    [("MIT", ["mit"]), (None, ["unknown"]), ('our own: "ask"', ["other", 'our own: "ask"'])],
)
def test_licences_are_filed_under_the_hubs_names(licence, filed, tmp_path):
    card = {} if licence is None else {"licence": licence}
    encoder = Encoder(EncoderConfig(dim=32, heads=2, head_dim=16), card=card)
    encoder.save_pretrained(tmp_path / "tiny")
    header = yaml.safe_load((tmp_path / "tiny" / "README.md").read_text().split("---\n")[1])
    assert [header[key] for key in ("license", "license_name") if key in header] == filed
