"""What to do with files and folders of other software, which are not read."""

from __future__ import annotations

from pathlib import Path

import h5py

_IN_PYTHON = (
    "make a pynapple TsGroup of spike times in seconds, or a TsdFrame of calcium traces, of it in "
    "Python, and embed that"
)
_ADVICE = {
    "NWB 1": "it is in NWB 1, and NWB 2 is read: look for a newer version of it, or " + _IN_PYTHON,
    "CaImAn": "it is of CaImAn: write NWB there, estimates.save_NWB(…), or " + _IN_PYTHON,
    "MATLAB": "it is of MATLAB: " + _IN_PYTHON,
    "SpikeInterface": (
        "it is of SpikeInterface: nap_nuclr.from_spikeinterface(spikeinterface.load(path))"
    ),
    "a part": "give the folder it is in, if that is one of phy, Kilosort or Suite2p",
    "pynapple": "what pynapple saved is embedded in Python: embed(nap.load_file(path))",
}
_SUFFIXES = {
    **dict.fromkeys((".npy", ".py", ".tsv"), "a part"),
    ".mat": "MATLAB",
    ".npz": "pynapple",
}
# What SpikeInterface keeps in each folder of a sorting or an analyzer; the last of old versions.
_OF_SPIKEINTERFACE = ("spikeinterface_info.json", "si_folder.json", "recording_info", "cached.json")


def advice(path: Path) -> str | None:
    """Return what to do with a file or folder that is not read; None if it is not known."""
    if path.is_dir():
        is_sorting = all((path / name).exists() for name in ("spikes", "unit_ids", ".zgroup"))
        known = is_sorting or any((path / name).exists() for name in _OF_SPIKEINTERFACE)
        return _ADVICE["SpikeInterface"] if known else None
    software = _SUFFIXES.get(path.suffix.lower())
    if h5py.is_hdf5(path):
        with h5py.File(path) as file:
            names = {"nwb_version": "NWB 1", "estimates": "CaImAn", "#refs#": "MATLAB"}
            software = next((names[name] for name in names if name in file), software)
    return None if software is None else _ADVICE[software]
