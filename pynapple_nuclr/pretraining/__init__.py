"""Self-supervised training of an encoder on unlabelled recordings."""

from pynapple_nuclr.pretraining._pretrain import pretrain
from pynapple_nuclr.pretraining.training_settings import TrainingSettings

__all__ = ["TrainingSettings", "pretrain"]
