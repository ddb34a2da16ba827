"""The zoo: ready multi-task models for Keras 3, built, trained and exported by name.

The names below are imported when they are first used, so that the command line answers
without loading TensorFlow.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo import builders, datasets, features
    from zoo.builders import (
        adatt,
        cross_stitch,
        dense_prediction,
        entire_space,
        joint_text,
        mixture_of_experts,
        multi_gate_mixture_of_experts,
        nddr,
        progressive_layered_extraction,
        ranking_with_bias_tower,
        shared_private,
        shared_trunk,
        single_task,
        sluice,
        soft_sharing,
        task_attention,
        task_conditioned,
    )

__all__ = [
    "adatt",
    "builders",
    "cross_stitch",
    "datasets",
    "dense_prediction",
    "entire_space",
    "features",
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

_MODULES = ("builders", "datasets", "features")


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'zoo' has no attribute {name!r}")
    if name in _MODULES:
        return importlib.import_module(f"zoo.{name}")
    return getattr(importlib.import_module("zoo.builders"), name)


def __dir__() -> list[str]:
    return __all__
