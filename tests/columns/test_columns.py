"""The layout of the metadata columns: what people read first, nothing of theirs lost."""

from __future__ import annotations

import logging

import numpy as np
import pynapple as nap
import pytest

from pynapple_nuclr.columns import (
    add_columns,
    check_name,
    check_prefix,
    coordinate_name,
    embeddings,
    is_embedded,
    is_missing,
    metadata_frame,
    unit_coordinates,
    vector_columns,
)

OWN = {
    "region": np.array(["CA1", "CA3", "CA1", "DG"]),
    "label": np.array(["PV", None, "SST", None], dtype=object),
    "good": np.array([True, False, True, True]),
    "channel": np.array([3, 1, 4, 1], dtype=np.int16),
    "depth": np.array([0.1, np.nan, 0.3, 0.4], dtype=np.float32),
    "waveform": np.arange(12.0).reshape(4, 3),
}


def spikes() -> nap.TsGroup:
    rng = np.random.default_rng(0)
    support = nap.IntervalSet([0, 60], [50, 100])
    trains = {
        unit: nap.Ts(np.sort(rng.uniform(0, 100, 40))).restrict(support) for unit in (7, 2, 31, 10)
    }
    group = nap.TsGroup(trains, time_support=support)
    group.set_info(OWN)
    return group


def traces(columns=("a", "b", "c", "d")) -> nap.TsdFrame:
    rng = np.random.default_rng(0)
    frame = nap.TsdFrame(
        np.arange(0, 100, 0.5),
        rng.normal(size=(200, 4)).astype(np.float32),
        columns=list(columns),
        time_support=nap.IntervalSet([0, 60], [50, 100]),
    )
    frame.set_info(OWN)
    return frame


def summary(prefix: str = "nuclr", encoder: str = "tiny@0a1b2c3d") -> dict:
    # Not in the order in which they are to stand.
    return {
        f"{prefix}_encoder": [encoder] * 4,
        f"{prefix}_n_windows": [3, 0, 2, 9],
        f"{prefix}_stability": [0.9, np.nan, 0.8, 1.0],
    }


def embedded(units, dim: int = 12, prefix: str = "nuclr", encoder: str = "tiny@0a1b2c3d"):
    vectors = np.random.default_rng(1).normal(size=(4, dim)).astype(np.float32)
    return add_columns(units, vectors=vectors, summary=summary(prefix, encoder), prefix=prefix)


def arrays(units) -> dict[str, np.ndarray]:
    """The metadata as stored, without a detour through pandas."""
    return {name: units._metadata[name] for name in units.metadata_columns}


def assert_same_columns(found: dict, expected: dict) -> None:
    for name, values in expected.items():
        assert found[name].dtype == values.dtype, name
        np.testing.assert_array_equal(found[name], values, err_msg=name)


@pytest.mark.parametrize("make", [spikes, traces])
def test_columns_are_in_reading_order(make):
    units = add_columns(embedded(make()), predicted={"predicted_cell_type": ["PV"] * 4})
    expected = ["predicted_cell_type", "nuclr_stability", "nuclr_n_windows", "nuclr_encoder"]
    expected += [*OWN, *(f"nuclr_{i}" for i in range(12))]
    assert [name for name in units.metadata_columns if name != "rate"] == expected
    if make is spikes:
        assert units.metadata_columns[0] == "rate"


@pytest.mark.parametrize("make", [spikes, traces])
@pytest.mark.usefixtures("terminal_of_80_columns")
def test_prediction_shows_in_repr_with_256_dimensions(make):
    units = add_columns(
        embedded(make(), dim=256),
        predicted={"predicted_cell_type": ["PV"] * 4, "predicted_cell_type_confidence": [0.5] * 4},
    )
    assert "predicted_cell_type" in repr(units)
    assert "nuclr_0" not in repr(units)


