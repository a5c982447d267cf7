"""Encoders on disk: what is written comes back, and what is damaged or foreign is refused."""

import json
import pickle
import shutil
import warnings

import numpy as np
import pynapple as nap
import pytest
import torch
from safetensors.torch import save_file

from pynapple_nuclr import Encoder, EncoderConfig, embed, encode, load_encoder, save_encoder
from pynapple_nuclr.bundled import ENCODERS
from pynapple_nuclr.checkpoints import _encoder, _load_encoder, find_encoder
from pynapple_nuclr.stability import reidentification
from recordings import rats

CONFIG = EncoderConfig(dim=32, heads=2, head_dim=16)


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return Encoder(CONFIG, name="tiny", card={"data": "none: random weights"})


@pytest.fixture
def folder(encoder, tmp_path):
    return save_encoder(encoder, tmp_path / "tiny")


def test_round_trip(encoder, folder):
    loaded = load_encoder(folder)
    assert loaded.identity == encoder.identity
    assert loaded.config == encoder.config
    assert loaded.card == encoder.card
    assert not loaded.training
    assert "random weights" in (folder / "README.md").read_text()


def test_half_precision_signs_what_is_stored(encoder, tmp_path):
    half = load_encoder(save_encoder(encoder, tmp_path / "half", dtype="float16"))
    assert half.hash != encoder.hash
    size = (tmp_path / "half" / "model.safetensors").stat().st_size
    assert size < 0.6 * 4 * encoder.n_parameters
    assert load_encoder(save_encoder(half, tmp_path / "again")).hash == half.hash


LICENCES = {"spikes": "CC BY 4.0", "rats": "Apache-2.0", "calcium": "CC BY 4.0"}


@pytest.mark.parametrize("name", ENCODERS)
def test_a_bundled_encoder_has_a_card_and_is_small(name):
    encoder = load_encoder(name)
    assert {"data", "data_licence", "what_it_is", "training"} <= set(encoder.card)
    assert encoder.card["data_licence"] == LICENCES[name]
    assert len(encoder.card["fingerprints"]) > 0
    assert f'embed(units, "{name}")' in encoder.describe()
    again = Encoder(encoder.config, name=encoder.name)  # however it was made
    again.load_state_dict(encoder.state_dict())
    assert f'embed(units, "{name}")' in again.describe()
    assert sum(path.stat().st_size for path in ENCODERS[name].iterdir()) <= 15_000_000


@pytest.mark.parametrize(
    ("epochs", "name"),
    [
        ([(0, 60)], "rats"),
        ([(0, 31), (60, 91), (95, 100)], "rats"),
        ([(0, 31), (35, 60)], "rats, 10 s"),  # one window of 30 s
        ([(0, 20), (21, 40), (41, 60)], "rats, 10 s"),  # no epoch holds a window of 30 s
        ([(0, 20), (30, 32)], "rats, 10 s"),
        ([(0, 12), (20, 29), (30, 39)], "spikes"),  # most of the time in epochs of 9 s
        ([(start, start + 2) for start in range(0, 60, 4)], "spikes"),
    ],
)
def test_the_default_encoder_is_one_whose_windows_fit(epochs, name):
    units = nap.TsGroup([nap.Ts(np.arange(0, 100, 0.1)), nap.Ts(np.arange(0.1, 100, 0.3))])
    name, _, short = name.partition(",")
    encoder = load_encoder(name)
    expected = (encoder.with_window(10) if short else encoder).identity
    chosen = nap.IntervalSet(epochs)
    for embedded in (
        embed(units.restrict(chosen), progress=False),
        embed(units, epochs=chosen, progress=False),
    ):
        assert set(embedded["nuclr_encoder"]) == {expected}


