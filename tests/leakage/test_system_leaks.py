"""What systems could know that they must not: planted, and seen to be refused or kept out."""

from dataclasses import dataclass

import numpy as np
import pynapple as nap
import pytest
from evaluation_systems import Counting, RemembersLabels, fingerprint, mice, recording
from leaks import PROTOCOLS, TINY, caught, evaluate
from tally import counts

import pynapple_nuclr as nap_nuclr
from pynapple_nuclr import Encoder, evaluation
from pynapple_nuclr.baselines import Nuclr
from pynapple_nuclr.evaluation import fit_systems
from pynapple_nuclr.evaluation.results_cache import open_store
from pynapple_nuclr.evaluation.task import read_task
from pynapple_nuclr.io.recording_cache import open_recordings
from pynapple_nuclr.leakage.fingerprints import (
    all_fingerprints,
    known_fingerprints,
    training_fingerprints,
    unit_fingerprints,
)
from pynapple_nuclr.recording import as_recording

# what systems are shown


@dataclass
class Reads(Counting):
    """A metadata column as a feature."""

    name = "reads"
    column: str = "depth"

    def embed(self, recordings):
        return {n: np.asarray(units[self.column])[:, None] for n, units in recordings.items()}


def test_a_system_that_asks_for_the_labels():
    recordings = mice(3)
    for units in recordings.values():
        units.set_info(kind=units["cell_type"].to_numpy(), depth=np.arange(30.0))
    evaluate(recordings, PROTOCOLS, [Reads()])
    for column in ("cell_type", "kind"):
        with caught("system 'reads'", f"column {column!r}", "'cell_type'"):
            evaluate(recordings, PROTOCOLS, [Reads(column=column)])
    with caught("'nuclr'", "'cell_type'"):
        evaluate(recordings, systems=[Nuclr(training={"by": "cell_type"}, steps=1)])

    class Alternative(Counting):
        def candidates(self):
            return [self, Reads(column="kind")]

    with caught("'reads'", "'kind'"):
        evaluate(recordings, systems=[Alternative()], model_selection="nested")


def test_a_system_that_is_trained_by_insertion_where_insertions_tell_the_labels():
    recordings, short = mice(2, n=60), {"batch_size": 2}
    for units in recordings.values():
        units.set_info(probe=np.char.add("insertion ", units["cell_type"].to_numpy().astype(str)))
    by_insertion = Nuclr(config=TINY, steps=1, training=short | {"by": "probe"})
    with caught("'nuclr'", "'probe'", "give each part as a recording of its own"):
        evaluate(recordings, systems=[by_insertion])
    parts = {
        f"{name} {probe}": units[units["probe"] == probe]
        for name, units in recordings.items()
        for probe in np.unique(units["probe"])
    }
    scores = evaluate(parts, systems=[Nuclr(config=TINY, steps=1, training=short)])
    assert scores["coverage"].sel(system="nuclr").item() == 1
    assert scores["macro_f1"].sel(system="prior: most common label").item() == 1


def test_words_of_an_encoders_settings_name_no_columns():
    recordings = mice(2)
    for units in recordings.values():
        units.set_info(split=units["cell_type"].to_numpy(), spikes=units["cell_type"].to_numpy())
    other = {"config": TINY, "name": "spikes"}
    system = Nuclr(config=TINY, steps=1, training={"batch_size": 2}, alternatives=(other,))
    assert evaluate(recordings, systems=[system], model_selection="nested").sizes["system"] == 4


def test_a_system_may_be_called_like_the_labels():
    assert evaluate(mice(2), systems=[Nuclr(Encoder(TINY), name="cell_type")]).sizes["system"] == 4


def test_numbered_columns_of_a_setting_are_in_the_hash(tmp_path):
    """Nemo's waveforms may have a column for each sample; other ones make other vectors."""

    @dataclass
    class Waves(Counting):
        column: str = "waveform"

    recordings = mice(2)
    for value, fits in ((1.0, 1), (1.0, 0), (2.0, 1)):
        Counting.fits.clear()
        for units in recordings.values():
            units.set_info(waveform_0=np.full(30, value), waveform_1=np.arange(30.0))
        evaluate(recordings, systems=[Waves()], cache=tmp_path)
        assert len(Counting.fits) == fits


def test_a_system_that_learns_although_it_says_it_does_not():
    class Secretly(Counting):
        name, trainable = "secretly", False

        def fit(self, recordings, *, seed=0, progress=False):
            self.mean_ = np.mean([fingerprint(units) for units in recordings.values()])
            return self

    with caught("system 'secretly'", "trainable = False", "'day_0'"):
        evaluate(mice(3), PROTOCOLS[2], [Secretly()])


class Pools(Counting):
    """Standardises over all recordings that it gets at once."""

    name = "pools"

    def embed(self, recordings):
        vectors = super().embed(recordings)
        scale = np.concatenate([*vectors.values()]).std(axis=0) + 1e-9
        return {name: one / scale for name, one in vectors.items()}


