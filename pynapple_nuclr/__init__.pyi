from . import baselines
from .batch import embed_many
from .calibration import confidence_report
from .checkpoints import Encoder, load_encoder, load_published, save_encoder
from .checkpoints import load_reference as load_reference
from .columns import embeddings
from .config import EncoderConfig
from .demo import run_demo
from .downloads import datasets, fetch
from .embedding import embed, encode
from .evaluation import data_scaling, evaluate, label_efficiency
from .familiarity import familiarity_report
from .features import unit_statistics
from .io._read_recording import read_recording, read_traces, read_units
from .io.spikeinterface import from_spikeinterface, to_spikeinterface
from .io.tables import write_table
from .model import ContrastiveLoss
from .nwb.stored_embeddings import read_embedding
from .nwb.writing import write_nwb, write_units
from .plotting import (
    plot_confidence,
    plot_confusion,
    plot_coverage,
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
    "datasets",
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
    "load_published",
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
