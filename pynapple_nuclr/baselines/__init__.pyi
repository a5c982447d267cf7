from .interface import EmbeddingSystem, LabelSystem, System
from .lolcat import Lolcat
from .nemo import Nemo
from .neuprint import Neuprint
from .nuclr import Nuclr
from .poyo import Poyo, UnitEmbeddingDecoder
from .priors import CorrelatedNeighbours, MostCommonLabel
from .statistics import Statistics

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
