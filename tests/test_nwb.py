"""NWB files: what is written comes back, and nothing else changes."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pynapple as nap
import pytest

from pynapple_nuclr.columns import embeddings, lay_out
from pynapple_nuclr.io.nwb import (
    describe_nwb,
    read_embedding,
    read_units,
    write_nwb,
    write_units,
)

pynwb = pytest.importorskip("pynwb")

DIM = 16
TRIALS = nap.IntervalSet(np.arange(0, 50, 5.0), np.arange(0, 50, 5.0) + 0.4)


def make_units(ids=(2, 5, 9, 11), support=None, seed=0):
    """Return units of which the second is silent, with one column of each kind."""
    rng = np.random.default_rng(seed)
    support = nap.IntervalSet(0, 50) if support is None else support
    trains = {unit: nap.Ts(np.sort(rng.uniform(0, 50, 400))) for unit in ids}
    trains[ids[1]] = nap.Ts(np.array([]))
    metadata = {
        "cell_type": ["PV", "", "SST", "é"][: len(ids)],
        "depth": np.linspace(100, 400, len(ids)),
        "shank": np.arange(len(ids)),
    }
    return nap.TsGroup(trains, time_support=support, metadata=metadata)


def embedded(units, *, seed=0, labels=True, prefix="nuclr", encoder="tiny@0a1b2c3d"):
    """Lay out an embedding as `embed` does, the second unit silent."""
    rng = np.random.default_rng(seed)
    n = len(units)
    vectors = rng.normal(size=(n, DIM)).astype(np.float32)
    stability = rng.uniform(0.5, 1, n)
    windows = np.full(n, 5)
    vectors[1], stability[1], windows[1] = np.nan, np.nan, 0
    predicted = {
        "predicted_cell_type": np.array(["PV", "unknown", "SST", "PV"][:n]),
        "predicted_cell_type_confidence": np.array([0.9, np.nan, 0.6, 0.7][:n]),
    }
    summary = {"stability": stability, "n_windows": windows, "encoder": np.repeat(encoder, n)}
    return lay_out(
        units,
        predicted=predicted if labels else None,
        summary={f"{prefix}_{name}": values for name, values in summary.items()},
        vectors=vectors,
        prefix=prefix,
    )


@pytest.fixture
def units():
    return make_units()


@pytest.fixture
def source(units, tmp_path):
    return write_units(units, tmp_path / "day1.nwb")


def stem_names(folder):
    return sorted(path.name for path in folder.iterdir())


# --- a new file -----------------------------------------------------------------------------


def test_new_file_validates_and_gives_units_and_epochs_back(tmp_path):
    units = make_units(support=TRIALS)
    path = write_units(units, tmp_path / "trials.nwb", session="detection task")
    assert pynwb.validate(path=path) == []
    loaded = nap.load_file(path)
    np.testing.assert_array_equal(loaded["epochs"].values, TRIALS.values)
    back = read_units(path)
    np.testing.assert_array_equal(back.time_support.values, TRIALS.values)
    for unit in units.index:
        np.testing.assert_array_equal(back[unit].t, units[unit].t)
    for column in ("cell_type", "depth", "shank"):
        np.testing.assert_array_equal(back[column], units[column])
    np.testing.assert_allclose(back["rate"], units["rate"])
    assert loaded.nwb.session_description == "detection task"


def test_new_file_of_embedded_units_holds_the_vectors(units, tmp_path):
    units = embedded(units)
    path = write_units(units, tmp_path / "day1.nwb")
    assert pynwb.validate(path=path) == []
    back = read_embedding(path)
    np.testing.assert_array_equal(embeddings(back).values, embeddings(units).values)
    assert back.metadata_columns == units.metadata_columns
    assert "0a1b2c3d" in describe_nwb(path)["embeddings"]["nuclr"]["encoder"]


def test_units_without_metadata_and_with_a_date(tmp_path):
    day = datetime(2020, 5, 4, 12, tzinfo=UTC)
    units = nap.TsGroup({0: nap.Ts([0.5, 1.5])})
    path = write_units(units, tmp_path / "plain.nwb", start_time=day)
    assert nap.load_file(path).nwb.session_start_time == day
    assert list(read_units(path).index) == [0]


def test_a_column_that_nwb_keeps_for_itself_is_refused(tmp_path):
    units = nap.TsGroup({0: nap.Ts([0.5, 0.7])}, metadata={"electrodes": [3]})
    with pytest.raises(ValueError, match="electrodes.*rename"):
        write_units(units, tmp_path / "x.nwb")
    assert stem_names(tmp_path) == []


# --- reading --------------------------------------------------------------------------------


def test_epochs_by_name_and_as_intervals(tmp_path):
    path = write_units(make_units(support=TRIALS), tmp_path / "trials.nwb")
    first = read_units(path, epochs=nap.IntervalSet(0, 12))
    np.testing.assert_array_equal(first.time_support.values, TRIALS.values[:3])
    named = read_units(path, epochs="epochs")
    np.testing.assert_array_equal(named.time_support.values, TRIALS.values)
    with pytest.raises(ValueError, match=r"no intervals 'trials'; it has epochs"):
        read_units(path, epochs="trials")


def foreign_file(path, obs_intervals=None):
    """Write a file as other software does: row by row, with its own columns and tables."""
    nwbfile = pynwb.NWBFile(
        session_description="x",
        identifier="x",
        session_start_time=datetime(2020, 1, 1, tzinfo=UTC),
        notes="kept",
    )
    nwbfile.add_unit_column("quality", "sorting quality")
    nwbfile.add_unit_column("template", "2-D column")
    for i, unit in enumerate([7, 3, 20]):
        intervals = None if obs_intervals is None else obs_intervals[i]
        more = {} if intervals is None else {"obs_intervals": intervals}
        times = np.arange(20) * (i + 1) * 0.1
        nwbfile.add_unit(id=unit, spike_times=times, quality="good", template=np.full(4, i), **more)
    nwbfile.add_trial(start_time=0.0, stop_time=1.0)
    nwbfile.add_trial(start_time=1.5, stop_time=2.0)
    with pynwb.NWBHDF5IO(path, "w") as io:
        io.write(nwbfile)
    return path


def test_support_of_a_foreign_file(tmp_path):
    plain = read_units(foreign_file(tmp_path / "plain.nwb"))
    np.testing.assert_allclose(plain.time_support.values, [[0, 5.7]])
    trials = read_units(tmp_path / "plain.nwb", epochs="trials")
    np.testing.assert_allclose(trials.time_support.values, [[0, 1], [1.5, 2]])
    shared = [[[0.0, 2.5], [3.0, 6.0]]] * 3
    common = read_units(foreign_file(tmp_path / "common.nwb", shared))
    np.testing.assert_allclose(common.time_support.values, shared[0])
    different = [[[0.0, 6.0]], [[0.0, 5.0]], [[0.0, 6.0]]]
    own = read_units(foreign_file(tmp_path / "different.nwb", different))
    np.testing.assert_allclose(own.time_support.values, [[0, 5.7]])


def test_files_that_hold_no_units(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"missing\.nwb"):
        read_units(tmp_path / "missing.nwb")
    (tmp_path / "text.nwb").write_text("not HDF5")
    with pytest.raises(ValueError, match=r"text\.nwb is no NWB file"):
        read_units(tmp_path / "text.nwb")
    empty = pynwb.NWBFile("x", "x", datetime(2020, 1, 1, tzinfo=UTC))
    with pynwb.NWBHDF5IO(tmp_path / "empty.nwb", "w") as io:
        io.write(empty)
    for function in (read_units, read_embedding, describe_nwb):
        with pytest.raises(ValueError, match=r"empty\.nwb has no units table.*write_units"):
            function(tmp_path / "empty.nwb")


def test_reading_an_embedding_that_is_not_there(source):
    with pytest.raises(ValueError, match="no column 'nuclr_embedding'.*write_nwb"):
        read_embedding(source)
    assert describe_nwb(source)["embeddings"] == {}


# --- writing embeddings -----------------------------------------------------------------------


def test_embedding_comes_back_bit_for_bit(units, source):
    units = embedded(units)
    path = write_nwb(units, source, settings={"gaps": "join"})
    assert path.name == "day1_nuclr.nwb"
    assert pynwb.validate(path=path) == []
    back = read_embedding(path)
    assert back.metadata_columns == units.metadata_columns
    vectors = embeddings(back).values
    assert vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors, embeddings(units).values)
    for column in units.metadata_columns:
        np.testing.assert_array_equal(back[column], units[column])


def test_pynapple_shows_the_scalar_columns(units, source):
    units = embedded(units)
    loaded = nap.load_file(write_nwb(units, source))["units"]
    for column in (
        "nuclr_stability",
        "nuclr_n_windows",
        "nuclr_encoder",
        "predicted_cell_type",
        "predicted_cell_type_confidence",
        "cell_type",
    ):
        np.testing.assert_array_equal(loaded[column], units[column])


def test_every_column_is_described_and_provenance_noted(units, source):
    path = write_nwb(embedded(units), source, settings={"gaps": "join"})
    nwbfile = nap.load_file(path).nwb
    for column in nwbfile.units.columns:
        assert column.description
    notes = nwbfile.processing["nuclr"]["nuclr_provenance"].to_dataframe()
    notes = dict(zip(notes["setting"], notes["value"], strict=True))
    assert notes["encoder"] == "tiny@0a1b2c3d"
    assert notes["gaps"] == "join"
    assert notes["software"].startswith("pynapple-nuclr ")
    assert describe_nwb(path)["embeddings"]["nuclr"] == {"dimensions": str(DIM), **notes}
    assert describe_nwb(path)["labels"] == [
        "predicted_cell_type",
        "predicted_cell_type_confidence",
    ]


def test_rows_are_matched_by_id_not_position(tmp_path):
    source = foreign_file(tmp_path / "foreign.nwb")  # ids 7, 3, 20 in this order
    units = embedded(read_units(source))
    path = write_nwb(units, source)
    assert pynwb.validate(path=path) == []
    back = embeddings(read_embedding(path))
    np.testing.assert_array_equal(back.values, embeddings(units).values)
    table = nap.load_file(path).nwb.units.to_dataframe()
    for unit in (3, 7, 20):
        expected = embeddings(units).sel(unit=unit).values
        np.testing.assert_array_equal(table["nuclr_embedding"][unit], expected)
        assert table["predicted_cell_type"][unit] == units["predicted_cell_type"][unit]
    assert list(table["quality"]) == ["good"] * 3
    np.testing.assert_array_equal(table["template"][20], [2, 2, 2, 2])
    assert nap.load_file(path).nwb.notes == "kept"


def test_units_left_out_are_marked_as_not_embedded(units, source):
    some = embedded(units)[[2, 5, 11]]
    path = write_nwb(some, source)
    assert pynwb.validate(path=path) == []
    table = nap.load_file(path)["units"]
    assert np.isnan(table["nuclr_stability"][9])
    assert np.isnan(table["predicted_cell_type_confidence"][9])
    assert (table["nuclr_n_windows"][9], table["nuclr_encoder"][9]) == (0, "")
    assert table["predicted_cell_type"][9] == ""
    assert np.issubdtype(table["nuclr_n_windows"].dtype, np.integer)
    back = read_embedding(path)
    assert np.isnan([back[f"nuclr_{i}"][9] for i in range(DIM)]).all()
    assert embeddings(back).shape == (4, DIM)
    np.testing.assert_array_equal(back["nuclr_3"][[2, 5, 11]], some["nuclr_3"])


def test_summary_alone_can_be_written(units, source):
    summary = {"nuclr_stability": [0.9, np.nan, 0.8, 0.7]}
    path = write_nwb(lay_out(units, summary=summary), source)
    assert nap.load_file(path)["units"]["nuclr_stability"][11] == 0.7


def test_labels_that_are_numbers_or_bools_survive(units, source):
    predicted = {"predicted_layer": [1, 2, 3, 4], "predicted_fast": [True, False, True, True]}
    path = write_nwb(lay_out(units, predicted=predicted), source)
    loaded = nap.load_file(path)["units"]
    assert list(loaded["predicted_layer"]) == [1, 2, 3, 4]
    assert list(loaded["predicted_fast"]) == [1, 0, 1, 1]


def test_rewriting_replaces_every_earlier_column(units, source):
    path = write_nwb(embedded(units), source)
    newer = embedded(units, seed=1, labels=False, encoder="new@ffffffff")
    assert write_nwb(newer, path, path, overwrite=True) == path
    assert pynwb.validate(path=path) == []
    back = read_embedding(path)
    np.testing.assert_array_equal(embeddings(back).values, embeddings(newer).values)
    assert set(back["nuclr_encoder"]) == {"new@ffffffff"}
    assert "predicted_cell_type" not in back.metadata_columns  # labels of vectors now gone
    np.testing.assert_array_equal(back["cell_type"], units["cell_type"])
    assert describe_nwb(path)["embeddings"]["nuclr"]["encoder"] == "new@ffffffff"


def test_two_prefixes_live_side_by_side(units, source):
    path = write_nwb(embedded(units), source)
    other = embedded(units, seed=1, prefix="late")
    write_nwb(other, path, path, overwrite=True, prefix="late")
    assert pynwb.validate(path=path) == []
    np.testing.assert_array_equal(
        embeddings(read_embedding(path, prefix="late"), "late").values,
        embeddings(other, "late").values,
    )
    np.testing.assert_array_equal(
        embeddings(read_embedding(path)).values, embeddings(embedded(units)).values
    )
    assert set(describe_nwb(path)["embeddings"]) == {"nuclr", "late"}


def test_source_is_untouched_and_nothing_else_remains(units, source, tmp_path):
    before = source.read_bytes()
    write_nwb(embedded(units), source, tmp_path / "out.nwb")
    assert source.read_bytes() == before
    assert stem_names(tmp_path) == ["day1.nwb", "out.nwb"]


def test_existing_files_need_overwrite(units, source):
    units = embedded(units)
    before = source.read_bytes()
    with pytest.raises(FileExistsError, match=r"day1\.nwb exists.*overwrite=True"):
        write_nwb(units, source, source)
    with pytest.raises(FileExistsError, match="overwrite=True"):
        write_units(units, source)
    assert source.read_bytes() == before
    write_nwb(units, source, source, overwrite=True)
    assert "nuclr" in describe_nwb(source)["embeddings"]


def test_a_failure_keeps_the_old_file_and_leaves_no_other(units, source, tmp_path, monkeypatch):
    path = write_nwb(embedded(units), source)
    before = path.read_bytes()

    def fail(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr(pynwb.NWBHDF5IO, "write", fail)
    with pytest.raises(OSError, match="disk full"):
        write_nwb(embedded(units, seed=1), source, path, overwrite=True)
    with pytest.raises(OSError, match="disk full"):
        write_units(units, path, overwrite=True)
    assert path.read_bytes() == before
    assert stem_names(tmp_path) == ["day1.nwb", "day1_nuclr.nwb"]


def test_wrong_units_are_refused(units, source, tmp_path):
    good = embedded(units)
    with pytest.raises(ValueError, match="embed them first"):
        write_nwb(units, source)
    strangers = embedded(make_units(ids=(2, 5, 9, 99)))
    with pytest.raises(ValueError, match=r"units \[99\] are not in the units table"):
        write_nwb(strangers, source)
    other_session = embedded(make_units(seed=7))  # the same ids, other spikes
    with pytest.raises(ValueError, match="spikes looked up stand in"):
        write_nwb(other_session, source)
    frame = nap.TsdFrame(np.arange(3.0), np.ones((3, 2)))
    with pytest.raises(TypeError, match="TsdFrame; expected a TsGroup"):
        write_nwb(frame, source)
    with pytest.raises(ValueError, match=r"ends in \.nwb"):
        write_nwb(good, source, tmp_path / "out.h5")
    with pytest.raises(FileNotFoundError, match="no folder"):
        write_nwb(good, source, tmp_path / "nowhere" / "out.nwb")
    assert stem_names(tmp_path) == ["day1.nwb"]


def test_units_restricted_to_a_part_of_the_session_can_be_written(units, source):
    part = embedded(units.restrict(nap.IntervalSet(10, 20)))
    back = read_embedding(write_nwb(part, source))
    np.testing.assert_array_equal(back.time_support.values, units.time_support.values)


def test_a_trial_structured_session_survives(steinmetz_session, tmp_path):
    path = write_units(steinmetz_session, tmp_path / "steinmetz.nwb")
    assert pynwb.validate(path=path) == []
    back = read_units(path)
    support = steinmetz_session.time_support.values
    np.testing.assert_array_equal(back.time_support.values, support)
    np.testing.assert_array_equal(back["brain_area"], steinmetz_session["brain_area"])
    for unit in steinmetz_session.index:
        np.testing.assert_array_equal(back[unit].t, steinmetz_session[unit].t)
