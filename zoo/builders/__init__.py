"""Builders: functions that assemble and compile a multi-task model, one architecture a file.

Beside them what several use: `inputs.py` (raw inputs), `backbone.py` (the layers between inputs
and heads), `draft.py` (from tasks and features to a compiled model),
`exchange.py` (towers that read each other), `mixture.py` (models around one layer of experts).
"""

from zoo.builders.adatt import adatt
from zoo.builders.cross_stitch import cross_stitch
from zoo.builders.dense_prediction import dense_prediction
from zoo.builders.draft import ModelOptions
from zoo.builders.entire_space import entire_space
from zoo.builders.joint_molecule import joint_molecule
from zoo.builders.joint_text import joint_text
from zoo.builders.mixture_of_experts import mixture_of_experts
from zoo.builders.multi_gate_mixture_of_experts import multi_gate_mixture_of_experts
from zoo.builders.nddr import nddr
from zoo.builders.progressive_layered_extraction import progressive_layered_extraction
from zoo.builders.ranking_with_bias_tower import ranking_with_bias_tower
from zoo.builders.shared_private import shared_private
from zoo.builders.shared_trunk import shared_trunk
from zoo.builders.single_task import single_task
from zoo.builders.sluice import sluice
from zoo.builders.soft_sharing import soft_sharing
from zoo.builders.task_attention import task_attention
from zoo.builders.task_conditioned import task_conditioned

__all__ = [
    "ModelOptions",
    "adatt",
    "cross_stitch",
    "dense_prediction",
    "entire_space",
    "joint_molecule",
    "joint_text",
    "mixture_of_experts",
    "multi_gate_mixture_of_experts",
    "nddr",
    "progressive_layered_extraction",
    "ranking_with_bias_tower",
    "shared_private",
    "shared_trunk",
    "single_task",
    "sluice",
    "soft_sharing",
    "task_attention",
    "task_conditioned",
]
