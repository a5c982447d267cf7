"""Calcium traces of NWB files: which series and ROIs are read, when, and in which unit."""

from __future__ import annotations

import logging
import warnings

import h5py
import numpy as np
import pynapple as nap
import pytest
import torch
from foreign_files import add_traces, calcium, quietly, roi_table, session, write

from pynapple_nuclr import Encoder, EncoderConfig, embed
from pynapple_nuclr.nwb.stored_embeddings import read_embedding
from pynapple_nuclr.nwb.traces import read_nwb_traces as read_traces
from pynapple_nuclr.nwb.units import read_recording
from pynapple_nuclr.nwb.writing import write_nwb


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    config = EncoderConfig(modality="calcium", window_frames=16, dim=32, heads=2, head_dim=16)
    return Encoder(config, name="tiny").eval()


def calcium_file(path, data, *, columns=None, ids=None, **series):
    nwbfile = session()
    rows = series.pop("rows", None)
    n_rois = data.shape[1] if rows is None else max(rows) + 1
    table = roi_table(nwbfile, n_rois, columns=columns, ids=ids)
    add_traces(nwbfile, table, data, rows=rows, **series)
    return write(nwbfile, path)


def test_the_roi_table_becomes_metadata(tmp_path):
    columns = {
        "depth": [10.0, 20.0, 30.0, 40.0],
        "label": ["PV", "", "SST", "PV"],
        "red": [True, False, True, False],
        "signal": ["a", "b", "c", "d"],  # a name that read_traces needs
        "7": [0, 1, 2, 3],
        "centroid": [[1.0, 2.0]] * 4,  # two numbers a ROI
    }
    data = calcium(50, 3)
    path = calcium_file(
        tmp_path / "x.nwb", data, columns=columns, ids=[5, 7, 9, 11], rows=[3, 0, 1]
    )
    traces = read_traces(path)
    np.testing.assert_array_equal(traces.values, data)
    assert traces.columns.tolist() == [11, 5, 7]
    assert traces["depth"].tolist() == [40, 10, 20]
    assert traces["label"].tolist() == ["PV", "PV", ""]
    assert traces["red"].tolist() == [False, True, False]
    assert traces["signal_"].tolist() == ["d", "a", "b"]
    assert traces["roi_table"].tolist() == ["PlaneSegmentation"] * 3
    assert set(traces["signal"]) == {"dff"}
    assert {"pixel_mask", "centroid"} & set(traces.metadata_columns) == set()


@pytest.mark.parametrize(
    "iscell", [[True, False, True], [1, 0, 1], [[1.0, 0.9], [0.0, 0.7], [1.0, 0.6]]]
)
def test_only_cells_are_read(tmp_path, iscell):
    data = calcium(50, 3)
    path = calcium_file(tmp_path / "x.nwb", data, columns={"iscell": iscell})
    cells = read_traces(path)
    assert cells.columns.tolist() == [0, 2]
    np.testing.assert_array_equal(cells.values, data[:, [0, 2]])
    if np.ndim(iscell) == 2:
        np.testing.assert_array_equal(cells["iscell_probability"], [0.9, 0.6])
    everything = read_traces(path, cells="all")
    assert everything.shape == (50, 3)
    assert everything["iscell"].astype(float).tolist() == [1, 0, 1]


def test_a_recording_is_read_without_what_is_no_cell(tmp_path, caplog):
    path = calcium_file(tmp_path / "x.nwb", calcium(50, 3), columns={"iscell": [1, 0, 1]})
    with caplog.at_level(logging.WARNING, "pynapple_nuclr"):
        assert read_recording(path).columns.tolist() == [0, 2]
    assert "1 of 3 ROIs left out, rejected by the column" in caplog.text
    assert read_traces(path, cells="all").shape == (50, 3)


def test_cells_by_a_column_of_another_name(tmp_path):
    columns = {"Accepted": [0, 1, 1], "label": ["x", "y", "z"], "none": [0, 0, 0]}
    path = calcium_file(tmp_path / "x.nwb", calcium(50, 3), columns=columns)
    assert read_traces(path, cells="all").shape == (50, 3)
    assert read_traces(path, cells="Accepted").columns.tolist() == [1, 2]
    with pytest.raises(ValueError, match=r"cells='label'.*it has Accepted, none; cells='all'"):
        read_traces(path, cells="label")
    with pytest.raises(ValueError, match=r"of 3 ROIs none is a cell by 'none'"):
        read_traces(path, cells="none")


