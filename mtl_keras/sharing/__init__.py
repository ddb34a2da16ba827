"""Soft sharing: every task has a tower, and a penalty draws corresponding weights together."""

from mtl_keras.sharing.base import Sharing
from mtl_keras.sharing.cosine_sharing import CosineSharing
from mtl_keras.sharing.group_sharing import GroupSharing
from mtl_keras.sharing.l2_sharing import L2Sharing
from mtl_keras.sharing.towers import corresponding_weights
from mtl_keras.sharing.trace_norm_sharing import TraceNormSharing

__all__ = [
    "CosineSharing",
    "GroupSharing",
    "L2Sharing",
    "Sharing",
    "TraceNormSharing",
    "corresponding_weights",
]