class Runs(Counting):
    """Standardises by all recordings that it has got so far."""

    name = "runs"

    def embed(self, recordings):
        vectors = super().embed(recordings)
        self.so_far_ = [*getattr(self, "so_far_", []), *vectors.values()]
        scale = np.concatenate(self.so_far_).std(axis=0) + 1e-9
        return {name: one / scale for name, one in vectors.items()}


@pytest.mark.parametrize("system", [Pools, Runs])
def test_what_a_system_is_asked_about_does_not_change_what_it_says_of_others(system):
    def vectors(recordings):
        task = read_task(recordings, "cell_type")
        with open_store(None) as store:
            fit = fit_systems.Fits(task, store).vectors(system(), ("day_1", "day_2"), 0)
        return fit.values[task.rows_of("day_1")]

    recordings = mice(3)
    before = vectors(recordings)
    recordings["day_0"] = recording(5, animal="m0", separation=3.0)
    np.testing.assert_array_equal(vectors(recordings), before)
    counts["leaks planted and kept out"] += 1


# the same recording again


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_recording_under_two_names(protocol):
    recordings = mice(2)
    order = np.random.default_rng(0).permutation(30)
    recordings["again"] = recording(0, animal="m9", order=order)  # other order, other ids
    with caught("'again' and 'day_0' have units in common"):
        evaluate(recordings, protocol)
    recordings["again"] = nap.TsGroup(
        {1: recordings["day_0"][105]}, metadata={"cell_type": ["PV"], "animal": ["m9"]}
    )
    with caught("'again' and 'day_0' have units in common"):
        evaluate(recordings, protocol)


def test_traces_under_two_names():
    options = {"modality": "calcium", "n_units": 8, "duration": 60}
    traces = {f"day_{i}": nap_nuclr.simulate("single", seed=i, **options) for i in range(2)}
    evaluate(traces, systems=["statistics"])
    with caught("'copy' and 'day_0' have units"):
        evaluate(traces | {"copy": traces["day_0"]}, systems=["statistics"])


# what an encoder was pretrained on


def pretrained(*recordings):
    """An encoder whose card names these recordings as its training data."""
    known = training_fingerprints(as_recording(units) for units in recordings)
    return Encoder(TINY, card={"fingerprints": known})


@pytest.mark.parametrize("training", [{}, {"steps": 1}], ids=["frozen", "fine-tuned"])
def test_an_encoder_that_was_pretrained_on_the_animal_left_out(training):
    recordings = mice(3)
    others = [recording(seed) for seed in (20, 21)]
    evaluate(recordings, PROTOCOLS, [Nuclr(pretrained(*others))])
    seen = Nuclr(pretrained(*others, recordings["day_1"]), **training)
    with caught("'nuclr'", f"encoder {seen.encoder.identity} was pretrained", "fold 'm1'",
                "recording 'day_1'", "transductive_zero_shot"):  # fmt: skip
        evaluate(recordings, PROTOCOLS[2], [seen])
    if not training:
        evaluate(recordings, PROTOCOLS[:2], [seen])  # the name for it


def test_pretraining_notes_what_it_has_seen_and_fine_tuning_adds_to_it(tmp_path):
    recordings = nap_nuclr.simulate("single", n_units=24, duration=60, animals=3, seed=3)
    one, two, _ = recordings
    short = {"steps": 1, "batch_size": 2, "progress": False}
    nap_nuclr.pretrain({one: recordings[one]}, TINY, out=tmp_path, **short)
    tuned = nap_nuclr.pretrain({two: recordings[two]}, init=tmp_path, **short)
    assert len(tuned.card["fingerprints"]) == 48 + 2 * 32  # all units, and passages
    assert "ingerprints" not in tuned.describe()
    for encoder in (tmp_path, tuned):
        with caught("'nuclr'", repr(one)):
            evaluate(recordings, "inductive_zero_shot", [Nuclr(encoder)])
    rest = {name: units for name, units in recordings.items() if name != one}
    evaluate(rest, "inductive_zero_shot", [Nuclr(tmp_path)])


def test_a_system_of_labels_with_a_pretrained_part():
    recordings = mice(3)

    class Pretrained(RemembersLabels):
        name = "pretrained"
        fingerprints = unit_fingerprints(as_recording(recordings["day_0"]))

    with caught("system 'pretrained'", "fold 'm0'", "recording 'day_0'"):
        evaluate(recordings, PROTOCOLS[2], [Pretrained()])
    evaluate(recordings, PROTOCOLS[:2], [Pretrained()])


@dataclass
class Wrapper(Counting):
    """A system of somebody else around an encoder."""

    name = "wrapper"
    inside: object = None


class Ordinary(Wrapper):
    def __init__(self, inside):
        self.inside = inside


@pytest.mark.parametrize("holds", [Wrapper, Ordinary])
def test_a_system_of_ones_own_around_a_pretrained_encoder(holds):
    recordings = mice(3)
    seen, other = pretrained(recordings["day_2"]), pretrained(recording(20))
    for inside in (other, [other], object()):
        evaluate(recordings, PROTOCOLS[2], [holds(inside=inside)])
    for inside in (seen, [other, seen], {"encoder": (seen,)}, Nuclr(seen)):
        with caught("system 'wrapper'", "fold 'm2'", "recording 'day_2'"):
            evaluate(recordings, PROTOCOLS[2], [holds(inside=inside)])