@pytest.fixture(scope="module")
def of_all_kinds(tmp_path_factory):
    """Suite2p's three series, ΔF/F of the same ROIs, and a second plane."""
    nwbfile = session()
    table, plane2 = roi_table(nwbfile, 2), roi_table(nwbfile, 3, name="plane2")
    for i, (container, name) in enumerate(
        [
            ("Fluorescence", "Fluorescence"),
            ("Neuropil", "Neuropil"),
            ("Deconvolved", "Deconvolved"),
            ("Corrected", "neuropil-subtracted"),
            ("DfOverF", "plane1"),
        ]
    ):
        add_traces(nwbfile, table, calcium(40, 2) + i, container=container, name=name)
    add_traces(nwbfile, plane2, calcium(40, 3), name="plane2")
    return write(nwbfile, tmp_path_factory.mktemp("ophys") / "all.nwb")


@pytest.mark.parametrize(
    ("name", "kind", "first"),
    [
        ("Fluorescence", "fluorescence", 0),
        ("Neuropil", "background", 1),
        ("ophys/Deconvolved", "events", 2),
        ("neuropil-subtracted", "fluorescence", 3),
        ("DfOverF/plane1", "dff", 4),
        (None, "dff", 4),
    ],
)
def test_kinds_are_distinguished(of_all_kinds, name, kind, first):
    traces = read_traces(of_all_kinds, name=name)
    assert set(traces["signal"]) == {kind}
    np.testing.assert_allclose(traces.values, calcium(40, 2) + first)


def test_which_of_several_series(of_all_kinds, caplog):
    with caplog.at_level(logging.WARNING, "pynapple_nuclr"):
        assert read_traces(of_all_kinds)["roi_table"].tolist() == ["PlaneSegmentation"] * 2
    assert "reading ophys/DfOverF/plane1 of" in caplog.text and "DfOverF/plane2" in caplog.text
    assert read_traces(of_all_kinds, name="plane2")["roi_table"].tolist() == ["plane2"] * 3
    with pytest.raises(ValueError, match=r"more than one series of the name 'DfOverF'.*plane2 \("):
        read_traces(of_all_kinds, name="DfOverF")
    with pytest.raises(ValueError, match=r"no series of the name 'spikes'; it has .*\(events\)"):
        read_traces(of_all_kinds, name="spikes")


def test_series_of_other_planes_are_named_as_left_out(of_all_kinds, capsys):
    for name, other in {"plane1": "ophys/DfOverF/plane2", "plane2": "ophys/DfOverF/plane1"}.items():
        read_traces(of_all_kinds, name=name, verbose=True)
        assert f"left out: {other}: of other ROIs; name=" in capsys.readouterr().out
    read_traces(of_all_kinds, name="Deconvolved", verbose=True)
    assert "left out: nothing" in capsys.readouterr().out


NO_CELLS = {
    # container, table of ROIs, name of the series, indicator → are they other than cells
    "fibers": ("DfOverF", "fibers", "RoiResponseSeries", "GCaMP6f", True),
    "photometry": ("DfOverF", "rois", "FiberPhotometryDff", "GCaMP6f", True),
    "components of SVD": ("TemporalComponents", "rois", "SVT", "GCaMP6f", True),
    "areas": ("DfOverF", "WidefieldAreas", "RoiResponseSeries", "GCaMP6f", True),
    "the face": ("FaceMotionEnergy", "rois", "RoiResponseSeries", "none", True),
    "voltage": ("DfOverF", "rois", "RoiResponseSeries", "Voltron2", True),
    "paQuasAr3-s": ("DfOverF", "rois", "RoiResponseSeries", "paQuasAr3-s", True),
    "worm": ("SignalCalciumImResponseSeries", "NeuroPALSegmentation", "raw", "GCaMP6s", False),
    "one photon": ("Fluorescence", "PlaneSegmentation", "RoiResponseSeries", "jGCaMP8m", False),
}


@pytest.mark.parametrize("case", NO_CELLS)
def test_traces_of_no_cells_are_warned_of(tmp_path, case):
    container, table, name, indicator, is_said = NO_CELLS[case]
    nwbfile = session()
    rois = roi_table(nwbfile, 3, name=table, indicator=indicator)
    add_traces(nwbfile, rois, calcium(40, 3), container=container, name=name)
    _, said = quietly(read_traces, write(nwbfile, tmp_path / "x.nwb"))
    assert len(said) == sum("of single cells, but" in one for one in said) == is_said


def test_traces_of_cells_come_before_those_of_fibers(tmp_path):
    nwbfile = session()
    for n_rois, name in ((2, "fibers"), (3, "somata")):
        add_traces(nwbfile, roi_table(nwbfile, n_rois, name=name), calcium(40, n_rois), name=name)
    traces, said = quietly(read_traces, write(nwbfile, tmp_path / "x.nwb"))
    assert traces.shape == (40, 3) and not said


