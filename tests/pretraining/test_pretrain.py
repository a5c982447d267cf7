"""Pretraining learns, stops, resumes to the same weights, and says what it cannot do."""

import csv

import numpy as np
import pynapple as nap
import pytest
import torch
from training_populations import TINY, population

from pynapple_nuclr import EncoderConfig, load_encoder, pretrain, simulate, write_units
from pynapple_nuclr.pretraining import distributed
from pynapple_nuclr.pretraining.held_out_time import hold_out
from pynapple_nuclr.pretraining.training_settings import default_config, default_encoder_config
from pynapple_nuclr.recording import as_recording
from pynapple_nuclr.windows import ViewSampler, ViewSettings, open_patch_reader
from pynapple_nuclr.windows.trace_patches import TracePatchReader


def weights(encoder):
    return torch.cat([value.flatten() for value in encoder.state_dict().values()])


def test_training_beats_the_untrained_network(tmp_path):
    pretrain(
        population(), TINY, steps=60, learning_rate=5e-3, out=tmp_path, checks=3, progress=False
    )
    with (tmp_path / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    loss = [float(row["loss"]) for row in rows]
    reid = [float(row["held_out_reidentification"]) for row in rows]
    assert loss[-1] < loss[0] - 0.3
    assert max(reid[1:]) > reid[0]
    training = load_encoder(tmp_path).card["training"]
    assert training["steps"] == 60
    assert training["chance_reidentification"] == pytest.approx(1 / len(population()), abs=1e-4)
    trained, untrained = (
        training[f"{kind}_reidentification"] for kind in ("best_held_out", "untrained")
    )
    assert 0 <= untrained < trained


def test_the_same_seed_gives_the_same_weights_and_another_does_not():
    first, again, other = (
        pretrain(population(), TINY, steps=4, seed=seed, progress=False) for seed in (0, 0, 1)
    )
    assert torch.equal(weights(first), weights(again))
    assert not torch.equal(weights(first), weights(other))


OF_12_STEPS = {"steps": 12, "seed": 5, "progress": False, "checks": 12, "patience": 100}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    out = tmp_path_factory.mktemp("uninterrupted")
    return weights(pretrain(population(), TINY, out=out, **OF_12_STEPS))


@pytest.mark.parametrize("stopped_at", [3, 9])
def test_a_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(
    uninterrupted, tmp_path, monkeypatch, stopped_at
):
    from pynapple_nuclr.pretraining.training_module import ContrastiveTraining

    step = ContrastiveTraining.training_step

    def interrupted(self, batch, index):
        if self.global_step == stopped_at:
            raise KeyboardInterrupt
        return step(self, batch, index)

    with monkeypatch.context() as patch:
        patch.setattr(ContrastiveTraining, "training_step", interrupted)
        with pytest.raises(KeyboardInterrupt, match="call pretrain again"):
            pretrain(population(), TINY, out=tmp_path, **OF_12_STEPS)
    resumed = pretrain(population(), TINY, out=tmp_path, **OF_12_STEPS)
    assert torch.equal(uninterrupted, weights(resumed))
    assert resumed.card["training"]["steps"] == 12


def test_fine_tuning_in_bfloat16_keeps_weights_finite():
    encoder = load_encoder()
    recording = population(30, 60)
    tuned = pretrain(
        recording, init=encoder, steps=2, precision="bf16-mixed", holdout=0.0, progress=False
    )
    assert weights(tuned).isfinite().all()
    assert not torch.equal(weights(tuned), weights(encoder))


def test_a_run_that_is_made_longer_goes_on_being_checked(tmp_path):
    options = {"out": tmp_path, "progress": False, "checks": 5}
    pretrain(population(), TINY, steps=5, **options)
    pretrain(population(), TINY, steps=20, **options)
    lines = (tmp_path / "metrics.csv").read_text().splitlines()[1:]
    steps = [int(line.split(",")[0]) for line in lines]
    assert steps[-1] == 20 and max(np.diff(steps)) <= 5


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    pretrain(population(), TINY, steps=2, out=tmp_path, progress=False)
    with pytest.raises(ValueError, match="seed.*resume=False"):
        pretrain(population(), TINY, steps=2, seed=9, out=tmp_path, progress=False)
    with pytest.raises(ValueError, match="recordings"):
        pretrain(population(30), TINY, steps=2, out=tmp_path, progress=False)
    pretrain(population(), TINY, steps=2, seed=9, out=tmp_path, resume=False, progress=False)
    (tmp_path / "last.safetensors").write_bytes(b"damaged")
    with pytest.raises(ValueError, match="not a valid checkpoint"):
        pretrain(population(), TINY, steps=2, seed=9, out=tmp_path, progress=False)


def test_what_differs_from_the_run_of_a_checkpoint_is_named(tmp_path):
    days = {"day1": population(), "day2": population(seed=1)}
    pretrain(days, TINY, steps=1, out=tmp_path, progress=False)
    with pytest.raises(ValueError, match=r"settings \(learning_rate\) differ"):
        pretrain(days, TINY, steps=1, learning_rate=1e-3, out=tmp_path, progress=False)
    with pytest.raises(ValueError, match=r"recordings \(day2, day3\) differ"):
        days = {"day1": population(), "day3": population(seed=2)}
        pretrain(days, TINY, steps=1, out=tmp_path, progress=False)


def test_an_encoder_that_is_not_of_this_run_is_not_replaced(tmp_path):
    kept = pretrain(population(), TINY, steps=1, progress=False)
    kept.save_pretrained(tmp_path)
    before = (tmp_path / "model.safetensors").read_bytes()
    for start in ({"config": TINY}, {"init": tmp_path}):
        with pytest.raises(ValueError, match="holds an encoder.*resume=False"):
            pretrain(population(seed=1), **start, steps=1, out=tmp_path, progress=False)
    assert (tmp_path / "model.safetensors").read_bytes() == before
    options = {"init": tmp_path, "steps": 1, "out": tmp_path, "progress": False}
    pretrain(population(seed=1), resume=False, **options)
    assert (tmp_path / "model.safetensors").read_bytes() != before
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="file is a file"):
        pretrain(population(), TINY, steps=1, out=tmp_path / "file", progress=False)


