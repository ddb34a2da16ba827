"""Balancing: how K task losses become one update.

Three protocols (`base.py`), one rule a file. `get` and `available` find rules by name.
"""

from mtl_keras.balancing.base import Balancer, GramianBalancer, JacobianBalancer, LossBalancer
from mtl_keras.balancing.cosmos import COSMOS
from mtl_keras.balancing.dynamic_weight_average import DynamicWeightAverage
from mtl_keras.balancing.famo import FAMO
from mtl_keras.balancing.geometric_mean import GeometricMean
from mtl_keras.balancing.group_dro import GroupDRO
from mtl_keras.balancing.hard_max import HardMax
from mtl_keras.balancing.imtl_l import IMTLL
from mtl_keras.balancing.log_scalarization import LogScalarization
from mtl_keras.balancing.mean import Mean
from mtl_keras.balancing.penalty_boundary_intersection import PenaltyBoundaryIntersection
from mtl_keras.balancing.random_loss_weighting import RandomLossWeighting
from mtl_keras.balancing.registry import BalancerInfo, available, get
from mtl_keras.balancing.scheduled_weights import ScheduledWeights
from mtl_keras.balancing.smooth_tchebycheff import SmoothTchebycheff
from mtl_keras.balancing.soft_optimal_uncertainty_weighting import SoftOptimalUncertaintyWeighting
from mtl_keras.balancing.static_weights import StaticWeights
from mtl_keras.balancing.sum import Sum
from mtl_keras.balancing.uncertainty_weighting import UncertaintyWeighting

__all__ = [
    "COSMOS",
    "FAMO",
    "IMTLL",
    "Balancer",
    "BalancerInfo",
    "DynamicWeightAverage",
    "GeometricMean",
    "GramianBalancer",
    "GroupDRO",
    "HardMax",
    "JacobianBalancer",
    "LogScalarization",
    "LossBalancer",
    "Mean",
    "PenaltyBoundaryIntersection",
    "RandomLossWeighting",
    "ScheduledWeights",
    "SmoothTchebycheff",
    "SoftOptimalUncertaintyWeighting",
    "StaticWeights",
    "Sum",
    "UncertaintyWeighting",
    "available",
    "get",
]
