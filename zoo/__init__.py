"""The zoo: ready multi-task models for Keras 3, built, trained and exported by name.

`load` gives a pretrained model, `list_models` the names, `card` what is known of one, `example`
its input, `encoded` input for backends that cannot take strings. `save` writes a model of one's own
as an entry, `verify` checks one. The builders make untrained models.

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
        joint_molecule,
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
    from zoo.entries.entry import save
    from zoo.registry import card, encoded, example, list_models, load, verify

__all__ = [
    "adatt",
    "builders",
    "card",
    "cross_stitch",
    "datasets",
    "dense_prediction",
    "encoded",
    "entire_space",
    "example",
    "features",
    "joint_molecule",
    "joint_text",
    "list_models",
    "load",
    "mixture_of_experts",
    "multi_gate_mixture_of_experts",
    "nddr",
    "progressive_layered_extraction",
    "ranking_with_bias_tower",
    "save",
    "shared_private",
    "shared_trunk",
    "single_task",
    "sluice",
    "soft_sharing",
    "task_attention",
    "task_conditioned",
    "verify",
]

_MODULES = ("builders", "datasets", "features")
_PLACES = dict.fromkeys(
    ("card", "encoded", "example", "list_models", "load", "verify"), "zoo.registry"
)
_PLACES["save"] = "zoo.entries.entry"


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'zoo' has no attribute {name!r}")
    if name in _MODULES:
        return importlib.import_module(f"zoo.{name}")
    return getattr(importlib.import_module(_PLACES.get(name, "zoo.builders")), name)


def __dir__() -> list[str]:
    return __all__
