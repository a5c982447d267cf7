"""Calcium files as laboratories write them: what was once read wrongly, in silence."""

from __future__ import annotations

import logging

import numpy as np
import pynwb
import pytest
from foreign_files import add_traces, quietly, roi_table, session, write

from pynapple_nuclr import read_recording, read_traces

HERE = [True, False, True]
ANY = np.random.default_rng(0).uniform(1, 2, (40, 3))


def imaged(path, columns=None, series=(("DfOverF", "traces"),), change=None, **options):
    """A file of three ROIs, and series (container, name) of which each has its own values."""
    nwbfile = session()
    table = roi_table(nwbfile, 3, columns=columns)
    for i, (container, name) in enumerate(series):
        add_traces(nwbfile, table, ANY + 10 * i, container=container, name=name, **options)
    if change is not None:
        change(nwbfile)
    return write(nwbfile, path)


ACCEPTANCE = {  # a table's columns, and which of its ROIs are cells
    "suite2p, pairs": ({"iscell": [[1.0, 0.9], [0.0, 0.7], [1.0, 0.6]]}, HERE),
    "suite2p, probability first": ({"iscell": [[0.9, 1.0], [0.3, 0.0], [0.6, 1.0]]}, HERE),
    "suite2p, one column": ({"iscell": [1, 0, 1]}, HERE),
    "spelt otherwise": ({"is_cell": [1.0, 0.0, 1.0]}, HERE),
    "probabilities": ({"iscell": [0.93, 0.12, 0.7]}, HERE),
    "NeuroConv": ({"Accepted": [1, 0, 1], "Rejected": [0, 1, 0]}, HERE),
    "rejected alone": ({"rejected": HERE}, [False, True, False]),
    "CaImAn": ({"accepted": HERE}, HERE),
    "keep": ({"keep": [1, 0, 1]}, HERE),
    "Allen": ({"valid_roi": HERE}, HERE),
    "invalid": ({"is_invalid": [False, True, False]}, HERE),
    "EXTRACT": ({"status": ["accepted", "rejected", "accepted"]}, HERE),
    "Inscopix": ({"Status": ["accepted", "rejected", "undecided"]}, HERE),
    "words": ({"curation": ["Cell", "not cell", "cell"]}, HERE),
    "truth values as text": ({"accepted": ["True", "False", "True"]}, HERE),
    "numbers as text": ({"keep": ["1", "0", "1"]}, HERE),
    "good": ({"is_good": [1, 0, 1]}, HERE),
    "exclude": ({"exclude": [False, True, False]}, HERE),
    "MATLAB": ({"iscell": [[1], [0], [1]]}, HERE),
    "MATLAB, words": ({"status": [["accepted"], ["rejected"], ["accepted"]]}, HERE),
    "by hand": ({"valid": [1, -1, 1]}, HERE),
    "nobody judged": ({"Accepted": [0, 0, 0], "Rejected": [0, 0, 0]}, [True] * 3),
    "disagreement": ({"keep": [True] * 3, "accepted": HERE}, HERE),
    "another meaning": ({"status": ["resting", "moving", "resting"]}, [True] * 3),
    "a label": ({"label": ["PV", "", "SST"]}, [True] * 3),
    "numbers of classes": ({"label": [0, 1, 1]}, [True] * 3),
    "initials of classes": ({"label": ["N", "T", "N"]}, [True] * 3),
    "a label that is a verdict": ({"roi_label": ["cell", "noise", "cell"]}, HERE),
    "a probability beside it": ({"iscell_probability": [0.1, 0.2, 0.9]}, [True] * 3),
    "codes": ({"valid": [3, 1, 2]}, [True] * 3),
    "nothing": ({"depth": [0.0, 0.0, 1.0]}, [True] * 3),
}


@pytest.mark.parametrize("case", ACCEPTANCE)
def test_rejected_rois_are_left_out_and_counted(case, tmp_path, caplog):
    columns, kept = ACCEPTANCE[case]
    path = imaged(tmp_path / "x.nwb", columns)
    with caplog.at_level(logging.WARNING, "pynapple_nuclr"):
        traces = read_traces(path)
    assert traces.columns.tolist() == np.flatnonzero(kept).tolist()
    rejected = 3 - sum(kept)
    assert (f"{rejected} of 3 ROIs left out, rejected by the column" in caplog.text) == (
        rejected > 0
    )
    assert read_recording(path, cells="all").shape == (40, 3)


