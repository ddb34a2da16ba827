"""The zoo: ready multi-task models for Keras 3, built, trained and exported by name.

The names below are imported when they are first used, so that the command line answers
without loading TensorFlow.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo import builders, datasets, features
    from zoo.builders import dense_prediction, joint_text, shared_trunk, single_task

__all__ = [
    "builders",
    "datasets",
    "dense_prediction",
    "features",
    "joint_text",
    "shared_trunk",
    "single_task",
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
