"""Balancing: how K task losses become one update.

Three protocols (`base.py`), one rule a file. `get` and `available` find rules by name.
"""

from mtl_keras.balancing.base import Balancer, GramianBalancer, JacobianBalancer, LossBalancer
from mtl_keras.balancing.registry import BalancerInfo, available, get
from mtl_keras.balancing.sum import Sum

__all__ = [
    "Balancer",
    "BalancerInfo",
    "GramianBalancer",
    "JacobianBalancer",
    "LossBalancer",
    "Sum",
    "available",
    "get",
]
