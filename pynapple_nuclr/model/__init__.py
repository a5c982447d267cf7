"""The network: layers, encoder network, objective, and the fast forward pass."""

from pynapple_nuclr.model._bfloat16 import has_native_bfloat16
from pynapple_nuclr.model._contrastive_loss import ContrastiveLoss
from pynapple_nuclr.model._fused import keep_freed_memory
from pynapple_nuclr.model.network import Network

__all__ = ["ContrastiveLoss", "Network", "has_native_bfloat16", "keep_freed_memory"]
