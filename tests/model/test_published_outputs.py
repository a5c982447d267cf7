"""The encoder and the loss equal the published code.

`reference/*.npz` holds outputs that the published code (Apache-2.0) computed with random weights.
"""

import pytest
import torch
from published_outputs import read_published

from pynapple_nuclr import ContrastiveLoss, Encoder, load_published
from pynapple_nuclr.model.inference import InferenceEngine

POPULATIONS = ["spikes_small", "spikes_one_layer", "calcium_small"]


def relative_error(ours, theirs):
    theirs = torch.as_tensor(theirs)
    return float((ours - theirs).norm() / theirs.norm())


@pytest.mark.parametrize("name", POPULATIONS)
def test_encoder_equals_the_published_one(name):
    data, state, config = read_published(name)
    encoder = load_published(state, config)
    patches = torch.tensor(data["bins"]).float()
    patches = patches.reshape(-1, encoder.config.patches, encoder.config.features)
    sizes = data["unit_seqlen"].tolist()
    with torch.no_grad():
        embedding = encoder(patches, sizes)
    assert relative_error(embedding, data["embedding"]) <= 1e-5
    assert relative_error(InferenceEngine(encoder)(patches, sizes), data["embedding"]) <= 1e-5


def test_the_test_would_see_a_tanh_gelu(monkeypatch):
    data, state, config = read_published("spikes_small")
    gelu = torch.nn.functional.gelu
    monkeypatch.setattr(torch.nn.functional, "gelu", lambda x, **_: gelu(x, approximate="tanh"))
    encoder = load_published(state, config)
    patches = torch.tensor(data["bins"]).float().reshape(19, 8, 25)
    with torch.no_grad():
        embedding = encoder(patches, data["unit_seqlen"].tolist())
    assert relative_error(embedding, data["embedding"]) > 1e-5


def published_loss():
    data, state, config = read_published("loss_small")
    loss = ContrastiveLoss.load_published(state, temperature=config["tau"])
    views = [torch.tensor(data[key], requires_grad=True) for key in ("x1", "x2")]
    ids = [
        torch.tensor(data[f"unit_ids{i}"]).split(data[f"unit_seqlen{i}"].tolist()) for i in (1, 2)
    ]
    return data, loss, views, ids


def test_loss_and_gradients_equal_the_published_ones():
    data, loss, (x1, x2), (ids1, ids2) = published_loss()
    value = loss(x1, x2, ids1, ids2)
    value.backward()
    assert value.item() == pytest.approx(float(data["loss"]), rel=1e-5)
    assert relative_error(x1.grad, data["grad_x1"]) <= 1e-5
    assert relative_error(x2.grad, data["grad_x2"]) <= 1e-5


def test_dividing_the_within_view_similarities_is_another_loss():
    data, loss, (x1, x2), (ids1, ids2) = published_loss()
    loss.within_view_temperature = loss.temperature
    assert loss(x1, x2, ids1, ids2).item() != pytest.approx(float(data["loss"]), rel=1e-3)


def test_populations_of_the_loss_never_meet():
    """The loss of two populations is the mean over matched units of each one's own."""
    _, loss, (x1, x2), (ids1, ids2) = published_loss()
    parts1, parts2 = x1.split([20, 14]), x2.split([17, 16])
    matched = [int(torch.isin(a, b).sum()) for a, b in zip(ids1, ids2, strict=True)]
    alone = [loss(a, b, [c], [d]) for a, b, c, d in zip(parts1, parts2, ids1, ids2, strict=True)]
    together = loss(x1, x2, ids1, ids2)
    expected = sum(n * part for n, part in zip(matched, alone, strict=True)) / sum(matched)
    assert together.item() == pytest.approx(expected.item(), rel=1e-5)


def test_full_width_has_the_published_number_of_parameters():
    with torch.device("meta"):
        assert Encoder().n_parameters == 6_330_624


@pytest.mark.parametrize("whole", [False, True], ids=["state dict", "trainer's dictionary"])
def test_files_of_the_published_trainer(tmp_path, whole):
    data, state, config = read_published("spikes_one_layer")
    tensors = {key: torch.tensor(value) for key, value in state.items()}
    path = tmp_path / "last.pt"
    torch.save({"model_state_dict": tensors, "epoch": 3} if whole else tensors, path)
    encoder = load_published(path, config)
    patches = torch.tensor(data["bins"]).float().reshape(9, 10, 20)
    with torch.no_grad():
        embedding = encoder(patches, [9])
    assert relative_error(embedding, data["embedding"]) <= 1e-5


class Configuration:
    """Like the configuration object that the published trainer stores."""

    dim = 24


def test_a_published_checkpoint_with_its_cfg_is_refused_with_what_to_do(tmp_path):
    data, state, config = read_published("spikes_one_layer")
    tensors = {key: torch.tensor(value) for key, value in state.items()}
    path = tmp_path / "last.pt"
    torch.save({"model_state_dict": tensors, "cfg": Configuration()}, path)
    with pytest.raises(ValueError, match="weights_only=False") as refused:
        load_published(path, config)
    # The line that the error gives, run where the file was made, makes a file that loads.
    (line,) = [line.strip() for line in str(refused.value).splitlines() if "torch.save" in line]
    script = line.replace("'last.pt'", repr(str(path)))
    extracted = tmp_path / "weights_last.pt"
    script = script.replace("'weights_last.pt'", repr(str(extracted)))
    exec(script, {})
    assert load_published(extracted, config).config.dim == 24
    loss = ContrastiveLoss.load_published({"loss_state_dict": read_published("loss_small")[1]})
    assert loss.projector[1].weight.shape == (32, 32)


def test_weights_that_do_not_fit_are_named():
    _, state, config = read_published("spikes_one_layer")
    with pytest.raises(ValueError, match="t_blocks.1"):
        load_published(state, {**config, "t_layers": 2})
    with pytest.raises(ValueError, match="st_blocks.0"):
        load_published(state, {**config, "st_layers": 0})
    with pytest.raises(ValueError, match="do not fit"):
        load_published(state, {**config, "dim": 32})
