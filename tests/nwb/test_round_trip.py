"""NWB files: what is written comes back, and nothing else changes."""

from __future__ import annotations

import shutil
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pynapple as nap
import pynwb
import pytest
from nwb_recordings import DIM, TRIALS, embedded, foreign_file, make_units

from pynapple_nuclr.columns import add_columns, embeddings
from pynapple_nuclr.nwb.stored_embeddings import describe_nwb, read_embedding
from pynapple_nuclr.nwb.units import read_units
from pynapple_nuclr.nwb.writing import write_nwb, write_units


@pytest.fixture
def units():
    return make_units()


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return write_units(make_units(), tmp_path_factory.mktemp("written") / "day1.nwb")


@pytest.fixture
def source(written, tmp_path):
    return Path(shutil.copy(written, tmp_path))


def stem_names(folder):
    return sorted(path.name for path in folder.iterdir())


# --- a new file -----------------------------------------------------------------------------


def test_new_file_validates_and_gives_units_and_epochs_back(tmp_path):
    units = make_units(support=TRIALS)
    path = write_units(units, tmp_path / "trials.nwb", session="detection task")
    assert pynwb.validate(path=path, use_cached_namespaces=False) == []
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
    assert pynwb.validate(path=path, use_cached_namespaces=False) == []
    back = read_embedding(path)
    np.testing.assert_array_equal(embeddings(back).values, embeddings(units).values)
    assert back.metadata_columns == units.metadata_columns
    assert "0a1b2c3d" in describe_nwb(path)["embeddings"]["nuclr"]["encoder"]


def test_units_without_metadata_and_with_a_date(tmp_path):
    day = datetime(2020, 5, 4, 12, tzinfo=timezone.utc)
    units = nap.TsGroup({0: nap.Ts([0.5, 1.5])})
    path = write_units(units, tmp_path / "plain.nwb", start_time=day)
    assert nap.load_file(path).nwb.session_start_time == day
    assert list(read_units(path).index) == [0]


def test_a_column_that_nwb_keeps_for_itself_is_refused(tmp_path):
    units = nap.TsGroup({0: nap.Ts([0.5, 0.7])}, metadata={"electrodes": [3]})
    with pytest.raises(ValueError, match="electrodes.*rename"):
        write_units(units, tmp_path / "x.nwb")
    assert stem_names(tmp_path) == []


# --- writing embeddings -----------------------------------------------------------------------


def test_embedding_comes_back_bit_for_bit(units, source):
    units = embedded(units)
    path = write_nwb(units, source, settings={"gaps": "join"})
    assert path.name == "day1_nuclr.nwb"
    assert pynwb.validate(path=path, use_cached_namespaces=False) == []
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
    assert pynwb.validate(path=path, use_cached_namespaces=False) == []
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
    assert pynwb.validate(path=path, use_cached_namespaces=False) == []
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
    path = write_nwb(add_columns(units, summary=summary), source)
    assert nap.load_file(path)["units"]["nuclr_stability"][11] == 0.7


def test_labels_that_are_numbers_or_bools_survive(units, source):
    predicted = {"predicted_layer": [1, 2, 3, 4], "predicted_fast": [True, False, True, True]}
    path = write_nwb(add_columns(units, predicted=predicted), source)
    loaded = nap.load_file(path)["units"]
    assert list(loaded["predicted_layer"]) == [1, 2, 3, 4]
    assert list(loaded["predicted_fast"]) == [1, 0, 1, 1]


def test_rewriting_replaces_every_earlier_column(units, source):
    path = write_nwb(embedded(units), source)
    newer = embedded(units, seed=1, labels=False, encoder="new@ffffffff")
    with pytest.warns(UserWarning, match=r"removed from .*: predicted_cell_type, .*_confidence,"):
        assert write_nwb(newer, path, path, overwrite=True) == path
    assert pynwb.validate(path=path, use_cached_namespaces=False) == []
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
    assert pynwb.validate(path=path, use_cached_namespaces=False) == []
    np.testing.assert_array_equal(
        embeddings(read_embedding(path, prefix="late"), "late").values,
        embeddings(other, "late").values,
    )
    np.testing.assert_array_equal(
        embeddings(read_embedding(path)).values, embeddings(embedded(units)).values
    )
    assert set(describe_nwb(path)["embeddings"]) == {"nuclr", "late"}