@pytest.mark.parametrize(
    ("columns", "remark"),
    [
        (ACCEPTANCE["disagreement"][0], "column 'keep' disagrees for 1 ROIs; 'accepted' is used"),
        (ACCEPTANCE["probabilities"][0], "'iscell' holds probabilities (3): cells are above 0.5"),
        (ACCEPTANCE["Inscopix"][0], "1 ROIs have no verdict in 'Status' and are read"),
        (ACCEPTANCE["codes"][0], "column 'valid' has values that are no verdicts and is not used"),
        (ACCEPTANCE["nobody judged"][0], "all ROIs are undecided in Accepted, Rejected"),
    ],
)
def test_what_is_not_plain_is_said(columns, remark, tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "pynapple_nuclr"):
        read_traces(imaged(tmp_path / "x.nwb", columns))
    assert remark in caplog.text


PERHAPS = {  # of the second ROI it says that it is no cell
    "is_soma": HERE,
    "quality": ["good", "bad", "good"],
    "classification": ["cell", "not cell", "cell"],
    "cell_probability": [0.9, 0.1, 0.8],
    "mask_type": ["soma", "artifact", "soma"],  # of MICrONS
}


@pytest.mark.parametrize("name", PERHAPS)
def test_a_column_that_may_be_a_verdict_is_named(name, tmp_path, caplog):
    path = imaged(tmp_path / "x.nwb", {name: PERHAPS[name]})
    with caplog.at_level(logging.WARNING, "pynapple_nuclr"):
        assert read_traces(path).shape == (40, 3)
    assert caplog.text.count(f"column '{name}' is not applied, by which 1 of 3 ROIs may be") == 1
    assert f"cells='{name}' leaves them out" in caplog.text
    assert read_traces(path, cells=name).columns.tolist() == [0, 2]


@pytest.mark.parametrize(
    "columns",
    [
        {"quality": ["good", "good", "good"]},
        {"quality": [3.2, 1.1, 0.3]},
        {"classification": ["PV", "SST", "PV"], "tuned": ["true", "false", "true"]},
        {"keep": [1, 1, 1], "is_soma": HERE},
    ],
)
def test_a_column_that_rejects_nothing_is_not_named(columns, tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "pynapple_nuclr"):
        assert read_traces(imaged(tmp_path / "x.nwb", columns)).shape == (40, 3)
    assert "applied" not in caplog.text


def test_what_was_read_is_printed(tmp_path, capsys):
    read_traces(imaged(tmp_path / "x.nwb", {"keep": HERE}), verbose=True)
    said = capsys.readouterr().out
    for text in (
        "read 2 of table",
        "acceptance: keep",
        "1 ROIs rejected by 'keep'",
        "dff",
        "1 epoch",
    ):
        assert text in said


KINDS = {  # series (container, name), and the one to read as which signal
    "part of a word: event": ([("Fluorescence", "day_seventeen")], "day_seventeen", "fluorescence"),
    "part of a word: spk": ([("Fluorescence", "Dspkz")], "Dspkz", "fluorescence"),
    "part of a word: bg": ([("Fluorescence", "subgroup")], "subgroup", "fluorescence"),
    "neuropil of dff": ([("DfOverF", "dff_neuropil"), ("DfOverF", "dff_roi")], "dff_roi", "dff"),
    "Fneu": ([("Fluorescence", "Fneu"), ("Fluorescence", "raw")], "raw", "fluorescence"),
    "FNeuropil": ([("Fluorescence", "FNeuropil"), ("Fluorescence", "zF")], "zF", "fluorescence"),
    "a container": ([("Neuropil", "a"), ("Fluorescence", "b")], "b", "fluorescence"),
    "denoised before raw": (
        [("Fluorescence", "a_raw"), ("Fluorescence", "denoised")],
        "denoised",
        "fluorescence",
    ),
    "corrected before raw": (
        [("Fluorescence", "F"), ("Fluorescence", "neuropil_subtracted")],
        "neuropil_subtracted",
        "fluorescence",
    ),
    "dff before all": (
        [("Fluorescence", "F"), ("Fluorescence", "deltaF_over_F")],
        "deltaF_over_F",
        "dff",
    ),
    "raw before events": ([("Fluorescence", "spks"), ("Fluorescence", "zF")], "zF", "fluorescence"),
    "events": ([("Fluorescence", "InferredSpikes")], "InferredSpikes", "events"),
    "after capitals": ([("Fluorescence", "GCaMPEvents")], "GCaMPEvents", "events"),
    "FBaseline": ([("DfOverF", "FBaseline"), ("DfOverF", "zF")], "zF", "dff"),
    "Deconvolved": ([("Deconvolved", "a")], "a", "events"),
}