def test_a_recording_that_is_too_short_for_the_default_says_which_encoder_reads_it(caplog):
    units = nap.TsGroup([nap.Ts(np.arange(0.5, 60, 0.1)), nap.Ts(np.arange(0.6, 60, 0.3))])
    embed(units, epochs=nap.IntervalSet([0, 20], [8, 28]), progress=False)
    assert not caplog.records  # trials
    embed(units, epochs=nap.IntervalSet(0, 7), progress=False)
    assert (
        '6.5 s are too short for the encoder "rats" in windows of 30 s, so "spikes"' in caplog.text
    )
    embed(units, epochs=nap.IntervalSet(0, 20.5), progress=False)
    assert "20 s are too short" in caplog.text and "it reads windows of 10 s" in caplog.text


def test_the_encoder_of_shorter_windows_is_found_by_its_identity(monkeypatch):
    """As a saved probe looks for it in another session; it is no folder of the package."""
    encoder = load_encoder("rats").with_window(10)
    monkeypatch.setattr(_load_encoder, "encoder_in_use", lambda _: None)
    assert find_encoder(encoder.identity).config == encoder.config


def test_the_encoder_of_rats_finds_units_of_a_rat_that_it_has_never_read(data_dir):
    """T224 was held out; an untrained network of the same kind is the comparison."""
    (units,) = rats(data_dir, ["T224_2020_02_03_bank0_idle"]).values()
    trained = load_encoder("rats")
    torch.manual_seed(0)
    found = []
    for encoder in (trained, Encoder(trained.config)):
        dataset = encode(units, encoder, return_windows=True, max_windows=6, progress=False)
        vectors = dataset["window_embedding"].values
        with warnings.catch_warnings():  # units that are silent in all of a half
            warnings.simplefilter("ignore", RuntimeWarning)
            halves = [np.nanmean(vectors[first::2], axis=0) for first in (0, 1)]
        found.append(reidentification(*halves))
    assert found[0] > 1.3 * found[1]


@pytest.mark.parametrize("name", ["rats", "calcium"])
def test_the_same_weights_read_windows_of_another_duration(name):
    encoder = load_encoder(name)
    own = encoder.config.window_seconds
    same, longer = encoder.with_window(own), encoder.with_window(3 * own)
    assert same.identity == encoder.identity
    assert longer.config.window_seconds == pytest.approx(3 * own)
    assert longer.hash != encoder.hash and longer.card == encoder.card
    for key, value in encoder.state_dict().items():
        torch.testing.assert_close(longer.state_dict()[key], value, rtol=0, atol=0)
    with pytest.raises(ValueError, match="duration=0.1 s is below a patch"):
        encoder.with_window(0.1)


def test_a_window_of_another_duration_is_read(tiny_units):
    encoder = load_encoder("rats").with_window(20)
    dataset = encode(tiny_units, encoder, return_windows=True, progress=False)
    assert dataset.sizes["window"] == 3 and dataset.attrs["encoder"] == encoder.identity


def test_an_encoder_in_use_is_found_by_its_identity(encoder):
    assert find_encoder(encoder.identity) is encoder
    assert find_encoder(load_encoder().identity).hash == load_encoder().hash
    with pytest.raises(ValueError, match="nobody@00000000.*encoder="):
        find_encoder("nobody@00000000")


@pytest.mark.parametrize("kept", [0, 7, 200, -1])
def test_truncated_weights_are_refused(folder, kept):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match="truncated"):
        load_encoder(folder)


def test_a_pickle_is_refused_and_not_executed(folder, tmp_path):
    marker = tmp_path / "executed"

    class Bomb:
        def __reduce__(self):
            return (open, (str(marker), "w"))

    (folder / "model.safetensors").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ValueError, match="pickle"):
        load_encoder(folder)
    with pytest.raises(ValueError, match="expected the folder"):
        load_encoder(folder / "model.safetensors")
    assert not marker.exists()


def test_weights_of_another_encoder_are_refused(folder, tmp_path):
    torch.manual_seed(1)
    other = save_encoder(Encoder(CONFIG), tmp_path / "other")
    shutil.copy(other / "model.safetensors", folder / "model.safetensors")
    with pytest.raises(ValueError, match="do not belong together"):
        load_encoder(folder)
    wide = save_encoder(Encoder(EncoderConfig(dim=48, heads=2, head_dim=16)), tmp_path / "wide")
    shutil.copy(wide / "model.safetensors", folder / "model.safetensors")
    with pytest.raises(ValueError, match="does not fit its settings"):
        load_encoder(folder)


