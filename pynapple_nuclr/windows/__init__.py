"""Windows and patches: what the encoder reads, where windows lie, and pairs of views."""

from pynapple_nuclr.windows.patch_readers import Source, SpikeSource, open_source
from pynapple_nuclr.windows.tiling import Tiling, population_tensor, tile, windows_in
from pynapple_nuclr.windows.trace_patches import TraceSource
from pynapple_nuclr.windows.views import Pair, Place, ViewSampler, ViewSettings

__all__ = [
    "Pair",
    "Place",
    "Source",
    "SpikeSource",
    "Tiling",
    "TraceSource",
    "ViewSampler",
    "ViewSettings",
    "open_source",
    "population_tensor",
    "tile",
    "windows_in",
]
