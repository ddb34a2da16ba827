"""Layers with which a network decides what its tasks share.

Conditioning tells the network which task it is doing, experts mix specialists by relevance,
exchange and attention let towers of tasks read from each other.
"""

from mtl_keras.layers.adatt import AdaTT
from mtl_keras.layers.customized_gate_control import CustomizedGateControl
from mtl_keras.layers.expert_health import ExpertHealth
from mtl_keras.layers.experts import Experts
from mtl_keras.layers.gate import Gate
from mtl_keras.layers.hierarchical_multi_gate import HierarchicalMultiGate
from mtl_keras.layers.mixture_of_experts import MixtureOfExperts
from mtl_keras.layers.multi_gate_mixture_of_experts import MultiGateMixtureOfExperts
from mtl_keras.layers.progressive_layered_extraction import ProgressiveLayeredExtraction
from mtl_keras.layers.softmax_gate import SoftmaxGate
from mtl_keras.layers.top_k_gate import TopKGate
from mtl_keras.layers.training_mean import TrainingMean

__all__ = [
    "AdaTT",
    "CustomizedGateControl",
    "ExpertHealth",
    "Experts",
    "Gate",
    "HierarchicalMultiGate",
    "MixtureOfExperts",
    "MultiGateMixtureOfExperts",
    "ProgressiveLayeredExtraction",
    "SoftmaxGate",
    "TopKGate",
    "TrainingMean",
]