@pytest.mark.usefixtures("terminal_of_80_columns")
def test_all_that_people_read_shows_in_repr_of_spikes():
    units = add_columns(embedded(spikes(), dim=256), predicted={"predicted_region": ["CA1"] * 4})
    header = repr(units).splitlines()[0].split()
    names = ["rate", "predicted_region", "nuclr_stability", "nuclr_n_windows", "nuclr_encoder"]
    assert header[1:6] == names


@pytest.mark.parametrize("make", [spikes, traces])
def test_input_is_never_changed_and_everything_survives(make):
    units = make()
    before, repr_before = arrays(units), repr(units)
    result = add_columns(embedded(units), predicted={"predicted_region": ["CA1"] * 4})
    assert repr(units) == repr_before
    assert units.metadata_columns == list(before)
    assert_same_columns(arrays(result), before)
    assert type(result) is type(units)
    np.testing.assert_array_equal(result.time_support.values, units.time_support.values)
    if make is spikes:
        assert list(result.index) == [2, 7, 10, 31]
        for unit in units.index:
            np.testing.assert_array_equal(result[unit].t, units[unit].t)
    else:
        assert list(result.columns) == list(units.columns)
        np.testing.assert_array_equal(result.values, units.values)
        np.testing.assert_array_equal(result.t, units.t)
        assert result.values.dtype == units.values.dtype


@pytest.mark.parametrize("make", [spikes, traces])
def test_columns_survive_save_and_load(make, tmp_path):
    units = embedded(make())
    units.save(str(tmp_path / "units.npz"))
    loaded = nap.load_file(str(tmp_path / "units.npz"))
    assert loaded.metadata_columns == units.metadata_columns
    assert_same_columns(arrays(loaded), arrays(units))
    np.testing.assert_array_equal(embeddings(loaded).values, embeddings(units).values)


def test_columns_survive_slicing():
    vectors = embeddings(embedded(spikes()))
    units = embedded(spikes())
    some = units[units["region"] == "CA1"]
    assert some.metadata_columns == units.metadata_columns
    np.testing.assert_array_equal(embeddings(some), vectors.sel(unit=[2, 10]))
    kept = embedded(traces())
    some = kept[:, kept["region"] == "CA1"]
    np.testing.assert_array_equal(embeddings(some), embeddings(kept).sel(unit=["a", "c"]))
    short = embedded(spikes()).restrict(nap.IntervalSet(0, 20))
    np.testing.assert_array_equal(embeddings(short), vectors)


@pytest.mark.parametrize("make", [spikes, traces])
def test_a_group_of_one_unit(make):
    units = make()[[7]] if make is spikes else make()[:, [1]]
    units = add_columns(
        units, vectors=[[1.0, 2.0]], summary={"nuclr_encoder": ["a@0"], "nuclr_n_windows": [1]}
    )
    units = add_columns(units, predicted={"predicted_x": ["PV"]})
    assert units["predicted_x"].tolist() == ["PV"]
    np.testing.assert_array_equal(embeddings(units), [[1.0, 2.0]])


def test_existing_columns_are_replaced_and_said_once(caplog):
    units = add_columns(embedded(spikes(), dim=12), predicted={"predicted_region": ["CA1"] * 4})
    assert not caplog.records
    with caplog.at_level(logging.INFO, logger="pynapple_nuclr"):
        again = embedded(units, dim=5, encoder="other@ffffffff")
    assert len(caplog.records) == 1
    assert "replaced 15 metadata columns: 'nuclr_stability'" in caplog.text
    assert embeddings(again).shape == (4, 5)
    assert embeddings(again).attrs["encoder"] == "other@ffffffff"
    assert "predicted_region" in again.metadata_columns
    assert_same_columns(arrays(again), {name: arrays(units)[name] for name in OWN})
    assert embeddings(units).shape == (4, 12)


