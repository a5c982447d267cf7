"""The probe that comes with the package, and how it refuses recordings unlike its training."""

import warnings

import numpy as np
import pynapple as nap
import pytest

from pynapple_nuclr import Probe, load_probe, simulate
from pynapple_nuclr.bundled import PROBES
from pynapple_nuclr.probes.inputs import rows_to_predict
from pynapple_nuclr.probes.training_recordings import deviations
from recordings import macaque, rats

COLUMN = "predicted_waveform_type"


@pytest.fixture(scope="module")
def probe():
    return load_probe("waveform-type")


@pytest.fixture(scope="module")
def rat(data_dir):
    (units,) = rats(data_dir, ["T181_2018_06_19_idle_bank1"]).values()
    return units


def times_multiplied(units, factor):
    support = units.time_support
    return nap.TsGroup(
        {i: nap.Ts(units[i].t * factor) for i in units.index},
        time_support=nap.IntervalSet(support.start * factor, support.end * factor),
    )


def test_it_is_small_and_has_a_card(probe):
    folder = PROBES["waveform-type"].parent
    assert sum(path.stat().st_size for path in folder.iterdir()) < 500_000
    card = (folder / "README.md").read_text(encoding="utf-8")
    for words in ('load_probe("waveform-type")', "Apache-2.0", "rat left out", "Not histology"):
        assert words in card
    assert probe.above_chance_ and probe.classes_.tolist() == ["broad", "narrow"]
    assert probe.cv_calibration_["ece"] <= 0.05


def test_a_rat_is_labelled_from_its_spikes_alone(probe, rat):
    """Its waveforms say how well; it is one of the rats of training."""
    bare = nap.TsGroup({i: rat[i] for i in rat.index}, time_support=rat.time_support)
    called = np.asarray(probe.annotate(bare)[COLUMN])
    true = np.asarray(rat["putative_type"])
    known = (true != "") & (called != "unknown")
    assert known.sum() > 50
    assert np.mean(true[known] == called[known]) > 0.9
    assert set(called) == {"narrow", "broad", "unknown"}
    learned = (true != "") & np.isin(rat["area_class"], ("striatum", "frontal_cortex"))
    learned &= np.asarray(rat["is_single"], dtype=bool)
    cut = nap.TsGroup({i: rat[i] for i in rat.index})  # without the time support
    for units in (bare, cut):
        flagged = np.asarray(probe.annotate(units, force=True)[f"{COLUMN}_training"])
        assert flagged[learned].mean() > 0.98 and flagged[~learned].mean() < 0.1
    surer = np.asarray(probe.annotate(bare, threshold=0.8)[COLUMN])
    assert (surer == "unknown").sum() > (called == "unknown").sum()


@pytest.mark.parametrize("factor", [20.0, 1 / 30])
def test_times_in_other_units_are_refused(probe, rat, factor):
    begin = rat.time_support.start[0]
    wrong = times_multiplied(rat.restrict(nap.IntervalSet(begin, begin + 120)), factor)
    with pytest.warns(UserWarning, match="unlike the .*check its times.*force=True"):
        refused = probe.annotate(wrong)
    assert set(refused[COLUMN]) == {"unknown"}
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*unlike")
        forced = probe.annotate(wrong, force=True)
    assert set(forced[COLUMN]) != {"unknown"}


def test_times_in_other_units_are_warned_of_once(probe):
    units = simulate("single", n_units=20, duration=60, seed=0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        probe.annotate(times_multiplied(units, 1000.0))
    said = [str(one.message) for one in caught]
    assert sum("divide them by 1000" in one for one in said) == 1
    assert sum("largest deviations: " in one for one in said) == 1


def test_another_species_is_refused(probe, data_dir):
    name, units = next(iter(macaque(data_dir).items()))
    with pytest.warns(UserWarning, match="unlike the .* rate"):
        assert set(probe.annotate(units)[COLUMN]) == {"unknown"}, name


def test_calcium_is_no_recording_for_a_probe_of_spikes(probe):
    traces = nap.TsdFrame(np.arange(300) / 10, np.random.default_rng(0).normal(size=(300, 3)))
    with pytest.raises(ValueError, match="probe of spikes cannot read calcium traces"):
        probe.annotate(traces)


def simulated(n, seed):
    return simulate("single", n_units=12, n_classes=2, duration=60, animals=n, seed=seed)


def test_any_probe_of_statistics_knows_its_recordings(tmp_path):
    mice = simulated(10, seed=0)
    probe = Probe("cell_type", inputs="statistics", threshold=0.2, n_shuffles=20)
    probe.fit(mice, verbose=False).save(tmp_path / "probe.skops")
    probe = load_probe(tmp_path / "probe.skops")
    assert probe.threshold == 0.2
    assert probe.training_recordings_["means"].shape == (10, probe.n_features_in_)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        new = simulated(2, seed=5)["animal1"]
        assert set(probe.annotate(new)["predicted_cell_type"]) != {"unknown"}
    with pytest.warns(UserWarning, match="unlike the 10 that the probe learned from"):
        probe.annotate(times_multiplied(new, 100.0))


def test_few_recordings_refuse_nothing():
    probe = Probe("cell_type", inputs="statistics", n_shuffles=20)
    probe.fit(simulated(4, seed=0), verbose=False)
    new = simulated(2, seed=5)["animal1"]
    assert len(deviations(probe, rows_to_predict(probe, new))) == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        probe.annotate(times_multiplied(new, 100.0))


def test_a_probe_of_embeddings_keeps_no_recordings():
    x = np.random.default_rng(0).normal(size=(40, 3)) + 4 * (np.arange(40) % 2)[:, None]
    probe = Probe("layer").fit(x, ["L4", "L5"] * 20, verbose=False)
    assert probe.training_recordings_ == {}
    with pytest.raises(ValueError, match="threshold=2"):
        Probe("layer", threshold=2).fit(x, ["L4", "L5"] * 20, verbose=False)
