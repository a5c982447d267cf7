"""What the tests of leaks share: the ways to be tested, and what it is to be caught."""

from contextlib import contextmanager

import pytest
from evaluation_systems import Counting
from tally import counts

from pynapple_nuclr import EncoderConfig, evaluation
from pynapple_nuclr.evaluation import LeakError

PROTOCOLS = ["transductive", "transductive_zero_shot", "inductive_zero_shot"]
TINY = EncoderConfig(dim=32, heads=2, head_dim=16, temporal_layers=1, spatiotemporal_layers=1)


def evaluate(recordings, protocol="transductive", systems=None, **options):
    systems = [Counting()] if systems is None else systems
    options = {"n_shuffles": 0, "progress": False} | options
    return evaluation.evaluate(recordings, "cell_type", protocol, systems, **options)


@contextmanager
def caught(*words):
    """The leak planted inside is refused, in an error that says all of these."""
    with pytest.raises(LeakError) as error:
        yield
    assert [word for word in words if word not in str(error.value)] == []
    counts["leaks planted and caught"] += 1