def test_summary_alone_drops_old_vectors_and_a_prediction_keeps_them():
    units = embedded(spikes())
    assert is_embedded(add_columns(units, predicted={"predicted_region": ["CA1"] * 4}))
    only = add_columns(units, summary=summary())
    assert not is_embedded(only)
    assert only.metadata_columns[1:4] == ["nuclr_stability", "nuclr_n_windows", "nuclr_encoder"]
    assert not any(name.startswith("nuclr_") and name[-1].isdigit() for name in arrays(only))


def test_two_prefixes_live_side_by_side(caplog):
    units = embedded(spikes(), dim=11)
    both = embedded(units, dim=3, prefix="tuned", encoder="tuned@12345678")
    assert not caplog.records
    names = both.metadata_columns
    own = [names.index(name) for name in OWN]
    for prefix, dim in (("nuclr", 11), ("tuned", 3)):
        assert all(names.index(name) < min(own) for name in summary(prefix))
        assert all(names.index(f"{prefix}_{i}") > max(own) for i in range(dim))
        assert [n for n in names if n in {f"{prefix}_{i}" for i in range(dim)}] == [
            f"{prefix}_{i}" for i in range(dim)
        ]
    np.testing.assert_array_equal(embeddings(both), embeddings(units))
    assert embeddings(both, "tuned").attrs["encoder"] == "tuned@12345678"
    assert not any("_0" in name for name in embeddings(both).coords)


def test_the_users_columns_that_look_like_vectors_stay_theirs():
    units = spikes()
    units.set_info({"tetrode_0": [1, 2, 3, 4], "tetrode_encoder": ["x"] * 4, "band_1": [0] * 4})
    units = embedded(units)
    assert {"tetrode_0", "tetrode_encoder", "band_1"} <= set(units.metadata_columns)
    assert units.metadata_columns.index("band_1") < units.metadata_columns.index("nuclr_0")


def test_the_users_columns_that_meet_attributes_bring_no_new_warning(recwarn):
    units = spikes()
    with pytest.warns(UserWarning, match="overlaps"):
        units.set_info({"count": [1, 2, 3, 4]})
    recwarn.clear()
    np.testing.assert_array_equal(embedded(units).get_info("count"), [1, 2, 3, 4])
    assert not recwarn.list


def test_embeddings_are_labelled():
    units = spikes()
    units.set_info({"unit": [5, 6, 7, 8]})
    units = embedded(units, dim=3)
    vectors = embeddings(units)
    assert vectors.dims == ("unit", "feature")
    assert vectors.dtype == np.float32
    assert vectors.unit.values.tolist() == [2, 7, 10, 31]
    assert vectors.unit_.values.tolist() == [5, 6, 7, 8]
    assert vectors.region.values.tolist() == OWN["region"].tolist()
    assert is_missing(vectors.label.values).tolist() == [False, True, False, True]
    np.testing.assert_array_equal(vectors.rate, units["rate"])
    assert vectors.attrs == {"encoder": "tiny@0a1b2c3d"}
    assert "nuclr_0" not in vectors.coords


def test_vectors_of_more_than_ten_dimensions_come_in_numeric_order():
    vectors = np.arange(4 * 120.0).reshape(4, 120)
    units = add_columns(spikes(), vectors=vectors, summary=summary())
    np.testing.assert_array_equal(embeddings(units), vectors)


def test_embeddings_refuse_what_is_not_embedded_or_mixed():
    with pytest.raises(ValueError, match=r"'m1'.*nuclr_0.*embed"):
        embeddings(spikes(), name="m1")
    with pytest.raises(ValueError, match="tuned_0"):
        embeddings(embedded(spikes()), "tuned")
    mixed = add_columns(
        spikes(), vectors=np.ones((4, 2)), summary={"nuclr_encoder": ["a@0", "a@0", "b@1", "a@0"]}
    )
    with pytest.raises(ValueError, match="a@0, b@1"):
        embeddings(mixed)