def test_what_pynapple_loads_can_be_written_back_over_the_vectors(units, source):
    path = write_nwb(embedded(units), source, settings={"gaps": "join"})
    notes = describe_nwb(path)["embeddings"]["nuclr"]
    loaded = nap.load_file(path)["units"]  # all but the vectors
    some = add_columns(loaded[[2, 5]], predicted={"predicted_region": ["CA1", "CA3"]})
    write_nwb(some, path, path, overwrite=True)
    assert pynwb.validate(path=path, use_cached_namespaces=False) == []
    back = read_embedding(path)
    np.testing.assert_array_equal(embeddings(back).values, embeddings(embedded(units)).values)
    for name in ("nuclr_stability", "nuclr_n_windows", "nuclr_encoder"):
        np.testing.assert_array_equal(back[name], loaded[name])
    assert list(back["predicted_region"]) == ["CA1", "CA3", "", ""]
    assert describe_nwb(path)["embeddings"]["nuclr"] == notes


def test_new_labels_of_the_same_vectors_leave_how_these_were_made(units, source):
    path = write_nwb(embedded(units), source, settings={"gaps": "join", "probe": "old"})
    before = describe_nwb(path)["embeddings"]["nuclr"]
    back = read_embedding(path)
    labelled = add_columns(back, predicted={"predicted_layer": ["2", "4", "4", "6"]})
    write_nwb(labelled, path, path, overwrite=True, settings={"probe": "new"})
    assert describe_nwb(path)["embeddings"]["nuclr"] == before | {"probe": "new"}
    other = add_columns(
        back, vectors=np.ones((4, DIM)), summary={"nuclr_encoder": ["tiny@0a1b2c3d"] * 4}
    )
    write_nwb(other, path, path, overwrite=True)
    assert "gaps" not in describe_nwb(path)["embeddings"]["nuclr"]


def test_a_summary_by_another_encoder_ends_the_vectors(units, source):
    path = write_nwb(embedded(units), source)
    summary = {"nuclr_n_windows": [9] * 4, "nuclr_encoder": ["new@ffffffff"] * 4}
    with pytest.warns(UserWarning, match=r"removed .*nuclr_stability, nuclr_embedding"):
        write_nwb(add_columns(units, summary=summary), path, path, overwrite=True)
    assert pynwb.validate(path=path, use_cached_namespaces=False) == []
    columns = describe_nwb(path)["columns"]
    assert {"nuclr_embedding", "nuclr_stability", "predicted_cell_type"}.isdisjoint(columns)
    assert set(nap.load_file(path)["units"]["nuclr_encoder"]) == {"new@ffffffff"}


def test_labels_end_with_the_vectors_they_were_predicted_from_only(units, source):
    path = write_nwb(embedded(units), source)

    def write(**options):
        newer = embedded(units, seed=1, labels=False, **options)
        write_nwb(newer, path, path, overwrite=True, prefix=options.get("prefix", "nuclr"))
        return "predicted_cell_type" in describe_nwb(path)["labels"]

    assert write(encoder="tiny@0a1b2c3d")  # the same encoder
    assert write(prefix="late")
    assert write(prefix="late", encoder="new@ffffffff")
    with pytest.warns(UserWarning, match="removed"):
        assert not write(encoder="new@ffffffff")


def test_a_users_column_that_ends_in_a_number_is_written(tmp_path):
    units = make_units()
    units.set_info({"layer2": [1, 2, 3, 4], "7": [5, 6, 7, 8], "nuclr_5": [0, 0, 1, 1]})
    back = read_units(write_units(units, tmp_path / "x.nwb"))
    assert list(back["layer2"]) == [1, 2, 3, 4]
    assert list(back.get_info("7")) == [5, 6, 7, 8]
    assert list(back["nuclr_5"]) == [0, 0, 1, 1]


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


def test_a_folder_of_a_sorter_is_no_file_to_copy(units, tmp_path):
    with pytest.raises(ValueError, match=r"is a folder.*write_units\(units, 'new.nwb'\)"):
        write_nwb(embedded(units), tmp_path)


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
    with pytest.raises(ValueError, match=r"units 99 are not in the units table"):
        write_nwb(strangers, source)
    other_session = embedded(make_units(seed=7))  # the same ids, other spikes
    with pytest.raises(ValueError, match="spikes looked up stand in"):
        write_nwb(other_session, source)
    frame = nap.TsdFrame(np.arange(3.0), np.ones((3, 2)))
    with pytest.raises(TypeError, match="TsdFrame; expected a TsGroup"):
        write_units(frame, tmp_path / "frame.nwb")
    with pytest.raises(TypeError, match=r"Tsd; expected a TsGroup \(spikes\) or a TsdFrame"):
        write_nwb(frame[:, 0], source)
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
    assert pynwb.validate(path=path, use_cached_namespaces=False) == []
    back = read_units(path)
    support = steinmetz_session.time_support.values
    np.testing.assert_array_equal(back.time_support.values, support)
    np.testing.assert_array_equal(back["brain_area"], steinmetz_session["brain_area"])
    for unit in steinmetz_session.index:
        np.testing.assert_array_equal(back[unit].t, steinmetz_session[unit].t)
