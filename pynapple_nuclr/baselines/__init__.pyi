from ._nuclr import Nuclr
from ._priors import CorrelatedNeighbours, MostCommonLabel
from ._statistics import Statistics
from .base import EmbeddingSystem, LabelSystem, System
from .lolcat import Lolcat
from .nemo import Nemo
from .neuprint import Neuprint
from .poyo import Poyo, UnitEmbeddingDecoder

__all__ = [
    "CorrelatedNeighbours",
    "EmbeddingSystem",
    "LabelSystem",
    "Lolcat",
    "MostCommonLabel",
    "Nemo",
    "Neuprint",
    "Nuclr",
    "Poyo",
    "Statistics",
    "System",
    "UnitEmbeddingDecoder",
]
