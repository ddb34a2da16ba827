"""Balancing: how K task losses become one update.

Three protocols (`base.py`), one rule a file. `get` and `available` find rules by name.
"""

from mtl_keras.balancing.aligned_mtl import AlignedMTL
from mtl_keras.balancing.auto_lambda import AutoLambda
from mtl_keras.balancing.base import Balancer, GramianBalancer, JacobianBalancer, LossBalancer
from mtl_keras.balancing.cagrad import CAGrad
from mtl_keras.balancing.con_fig import ConFIG
from mtl_keras.balancing.cosmos import COSMOS
from mtl_keras.balancing.cr_mogm import CRMOGM
from mtl_keras.balancing.db_mtl import DBMTL
from mtl_keras.balancing.dual_proj import DualProj
from mtl_keras.balancing.dynamic_weight_average import DynamicWeightAverage
from mtl_keras.balancing.excess_mtl import ExcessMTL
from mtl_keras.balancing.fairgrad import FairGrad
from mtl_keras.balancing.famo import FAMO
from mtl_keras.balancing.geometric_mean import GeometricMean
from mtl_keras.balancing.graddrop import GradDrop
from mtl_keras.balancing.gradnorm import GradNorm
from mtl_keras.balancing.gradvac import GradVac
from mtl_keras.balancing.group_dro import GroupDRO
from mtl_keras.balancing.hard_max import HardMax
from mtl_keras.balancing.imtl import IMTL
from mtl_keras.balancing.imtl_g import IMTLG
from mtl_keras.balancing.imtl_l import IMTLL
from mtl_keras.balancing.krum import Krum
from mtl_keras.balancing.log_scalarization import LogScalarization
from mtl_keras.balancing.mean import Mean
from mtl_keras.balancing.mgda import MGDA
from mtl_keras.balancing.moco import MoCo
from mtl_keras.balancing.modo import MoDo
from mtl_keras.balancing.nash_mtl import NashMTL
from mtl_keras.balancing.pcd import PCD
from mtl_keras.balancing.pcgrad import PCGrad
from mtl_keras.balancing.penalty_boundary_intersection import PenaltyBoundaryIntersection
from mtl_keras.balancing.random_loss_weighting import RandomLossWeighting
from mtl_keras.balancing.registry import BalancerInfo, available, get
from mtl_keras.balancing.scheduled_weights import ScheduledWeights
from mtl_keras.balancing.sdmgrad import SDMGrad
from mtl_keras.balancing.smooth_tchebycheff import SmoothTchebycheff
from mtl_keras.balancing.soft_optimal_uncertainty_weighting import SoftOptimalUncertaintyWeighting
from mtl_keras.balancing.static_weights import StaticWeights
from mtl_keras.balancing.sum import Sum
from mtl_keras.balancing.trimmed_mean import TrimmedMean
from mtl_keras.balancing.uncertainty_weighting import UncertaintyWeighting
from mtl_keras.balancing.upgrad import UPGrad

__all__ = [
    "COSMOS",
    "CRMOGM",
    "DBMTL",
    "FAMO",
    "IMTL",
    "IMTLG",
    "IMTLL",
    "MGDA",
    "PCD",
    "AlignedMTL",
    "AutoLambda",
    "Balancer",
    "BalancerInfo",
    "CAGrad",
    "ConFIG",
    "DualProj",
    "DynamicWeightAverage",
    "ExcessMTL",
    "FairGrad",
    "GeometricMean",
    "GradDrop",
    "GradNorm",
    "GradVac",
    "GramianBalancer",
    "GroupDRO",
    "HardMax",
    "JacobianBalancer",
    "Krum",
    "LogScalarization",
    "LossBalancer",
    "Mean",
    "MoCo",
    "MoDo",
    "NashMTL",
    "PCGrad",
    "PenaltyBoundaryIntersection",
    "RandomLossWeighting",
    "SDMGrad",
    "ScheduledWeights",
    "SmoothTchebycheff",
    "SoftOptimalUncertaintyWeighting",
    "StaticWeights",
    "Sum",
    "TrimmedMean",
    "UPGrad",
    "UncertaintyWeighting",
    "available",
    "get",
]