@pytest.mark.parametrize("prefix", ["my prefix", "2nd", "", "a-b", 3, "count", "rate", "predicted"])
@pytest.mark.parametrize("make", [spikes, traces])
def test_unusable_prefixes(make, prefix):
    with pytest.raises(ValueError, match="prefix="):
        check_prefix(prefix, make())
    with pytest.raises(ValueError, match="prefix="):
        add_columns(make(), vectors=np.ones((4, 2)), prefix=prefix)


def test_a_prefix_that_would_name_a_unit():
    frame = traces(("a", "b", "nuclr_1", "d"))
    with pytest.raises(ValueError, match="nuclr_1"):
        add_columns(frame, vectors=np.ones((4, 2)))
    assert is_embedded(embedded(frame, prefix="tuned"), "tuned")


def test_names_of_targets():
    check_name("cell_type", "target")
    check_name("region", "target", spikes())
    for name in ("cell type", "count", "rate", "time_support", None):
        with pytest.raises(ValueError, match="target="):
            check_name(name, "target")


def test_wrong_shapes_and_names_are_refused():
    with pytest.raises(ValueError, match=r"nuclr_stability.*\(3,\).*4 units"):
        add_columns(spikes(), summary={"nuclr_stability": [1, 2, 3]})
    with pytest.raises(ValueError, match=r"nuclr_0.*\(3,\).*4 units"):
        add_columns(spikes(), vectors=np.ones((3, 2)))
    with pytest.raises(ValueError, match=r"vectors.*\(4,\)"):
        add_columns(spikes(), vectors=np.ones(4))
    with pytest.raises(ValueError, match=r"'cell_type'.*'predicted_'"):
        add_columns(spikes(), predicted={"cell_type": ["PV"] * 4})
    with pytest.raises(TypeError, match="dict"):
        add_columns({}, predicted={})


def test_missing_labels():
    labels = ["PV", None, np.nan, "", "nan", "SST", float("nan")]
    assert is_missing(labels).tolist() == [False, True, True, True, True, False, True]
    assert is_missing(np.array(["PV", np.nan])).tolist() == [False, True]
    assert is_missing(np.array([1.0, np.nan])).tolist() == [False, True]
    assert is_missing([0, 1]).tolist() == [False, False]
    assert is_missing([]).tolist() == []


@pytest.mark.parametrize("make", [spikes, traces])
def test_metadata_frame_keeps_values(make):
    frame = metadata_frame(make())
    ids = make().index if make is spikes else make().columns
    assert list(frame.index) == list(ids)
    assert frame["label"].tolist() == ["PV", None, "SST", None]
    assert frame["channel"].dtype == np.int16
    assert frame["good"].dtype == bool
    assert ("rate" in frame) == (make is spikes)


def test_vector_columns_are_those_of_embeddings():
    own = ["layer2", "7", "band_1", "nuclr_x", "nuclr_01"]
    names = ["late_1", *own, "nuclr_10", "nuclr_9", "late_0", "nuclr_encoder", "nuclr_stability"]
    assert vector_columns(names, "nuclr") == ["nuclr_9", "nuclr_10"]
    assert vector_columns(names) == ["nuclr_9", "nuclr_10"]  # `late` has no encoder
    found = vector_columns([*names, "late_encoder"])
    assert found == ["nuclr_9", "nuclr_10", "late_0", "late_1"]
    units = spikes()
    units.set_info({name: [1, 2, 3, 4] for name in ("layer2", "band_1")})
    assert {"layer2", "band_1"} <= set(embeddings(embedded(units)).coords)


def test_names_that_a_result_of_encode_has_itself_get_an_underscore():
    taken = ["unit", "feature", "window", "embedding", "stability", "n_windows"]
    taken += ["window_embedding", "start"]
    assert [coordinate_name(name) for name in taken] == [f"{name}_" for name in taken]
    frame = metadata_frame(spikes())[[]].assign(**dict.fromkeys([*taken, "stability_", "depth"], 1))
    coordinates = unit_coordinates(frame)
    assert list(coordinates) == [*(f"{name}_" for name in taken), "stability__", "depth"]
