"""The error table of the design, a test a row: found, expected, and what to do."""

import logging
import warnings

import numpy as np
import pynapple as nap
import pytest
import torch

import pynapple_nuclr as nap_nuclr
from pynapple_nuclr import Encoder, EncoderConfig, Probe

SPIKES = EncoderConfig(dim=16, heads=2, head_dim=8, patch_duration=0.5, window_duration=2.0)
CALCIUM = EncoderConfig(modality="calcium", window_frames=16, dim=16, heads=2, head_dim=8)


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    return Encoder(SPIKES, name="tiny").eval()


@pytest.fixture(scope="module")
def calcium_encoder():
    torch.manual_seed(0)
    return Encoder(CALCIUM, name="tiny_calcium").eval()


def traces(values=None, times=None):
    values = np.random.default_rng(0).random((300, 5)) if values is None else values
    return nap.TsdFrame(t=np.arange(len(values)) / 10 if times is None else times, d=values)


def embed(units, encoder=None, **options):
    return nap_nuclr.embed(units, encoder, progress=False, **options)


# empty group, no spikes at all, no two windows to compare


def test_a_group_without_units(encoder):
    empty = nap.TsGroup({}, time_support=nap.IntervalSet(0, 10))
    with pytest.raises(ValueError, match="no units"):
        embed(empty, encoder)


def test_a_group_without_spikes(encoder):
    support = nap.IntervalSet(0, 10)
    silent = nap.TsGroup({1: nap.Ts(np.array([]), time_support=support)}, time_support=support)
    with pytest.raises(ValueError, match="no spikes at all"):
        embed(silent, encoder)


def test_no_two_windows_to_compare(tiny_units):
    short = tiny_units.restrict(nap.IntervalSet(0, 3))
    with pytest.raises(ValueError, match=r"'short'.*2 window\(s\)"):
        nap_nuclr.pretrain({"short": short}, SPIKES, steps=1, gaps="join", progress=False)


@pytest.mark.parametrize("seconds", [2.0, 3.9])
def test_one_window_alone_has_nothing_to_compare_with(tiny_units, seconds):
    short = tiny_units.restrict(nap.IntervalSet(0, seconds))
    with pytest.raises(ValueError, match="'short'.*2 needed"):
        nap_nuclr.pretrain({"short": short}, SPIKES, steps=1, progress=False)


def test_no_spikes_in_the_epochs_chosen(tiny_units, encoder):
    support = nap.IntervalSet(0, 200)
    trains = {int(i): nap.Ts(tiny_units[i].t) for i in tiny_units.index}
    quiet_later = nap.TsGroup(trains, time_support=support)
    with pytest.raises(ValueError, match="no spikes at all in the epochs chosen"):
        embed(quiet_later, encoder, epochs=nap.IntervalSet(100, 150))


def test_what_is_no_pynapple_object(encoder):
    with pytest.raises(TypeError, match=r"ndarray.*TsGroup.*nap_nuclr\.read_recording"):
        embed(np.zeros((3, 3)), encoder)
    with pytest.raises(TypeError, match="IntervalSet"):
        embed(traces(), encoder, epochs=[(0, 1)])
    with pytest.raises(TypeError, match="list of pynapple objects"):
        nap_nuclr.pretrain(3)
    with pytest.raises(ValueError, match="recordings is empty"):
        nap_nuclr.pretrain([])


# some silent units


