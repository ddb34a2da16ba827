"""Layers with which a network decides what its tasks share.

Conditioning tells the network which task it is doing, experts mix specialists by relevance,
exchange and attention let towers of tasks read from each other.
"""

from mtl_keras.layers.adatt import AdaTT
from mtl_keras.layers.additive_conditioning import AdditiveConditioning
from mtl_keras.layers.chained_probability import ChainedProbability
from mtl_keras.layers.concat_conditioning import ConcatConditioning
from mtl_keras.layers.conditional_normalization import ConditionalNormalization
from mtl_keras.layers.constant_context import ConstantContext
from mtl_keras.layers.continuous_filter_convolution import ContinuousFilterConvolution
from mtl_keras.layers.cross_stitch import CrossStitch
from mtl_keras.layers.customized_gate_control import CustomizedGateControl
from mtl_keras.layers.dselect_k_gate import DSelectKGate
from mtl_keras.layers.expert_health import ExpertHealth
from mtl_keras.layers.experts import Experts
from mtl_keras.layers.film import FiLM
from mtl_keras.layers.gate import Gate
from mtl_keras.layers.gradient_reversal import GradientReversal
from mtl_keras.layers.hierarchical_multi_gate import HierarchicalMultiGate
from mtl_keras.layers.hyper_adapter import HyperAdapter
from mtl_keras.layers.learned_default import LearnedDefault
from mtl_keras.layers.low_rank_task_adapter import LowRankTaskAdapter
from mtl_keras.layers.masked_conv1d import MaskedConv1D
from mtl_keras.layers.mixture_of_experts import MixtureOfExperts
from mtl_keras.layers.multi_gate_mixture_of_experts import MultiGateMixtureOfExperts
from mtl_keras.layers.multiplicative_conditioning import MultiplicativeConditioning
from mtl_keras.layers.nddr import NDDR
from mtl_keras.layers.orthogonality_penalty import OrthogonalityPenalty
from mtl_keras.layers.positional_embedding import PositionalEmbedding
from mtl_keras.layers.progressive_layered_extraction import ProgressiveLayeredExtraction
from mtl_keras.layers.radial_basis import RadialBasis
from mtl_keras.layers.sequence_pooling import SequencePooling
from mtl_keras.layers.skip_mixture import SkipMixture
from mtl_keras.layers.sluice_unit import SluiceUnit
from mtl_keras.layers.softmax_gate import SoftmaxGate
from mtl_keras.layers.sub_network_routing import SubNetworkRouting
from mtl_keras.layers.task_adapter import TaskAdapter
from mtl_keras.layers.task_attention import TaskAttention
from mtl_keras.layers.task_discriminator import TaskDiscriminator
from mtl_keras.layers.task_embedding import TaskEmbedding
from mtl_keras.layers.task_gate import TaskGate
from mtl_keras.layers.task_routing import TaskRouting
from mtl_keras.layers.top_k_gate import TopKGate
from mtl_keras.layers.training_mean import TrainingMean
from mtl_keras.layers.transformer_block import TransformerBlock

__all__ = [
    "NDDR",
    "AdaTT",
    "AdditiveConditioning",
    "ChainedProbability",
    "ConcatConditioning",
    "ConditionalNormalization",
    "ConstantContext",
    "ContinuousFilterConvolution",
    "CrossStitch",
    "CustomizedGateControl",
    "DSelectKGate",
    "ExpertHealth",
    "Experts",
    "FiLM",
    "Gate",
    "GradientReversal",
    "HierarchicalMultiGate",
    "HyperAdapter",
    "LearnedDefault",
    "LowRankTaskAdapter",
    "MaskedConv1D",
    "MixtureOfExperts",
    "MultiGateMixtureOfExperts",
    "MultiplicativeConditioning",
    "OrthogonalityPenalty",
    "PositionalEmbedding",
    "ProgressiveLayeredExtraction",
    "RadialBasis",
    "SequencePooling",
    "SkipMixture",
    "SluiceUnit",
    "SoftmaxGate",
    "SubNetworkRouting",
    "TaskAdapter",
    "TaskAttention",
    "TaskDiscriminator",
    "TaskEmbedding",
    "TaskGate",
    "TaskRouting",
    "TopKGate",
    "TrainingMean",
    "TransformerBlock",
]