def test_a_file_of_another_kind_is_refused(folder):
    save_file({"x": torch.zeros(3)}, folder / "model.safetensors")
    with pytest.raises(ValueError, match="does not fit its settings"):
        load_encoder(folder)
    for content in ("{", "[]", '{"format": "other"}', "[" * 100_000):
        (folder / "config.json").write_text(content)
        with pytest.raises(ValueError, match="config.json"):
            load_encoder(folder)


def test_settings_that_ask_for_too_much_are_refused_before_allocation(folder):
    path = folder / "config.json"
    settings = json.loads(path.read_text())
    for change in ({"dim": 10**12}, {"dim": 4096, "temporal_layers": 64}):
        settings["config"].update(change)
        path.write_text(json.dumps(settings))
        with pytest.raises(ValueError, match="dim|does not fit"):
            load_encoder(folder)


def test_weights_that_are_not_finite_are_refused(encoder, tmp_path):
    with torch.no_grad():
        encoder.read_in.weight[0, 0] = torch.nan
    with pytest.raises(ValueError, match="finite"):
        load_encoder(save_encoder(encoder, tmp_path / "nan"))


def test_a_missing_encoder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no encoder at"):
        load_encoder("not_there")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="config.json"):
        load_encoder(tmp_path / "empty")


def test_a_hub_name_goes_to_the_hub(folder, monkeypatch):
    asked = []

    def download(name, **kwargs):
        asked.append((name, kwargs))
        return str(folder)

    monkeypatch.setattr("pynapple_nuclr.checkpoints.hub.snapshot_download", download)
    assert load_encoder("lab/tiny").name == "tiny"
    assert asked[0][0] == "lab/tiny"
    assert set(asked[0][1]["allow_patterns"]) == {"model.safetensors", "config.json", "README.md"}


def test_pretrained_folders_of_the_hubs_mixin(encoder, tmp_path):
    encoder.save_pretrained(tmp_path / "tiny")
    assert Encoder.from_pretrained(tmp_path / "tiny").identity == encoder.identity
    assert load_encoder(tmp_path / "tiny").card == encoder.card


def test_push_to_hub_uploads_the_folder(encoder, monkeypatch, tmp_path):
    from huggingface_hub import HfApi

    def upload(self, *, repo_id, folder_path, **_):
        shutil.copytree(folder_path, tmp_path / repo_id)

    monkeypatch.setattr(HfApi, "create_repo", lambda *_, **__: type("Url", (), {"repo_id": "a/b"}))
    monkeypatch.setattr(HfApi, "upload_folder", upload)
    encoder.push_to_hub("a/b")
    assert load_encoder(tmp_path / "a" / "b").identity == encoder.identity


def test_an_encoder_loaded_by_its_folder_is_found_again(folder):
    identity = load_encoder(folder).identity  # nobody keeps the encoder itself
    assert find_encoder(identity).identity == identity


def test_rotary_frequencies_are_not_rounded(encoder, tmp_path):
    half = load_encoder(save_encoder(encoder, tmp_path / "half", dtype="float16"))
    assert torch.equal(half.rotary.omega, encoder.rotary.omega)


def test_others_may_read_what_is_saved(folder):
    modes = {path.stat().st_mode & 0o777 for path in folder.iterdir()}
    probe = folder / "probe"
    probe.touch()
    assert modes == {probe.stat().st_mode & 0o777}


def test_to_show_an_encoder_changes_nothing(encoder):
    before = set(_encoder._alive), dict(_encoder._sources)
    page = encoder._repr_html_()
    assert encoder.identity in repr(encoder) and encoder.identity in page
    assert "bin_size" in page and "frame_rate" not in page
    assert (set(_encoder._alive), dict(_encoder._sources)) == before
    assert eval(repr(CONFIG)) == CONFIG
    assert "window_duration" in CONFIG._repr_html_()