def test_neuropil_alone_is_read_only_by_name(tmp_path):
    path = calcium_file(tmp_path / "x.nwb", calcium(50, 3), container="Neuropil")
    with pytest.raises(ValueError, match=r"has only ophys/Neuropil/.*give its name="):
        read_traces(path)
    assert read_traces(path, name="Neuropil").shape == (50, 3)


@pytest.mark.parametrize("name", ["dF_F0", "DeltaF-F0", "deltaFoverF0", "df over f0", "x_dF_F0"])
def test_the_f0_of_a_ratio_is_no_baseline(tmp_path, name):
    nwbfile = session()
    table = roi_table(nwbfile, 2)
    for i, one in enumerate(["F0", "F", name]):
        add_traces(nwbfile, table, calcium(40, 2) + i, container="Fluorescence", name=one)
    traces = read_traces(write(nwbfile, tmp_path / "x.nwb"))
    np.testing.assert_allclose(traces.values, calcium(40, 2) + 2)
    assert set(traces["signal"]) == {"dff"}


def test_conversion_and_starting_time(tmp_path):
    raw = np.arange(60, dtype=np.int16).reshape(20, 3)
    options = {"conversion": 0.5, "offset": -2.0, "starting_time": 100.0, "rate": 4.0}
    traces = read_traces(calcium_file(tmp_path / "x.nwb", raw, **options))
    np.testing.assert_allclose(traces.values, raw / 2 - 2)
    np.testing.assert_allclose(traces.t, 100 + np.arange(20) / 4)


@pytest.mark.parametrize(
    ("columns", "right"),
    [
        (None, ["V1", "V1"]),
        ({"brain_area": ["CA1", "unknown"]}, ["CA1", "V1"]),
        ({"location": [1.0, 2.0]}, [1.0, 2.0]),
        ({"structure": ["soma", "axon"]}, ["V1", "V1"]),
    ],
)
def test_the_region_of_rois(tmp_path, columns, right):
    """Their own, else that of the imaging plane, which is V1 in these files."""
    path = calcium_file(tmp_path / "x.nwb", calcium(100, 2), columns=columns)
    assert read_traces(path)["location"].tolist() == right


@pytest.mark.parametrize("start", [0.0, 1.6e9])
def test_every_frame_is_read_on_any_clock(tmp_path, start):
    """Unix time has no more than microseconds left."""
    times = start + np.arange(100) / 10
    traces = read_traces(calcium_file(tmp_path / "x.nwb", calcium(100, 2), timestamps=times))
    assert traces.shape == (100, 2)
    np.testing.assert_allclose(traces.t, times, rtol=0, atol=1e-6)


def test_numbers_with_the_largest_byte_first(tmp_path):
    """As Java and old Macs write them; pyarrow and pandas take no such ids, torch no traces."""
    path = calcium_file(tmp_path / "x.nwb", calcium(100, 3), ids=[7, 5, 9])
    series = "processing/ophys/DfOverF/RoiResponseSeries"
    with h5py.File(path, "r+") as file:
        for name in ("processing/ophys/ImageSegmentation/PlaneSegmentation/id", f"{series}/data"):
            attributes, values = dict(file[name].attrs), file[name][:]
            del file[name]
            file[name] = values.astype(values.dtype.newbyteorder(">"))
            file[name].attrs.update(attributes)
    traces = read_traces(path)
    assert traces.values.dtype.isnative and traces.columns.dtype.isnative
    np.testing.assert_array_equal(traces.values, calcium(100, 3))
    traces["predicted_type"] = list("abc")
    again = read_traces(write_nwb(traces, path, tmp_path / "y.nwb"))
    assert again["predicted_type"].tolist() == list("abc")


def test_half_precision_is_converted_before_it_is_multiplied(tmp_path):
    raw = np.arange(60, dtype=np.float16).reshape(20, 3)
    traces = read_traces(calcium_file(tmp_path / "x.nwb", raw, conversion=1e4))
    np.testing.assert_allclose(traces.values, raw.astype(np.float64) * 1e4)


def test_pauses_are_gaps_and_dropped_frames_are_not(tmp_path):
    times = np.arange(100) / 10
    times[40:] += 0.2  # two frames dropped
    times[70:] += 60  # the microscope was stopped
    data = calcium(100, 2)
    path = calcium_file(tmp_path / "x.nwb", data, timestamps=times)
    traces = read_traces(path)
    np.testing.assert_allclose(traces.time_support.values, [[0, times[69]], [times[70], times[99]]])
    assert len(traces) == 100
    part = read_traces(path, epochs=nap.IntervalSet([1.0, 2.0], [1.35, 3.0]))
    kept = ((times >= 1) & (times <= 1.35)) | ((times >= 2) & (times <= 3))
    np.testing.assert_array_equal(part.values, data[kept])
    with pytest.raises(ValueError, match=r"no two frames in a row.*100 frames lie within 0 to"):
        read_traces(path, epochs=nap.IntervalSet(500, 600))