def test_the_checkpoint_of_an_older_version_is_not_ignored(tmp_path):
    (tmp_path / "last.ckpt").write_bytes(b"pickle")
    with pytest.raises(ValueError, match="last.ckpt .*cannot be continued.*resume=False.*init"):
        pretrain(population(), TINY, steps=1, out=tmp_path, progress=False)
    pretrain(population(), TINY, steps=1, out=tmp_path, resume=False, progress=False)
    assert not (tmp_path / "last.ckpt").exists()


@pytest.mark.filterwarnings("ignore:only about")
def test_time_limits_the_training():
    encoder = pretrain(population(), TINY, max_minutes=0.03, progress=False)
    assert encoder.card["training"]["steps"] > 1
    assert encoder.card["training"]["minutes"] < 0.2


def test_training_stops_when_nothing_improves():
    encoder = pretrain(
        population(), TINY, steps=400, learning_rate=0.0, checks=40, patience=2, progress=False
    )
    assert encoder.card["training"]["steps"] < 100


def test_fine_tuning_starts_from_the_encoder_and_keeps_it(tmp_path):
    first = pretrain(population(), TINY, steps=3, progress=False)
    before = weights(first).clone()
    tuned = pretrain(population(seed=1), init=first, steps=1, learning_rate=1e-9, progress=False)
    assert torch.equal(weights(first), before)
    torch.testing.assert_close(weights(tuned), before, atol=1e-6, rtol=0)
    assert tuned.card["fine_tuned_from"] == first.identity
    with pytest.raises(ValueError, match="config differs"):
        pretrain(population(), EncoderConfig(), init=first, steps=1)


