"""Mean waveforms of the file on the page."""

import base64

import numpy as np
import pynwb
import pytest
from embedded_groups import embedded
from pynwb.testing.mock.file import mock_NWBFile
from report_pages import data_of, page_of

from pynapple_nuclr.nwb.waveforms import mean_waveforms


def file_of(units, path, waveforms):
    nwbfile = mock_NWBFile()
    for unit, waveform in zip(units.index, waveforms, strict=True):
        kind = {} if waveform is None else {"waveform_mean": waveform}
        nwbfile.add_unit(id=int(unit), spike_times=units[unit].t, **kind)
    with pynwb.NWBHDF5IO(path, "w") as io:
        io.write(nwbfile)
    return path


@pytest.mark.parametrize("n_channels", [None, 3])
def test_the_largest_channel_is_on_the_page_scaled_to_its_peak(n_channels, tmp_path):
    units = embedded(12)
    shapes = np.random.default_rng(0).normal(size=(12, 20))
    files = shapes
    if n_channels:
        files = np.stack([0.1 * shapes, shapes, 0 * shapes], axis=2)
    path = file_of(units, tmp_path / "session.nwb", files)
    np.testing.assert_allclose(mean_waveforms(units, path), shapes)
    np.testing.assert_allclose(mean_waveforms(units[[4, 1]], path), shapes[[0, 1]])
    data = data_of(page_of(units, tmp_path, source=path))
    drawn = np.frombuffer(base64.b64decode(data["waveforms"][5]), np.uint8) / 127.0 - 1
    np.testing.assert_allclose(drawn, shapes[5] / np.abs(shapes[5]).max(), atol=0.01)
    assert data_of(page_of(units, tmp_path))["waveforms"] is None


def test_a_file_without_waveforms_has_a_page_all_the_same(tmp_path):
    units = embedded(12)
    path = file_of(units, tmp_path / "session.nwb", [None] * 12)
    assert mean_waveforms(units, path) is None
    with pytest.raises(ValueError, match="not in the units table"):
        mean_waveforms(embedded(20), path)
