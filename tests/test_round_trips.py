"""Whatever way embedded units take to the disk and back, a probe says the same of them."""

import numpy as np
import pynapple as nap
import pytest

import pynapple_nuclr as nap_nuclr
from pynapple_nuclr import Encoder, EncoderConfig, Probe


@pytest.fixture(scope="module")
def annotated():
    """A probe, and embedded units that it has annotated."""
    units = nap_nuclr.simulate("single", n_units=24, duration=60, seed=3)
    encoder = Encoder(EncoderConfig(dim=32, heads=2, head_dim=16, window_duration=5.0)).eval()
    units = nap_nuclr.embed(units, encoder, progress=False)
    probe = Probe("cell_type").fit(units, verbose=False)
    return probe, probe.annotate(units)


def by_nwb(units, folder):
    bare = units[list(units.index)]
    bare.drop_info([name for name in bare.metadata_columns if name != "rate"])
    source = nap_nuclr.write_units(bare, folder / "day.nwb")
    return nap_nuclr.read_embedding(nap_nuclr.write_nwb(units, source))


def by_new_nwb(units, folder):
    return nap_nuclr.read_embedding(nap_nuclr.write_units(units, folder / "day.nwb"))


def by_pynapple(units, folder):
    units.save(str(folder / "day.npz"))
    return nap.load_file(str(folder / "day.npz"))


@pytest.mark.parametrize("way", [by_nwb, by_new_nwb, by_pynapple])
def test_labels_are_the_same_bit_for_bit(annotated, way, tmp_path):
    probe, units = annotated
    back = way(units, tmp_path)
    probe.save(tmp_path / "probe.skops")
    loaded = nap_nuclr.load_probe(tmp_path / "probe.skops")
    columns = ["predicted_cell_type", "predicted_cell_type_confidence"]
    stored = [np.asarray(back[column]).copy() for column in columns]
    for one in (probe, loaded):
        again = one.annotate(back)
        for column, kept in zip(columns, stored, strict=True):
            np.testing.assert_array_equal(np.asarray(again[column]), np.asarray(units[column]))
            np.testing.assert_array_equal(kept, np.asarray(units[column]))
    np.testing.assert_array_equal(
        nap_nuclr.embeddings(back).values, nap_nuclr.embeddings(units).values
    )
