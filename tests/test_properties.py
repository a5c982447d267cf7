"""What every public function promises, on recordings that nobody has thought of."""

import functools
import warnings

import numpy as np
import pandas as pd
import pynapple as nap
import pytest
import torch
from generated import (
    MOMENTS,
    calcium_recordings,
    epochs,
    fingerprint,
    spike_recordings,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import pynapple_nuclr as nap_nuclr
from pynapple_nuclr import Encoder, EncoderConfig
from pynapple_nuclr.stability import reidentification

SIZE = {"dim": 32, "heads": 2, "head_dim": 16}
SPIKES = EncoderConfig(**SIZE, patch_duration=0.2, window_duration=0.8)
CALCIUM = EncoderConfig(**SIZE, modality="calcium", frame_rate=10.0, window_frames=16)
GAPS = st.sampled_from(["split", "join"])
SEEDS = st.integers(0, 2**32 - 1)


def over(**strategies):
    """Make a test of a property: over some recordings, and, marked slow, over many."""

    def decorate(check):
        @pytest.mark.parametrize("examples", [15, pytest.param(300, marks=pytest.mark.slow)])
        def test(examples):
            often = settings(
                max_examples=examples,
                derandomize=True,
                database=None,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            )
            often(given(**strategies)(check))()

        test.__name__, test.__doc__ = check.__name__, check.__doc__
        return test

    return decorate


recordings = st.one_of(spike_recordings(), calcium_recordings())


@functools.cache
def encoder_of(kind):
    torch.manual_seed(0)
    return Encoder(CALCIUM if issubclass(kind, nap.TsdFrame) else SPIKES, name="tiny").eval()


def quietly(function, units, *args, **options):
    """Call a function on a recording; what it warns of is another test's matter."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return function(units, *args, **options)


def embed(units, **options):
    return quietly(nap_nuclr.embed, units, encoder_of(type(units)), progress=False, **options)


def encode(units, **options):
    return quietly(nap_nuclr.encode, units, encoder_of(type(units)), progress=False, **options)


def or_none(function, units, **options):
    """Return the answer, or None where a recording is refused, which only a ValueError may do."""
    try:
        return function(units, **options)
    except ValueError as error:
        assert "recording" in str(error) or "units" in str(error)
        return None


def ids_of(units):
    return list(units.index if isinstance(units, nap.TsGroup) else units.columns)


def n_samples(units):
    """Count spikes, or pairs of frames."""
    if isinstance(units, nap.TsGroup):
        return sum(len(units[unit]) for unit in units.index)
    return len(units) // 2


def assert_survived(units, after, replaced=()):
    """Assert that ids, order, data, time support and metadata are in the result."""
    assert type(after) is type(units)
    assert ids_of(after) == ids_of(units)
    np.testing.assert_array_equal(after.time_support.values, units.time_support.values)
    for name, values in units._metadata.items():
        if name not in replaced:
            assert after._metadata[name].dtype == values.dtype
            assert list(map(repr, after._metadata[name])) == list(map(repr, values))  # NaN, NA
    if isinstance(units, nap.TsdFrame):
        assert after.values.dtype == units.values.dtype
        np.testing.assert_array_equal(after.values, units.values)
        np.testing.assert_array_equal(after.t, units.t)
    else:
        for unit in units.index:
            np.testing.assert_array_equal(after[unit].t, units[unit].t)


@over(units=recordings, gaps=GAPS)
def test_ids_order_and_metadata_survive_and_the_input_is_unchanged(units, gaps):
    before = fingerprint(units)
    embedded = or_none(embed, units, gaps=gaps)
    assert fingerprint(units) == before
    if embedded is None:
        return
    ours = {"nuclr_stability", "nuclr_n_windows", "nuclr_encoder"}
    ours |= {f"nuclr_{i}" for i in range(32)}
    assert_survived(units, embedded, replaced=ours)
    assert set(embedded.metadata_columns) == ours | set(units.metadata_columns)
    vectors = nap_nuclr.embeddings(embedded)
    assert list(vectors["unit"].values) == ids_of(units)
    silent = np.asarray(embedded["nuclr_n_windows"]) == 0
    assert (np.isnan(vectors.values) == silent[:, None]).all()
    assert np.isfinite(vectors.values[~silent]).all()
    assert np.isnan(np.asarray(embedded["nuclr_stability"])[silent]).all()


@over(units=recordings, gaps=GAPS)
def test_the_same_call_gives_the_same_bits(units, gaps):
    first, second = (or_none(encode, units, gaps=gaps, return_windows=True) for _ in range(2))
    if first is not None:
        assert first.drop_vars(set(units.metadata_columns), errors="ignore").identical(
            second.drop_vars(set(units.metadata_columns), errors="ignore")
        )


@over(units=recordings, gaps=GAPS, seed=SEEDS)
def test_shuffled_units_have_the_shuffled_embedding(units, gaps, seed):
    n = len(ids_of(units))
    order = np.random.default_rng(seed).permutation(n)
    if isinstance(units, nap.TsdFrame):
        other = nap.TsdFrame(t=units.t, d=units.values[:, order], time_support=units.time_support)
    else:  # a TsGroup sorts by id: new ids put its units in another order
        trains = {i: units[units.index[unit]] for i, unit in enumerate(order)}
        other = nap.TsGroup(trains, time_support=units.time_support)
    before, after = (or_none(encode, one, gaps=gaps) for one in (units, other))
    assert (before is None) == (after is None)
    if before is not None:
        np.testing.assert_allclose(after["embedding"], before["embedding"][order], atol=1e-5)
        np.testing.assert_array_equal(after["n_windows"], before["n_windows"][order])


def runs_of(starts, length, doubt):
    """Return start and end of each stretch of patches that follow on each other."""
    cuts = np.flatnonzero(np.diff(starts) > length + doubt) + 1
    return [(part[0], part[-1] + length) for part in np.split(starts, cuts)]


@over(units=spike_recordings(), gaps=GAPS)
def test_every_spike_in_a_whole_patch_is_counted_once_and_none_crosses_a_gap(units, gaps):
    tensor = or_none(nap_nuclr.population_tensor, units, config=SPIKES, gaps=gaps)
    lengths = units.time_support.end - units.time_support.start
    patches = np.floor((lengths + 2e-6) / 0.2)
    windows = (patches // 4).sum() if gaps == "split" else patches.sum() // 4
    if tensor is None:
        assert n_samples(units) == 0 or windows == 0
        return
    assert tensor.sizes["window"] == windows
    starts = tensor["start"].values
    # Two floats of this size are so far apart; up to 4e6 s pynapple's nanoseconds are exact.
    step = np.spacing(np.abs(starts).max())
    epoch = np.searchsorted(units.time_support.start - 1e-6, starts, side="right") - 1
    assert (starts + 0.2 <= units.time_support.end[epoch] + 3e-6).all(), "a patch crosses a gap"
    if gaps == "split":
        assert (epoch == epoch[:, :1]).all(), "a window crosses a gap"
        np.testing.assert_allclose(np.diff(starts), 0.2, atol=1e-6)
    edge, doubt = 5e-10, 3 * step if step > 1e-9 else 1e-10
    counted = tensor.sum("bin").values
    for row, unit in enumerate(units.index):
        times = units[unit].t
        for start, end in runs_of(starts.ravel(), 0.2, doubt):
            inside = (starts.ravel() >= start) & (starts.ravel() < end - 1e-5)
            bounds = np.array([start - edge, end - edge])
            low, high = bounds + [doubt, -doubt], bounds + [-doubt, doubt]
            least, most = (((times >= a) & (times < b)).sum() for a, b in (low, high))
            assert least <= counted[:, row].ravel()[inside].sum() <= most


@pytest.mark.filterwarnings("ignore:.*these look like events")  # few frames, zeros among them
@over(units=calcium_recordings(moments=MOMENTS), gaps=GAPS)
def test_every_frame_is_in_one_patch_at_most_and_none_crosses_a_gap(units, gaps):
    tensor = or_none(nap_nuclr.population_tensor, units, config=CALCIUM, gaps=gaps)
    if tensor is None:
        return
    starts, support = tensor["start"].values, units.time_support
    epoch = np.searchsorted(support.start - 1e-6, starts, side="right") - 1
    period = np.median(np.diff(units.t))  # for so long a frame stands
    assert (starts + 0.4 <= support.end[epoch] + 1.1 * period).all(), "a patch crosses a gap"
    assert gaps == "join" or (epoch == epoch[:, :1]).all(), "a window crosses a gap"
    intervals = np.diff(units.t)[np.diff(np.searchsorted(support.end, units.t)) == 0]
    complete = (intervals < 1.5 * period).all()  # a dropped frame is interpolated
    if complete and abs(period - 0.1) < 1e-3:  # at the encoder's rate: as recorded
        rows = np.searchsorted(units.t, starts.ravel() - 1e-9)[:, None] + np.arange(4)
        assert len(np.unique(rows)) == rows.size
        of_frames = np.searchsorted(support.start - 1e-6, units.t[rows], side="right") - 1
        assert (of_frames == epoch.reshape(-1, 1)).all()
        read = tensor.transpose("window", "patch", "bin", "unit").values * tensor.attrs["scale"]
        recorded = units.values[rows.ravel()].astype("f4")
        np.testing.assert_allclose(read.reshape(recorded.shape), recorded, rtol=1e-5, atol=1e-6)
    else:  # complete pieces start at recorded times: with jitter, and rates within 1 %
        assert (np.diff(starts.ravel()) > 0.396 - 0.1 * period).all()


@over(
    units=spike_recordings(moments=MOMENTS),
    gaps=GAPS,
    away=st.sampled_from([1, -37, 86400, 1_700_000_000]),
)
def test_a_recording_later_in_the_day_reads_the_same(units, gaps, away):
    units = shifted(units, 0)
    later = shifted(units, away)
    before, after = (or_none(encode, one, gaps=gaps, return_windows=True) for one in (units, later))
    assert (before is None) == (after is None)
    if before is not None:
        np.testing.assert_allclose(after["start"], before["start"] + away, atol=1e-6)
        np.testing.assert_array_equal(after["n_windows"], before["n_windows"])
        np.testing.assert_allclose(after["embedding"], before["embedding"], atol=1e-5)


def shifted(units, away):
    """Move a recording, with spikes at whole milliseconds: elsewhere rounding could choose bins."""
    epochs = units.time_support
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of epochs that rounding leaves no duration
        support = nap.IntervalSet(epochs.start + away, epochs.end + away)
    times = {int(unit): units[unit].t.round(3) + away for unit in units.index}
    trains = {unit: nap.Ts(t, time_support=support) for unit, t in times.items()}
    return nap.TsGroup(trains, time_support=support)


def test_a_spike_on_the_very_end_of_the_recording_is_in_it():
    support = nap.IntervalSet(0, 4)
    units = nap.TsGroup({3: nap.Ts([4.0], time_support=support)}, time_support=support)
    assert nap_nuclr.unit_statistics(units).loc[3, "rate"] == 0.25
    with pytest.warns(UserWarning, match="1 of 1 units have no spike in any window"):
        embedded = nap_nuclr.embed(units, encoder_of(nap.TsGroup), progress=False)
    assert list(embedded["nuclr_n_windows"]) == [0]
    assert np.isnan(nap_nuclr.embeddings(embedded)).all()


@over(units=recordings)
def test_statistics_are_finite_numbers_of_every_unit(units):
    before = fingerprint(units)
    table = or_none(nap_nuclr.unit_statistics, units)
    assert fingerprint(units) == before
    if table is None:
        assert not n_samples(units)
        return
    assert list(table.index) == ids_of(units)
    assert np.isfinite(table.values).all()
    pd.testing.assert_frame_equal(nap_nuclr.unit_statistics(units), table)
    if isinstance(units, nap.TsGroup):
        seconds = (units.time_support.end - units.time_support.start).sum()
        counts = [len(units[unit]) for unit in units.index]
        np.testing.assert_allclose(table["rate"], np.array(counts) / seconds, rtol=1e-6)


@over(units=spike_recordings(units=[2, 5, 12, 40], moments=MOMENTS), chosen=epochs(), gaps=GAPS)
def test_chosen_epochs_read_as_a_recording_cut_to_them(units, chosen, gaps):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        recorded = units.time_support.intersect(chosen)
        cut = units.restrict(recorded) if len(recorded) else None
    answer = or_none(encode, units, gaps=gaps, epochs=chosen)
    expected = or_none(encode, cut, gaps=gaps) if cut is not None else None
    assert (answer is None) == (expected is None)
    if answer is not None:
        np.testing.assert_array_equal(answer["n_windows"], expected["n_windows"])
        np.testing.assert_allclose(answer["embedding"], expected["embedding"], atol=1e-5)


@over(units=recordings, seed=SEEDS)
def test_populations_named_by_a_column_are_embedded_on_their_own(units, seed):
    ids = ids_of(units)
    probe = np.random.default_rng(seed).choice(["A", "B"], len(ids))
    units.set_info(insertion=probe)
    together = or_none(encode, units, by="insertion")
    for one in "AB":
        which = np.flatnonzero(probe == one)
        alone = or_none(encode, part_of(units, which)) if len(which) else None
        if together is not None and alone is not None:
            np.testing.assert_array_equal(together["n_windows"][which], alone["n_windows"])
            np.testing.assert_allclose(together["embedding"][which], alone["embedding"], atol=1e-5)


def part_of(units, which):
    if isinstance(units, nap.TsGroup):
        trains = {int(units.index[i]): units[units.index[i]] for i in which}
        return nap.TsGroup(trains, time_support=units.time_support)
    return nap.TsdFrame(
        t=units.t,
        d=units.values[:, which],
        columns=units.columns[which],
        time_support=units.time_support,
    )


@over(units=recordings)
def test_annotated_units_keep_all_that_they_had(units):
    probe = probe_of(type(units))
    before = fingerprint(units)
    encoder = encoder_of(type(units))
    annotate = functools.partial(quietly, probe.annotate)
    annotated = or_none(annotate, units, encoder=encoder, progress=False)
    assert fingerprint(units) == before
    if annotated is None:
        return
    assert_survived(units, annotated, replaced={"nuclr_0", "nuclr_encoder"})
    silent = np.asarray(annotated["nuclr_n_windows"]) == 0
    assert (np.asarray(annotated["predicted_letter"])[silent] == "unknown").all()
    confidence = np.asarray(annotated["predicted_letter_confidence"])
    assert (np.isnan(confidence) == silent).all()
    assert ((confidence >= 0.5) & (confidence <= 1))[~silent].all()


@functools.cache
def probe_of(kind):
    """A probe of two classes."""
    rng = np.random.default_rng(0)
    if issubclass(kind, nap.TsGroup):
        trains = {i: nap.Ts(np.sort(rng.uniform(0, 20, 20 + 20 * i))) for i in range(12)}
        known = nap.TsGroup(trains, time_support=nap.IntervalSet(0, 20))
    else:
        known = nap.TsdFrame(t=np.arange(200) / 10, d=rng.normal(1, 1, (200, 12)))
    known.set_info(letter=["a", "b"] * 6)
    return nap_nuclr.Probe("letter", inputs="embedding").fit(embed(known), verbose=False)


@over(units=recordings)
def test_units_find_themselves_again(units):
    dataset = or_none(encode, units)
    if dataset is None:
        return
    vectors = dataset["embedding"].values
    known = vectors[np.isfinite(vectors).all(axis=1)]
    score = reidentification(vectors, vectors)
    assert np.isnan(score) if len(known) < 2 else 0 <= score <= 1


@pytest.mark.parametrize(
    ("change", "error", "found"),
    [
        (lambda x: np.where(np.arange(4) == 2, np.nan, x), ValueError, "unit 2 is nan at frame 0"),
        (lambda x: np.where(np.arange(4) == 3, -np.inf, x), ValueError, "unit 3 is -inf"),
        (lambda x: np.where(np.arange(4) == 1, 1e300, x), ValueError, r"unit 1 is 1e\+300"),
        (lambda x: x + 1j, TypeError, "complex128"),
        (lambda x: x.astype("M8[s]"), TypeError, "datetime64"),
        (lambda x: x[:1], ValueError, "1 frames of"),
        (lambda x: x[:, :0], ValueError, "of 0 units"),
    ],
)
def test_impossible_traces_are_refused_in_words(change, error, found):
    values = change(np.random.default_rng(0).normal(1, 1, (200, 4)))
    units = nap.TsdFrame(t=np.arange(len(values)) / 10, d=values)
    for function in (embed, encode, nap_nuclr.unit_statistics):
        with pytest.raises(error, match=f"recording 'recording'.*{found}"):
            function(units)


SILENT = nap.TsGroup({0: nap.Ts([])}, time_support=nap.IntervalSet(0, 4))
NOBODY = nap.TsGroup({}, time_support=nap.IntervalSet(0, 4))
NOWHEN = nap.TsGroup({0: nap.Ts([0.5, 0.9])}, time_support=nap.IntervalSet([], []))
AT_ONCE = nap.TsdFrame(t=np.ones(200), d=np.ones((200, 4)))


@pytest.mark.parametrize("units", [SILENT, NOBODY, NOWHEN, AT_ONCE, None, [1], {0: nap.Ts([1.0])}])
def test_an_impossible_recording_is_refused_in_words(units):
    for function in (embed, encode, nap_nuclr.unit_statistics):
        with pytest.raises((TypeError, ValueError), match="recording 'recording'"):
            function(units)


def test_impossible_arguments_are_refused_in_words(tiny_units):
    for number in (0, -1, float("nan")):
        with pytest.raises(ValueError, match="max_population is .* expected a positive number"):
            embed(tiny_units, max_population=number)
    trains = {int(i): tiny_units[i] for i in tiny_units.index}
    placed = nap.TsGroup(trains, time_support=tiny_units.time_support)
    placed.set_info(place=np.zeros((12, 3)))
    with pytest.raises(ValueError, match="'place' holds .* expected one name or number a unit"):
        embed(placed, by="place")
    with pytest.raises(TypeError, match="config is a Encoder; expected an EncoderConfig"):
        nap_nuclr.population_tensor(tiny_units, encoder_of(nap.TsGroup))