def test_encoders_of_curves_and_of_nested_choice():
    recordings = mice(3)
    seen = pretrained(recordings["day_2"])
    options = {"n_shuffles": 0, "progress": False}
    with caught("fold 'm2'"):
        evaluation.data_scaling(recordings, "cell_type", [Nuclr(seen)], n_orders=1, **options)
    fresh = Nuclr(Encoder(TINY), alternatives=({"encoder": seen, "name": "other"},))
    with caught("fold 'm2'", "system 'other'"):
        evaluate(recordings, PROTOCOLS[2], [fresh], model_selection="nested")


def test_a_recording_is_known_again_that_pretraining_read_from_its_file(tmp_path):
    units = recording(3)
    path = tmp_path / "day.nwb"
    nap_nuclr.write_units(units, path)
    (indexed,) = open_recordings({"day": path}, cache=tmp_path / "cache").values()
    loaded = nap_nuclr.read_units(path)
    known = unit_fingerprints(as_recording(units))
    assert len(known) == 30
    assert unit_fingerprints(indexed) == unit_fingerprints(as_recording(loaded)) == known


def test_a_pretrained_recording_is_known_again_in_part():
    units = recording(3, n=30)
    known = set(training_fingerprints([as_recording(units)]))
    assert len(known) == 30 + 32
    order = np.random.default_rng(1).permutation(30)
    forms = {
        "some units": units[[101, 120]],
        "other order and ids": recording(3, n=30, order=order),
        "other labels": recording(3, n=30, depth=np.arange(30)),
        "from a file, in other bits": nap.TsGroup(
            {i: nap.Ts(units[i].t + 1e-9) for i in units.index}, time_support=units.time_support
        ),
        "from later on": units.restrict(nap.IntervalSet(20, 100)),
        "its second half": units.restrict(nap.IntervalSet(50, 100)),
        "time counted from elsewhere": nap.TsGroup(
            {i: nap.Ts(units[i].t + 1234.5678) for i in units.index}
        ),
    }
    for form, other in forms.items():
        assert known & all_fingerprints(as_recording(other)), form
    assert not known & all_fingerprints(as_recording(recording(4, n=30)))
    part = training_fingerprints([as_recording(forms["its second half"])])
    assert set(part) & all_fingerprints(as_recording(units))
    large = recording(6, n=100)
    kept = training_fingerprints([as_recording(large)], {"fingerprints": ["0" * 16]})
    assert len(kept) == 1 + 32 + 32 and kept == sorted(kept)
    half = large[large.index[:50]]
    assert set(kept) & unit_fingerprints(as_recording(half))
    traces = nap_nuclr.simulate("single", n_units=8, duration=120, modality="calcium")
    of_traces = set(training_fingerprints([as_recording(traces)]))
    assert of_traces & all_fingerprints(as_recording(traces[400:]))
    few = nap.TsGroup({i: nap.Ts(np.arange(9.0)) for i in range(3)})
    assert all_fingerprints(as_recording(few)) == frozenset()
    regular = nap.TsGroup({i: nap.Ts(np.arange(100.0)) for i in range(3)})
    assert len(all_fingerprints(as_recording(regular))) == 1  # how they begin, all alike


def test_an_encoder_whose_card_does_not_name_its_training_data():
    recordings = mice(3)
    silent = Nuclr(Encoder(TINY, card={"training": {"recordings": 3}}))
    with pytest.warns(UserWarning, match="may have been trained on the animals left out"):
        evaluate(recordings, PROTOCOLS[2], [silent])
    evaluate(recordings, PROTOCOLS[:2], [silent])
    evaluate(recordings, PROTOCOLS[2], [Nuclr(Encoder(TINY))])  # never trained


def test_the_bundled_encoders_tell_what_they_were_trained_on():
    how = {"n_units": 150, "n_classes": 4, "seed": 2019}
    spikes = nap_nuclr.simulate("single", animals=4, duration=150, **how)
    options = {"modality": "calcium", "frame_rate": 4.283719, "drift": 0.3}
    traces = nap_nuclr.simulate("single", animals=6, duration=600, **how, **options)
    for modality, recordings in {"spikes": spikes, "calcium": traces}.items():
        known = known_fingerprints(nap_nuclr.load_encoder(modality).card)
        one = next(iter(recordings.values()))
        assert known & all_fingerprints(as_recording(one)), modality


def test_a_unit_twice_in_one_recording():
    units = recording(0, animal="m0")
    twice = {unit: units[unit] for unit in units.index}
    twice |= {unit + 1000: units[unit] for unit in units.index[:4]}
    labels = np.concatenate([units["cell_type"], units["cell_type"][:4]])
    copied = nap.TsGroup(
        twice,
        time_support=units.time_support,
        metadata={"cell_type": labels, "animal": ["m0"] * len(labels)},
    )
    with caught("recording 'day' 4 units are copies", "leave out 1100, 1101, 1102"):
        evaluate({"day": copied}, PROTOCOLS[0], [Counting()])
