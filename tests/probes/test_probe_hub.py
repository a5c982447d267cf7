"""Probes on the hub: pushed, described, loaded again; against a local replacement of the hub."""

from __future__ import annotations

import pytest
from local_hub import Hub, python
from loopback import serving

_ONLINE = """
import numpy as np
from pynapple_nuclr import Probe, load_probe
x = np.random.default_rng(0).normal(size=(40, 3)) + 4 * (np.arange(40) % 2)[:, None]
probe = Probe("layer", n_shuffles=2).fit(x, ["L4", "L5"] * 20, verbose=False)
url = probe.push_to_hub("lab/layers")
print(url)
for revision in (None, url.rsplit("/", 1)[1]):
    probe = load_probe("lab/layers", revision=revision)
    print(*probe.predict(np.array([[0.0] * 3, [4.0] * 3])))
for name in ("lab/none", "nothing", "none.skops"):
    try:
        load_probe(name)
    except FileNotFoundError as error:
        print(str(error).splitlines()[0])
"""

_OFFLINE = """
import numpy as np
from pynapple_nuclr import load_probe
print(*load_probe("lab/layers").predict(np.array([[0.0] * 3, [4.0] * 3])))
"""


@pytest.mark.parametrize(
    "offline",
    # Encoders take the same way, and are loaded without the hub in every run.
    [False, pytest.param(True, marks=pytest.mark.slow)],
)
def test_a_probe_is_pushed_and_loaded_with_and_without_the_hub(tmp_path, offline):
    Hub.commits, Hub.tokens = {}, set()
    with serving(Hub) as address:
        url, newest, of_commit, *missing = python(_ONLINE, home=tmp_path, hub=address)
        ((commit, files),) = Hub.commits["lab/layers"].items()
        assert url == f"{address}/lab/layers/commit/{commit}"
        assert Hub.tokens == {"Bearer hf_secret"}
        assert set(files) == {"README.md", "probe.skops"}
        card = files["README.md"].decode()
        assert 'load_probe("lab/layers")' in card and "- classes: L4, L5" in card
        assert newest == of_commit == "L4 L5"
        assert "no folder and no hub repository 'lab/none'" in missing[0]
        assert "no probe at 'nothing'" in missing[1]
        assert "there is no file none.skops" in missing[2]
    if not offline:
        return
    away = {"home": tmp_path, "hub": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "1"}
    assert python(_OFFLINE, **away) == ["L4 L5"]