def test_epochs_by_name(tmp_path):
    nwbfile = session()
    add_traces(nwbfile, roi_table(nwbfile, 2), calcium(100, 2))
    nwbfile.add_trial(start_time=1.0, stop_time=2.0)
    nwbfile.add_trial(start_time=4.0, stop_time=5.0)
    path = write(nwbfile, tmp_path / "x.nwb")
    trials = read_traces(path, epochs="trials")
    np.testing.assert_array_equal(trials.time_support.values, [[1, 2], [4, 5]])
    np.testing.assert_array_equal(trials.values, calcium(100, 2)[np.r_[10:21, 40:51]])
    with pytest.raises(ValueError, match="no intervals 'epochs'; it has trials"):
        read_traces(path, epochs="epochs")


@pytest.mark.parametrize("rate", [0.0, -10.0, np.nan, np.inf])
@pytest.mark.filterwarnings("ignore:Timeseries has a rate", "ignore:Rate must not be")  # pynwb's
def test_a_frame_rate_is_positive(tmp_path, rate):
    path = calcium_file(tmp_path / "x.nwb", calcium(100, 2))
    with h5py.File(path, "r+") as file:
        series = file["processing/ophys/DfOverF/RoiResponseSeries"]
        series["starting_time"].attrs["rate"] = rate
    with pytest.raises(ValueError, match=rf"x\.nwb: .* has a rate of {rate} frames a second"):
        read_traces(path)


def test_times_that_are_not_in_order(tmp_path):
    times = np.arange(20) / 10
    times[5] = np.nan
    path = calcium_file(tmp_path / "x.nwb", calcium(20, 3), timestamps=times)
    with pytest.raises(ValueError, match=r"20 times for 20 frames, 1 of them NaN and 2 not after"):
        read_traces(path)


def test_data_that_do_not_fit(tmp_path):
    data = calcium(20, 3)
    with warnings.catch_warnings():  # pynwb's own, of the shape
        warnings.simplefilter("ignore")
        turned = calcium_file(tmp_path / "turned.nwb", data.T, rows=[0, 1, 2])
        np.testing.assert_array_equal(read_traces(turned).values, data)
        wrong = calcium_file(tmp_path / "wrong.nwb", data, rows=[0, 1])
        with pytest.raises(ValueError, match=r"shape \(20, 3\), but refers to 2 ROIs"):
            read_traces(wrong)


@pytest.mark.parametrize("rate", [1.7, 4.28, 20.0, 30.0])
def test_any_frame_rate_embeds(tmp_path, encoder, rate):
    path = calcium_file(tmp_path / "x.nwb", calcium(int(20 * rate), 4), rate=rate)
    traces = read_recording(path)
    embedded = embed(traces, encoder, progress=False)
    vectors = np.stack([embedded[f"nuclr_{i}"] for i in range(32)])
    assert np.isfinite(vectors).all()
    # 20 s at the encoder's 4.28 Hz are 85 frames, whatever the rate: 5 windows of 16.
    assert embedded["nuclr_n_windows"].tolist() == [5] * 4
    assert embedded["roi_table"].tolist() == ["PlaneSegmentation"] * 4


def test_missing_frames_are_refused_by_name(tmp_path, encoder):
    data = calcium(200, 3)
    data[7, 1] = np.nan
    traces = read_traces(calcium_file(tmp_path / "x.nwb", data, ids=[4, 8, 15]))
    with pytest.raises(ValueError, match=r"unit 8 is nan at frame 7"):
        embed(traces, encoder, progress=False)


def test_rois_without_any_value_are_left_out_and_named(tmp_path, encoder):
    data = calcium(200, 3)
    data[:, 1] = np.nan
    path = calcium_file(tmp_path / "x.nwb", data, ids=[4, 8, 15])
    with pytest.warns(UserWarning, match=r"1 of 3 ROIs are NaN throughout and left out, such as 8"):
        traces = read_traces(path)
    assert traces.columns.tolist() == [4, 15]
    written = write_nwb(embed(traces, encoder, progress=False), path, tmp_path / "out.nwb")
    with pytest.warns(UserWarning, match="NaN throughout"):
        again = read_embedding(written)
    assert again.columns.tolist() == [4, 15]
