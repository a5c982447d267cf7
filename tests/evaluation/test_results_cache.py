"""Nothing is fitted twice, and nothing that is out of date is used."""

from dataclasses import dataclass

import numpy as np
import pynapple as nap
import pytest
from evaluation_systems import Counting, RemembersLabels, mice, recording

from pynapple_nuclr.evaluation import evaluate

PROTOCOLS = ["transductive", "transductive_zero_shot", "inductive_zero_shot"]


@dataclass
class Deep(Counting):
    """Has a setting, and can be interrupted."""

    dim: int = 8
    fails_at: object = None

    def settings(self):
        return {"name": self.name, "dim": self.dim}

    def fit(self, recordings, *, seed=0, progress=False):
        if len(Counting.fits) == self.fails_at:
            raise KeyboardInterrupt
        return super().fit(recordings, seed=seed)


@pytest.fixture
def run(tmp_path):
    def evaluate_(recordings, protocol=PROTOCOLS, systems=None, **options):
        systems = [Counting(), RemembersLabels()] if systems is None else systems
        Counting.fits.clear()
        RemembersLabels.shown.clear()
        options = {"n_shuffles": 1, "cache": tmp_path / "cache", "progress": False} | options
        dataset = evaluate(recordings, "cell_type", protocol, systems, **options)
        return dataset, len(Counting.fits), len(RemembersLabels.shown)

    return evaluate_


def test_a_second_run_fits_nothing_and_gives_the_same(run):
    recordings = mice(3)
    first, fits, shown = run(recordings)
    assert (fits, shown) == (1 + 3, 5 + 3 + 3)
    second, *again = run(recordings)
    assert again == [0, 0]
    assert first.identical(second)  # the seconds are those that fitting took then


def test_without_a_cache_nothing_is_fitted_twice_either(run, tmp_path):
    _, fits, shown = run(mice(3), standardize=["none", "recording"], cache=None)
    assert (fits, shown) == (4, 11)
    assert not (tmp_path / "cache").exists()


def test_a_changed_label_changes_scores_but_no_fit_of_an_embedding(run):
    recordings = mice(3)
    first, *_ = run(recordings)
    labels = recordings["day_0"]["cell_type"].to_numpy()
    recordings["day_0"]["cell_type"] = np.where(labels == "PV", "SST", labels)
    second, fits, shown = run(recordings)
    assert fits == 0
    assert shown == 9  # the two folds that leave m0 out hide these labels anyway
    gap = first["macro_f1"].sel(system="counting") - second["macro_f1"].sel(system="counting")
    assert (gap > 0.03).all()


def test_changed_spikes_are_fitted_again(run):
    recordings = mice(3)
    run(recordings)
    recordings["day_0"] = recording(seed=77, animal="m0")
    _, fits, _ = run(recordings, "transductive")
    assert fits == 1
    recordings["day_1"] = recordings["day_1"].restrict(nap.IntervalSet(0, 99))
    _, fits, _ = run(recordings, "transductive")
    assert fits == 1
    recordings["new"] = recording(seed=78, animal="m9")
    _, fits, _ = run(recordings, "transductive")
    assert fits == 1
    _, fits, _ = run(dict(reversed(recordings.items())), "transductive")
    assert fits == 0


def test_seeds_settings_and_columns_that_settings_name(run):
    recordings = mice(2)
    assert run(recordings, "transductive", [Deep()])[1] == 1
    assert run(recordings, "transductive", [Deep()])[1] == 0
    assert run(recordings, "transductive", [Deep(dim=9)])[1] == 1
    assert run(recordings, "transductive", [Deep()], seeds=[0, 4])[1] == 1

    class Waves(Counting):
        def settings(self):
            return {"name": "waves", "inputs": ["waveform"]}

    for value, fits in ((1.0, 1), (1.0, 0), (2.0, 1)):
        for units in recordings.values():
            units.set_info(waveform=np.full((30, 4), value), depth=np.full(30, value))
        assert run(recordings, "transductive", [Waves()])[1] == fits
    recordings["day_0"].set_info(depth=np.zeros(30))  # named by nobody
    assert run(recordings, "transductive", [Waves()])[1] == 0


def test_a_system_that_does_not_learn_is_asked_once(run):
    class Frozen(Counting):
        trainable = False

    _, fits, _ = run(mice(3), PROTOCOLS, [Frozen()], seeds=3)
    assert fits == 1


def test_an_interrupted_run_goes_on(run):
    recordings = mice(4)
    with pytest.raises(KeyboardInterrupt):
        run(recordings, "inductive_zero_shot", [Deep(fails_at=2)])
    dataset, fits, _ = run(recordings, "inductive_zero_shot", [Deep()])
    assert fits == 2
    fresh, *_ = run(recordings, "inductive_zero_shot", [Deep()], cache=None)
    np.testing.assert_array_equal(dataset["predicted"], fresh["predicted"])
    np.testing.assert_array_equal(dataset["confidence"], fresh["confidence"])


def test_a_file_that_was_cut_off_is_made_again(run, tmp_path):
    recordings = mice(2)
    first, *_ = run(recordings, "transductive", [Counting()])
    (path,) = (
        path for path in (tmp_path / "cache").iterdir() if "counting" in _text(path.read_bytes())
    )
    path.write_bytes(path.read_bytes()[:200])
    second, fits, _ = run(recordings, "transductive", [Counting()])
    assert fits == 1
    np.testing.assert_array_equal(first["macro_f1"], second["macro_f1"])
    assert not list((tmp_path / "cache").glob("*.part"))


def _text(content: bytes) -> str:
    return content.replace(b"\0", b"").decode("latin-1")


def test_nested_choice_shares_fits_among_folds(run):
    system = Counting(options=(False,))
    _, fits, _ = run(mice(3), "transductive", [system], model_selection="nested")
    assert fits == 2