@pytest.mark.parametrize("case", KINDS)
def test_series_are_chosen_by_whole_words(case, tmp_path):
    series, right, signal = KINDS[case]
    traces = read_traces(imaged(tmp_path / "x.nwb", series=series))
    assert series[int(traces.values.min() // 10)][1] == right
    assert set(traces["signal"]) == {signal}


def raw_file(path, neuropil=True, name="F"):
    """Raw fluorescence whose transients are 50 % of a baseline of 100, and its neuropil."""
    times = np.arange(0, 240, 0.2)
    events = (times[:, None] % [20.0, 30.0, 40.0] < 1.0) * 50.0
    background = 40 + 20 * np.sin(times / 3)[:, None] * np.ones(3)
    nwbfile = session()
    table = roi_table(nwbfile, 3, columns={"iscell": [1, 1, 0]})
    add_traces(nwbfile, table, 100 + events + 0.7 * background, container="Fluorescence", name=name)
    if neuropil:
        add_traces(nwbfile, table, background, container="Neuropil", name="Neuropil")
    return write(nwbfile, path), events / 100


def test_dff_is_made_of_fluorescence_and_neuropil(tmp_path, caplog):
    path, right = raw_file(tmp_path / "x.nwb")
    with caplog.at_level(logging.WARNING, "pynapple_nuclr"):
        traces = read_traces(path, signal="dff")
    np.testing.assert_allclose(traces.values, right[:, :2], atol=1e-5)
    assert set(traces["signal"]) == {"dff"}
    assert "dF/F was made of the fluorescence, 0.7 x neuropil subtracted" in caplog.text
    part = read_traces(path, signal="dff", epochs=traces.time_support.__class__(60, 120))
    np.testing.assert_allclose(part.values, traces.restrict(part.time_support).values)


@pytest.mark.parametrize("name", ["F", "F_neuropil_corrected", "FCorrected"])
def test_dff_without_neuropil_subtracts_nothing(tmp_path, caplog, name):
    path, _ = raw_file(tmp_path / "x.nwb", neuropil=name != "F", name=name)
    with caplog.at_level(logging.WARNING, "pynapple_nuclr"):
        traces = read_traces(path, signal="dff")
    assert "nothing subtracted" in caplog.text and np.isfinite(traces.values).all()


def test_dff_of_the_file_comes_before_one_that_is_made(tmp_path):
    series = [("Fluorescence", "F"), ("Neuropil", "Neuropil"), ("DfOverF", "dff")]
    path = imaged(tmp_path / "x.nwb", series=series)
    np.testing.assert_allclose(read_traces(path, signal="dff").values, ANY + 20)
    np.testing.assert_allclose(read_traces(path, signal="fluorescence").values, ANY)
    with pytest.raises(ValueError, match=r"no series of the kind signal='events'; it has"):
        read_traces(path, signal="events")
    with pytest.raises(ValueError, match=r"signal is 'spikes'; expected one of 'dff'"):
        read_traces(path, signal="spikes")


def test_a_baseline_that_is_not_positive_has_no_dff(tmp_path):
    nwbfile = session()
    add_traces(
        nwbfile, roi_table(nwbfile, 3), ANY - [0, 1.5, 0], container="Fluorescence", name="F"
    )
    path = write(nwbfile, tmp_path / "x.nwb")
    with pytest.warns(UserWarning, match=r"baseline that is not positive|NaN throughout") as caught:
        assert read_traces(path, signal="dff").columns.tolist() == [0, 2]
    assert len(caught) == 2
    path = imaged(tmp_path / "y.nwb", series=[("Fluorescence", "F")], offset=-1.5)
    with pytest.raises(ValueError, match=r"y\.nwb.*3 of 3 ROIs .* give signal='fluorescence'"):
        read_traces(path, signal="dff")


def test_rois_of_which_none_has_a_value_are_refused(tmp_path):
    nwbfile = session()
    add_traces(nwbfile, roi_table(nwbfile, 3), ANY * np.nan)
    with pytest.raises(ValueError, match=r"x\.nwb: .*all of the 3 ROIs to read are NaN through"):
        read_traces(write(nwbfile, tmp_path / "x.nwb"))


OF_THREE = [("Fluorescence", "F"), ("Fluorescence", "Deconvolved"), ("DfOverF", "own")]


@pytest.mark.parametrize("n_series", [2, 3])  # without ΔF/F in the file, and with it
def test_dff_is_made_of_the_series_named(n_series, tmp_path):
    path = imaged(tmp_path / "x.nwb", series=OF_THREE[:n_series])
    traces = read_traces(path, name="F", signal="dff")
    assert set(traces["signal"]) == {"dff"}
    assert np.median(traces.values) > 0.2  # of values from 1 to 2; of the events, 11 to 12, 0.04
    with pytest.raises(ValueError, match=r"Deconvolved holds events, not signal='dff'; leave sig"):
        read_traces(path, name="Deconvolved", signal="dff")


@pytest.mark.parametrize(("name", "kind"), [("F", "fluorescence"), ("own", "dff")])
def test_a_series_named_must_be_of_the_signal(name, kind, tmp_path):
    path = imaged(tmp_path / "x.nwb", series=OF_THREE)
    first = 10 * [one for _, one in OF_THREE].index(name)
    for signal in (None, kind):
        np.testing.assert_allclose(read_traces(path, name=name, signal=signal), ANY + first)
    with pytest.raises(ValueError, match=rf"{name} holds {kind}, not signal='events'.*another se"):
        read_traces(path, name=name, signal="events")


OF_TWO = {  # for each of two channels or planes: container and name of F, and of its neuropil
    "NeuroConv, second channel": [
        ("Fluorescence", "RoiResponseSeries", "Fluorescence", "Neuropil"),
        ("Fluorescence", "RoiResponseSeriesChan2", "Fluorescence", "NeuropilChan2"),
    ],
    "channels": [
        ("Fluorescence", "RoiResponseSeriesChan1Plane0", "Fluorescence", "NeuropilChan1Plane0"),
        ("Fluorescence", "RoiResponseSeriesChan2Plane0", "Fluorescence", "NeuropilChan2Plane0"),
    ],
    "containers": [
        ("Fluorescence", "red", "NeuropilTraces", "red"),
        ("Fluorescence", "a_green", "NeuropilTraces", "a_green"),
    ],
    "numbers": [("Fluorescence", f"F{i}", "Fluorescence", f"Fneu_{i}") for i in (1, 2)],
}


def of_two_channels(path, names):
    """ΔF/F is 0 throughout, if the right neuropil is taken away from 100."""
    nwbfile = session()
    table = roi_table(nwbfile, 3)
    for i, (container, name, other, neuropil) in enumerate(names):
        background = 40 + 10 * np.sin((1 + i) * np.arange(0, 100, 0.2))[:, None] * np.ones(3)
        raw = 100 + 0.7 * background
        add_traces(nwbfile, table, raw, container=container, name=name)
        add_traces(nwbfile, table, background, container=other, name=neuropil)
    return write(nwbfile, path)


@pytest.mark.parametrize("case", OF_TWO)
def test_neuropil_is_that_of_the_same_channel(case, tmp_path, caplog):
    path = of_two_channels(tmp_path / "x.nwb", OF_TWO[case])
    for container, name, other, neuropil in OF_TWO[case]:
        caplog.clear()
        with caplog.at_level(logging.WARNING, "pynapple_nuclr"):
            traces = read_traces(path, name=f"{container}/{name}", signal="dff")
        np.testing.assert_allclose(traces.values, 0, atol=1e-5)
        assert f"0.7 x neuropil subtracted (ophys/{other}/{neuropil})" in caplog.text


def test_neuropil_that_may_be_of_either_channel_is_refused(tmp_path):
    names = [("Fluorescence", f"F_{i}", "Fluorescence", f"Fneu_{7 * i}") for i in (1, 2)]
    path = of_two_channels(tmp_path / "x.nwb", names)
    with pytest.raises(ValueError, match=r"x\.nwb: dF/F of ophys/.*/F_1 needs.*Fneu_14, .*Fneu_7;"):
        read_traces(path, name="F_1", signal="dff")


WITHOUT_VALUE = {  # frames of 6000 at 10 Hz
    "a pause of 2 s": np.arange(700, 720),
    "a pause of 30 s": np.arange(700, 1000),
    "every 100th": np.arange(0, 6000, 100),
    "the first": np.arange(5),
}


@pytest.mark.parametrize("case", WITHOUT_VALUE)
def test_frames_without_a_value_change_no_other_dff(case, tmp_path):
    """Once one NaN changed the baseline of a minute around it."""
    seconds = np.arange(6000) / 10
    noise = np.random.default_rng(0).normal(0, 5, (6000, 3))
    raw = 200 + 40 * np.sin(2 * np.pi * seconds / 400)[:, None] + noise
    missing = raw.copy()
    missing[WITHOUT_VALUE[case], :2] = np.nan
    frames = []
    for name, data in (("whole", raw), ("missing", missing)):
        nwbfile = session()
        table = roi_table(nwbfile, 3)
        add_traces(nwbfile, table, data, container="Fluorescence", name="F")
        frames.append(read_traces(write(nwbfile, tmp_path / f"{name}.nwb"), signal="dff").values)
    whole, read = frames
    assert np.array_equal(np.isnan(read), np.isnan(missing))
    there = ~np.isnan(read)
    assert np.abs(read - whole)[there].max() < 0.02  # the noise is 0.025
    np.testing.assert_array_equal(read[:, 2], whole[:, 2])


INVALID = {  # intervals of a recording of 0 to 3.9 s → what is left
    "one": ([(1.0, 2.0)], [[0, 1], [2, 3.9]]),
    "two, overlapping": ([(1.0, 2.0), (1.5, 3.0)], [[0, 1], [3, 3.9]]),
    "at the start": ([(0.0, 1.0)], [[1, 3.9]]),
    "without an end": ([(2.0, np.nan)], [[0, 2]]),
}


@pytest.mark.parametrize("case", INVALID)
def test_invalid_times_are_no_time_of_traces(case, tmp_path, capsys):
    rows, expected = INVALID[case]

    def change(nwbfile):
        for start, stop in rows:
            nwbfile.add_invalid_time_interval(start_time=start, stop_time=stop)

    path = imaged(tmp_path / "x.nwb", change=change)
    for read in (read_traces, read_recording):
        traces, said = quietly(read, path, verbose=True)
        np.testing.assert_allclose(traces.time_support.values, expected)
        assert sum("invalid_times" in one for one in said) == 1
        assert "s: invalid_times of the file" in capsys.readouterr().out
        frames = np.round(traces.t * 10).astype(int)
        np.testing.assert_allclose(traces.values, ANY[frames])
        inside = [any(a <= t <= b for a, b in expected) for t in np.arange(40) / 10]
        assert frames.tolist() == np.flatnonzero(inside).tolist()


def test_traces_of_invalid_time_only_are_refused(tmp_path):
    def change(nwbfile):
        nwbfile.add_invalid_time_interval(start_time=-1.0, stop_time=99.0)

    with pytest.raises(ValueError, match=r"x\.nwb: its invalid_times cover all of the 3\.9 s"):
        read_traces(imaged(tmp_path / "x.nwb", change=change))


@pytest.mark.parametrize(("subject", "there"), [("m1", True), ("unknown", False), (None, False)])
def test_the_subject_is_a_column_of_traces(tmp_path, capsys, subject, there):
    def change(nwbfile):
        nwbfile.subject = pynwb.file.Subject(subject_id=subject, species="Mus musculus")

    path = imaged(tmp_path / "x.nwb", change=change)
    for read in (read_traces, read_recording):
        traces = read(path, verbose=True)
        assert ("subject" in traces.metadata_columns) is there
        assert not there or set(traces["subject"]) == {"m1"}
        assert f"subject: {'m1' if there else 'none'}" in capsys.readouterr().out


def test_a_subject_of_each_roi_stays(tmp_path):
    def change(nwbfile):
        nwbfile.subject = pynwb.file.Subject(subject_id="m1", species="Mus musculus")

    path = imaged(tmp_path / "x.nwb", {"subject": ["a", "b", "c"]}, change=change)
    assert read_traces(path)["subject"].tolist() == ["a", "b", "c"]
