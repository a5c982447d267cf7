"""Many probes: `by=` reads every insertion as a population of its own."""

import numpy as np
import pynapple as nap
import pytest

import pynapple_nuclr as nap_nuclr
from pynapple_nuclr import Encoder, EncoderConfig

SMALL = {"dim": 32, "heads": 2, "head_dim": 16}


@pytest.fixture(scope="module")
def encoder():
    return Encoder(EncoderConfig(**SMALL)).eval()


def two_probes(modality="spikes", seed=0):
    """Two populations that were recorded at once, their units interleaved."""
    parts = nap_nuclr.simulate(
        "context", n_units=12, duration=60, animals=2, modality=modality, seed=seed
    )
    probes = dict(zip(("left", "right"), parts.values(), strict=True))
    names = ["left", "right"] * 12
    if modality == "calcium":
        traces = np.stack([part.values for part in probes.values()], axis=2).reshape(-1, 24)
        return probes, nap.TsdFrame(
            parts["animal0"].t,
            traces,
            columns=np.arange(100, 124),
            time_support=parts["animal0"].time_support,
            metadata={"probe": names},
        )
    trains = {100 + i: probes[name][i // 2] for i, name in enumerate(names)}
    support = parts["animal0"].time_support
    return probes, nap.TsGroup(trains, time_support=support, metadata={"probe": names})


@pytest.mark.parametrize("modality", ["spikes", "calcium"])
def test_each_population_is_embedded_as_if_it_were_alone(modality, encoder):
    if modality == "calcium":
        encoder = Encoder(EncoderConfig(modality="calcium", window_frames=32, **SMALL)).eval()
    probes, units = two_probes(modality)
    embedded = nap_nuclr.embed(units, encoder, by="probe", progress=False)
    together = nap_nuclr.embeddings(embedded).values
    for name, alone in probes.items():
        own = nap_nuclr.embeddings(nap_nuclr.embed(alone, encoder, progress=False)).values
        np.testing.assert_allclose(together[np.asarray(units["probe"]) == name], own, atol=1e-5)
    one_population = nap_nuclr.embeddings(nap_nuclr.embed(units, encoder, progress=False)).values
    assert not np.allclose(together, one_population, atol=1e-3)
    ids = embedded.index if modality == "spikes" else embedded.columns
    assert list(ids) == list(range(100, 124))


def test_encode_gives_the_windows_of_all_populations(encoder):
    _, units = two_probes()
    dataset = nap_nuclr.encode(units, encoder, by="probe", return_windows=True, progress=False)
    assert dataset["window_embedding"].shape == (6, 24, 32)
    assert dataset.attrs["by"] == "probe"
    assert list(dataset["probe"].values[:2]) == ["left", "right"]
    mean = dataset["window_embedding"].mean("window")
    np.testing.assert_allclose(mean, dataset["embedding"], atol=1e-5)


def test_a_silent_population_is_nan_and_counted(encoder):
    _, units = two_probes()
    silent = {
        unit: nap.Ts([]) if units["probe"][unit] == "left" else units[unit] for unit in units.index
    }
    units = nap.TsGroup(
        silent, time_support=units.time_support, metadata={"probe": list(units["probe"])}
    )
    with pytest.warns(UserWarning, match="12 of 24 units"):
        embedded = nap_nuclr.embed(units, encoder, by="probe", progress=False)
    left = np.asarray(embedded["probe"]) == "left"
    assert (np.asarray(embedded["nuclr_n_windows"])[left] == 0).all()
    assert np.isfinite(nap_nuclr.embeddings(embedded).values[~left]).all()


def test_the_bundled_encoder_warns_of_each_population_by_name():
    _, units = two_probes()
    hasty = {unit: nap.Ts(units[unit].t / 8) for unit in units.index}  # milliseconds, nearly
    units = nap.TsGroup(
        hasty, time_support=nap.IntervalSet(0, 7.5), metadata={"probe": list(units["probe"])}
    )
    with pytest.warns(UserWarning, match=r"recording \(probe (left|right)\)"):
        nap_nuclr.embed(units, by="probe", progress=False)


@pytest.mark.parametrize(
    ("column", "values", "says"),
    [
        ("shank", None, "no metadata column 'shank'.*probe"),
        ("probe", ["left"] * 20 + ["", "nan", None, "left"], "3 of 24 units have no value"),
    ],
)
def test_a_column_that_does_not_name_every_units_population_is_refused(
    column, values, says, encoder
):
    _, units = two_probes()
    if values is not None:
        units.set_info(probe=values)
    with pytest.raises(ValueError, match=says):
        nap_nuclr.embed(units, encoder, by=column, progress=False)


def test_pretrain_takes_each_population_as_a_recording():
    _, units = two_probes()
    config = EncoderConfig(window_duration=2.0, **SMALL)
    trained = nap_nuclr.pretrain({"day1": units}, config, by="probe", steps=1, progress=False)
    assert trained.card["training"]["recordings"] == 2


def test_a_column_that_does_not_split_is_said_where_another_would(encoder):
    _, units = two_probes()
    groups = list(units["probe"])
    units.set_info(probe=["one device"] * 24, electrode_group=groups)
    with pytest.warns(UserWarning, match="one population; .* 2 groups .* by='electrode_group'"):
        nap_nuclr.embed(units, encoder, by="probe", progress=False)
