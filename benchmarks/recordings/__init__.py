"""The real recordings of ``shared/data`` as pynapple objects, for benchmarks and tests.

Every function takes the folder that holds the data sets (see its own README for sources and
licences) and returns a mapping, name of the recording → pynapple object with metadata.

Examples
--------
    from recordings import steinmetz
    sessions = steinmetz("../shared/data", sessions=["cori_20161214"])
"""

from recordings.calcium import hippocampus, worms, worms_atanas, worms_kato, zebrafish
from recordings.files import with_column
from recordings.simulated import renewal, tuned_session, two_probes, with_waveforms
from recordings.spikes import head_direction, macaque, optotagged, rat_decisions, rats
from recordings.steinmetz2019 import GROUPS, REGION, steinmetz, steinmetz_trials

__all__ = [
    "GROUPS",
    "REGION",
    "head_direction",
    "hippocampus",
    "macaque",
    "optotagged",
    "rat_decisions",
    "rats",
    "renewal",
    "steinmetz",
    "steinmetz_trials",
    "tuned_session",
    "two_probes",
    "with_column",
    "with_waveforms",
    "worms",
    "worms_atanas",
    "worms_kato",
    "zebrafish",
]
