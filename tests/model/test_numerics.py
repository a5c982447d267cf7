"""Numbers do not hang on precision, threads or chance, and gradients are those of the loss."""

import hashlib
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from tally import counts
from torch.autograd import gradcheck
from torch.func import functional_call

import pynapple_nuclr as nap_nuclr
from pynapple_nuclr import ContrastiveLoss, Encoder, EncoderConfig

SMALL = EncoderConfig(dim=32, heads=2, head_dim=16)
CONFIGS = {
    "published size": EncoderConfig(),
    "small": SMALL,
    "one patch": replace(SMALL, window_duration=1.0),
    "many patches": replace(SMALL, patch_duration=0.2, window_duration=8.0),
    "no population": replace(SMALL, spatiotemporal_layers=0),
    "scores of a window": replace(SMALL, attention_scope="window"),
    "all features rotate": replace(SMALL, rotary_fraction=1.0),
    "calcium": replace(SMALL, modality="calcium"),
}


def seeded(config, seed=0):
    torch.manual_seed(seed)
    return Encoder(config).eval()


def patches_of(config, units):
    """Counts of spikes, or traces: (units, patches, features)."""
    shape = (units, config.patches, config.features)
    return torch.randn(shape) if config.modality == "calcium" else torch.poisson(torch.rand(shape))


def apart(one, other):
    """How far vectors (units, dim) lie apart, relative to their length; the worst of the units."""
    distance = (one.double() - other.double()).norm(dim=-1) / other.double().norm(dim=-1)
    return float(distance.max())


# precision


@pytest.mark.parametrize("name", CONFIGS)
def test_an_encoder_in_float32_is_that_in_float64(name):
    encoder = seeded(CONFIGS[name])
    sizes = [1, 7, 40]  # above and below where attention is spelt out
    patches = patches_of(encoder.config, sum(sizes))
    with torch.no_grad():
        single = encoder(patches, sizes)
        double = encoder.double()(patches.double(), sizes)
    assert (single.dtype, double.dtype) == (torch.float32, torch.float64)
    assert apart(single, double) < 2e-6
    counts["candidates in float32 against float64"] += 1


def test_float64_is_float64_throughout():
    """No step inside rounds to float32: a billionth of a spike still shows, as it should."""
    encoder = seeded(SMALL).double()
    patches = patches_of(SMALL, 6).double()
    step = torch.randn_like(patches)
    with torch.no_grad():
        at = [encoder(patches + size * step, [6]) for size in (0, 1e-9, 2e-9)]
    slopes = [(at[i] - at[0]) / size for i, size in ((1, 1e-9), (2, 2e-9))]
    assert apart(*slopes) < 1e-5


def views(sizes, dim=8, seed=0):
    """Two views of populations with ids that match in part: sizes (units of 1, of 2, matched)."""
    torch.manual_seed(seed)
    ids1 = [torch.randperm(one) for one, _, _ in sizes]
    ids2 = [torch.randperm(other) + one - matched for one, other, matched in sizes]
    x1, x2 = (torch.randn(sum(map(len, ids)), dim) for ids in (ids1, ids2))
    return x1, x2, ids1, ids2


SIZES = {
    "all matched": [(6, 6, 6)],
    "unequal, half matched": [(7, 4, 3)],
    "one matched": [(5, 3, 1)],
    "one unit in a view": [(4, 1, 1)],
    "several populations": [(5, 6, 4), (3, 3, 3), (2, 4, 1)],
    "one of them without a match": [(5, 4, 3), (3, 2, 0)],
    "one of them with nothing else": [(5, 4, 3), (1, 1, 1)],
}


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_the_loss_in_float32_is_that_in_float64(sizes):
    x1, x2, *ids = views(sizes)
    loss = ContrastiveLoss(8)
    single = loss(x1, x2, *ids)
    double = loss.double()(x1.double(), x2.double(), *ids)
    assert (single.dtype, double.dtype) == (torch.float32, torch.float64)
    assert float(single.detach()) == pytest.approx(float(double.detach()), rel=1e-6)
    counts["losses in float32 against float64"] += 1


# gradients


@pytest.mark.parametrize("within", [1.0, 0.3])
@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_gradients_of_the_loss(sizes, within):
    x1, x2, *ids = views(sizes, dim=5)
    loss = ContrastiveLoss(5, within_view_temperature=within).double()
    names, weights = zip(*loss.named_parameters(), strict=True)

    def of(x1, x2, *weights):
        return functional_call(loss, dict(zip(names, weights, strict=True)), (x1, x2, *ids))

    inputs = [one.detach().double().requires_grad_() for one in (x1, x2, *weights)]
    assert gradcheck(of, inputs, atol=1e-7, rtol=1e-5)
    counts["gradient checks"] += 1