def test_several_named_recordings_and_trials(steinmetz_session):
    trials = nap.IntervalSet(np.arange(0, 120, 1.5), np.arange(0, 120, 1.5) + 0.6)
    recordings = {"simulated": population(support=trials), "real": steinmetz_session}
    config = EncoderConfig(
        dim=16, heads=2, head_dim=8, patch_duration=0.2, window_duration=1.0, gaps="join"
    )
    encoder = pretrain(recordings, config, steps=2, max_units=40, progress=False)
    assert encoder.card["training"]["recordings"] == 2


CALCIUM = EncoderConfig(
    modality="calcium", frame_rate=5.0, window_frames=40, dim=16, heads=2, head_dim=8
)


def imaging(seed=0):
    rng = np.random.default_rng(seed)
    traces = np.cumsum(rng.normal(size=(1200, 20)), axis=0)
    return nap.TsdFrame(t=np.arange(1200) / 5, d=traces - traces.min(axis=0))


def test_calcium():
    frame = imaging()
    encoder = pretrain(frame, CALCIUM, steps=2, progress=False)
    assert encoder.config.modality == "calcium"
    assert encoder.card["settings"]["learning_rate"] == 1.25e-4
    with pytest.raises(ValueError, match="mix spikes and calcium"):
        pretrain([frame, population()], steps=1)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_ends_the_training_before_it_reaches_the_weights(monkeypatch, bad):
    read, reads = TracePatchReader.read, []

    def damaged(self, starts, units=None):
        patches = read(self, starts, units)
        if self.recording.name == "day2" and units is not None:  # of a view
            reads.append(patches)
            patches[0, -1] = bad if len(reads) > 3 else patches[0, -1]
        return patches

    monkeypatch.setattr(TracePatchReader, "read", damaged)
    days = {"day1": imaging(1), "day2": imaging(2)}
    with pytest.raises(ValueError, match=r"recording 'day2': NaN or infinity in the window at \d"):
        pretrain(days, CALCIUM, steps=30, progress=False)


def test_a_loss_that_is_not_finite_names_the_recordings(tmp_path):
    with pytest.raises(
        ValueError, match=r"the loss is (nan|inf) .* 'day1', 'day2'; .*learning_rate"
    ):
        pretrain(
            {"day1": population(seed=1), "day2": population(seed=2)},
            TINY,
            steps=30,
            learning_rate=1e30,
            batch_size=60,
            progress=False,
        )


def test_defaults_fit_the_data(steinmetz_session):
    assert default_config([as_recording(population(seconds=600))]) == EncoderConfig()
    trials = default_config([as_recording(steinmetz_session)])
    assert trials.gaps == "join"
    assert trials.patch_duration <= 0.2
    worm = nap.TsdFrame(t=np.arange(800) * 0.6, d=np.random.default_rng(0).random((800, 12)))
    slow = default_config([as_recording(worm)])
    assert slow.frame_rate == pytest.approx(1 / 0.6)
    assert 2 * slow.window_frames <= 800


def test_the_held_out_block_is_contiguous_and_never_trained_on(steinmetz_session):
    config = EncoderConfig(patch_duration=0.2, window_duration=1.0, gaps="join")
    for units in (population(seconds=300), steinmetz_session):
        recording = as_recording(units)
        kept, block = hold_out(recording, config, 0.1)
        kept_time = nap.IntervalSet(*kept.epochs.T)
        block_time = nap.IntervalSet(*block.epochs.T)
        overlap = kept_time.intersect(block_time)
        assert len(overlap) == 0 or overlap.tot_length() < 1e-6
        total = kept_time.tot_length() + block_time.tot_length()
        assert total == pytest.approx(recording.duration, rel=1e-6)
        between = block_time.time_span().intersect(kept_time)
        assert len(between) == 0 or between.tot_length() < 1e-6
        source = open_patch_reader(kept, config)
        sampler = ViewSampler([source], ViewSettings(max_view_distance=None), config.gaps)
        start, end = block.epochs[0, 0], block.epochs[-1, 1]
        for epoch in range(2):
            for _, first, second in sampler.plan(epoch):
                seen = np.concatenate((first, second))
                assert ((seen + 0.2 <= start + 1e-6) | (seen >= end - 1e-6)).all()
    short, nothing = hold_out(as_recording(population(seconds=5)), config, 0.1)
    assert nothing is None and short.duration == pytest.approx(5)


