from . import baselines
from .checkpoints import load_encoder, load_reference, save_encoder
from .columns import embeddings
from .confidence import confidence_report, plot_coverage
from .config import EncoderConfig
from .contrast import ContrastiveLoss
from .datasets import fetch
from .demo import run_demo
from .embedding import embed, encode
from .encoder import Encoder
from .evaluation import data_scaling, evaluate, label_efficiency
from .familiarity import familiarity_report
from .features import unit_statistics
from .io.ophys import read_traces
from .io.reading import read_recording, read_units
from .io.sorting import from_spikeinterface, to_spikeinterface
from .io.stored import read_embedding
from .io.tables import write_table
from .io.writing import write_nwb, write_units
from .many import embed_many
from .plotting import (
    plot_confidence,
    plot_confusion,
    plot_depth,
    plot_embedding,
    plot_similarity,
    plot_stability,
    plot_unit,
)
from .pretraining import pretrain
from .probes import Probe, load_probe
from .reporting import report
from .simulation import simulate
from .windows import population_tensor

__version__: str
__all__ = [
    "ContrastiveLoss",
    "Encoder",
    "EncoderConfig",
    "Probe",
    "baselines",
    "confidence_report",
    "data_scaling",
    "embed",
    "embed_many",
    "embeddings",
    "encode",
    "evaluate",
    "familiarity_report",
    "fetch",
    "from_spikeinterface",
    "label_efficiency",
    "load_encoder",
    "load_probe",
    "load_reference",
    "plot_confidence",
    "plot_confusion",
    "plot_coverage",
    "plot_depth",
    "plot_embedding",
    "plot_similarity",
    "plot_stability",
    "plot_unit",
    "population_tensor",
    "pretrain",
    "read_embedding",
    "read_recording",
    "read_traces",
    "read_units",
    "report",
    "run_demo",
    "save_encoder",
    "simulate",
    "to_spikeinterface",
    "unit_statistics",
    "write_nwb",
    "write_table",
    "write_units",
]