def test_silent_units_are_counted_in_one_warning_and_annotated_as_unknown(tiny_units, encoder):
    trains = {int(i): tiny_units[i] for i in tiny_units.index}
    trains |= {100: nap.Ts(np.array([])), 101: nap.Ts(np.array([]))}
    units = nap.TsGroup(trains, time_support=tiny_units.time_support)
    with pytest.warns(UserWarning) as caught:
        embedded = embed(units, encoder)
    assert len(caught) == 1
    assert "2 of 14 units" in str(caught[0].message)
    labels = np.array(["a", "b"] * 7)
    embedded.set_info(kind=labels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        annotated = Probe("kind").fit(embedded, verbose=False).annotate(embedded)
    assert list(annotated["predicted_kind"][[100, 101]]) == ["unknown"] * 2
    assert annotated["predicted_kind_confidence"][[100, 101]].isna().all()


# NaN or infinite traces, non-positive frame period, zero scale


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_traces_that_are_not_finite(calcium_encoder, bad):
    values = np.random.default_rng(0).random((300, 5))
    values[42, 3] = bad
    with pytest.raises(ValueError, match=r"unit 3 is (nan|inf) at frame 42 \(4.2 s\); expected"):
        embed(traces(values), calcium_encoder)
    values[:, 1] = bad
    with pytest.raises(ValueError, match="unit 1 .* frame 0 .* and 1 other units .*leave the unit"):
        embed(traces(values), calcium_encoder)


def test_a_frame_period_of_zero(calcium_encoder):
    with pytest.raises(ValueError, match="positive frame period"):
        embed(traces(times=np.zeros(300)), calcium_encoder)


def test_a_scale_of_zero(calcium_encoder):
    with pytest.raises(ValueError, match="99th percentile.* is 0"):
        embed(traces(np.zeros((300, 5))), calcium_encoder)


# epochs outside the time support, or too short for one patch


def test_epochs_outside_the_time_support(tiny_units, encoder):
    with pytest.raises(ValueError, match="longest found is 0 s, a patch needs 0.5 s"):
        embed(tiny_units, encoder, epochs=nap.IntervalSet(100, 200))


def test_epochs_of_calcium(calcium_encoder):
    with pytest.raises(ValueError, match="longest found is 0 s"):
        embed(traces(), calcium_encoder, epochs=nap.IntervalSet(100, 200))
    with pytest.raises(ValueError, match="no epoch holds one whole patch"):
        embed(traces(), calcium_encoder, epochs=nap.IntervalSet(0, 0.3))


def test_epochs_too_short_for_a_patch(tiny_units, encoder):
    epochs = nap.IntervalSet([0, 1], [0.1, 1.3])
    with pytest.raises(ValueError, match="longest found is 0.3 s, a patch needs 0.5 s"):
        embed(tiny_units, encoder, epochs=epochs)


# gaps="split" and no epoch as long as one window


def test_split_of_short_epochs_names_join(tiny_units, encoder):
    trials = nap.IntervalSet(np.arange(0, 60, 2.0), np.arange(0, 60, 2.0) + 0.6)
    with pytest.raises(ValueError, match='gaps="join"'):
        embed(tiny_units, encoder, epochs=trials)
    assert embed(tiny_units, encoder, epochs=trials, gaps="join")["nuclr_n_windows"].max() == 7
    with pytest.raises(ValueError, match='"split", "join"'):
        embed(tiny_units, encoder, gaps="bridge")


# spike times that look like milliseconds or samples


@pytest.mark.parametrize("factor", [1000.0, 30_000.0])
def test_a_short_recording_in_milliseconds_or_samples_is_warned_of(factor):
    """Ten seconds are too short to look like days: but no unit fires twice within half a second."""
    short = nap_nuclr.simulate("context", n_units=20, duration=10, seed=0)
    wrong = nap.TsGroup({i: nap.Ts(factor * short[i].t) for i in short.index})
    with pytest.warns(UserWarning, match="no unit fires twice within .* milliseconds or samples"):
        nap_nuclr.unit_statistics(wrong)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nap_nuclr.unit_statistics(short)


def test_minutes_in_which_no_unit_fires_are_warned_of():
    units = nap_nuclr.simulate("context", n_units=20, duration=100, seed=0)
    trains = {i: np.append(units[i].t, 18_000.0) if i == 0 else units[i].t for i in units.index}
    stray = nap.TsGroup({i: nap.Ts(train) for i, train in trains.items()})
    says = "no unit fires from 100 to 17999 s, 99% of its time.*units.restrict"
    with pytest.warns(UserWarning, match=says):
        nap_nuclr.unit_statistics(stray)
    support = nap.IntervalSet([0, 400], [100, 500])
    moved = {i: np.concatenate([units[i].t, units[i].t + 400]) for i in units.index}
    twice = nap.TsGroup({i: nap.Ts(train) for i, train in moved.items()})
    with pytest.warns(UserWarning, match=r"from 100 to (399|400) s, 60% of its time"):
        nap_nuclr.unit_statistics(twice)
    few = {i: nap.Ts(moved[i]) for i in (0, 1)}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nap_nuclr.unit_statistics(stray, epochs=nap.IntervalSet(0, 100))
        nap_nuclr.unit_statistics(twice.restrict(support))
        nap_nuclr.unit_statistics(nap.TsGroup(few))  # a place cell or two may well be silent


def test_milliseconds_taken_for_seconds_are_warned_of(tiny_units, encoder):
    support = nap.IntervalSet(0, 4e5)
    trains = {i: nap.Ts(np.linspace(10 + i, 4e5 - 10, 2000)) for i in range(3)}
    slow = nap.TsGroup(trains, time_support=support)
    config = EncoderConfig(
        **{
            **SPIKES.to_dict(),
            "bin_size": 100.0,
            "patch_duration": 5000.0,
            "window_duration": 20000.0,
        }
    )
    with pytest.warns(UserWarning, match="milliseconds or samples") as caught:
        embed(slow, Encoder(config))
    assert len(caught) == 1


@pytest.mark.parametrize(("frame_rate", "is_lfp"), [(1250.0, True), (500.0, True), (150.0, False)])
def test_lfp_taken_for_calcium_is_warned_of(frame_rate, is_lfp):
    walk = np.random.default_rng(0).standard_normal((round(40 * frame_rate), 3)).cumsum(axis=0)
    frame = nap.TsdFrame(t=np.arange(len(walk)) / frame_rate, d=walk)
    encoder = Encoder(EncoderConfig(modality="calcium", dim=32, heads=2, head_dim=16))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        embed(frame, encoder)
    said = [str(one.message) for one in caught if "frames a second" in str(one.message)]
    assert len(said) == is_lfp and all("embed the sorted units" in one for one in said)


@pytest.mark.parametrize(
    ("signal", "traces", "says"),
    [
        ("dff", lambda rng: rng.random((600, 5)) > 0.95, "look like events"),
        ("events", lambda rng: rng.standard_normal((600, 5)), "look like traces"),
    ],
)
def test_calcium_of_another_signal_is_noticed(signal, traces, says):
    values = traces(np.random.default_rng(0)).astype(float)
    frame = nap.TsdFrame(t=np.arange(600) / 4.0, d=values)
    encoder = Encoder(
        EncoderConfig(modality="calcium", signal=signal, dim=32, heads=2, head_dim=16)
    )
    with pytest.warns(UserWarning, match=says):
        embed(frame, encoder)


def test_one_short_epoch_is_not_advised_to_join(encoder):
    units = nap.TsGroup(
        {0: nap.Ts([0.1, 0.7]), 1: nap.Ts([0.3])}, time_support=nap.IntervalSet(0, 1.5)
    )
    with pytest.raises(ValueError, match="or shorter windows: encoder.with_window") as caught:
        embed(units, encoder, gaps="split")
    assert "join" not in str(caught.value)


# existing nuclr_* columns


def test_existing_columns_are_replaced_and_said_once(tiny_units, encoder, caplog):
    first = embed(tiny_units, encoder)
    with caplog.at_level(logging.INFO, logger="pynapple_nuclr"):
        again = embed(first, encoder)
    assert sum("replac" in record.message.lower() for record in caplog.records) == 1
    assert list(again.metadata.columns) == list(first.metadata.columns)
    both = embed(first, encoder, prefix="other")
    assert {"nuclr_0", "other_0", "nuclr_stability", "other_stability"} <= set(
        both.metadata.columns
    )


# a prefix or target that is no identifier or meets an attribute


@pytest.mark.parametrize("prefix", ["count", "rate", "2nd", "a b", ""])
def test_a_prefix_that_cannot_be_a_column(tiny_units, encoder, prefix):
    with pytest.raises(ValueError, match="prefix"):
        embed(tiny_units, encoder, prefix=prefix)


@pytest.mark.parametrize("target", ["cell type", "", "count"])
def test_a_target_that_cannot_be_a_column(tiny_units, encoder, target):
    embedded = embed(tiny_units, encoder)
    with pytest.raises(ValueError, match="target"):
        Probe(target).fit(embedded, verbose=False)


# an encoder for calcium on spikes, or the reverse; a probe on another encoder's vectors


def test_the_other_modality(tiny_units, encoder, calcium_encoder):
    with pytest.raises(ValueError, match="spikes.*encoder reads calcium"):
        embed(tiny_units, calcium_encoder)
    with pytest.raises(ValueError, match="calcium.*encoder reads spikes"):
        embed(traces(), encoder)


def test_a_probe_of_another_encoder(tiny_units, encoder):
    torch.manual_seed(1)
    other = Encoder(SPIKES, name="other")
    probe = Probe("cell_type").fit(embed(tiny_units, encoder), verbose=False)
    with pytest.raises(ValueError) as refused:
        probe.annotate(embed(tiny_units, other))
    assert encoder.identity in str(refused.value) and other.identity in str(refused.value)


# annotate on a group that is not embedded


def test_annotate_embeds_first(tiny_units, encoder):
    embedded = embed(tiny_units, encoder)
    probe = Probe("cell_type").fit(embedded, verbose=False)
    direct, indirect = probe.annotate(embedded), probe.annotate(tiny_units)
    assert list(direct["predicted_cell_type"]) == list(indirect["predicted_cell_type"])
    assert set(indirect["nuclr_encoder"]) == {encoder.identity}


# a checkpoint that is truncated, of another kind, or a pickle: test_checkpoints.py
# a published checkpoint with `cfg` inside: test_reference.py


# labels with one class, or fewer than two units a class


def test_too_few_labels(tiny_units, encoder):
    embedded = embed(tiny_units, encoder)
    embedded.set_info(one=["a"] * 12, lonely=["a"] * 11 + ["b"])
    with pytest.raises(ValueError, match="one class|two classes"):
        Probe("one").fit(embedded, verbose=False)
    with pytest.raises(ValueError, match="lonely.*b|b.*lonely"):
        Probe("lonely").fit(embedded, verbose=False)


# missing labels


def test_missing_labels_are_left_out_and_counted(tiny_units, encoder):
    embedded = embed(tiny_units, encoder)
    labels = ["a", "b"] * 4 + [None, np.nan, "", "nan"]
    embedded.set_info(kind=np.array(labels, dtype=object))
    with pytest.warns(UserWarning) as caught:
        probe = Probe("kind").fit(embedded, verbose=False)
    (warning,) = [w for w in caught if "left out 4 units" in str(w.message)]
    assert list(probe.classes_) == ["a", "b"]