@pytest.mark.parametrize("scores", ["patch", "window"])
def test_gradients_of_the_encoder(scores):
    config = replace(
        SMALL, dim=4, heads=1, head_dim=4, patch_duration=0.06, window_duration=0.12, dropout=0.0
    )
    config = replace(config, temporal_layers=1, spatiotemporal_layers=1, attention_scope=scores)
    encoder = seeded(config).double().train()
    patches = patches_of(config, 5).double().requires_grad_()
    assert gradcheck(lambda x: encoder(x, [3, 2]), [patches], atol=1e-7, rtol=1e-5)
    counts["gradient checks"] += 1


def test_a_population_without_negatives_is_left_out():
    x1, x2, *ids = views([(5, 4, 3), (1, 1, 1)])
    loss = ContrastiveLoss(8)
    both = loss(x1.requires_grad_(), x2, *ids)
    alone = loss(x1[:5], x2[:4], [ids[0][0]], [ids[1][0]])
    torch.testing.assert_close(both, alone)
    both.backward()
    assert torch.isfinite(x1.grad).all()
    with pytest.raises(ValueError, match="nothing to compare"):
        loss(x1[5:], x2[4:], [ids[0][1]], [ids[1][1]])


# threads


@pytest.mark.parametrize("modality", ["spikes", "calcium"])
def test_one_thread_or_two(modality):
    units = nap_nuclr.simulate("single", modality=modality, n_units=45, duration=120, seed=1)
    config = nap_nuclr.load_encoder(modality).config
    encoder = seeded(replace(SMALL, modality=modality, frame_rate=config.frame_rate))
    before, vectors = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            embedded = nap_nuclr.embed(units, encoder, progress=False)
            vectors.append(torch.from_numpy(nap_nuclr.embeddings(embedded).values))
    finally:
        torch.set_num_threads(before)
    assert vectors[0].shape == (45, 32)
    assert apart(*vectors) < 1e-6
    counts["embeddings on one thread against two"] += 1


# the same again

_JOB = """
import hashlib
import torch
import pynapple_nuclr as nap_nuclr

mice = nap_nuclr.simulate("single", n_units=24, duration=30, animals=2, seed=3)
config = nap_nuclr.EncoderConfig(dim=32, heads=2, head_dim=16)
encoder = nap_nuclr.pretrain(mice, config, steps=2, batch_size=2, seed=5, progress=False)
for value in encoder.state_dict().values():
    print(hashlib.sha256(value.numpy().tobytes()).hexdigest())
for units in mice.values():
    vectors = nap_nuclr.embeddings(nap_nuclr.embed(units, encoder, progress=False)).values
    print(hashlib.sha256(vectors.tobytes()).hexdigest())
"""


@pytest.mark.slow  # two more processes; in one, the next test and test_distributed
def test_two_processes_train_the_same_weights_and_embed_the_same_vectors():
    """Bit for bit, also where sets and dictionaries have another order."""
    job = [sys.executable, "-W", "ignore", "-c", _JOB]
    running = [
        subprocess.Popen(job, env=os.environ | {"PYTHONHASHSEED": order}, stdout=subprocess.PIPE)
        for order in ("1", "2")
    ]
    said = [one.communicate()[0].split() for one in running]
    assert [one.returncode for one in running] == [0, 0]
    untrained = Encoder(SMALL).state_dict()
    assert len(said[0]) == len(untrained) + 2
    assert len(set(said[0])) > 20  # not all of them the weights that layers start with
    assert said[0] == said[1]
    counts["trainings repeated bit for bit"] += 1


def test_another_seed_trains_other_weights():
    mice = nap_nuclr.simulate("single", n_units=24, duration=60, animals=2, seed=3)
    one, again, other = (
        nap_nuclr.pretrain(mice, SMALL, steps=1, batch_size=2, seed=seed, progress=False)
        for seed in (0, 0, 1)
    )
    assert one.hash == again.hash != other.hash


def test_two_embeds_are_the_same_bits():
    units = nap_nuclr.simulate("context", n_units=30, duration=60, seed=2)
    digests = set()
    for _ in range(2):
        vectors = nap_nuclr.embeddings(nap_nuclr.embed(units, seeded(SMALL), progress=False))
        digests.add(hashlib.sha256(np.asarray(vectors.values).tobytes()).hexdigest())
    assert len(digests) == 1
