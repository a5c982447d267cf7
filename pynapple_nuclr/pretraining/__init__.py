"""Self-supervised training of an encoder on unlabelled recordings."""

from pynapple_nuclr.pretraining.run import pretrain
from pynapple_nuclr.pretraining.settings import TrainingSettings

__all__ = ["TrainingSettings", "pretrain"]