def test_a_block_without_two_windows_is_trained_on_instead():
    """Long epochs outside, short ones in the middle, where the block would lie."""
    support = nap.IntervalSet([0, 30, 32, 34, 36, 40], [20, 31, 33, 35, 37, 60])
    encoder = pretrain(
        population(seconds=60, support=support), TINY, steps=2, holdout=0.07, progress=False
    )
    assert encoder.card["training"]["best_held_out_reidentification"] is None


def test_a_finished_run_is_not_run_again(tmp_path):
    first = pretrain(population(), TINY, steps=3, out=tmp_path, progress=False)
    metrics = (tmp_path / "metrics.csv").read_text()
    again = pretrain(population(), TINY, steps=3, out=tmp_path, progress=False)
    assert torch.equal(weights(first), weights(again))
    assert again.card["training"]["steps"] == 3
    assert (tmp_path / "metrics.csv").read_text() == metrics


def test_the_callers_random_numbers_are_left_alone():
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    pretrain(population(), TINY, steps=1, progress=False)
    assert torch.equal(torch.rand(1), expected)


def test_what_cannot_be_trained_on_is_said():
    with pytest.raises(ValueError, match="'0'.*patches|window"):
        pretrain([population(seconds=1.2)], TINY, steps=1)
    with pytest.raises(ValueError, match="min_units"):
        pretrain(population(n_units=6), TINY, steps=1, progress=False)
    with pytest.raises(TypeError, match="learnig_rate"):
        pretrain(population(), TINY, steps=1, learnig_rate=1)
    with pytest.raises(ValueError, match="holdout"):
        pretrain(population(), TINY, steps=1, holdout=1.0)
    for name in ("steps", "max_minutes", "batch_size", "checks", "patience", "gradient_clip"):
        with pytest.raises(ValueError, match=f"{name} is 0"):
            pretrain(population(), TINY, **{"steps": 1, name: 0})
    for devices in (0, -2, "2", [], None):
        with pytest.raises(ValueError, match="devices is"):
            pretrain(population(), TINY, steps=1, devices=devices, progress=False)


def test_files_are_trained_on_as_objects_are(tmp_path):
    days = {"day1": population(), "day2": population(seed=1)}
    files = {name: write_units(units, tmp_path / f"{name}.nwb") for name, units in days.items()}
    options = {"steps": 3, "progress": False, "cache": tmp_path / "cache"}
    from_files = pretrain(files, TINY, **options)
    named_by_stem = pretrain(list(files.values()), TINY, out=tmp_path / "out", **options)
    pretrain(files, TINY, out=tmp_path / "out", **{**options, "steps": 4})  # the same run
    assert torch.equal(weights(from_files), weights(pretrain(days, TINY, **options)))
    assert torch.equal(weights(from_files), weights(named_by_stem))
    (tmp_path / "bad.nwb").write_text("no HDF5")
    with pytest.raises(ValueError, match="bad.nwb"):
        pretrain([*files.values(), tmp_path / "bad.nwb"], TINY, **options)


@pytest.mark.parametrize(
    ("precision", "dim", "native", "expected"),
    [
        ("auto", 64, True, "bf16-mixed"),
        ("auto", 32, True, "32-true"),  # casts would cost more than they save
        ("auto", 256, False, "32-true"),
        ("32-true", 256, True, "32-true"),
    ],
)
def test_the_precision_suits_processor_and_width(precision, dim, native, expected, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(distributed, "has_native_bfloat16", lambda: native)
    assert distributed.pick_precision(precision, dim) == expected


def test_the_default_encoder_of_continuous_spikes_reads_intervals():
    trials = simulate("single", n_units=20, trials=(20, 0.8, 2.0), seed=0)
    continuous = simulate("single", n_units=20, duration=60, seed=0)
    configs = [default_encoder_config([as_recording(one)]) for one in (continuous, trials)]
    assert [config.interval_bins for config in configs] == [16, 0]
    assert default_config([as_recording(continuous)]).interval_bins == 0  # of other systems
