"""Files and folders of other software: the refusal says what to do."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from pynapple_nuclr import read_recording


def hdf5(path, *names):
    with h5py.File(path, "w") as file:
        for name in names:
            file[name] = np.arange(3)
    return path


def old_nwb(folder):
    with h5py.File(folder / "old.nwb", "w") as file:
        file["nwb_version"] = "NWB-1.0.5"
    return folder / "old.nwb"


def matlab(folder):
    (folder / "x.spikes.cellinfo.mat").write_bytes(b"MATLAB 5.0 MAT-file")
    return folder / "x.spikes.cellinfo.mat"


def kilosort(folder, deep=""):
    inside = folder / "run" / deep
    inside.mkdir(parents=True)
    np.save(inside / "spike_times.npy", np.arange(5))
    np.save(inside / "spike_clusters.npy", np.zeros(5, int))
    return inside


def spikeinterface(folder, kind, name):
    core = pytest.importorskip("spikeinterface.core")
    recording, sorting = core.generate_ground_truth_recording([2.0], num_units=2, num_channels=4)
    if name.startswith("analyzer"):
        options = {"format": kind, "folder": folder / name, "sparse": False}
        core.create_sorting_analyzer(sorting, recording, **options)
    else:
        sorting.save(format=kind, folder=folder / name)
    return folder / name


FILES = {
    "NWB 1": (old_nwb, "it is in NWB 1, and NWB 2 is read.* TsGroup"),
    "CaImAn": (lambda one: hdf5(one / "x.hdf5", "estimates/C", "dims"), "CaImAn.*save_NWB"),
    "MATLAB 7.3": (lambda one: hdf5(one / "x.mat", "spikes/times"), "MATLAB.* TsGroup of spike"),
    "MATLAB, by another name": (lambda one: hdf5(one / "x.h5", "#refs#/a"), "MATLAB.* TsGroup"),
    "MATLAB 5": (matlab, "it is of MATLAB.* TsGroup of spike"),
    "a part of a folder": (lambda one: kilosort(one) / "spike_times.npy", "give the folder it is"),
    "a folder around": (lambda one: kilosort(one, "phy").parent, "run.phy is one of 'phy': give"),
    "two folders around": (lambda one: kilosort(one, "phy").parents[1], "run.phy is one of 'phy'"),
    "a sorting": (
        lambda one: spikeinterface(one, "numpy_folder", "sorting"),
        r"from_spikeinterface\(spikeinterface\.load",
    ),
    "a sorting in Zarr": (
        lambda one: spikeinterface(one, "zarr", "sorting.zarr"),
        r"from_spikeinterface\(spikeinterface\.load",
    ),
    "an analyzer": (
        lambda one: spikeinterface(one, "binary_folder", "analyzer"),
        r"from_spikeinterface\(spikeinterface\.load",
    ),
    "an analyzer in Zarr": (
        lambda one: spikeinterface(one, "zarr", "analyzer.zarr"),
        r"from_spikeinterface\(spikeinterface\.load",
    ),
}


@pytest.mark.filterwarnings("ignore")  # of SpikeInterface
@pytest.mark.parametrize("case", FILES)
def test_what_is_not_read_says_what_to_do(tmp_path, case):
    make, says = FILES[case]
    with pytest.raises(ValueError, match=says):
        read_recording(make(tmp_path))


def test_spike_times_in_seconds_are_no_samples(tmp_path):
    folder = kilosort(tmp_path)
    np.save(folder / "spike_times.npy", np.arange(5) / 3)
    (folder / "params.py").write_text("sample_rate = 30000.")
    with pytest.raises(ValueError, match=r"spike_times\.npy holds float64; .* seconds make a"):
        read_recording(folder)
