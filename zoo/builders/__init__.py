"""Builders: functions that assemble and compile a multi-task model, one architecture a file.

Beside them what several use: `inputs.py` (raw inputs), `backbone.py` (the layers between inputs
and heads), `draft.py` (from tasks and features to a compiled model).
"""

from zoo.builders.draft import ModelOptions
from zoo.builders.adatt import adatt
from zoo.builders.entire_space import entire_space
from zoo.builders.mixture_of_experts import mixture_of_experts
from zoo.builders.multi_gate_mixture_of_experts import multi_gate_mixture_of_experts
from zoo.builders.progressive_layered_extraction import progressive_layered_extraction
from zoo.builders.ranking_with_bias_tower import ranking_with_bias_tower
from zoo.builders.shared_trunk import shared_trunk
from zoo.builders.single_task import single_task
from zoo.builders.soft_sharing import soft_sharing

__all__ = [
    "ModelOptions",
    "adatt",
    "entire_space",
    "mixture_of_experts",
    "multi_gate_mixture_of_experts",
    "progressive_layered_extraction",
    "ranking_with_bias_tower",
    "shared_trunk",
    "single_task",
    "soft_sharing",
]
