"""Windows and patches: what the encoder reads, where windows lie, and pairs of views."""

from pynapple_nuclr.windows.patch_readers import PatchReader, open_patch_reader
from pynapple_nuclr.windows.tiling import population_tensor, tile, windows_in
from pynapple_nuclr.windows.views import ViewPair, ViewPosition, ViewSampler, ViewSettings

__all__ = [
    "ViewPair",
    "ViewPosition",
    "PatchReader",
    "ViewSampler",
    "ViewSettings",
    "open_patch_reader",
    "population_tensor",
    "tile",
    "windows_in",
]
